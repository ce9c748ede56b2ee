//! What was seen lately, learned from the newest files of a table: at the start of the own tables, and of those of a center that was lost
//! before its frames are taken over.

use std::collections::HashMap;

use bytes::Bytes;
use model::{SignalId, SignalInfo};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Error;
use crate::delta::{DataFile, Snapshot};
use crate::identity::each_row;
use crate::schema::Table;
use crate::seen::{Digest, Seen};
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
    // A signal that the catalogue has no longer can't come again.
    let of_signal = |path: &str, value, text: Option<&str>, quality| {
        Some(Digest::of_signal(*signals.get(path)?, value, text, quality))
    };
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        each_row(table, &batch, &of_signal, &mut |_, key, digest| {
            seen.is_new(key, digest);
        })?;
    }
    Ok(())
}
