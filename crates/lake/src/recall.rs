//! What was seen lately, learned from the newest files of a table: at the start of the own tables, and of those of a center that was lost
//! before its frames are taken over.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use bytes::Bytes;
use model::{Event, Position, Quality, SignalId, SignalInfo, UtcMicros, VehicleId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Error;
use crate::delta::{DataFile, Snapshot};
use crate::schema::Table;
use crate::seen::{Digest, Key, Seen};
use crate::terms::received;

/// Files read at most: half an hour of batches, or so. A start should take seconds.
const FILES_MAX: usize = 200;

/// Rows read at most, for the same reason.
const ROWS_MAX: u64 = 2_000_000;

/// Reads the newest files, oldest of them first, and counts their rows as seen.
pub(crate) async fn recall(
    table: Table,
    folder: &Path,
    snapshot: &Snapshot,
    store: &dyn ObjectStore,
    infos: &'static [SignalInfo],
    seen: &mut Seen,
) -> Result<(), Error> {
    let limit = ROWS_MAX.min(seen.rows_max() as u64 / 2);
    let mut rows = 0;
    // By receipt, not by their place in the log: a file that maintenance wrote lately holds older rows.
    let mut newest: Vec<_> = snapshot.files.iter().collect();
    newest.sort_by_key(|file| std::cmp::Reverse(received(file).map(|(_, last)| last)));
    let newest: Vec<_> = newest
        .into_iter()
        .take(FILES_MAX)
        .take_while(|file| {
            rows += rows_of(file);
            rows <= limit
        })
        .collect();
    let signals: HashMap<&str, SignalId> =
        infos.iter().enumerate().map(|(index, info)| (info.path, SignalId(index as u16))).collect();
    for file in newest.into_iter().rev() {
        let path = folder.clone().join(file.add.path.as_str());
        let bytes = store.get(&path).await?.bytes().await?;
        let layer = seen.begin_layer();
        let learned = learn(table, bytes, &signals, seen);
        seen.settle_layer(layer);
        learned.map_err(|why| Error::Damaged {
            table: table.name(),
            version: snapshot.version,
            why: format!("file {}: {why}", file.add.path),
        })?;
    }
    Ok(())
}

fn rows_of(file: &DataFile) -> u64 {
    file.statistics.as_ref().map_or(0, |known| known.rows)
}

fn learn(
    table: Table,
    bytes: Bytes,
    signals: &HashMap<&str, SignalId>,
    seen: &mut Seen,
) -> Result<(), String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    for batch in reader {
        let batch = Columns { batch: batch.map_err(|error| error.to_string())? };
        match table {
            Table::Signals => learn_signals(&batch, signals, seen)?,
            Table::Positions => learn_positions(&batch, seen)?,
            Table::Events => learn_events(&batch, seen)?,
        }
    }
    Ok(())
}

fn learn_signals(batch: &Columns, signals: &HashMap<&str, SignalId>, seen: &mut Seen) -> Result<(), String> {
    let (vehicles, times) = (batch.texts("vehicle")?, batch.times("time")?);
    let (paths, texts, qualities) = (batch.texts("signal")?, batch.texts("text")?, batch.texts("quality")?);
    let values = batch.doubles("value")?;
    for row in 0..batch.batch.num_rows() {
        let (Ok(vehicle), Some(signal), Some(quality)) = (
            VehicleId::from_bytes(vehicles.value(row).as_bytes()),
            signals.get(paths.value(row)),
            quality_of(qualities.value(row)),
        ) else {
            // A signal that the catalogue has no longer can't come again.
            continue;
        };
        let digest = Digest::of_signal(*signal, values(row), option(&texts, row), quality);
        seen.is_new(Key::new(vehicle, times(row)), digest);
    }
    Ok(())
}

fn learn_positions(batch: &Columns, seen: &mut Seen) -> Result<(), String> {
    let (vehicles, times) = (batch.texts("vehicle")?, batch.times("time")?);
    let (latitude, longitude) = (batch.doubles("latitude")?, batch.doubles("longitude")?);
    let (heading, speed) = (batch.doubles("heading")?, batch.doubles("speed")?);
    let valid = batch.column("valid")?.as_boolean_opt().ok_or("column valid is not boolean")?;
    for row in 0..batch.batch.num_rows() {
        let Ok(vehicle) = VehicleId::from_bytes(vehicles.value(row).as_bytes()) else { continue };
        let position = Position {
            time: times(row),
            latitude: latitude(row),
            longitude: longitude(row),
            heading: heading(row),
            speed: speed(row),
            valid: valid.value(row),
        };
        seen.is_new(Key::new(vehicle, position.time), Digest::of_position(&position));
    }
    Ok(())
}

fn learn_events(batch: &Columns, seen: &mut Seen) -> Result<(), String> {
    let (vehicles, times) = (batch.texts("vehicle")?, batch.times("time")?);
    let (kinds, codes, details) = (batch.texts("kind")?, batch.texts("code")?, batch.texts("detail")?);
    let levels =
        batch.column("level")?.as_primitive_opt::<Int32Type>().ok_or("column level is not an integer")?;
    let ended_at = batch.times("ended_at")?;
    let ended = batch.column("ended_at")?;
    for row in 0..batch.batch.num_rows() {
        let Ok(vehicle) = VehicleId::from_bytes(vehicles.value(row).as_bytes()) else { continue };
        let event = Event {
            time: times(row),
            kind: kinds.value(row),
            code: codes.value(row),
            level: levels.is_valid(row).then(|| levels.value(row)),
            ended_at: ended.is_valid(row).then(|| ended_at(row)),
            detail: option(&details, row),
        };
        seen.is_new(Key::new(vehicle, event.time), Digest::of_event(&event));
    }
    Ok(())
}

/// A batch's columns by name, with the types that the tables have.
struct Columns {
    batch: RecordBatch,
}

impl Columns {
    fn column(&self, name: &str) -> Result<&dyn Array, String> {
        self.batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| format!("column {name} is missing"))
    }

    fn texts(&self, name: &str) -> Result<StringArray, String> {
        let array = cast(self.column(name)?, &DataType::Utf8).map_err(|error| error.to_string())?;
        array.as_string_opt::<i32>().cloned().ok_or_else(|| format!("column {name} is not a text"))
    }

    fn times(&self, name: &str) -> Result<impl Fn(usize) -> UtcMicros + '_, String> {
        let array = self
            .column(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| format!("column {name} is not a time"))?;
        Ok(move |row| UtcMicros(array.value(row)))
    }

    fn doubles(&self, name: &str) -> Result<impl Fn(usize) -> Option<f64> + '_, String> {
        let array = self
            .column(name)?
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| format!("column {name} is not a number"))?;
        Ok(move |row| array.is_valid(row).then(|| array.value(row)))
    }
}

fn option(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

fn quality_of(word: &str) -> Option<Quality> {
    [Quality::Valid, Quality::Invalid, Quality::Abnormal, Quality::Clock]
        .into_iter()
        .find(|quality| quality.as_str() == word)
}
