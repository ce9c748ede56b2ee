//! Which rows of a table are the same row: read from Arrow columns, as files and queries have them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use model::{Event, Position, Quality, UtcMicros, VehicleId};

use crate::schema::Table;
use crate::seen::{Digest, Key};

/// The digest of a row of `signals`: its path, value, text and quality; `None` for one that is passed over.
pub(crate) type OfSignal<'a> = dyn Fn(&str, Option<f64>, Option<&str>, Quality) -> Option<Digest> + 'a;

/// Gives each row of a batch that has the table's columns: its place, key and digest. Rows of which nobody can say whose they are
/// are passed over.
///
/// # Errors
/// A column that is missing or of another type.
pub(crate) fn each_row(
    table: Table,
    batch: &RecordBatch,
    of_signal: &OfSignal<'_>,
    take: &mut dyn FnMut(usize, Key, Digest),
) -> Result<(), String> {
    let columns = Columns { batch };
    let digest: Box<dyn Fn(usize, UtcMicros) -> Option<Digest> + '_> = match table {
        Table::Signals => signals(&columns, of_signal)?,
        Table::Positions => positions(&columns)?,
        Table::Events => events(&columns)?,
    };
    let (vehicles, times) = (columns.texts("vehicle")?, columns.times("time")?);
    for row in 0..batch.num_rows() {
        let Ok(vehicle) = VehicleId::from_bytes(vehicles.value(row).as_bytes()) else { continue };
        let time = times(row);
        if let Some(digest) = digest(row, time) {
            take(row, Key::new(vehicle, time), digest);
        }
    }
    Ok(())
}

type Digests<'a> = Box<dyn Fn(usize, UtcMicros) -> Option<Digest> + 'a>;

fn signals<'a>(columns: &Columns<'a>, of_signal: &'a OfSignal<'_>) -> Result<Digests<'a>, String> {
    let (paths, texts) = (columns.texts("signal")?, columns.texts("text")?);
    let (qualities, values) = (columns.texts("quality")?, columns.doubles("value")?);
    Ok(Box::new(move |row, _| {
        let quality = quality_of(qualities.value(row))?;
        of_signal(paths.value(row), values(row), option(&texts, row), quality)
    }))
}

fn positions<'a>(columns: &Columns<'a>) -> Result<Digests<'a>, String> {
    let (latitude, longitude) = (columns.doubles("latitude")?, columns.doubles("longitude")?);
    let (heading, speed) = (columns.doubles("heading")?, columns.doubles("speed")?);
    let valid = columns.column("valid")?.as_boolean_opt().ok_or("column valid is not boolean")?;
    Ok(Box::new(move |row, time| {
        Some(Digest::of_position(&Position {
            time,
            latitude: latitude(row),
            longitude: longitude(row),
            heading: heading(row),
            speed: speed(row),
            valid: valid.value(row),
        }))
    }))
}

fn events<'a>(columns: &Columns<'a>) -> Result<Digests<'a>, String> {
    let (kinds, codes, details) = (columns.texts("kind")?, columns.texts("code")?, columns.texts("detail")?);
    let levels =
        columns.column("level")?.as_primitive_opt::<Int32Type>().ok_or("column level is not an integer")?;
    let ended_at = columns.times("ended_at")?;
    let ended = columns.column("ended_at")?;
    Ok(Box::new(move |row, time| {
        Some(Digest::of_event(&Event {
            time,
            kind: kinds.value(row),
            code: codes.value(row),
            level: levels.is_valid(row).then(|| levels.value(row)),
            ended_at: ended.is_valid(row).then(|| ended_at(row)),
            detail: option(&details, row),
        }))
    }))
}

/// A batch's columns by name, with the types that the tables have.
pub(crate) struct Columns<'a> {
    pub(crate) batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    fn column(&self, name: &str) -> Result<&'a ArrayRef, String> {
        self.batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<StringArray, String> {
        let array = cast(self.column(name)?, &DataType::Utf8).map_err(|error| error.to_string())?;
        array.as_string_opt::<i32>().cloned().ok_or_else(|| format!("column {name} is not a text"))
    }

    pub(crate) fn times(&self, name: &str) -> Result<impl Fn(usize) -> UtcMicros + use<'a>, String> {
        let array = self
            .column(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| format!("column {name} is not a time"))?;
        Ok(move |row| UtcMicros(array.value(row)))
    }

    fn doubles(&self, name: &str) -> Result<impl Fn(usize) -> Option<f64> + use<'a>, String> {
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
