//! Whether two groups of rows hold the same row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use model::{UtcMicros, VehicleId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::of_path;
use crate::identity::{Columns, each_row};
use crate::schema::Table;
use crate::seen::{Digest, Key};

/// Rows that lie together, a row group of a file or rows of the tail: what is looked at before they are read whole.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Its vehicles and times, in order, each once: a frame has many rows and one key.
    keys: Arc<[Key]>,
    received: (i64, i64),
    times: (i64, i64),
}

impl Unit {
    /// Of all rows of some batches; they have at least the columns `vehicle`, `time` and `received_at`.
    fn of(batches: &[RecordBatch]) -> Result<Self, String> {
        let mut keys = Vec::new();
        let (mut received, mut times) = ((i64::MAX, i64::MIN), (i64::MAX, i64::MIN));
        let widen = |span: &mut (i64, i64), at: i64| *span = (span.0.min(at), span.1.max(at));
        for batch in batches {
            let columns = Columns { batch };
            let (vehicles, time) = (columns.texts("vehicle")?, columns.times("time")?);
            let received_at = columns.times("received_at")?;
            let mut last: Option<(&str, UtcMicros)> = None;
            for row in 0..batch.num_rows() {
                widen(&mut received, received_at(row).0);
                let (name, time) = (vehicles.value(row), time(row));
                if last == Some((name, time)) {
                    continue;
                }
                last = Some((name, time));
                widen(&mut times, time.0);
                keys.extend(VehicleId::from_bytes(name.as_bytes()).map(|vehicle| Key::new(vehicle, time)));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { keys: keys.into(), received, times })
    }

    pub(super) fn of_batch(batch: &RecordBatch) -> Result<Self, String> {
        Self::of(std::slice::from_ref(batch))
    }

    /// Of each row group of a file, in their order.
    pub(super) fn of_file(bytes: &Bytes) -> Result<Vec<Self>, String> {
        let groups = builder(bytes)?.metadata().num_row_groups();
        let mut units = Vec::new();
        for group in 0..groups {
            let builder = builder(bytes)?.with_row_groups(vec![group]);
            let mask = ProjectionMask::columns(builder.parquet_schema(), ["vehicle", "time", "received_at"]);
            let reader = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
            let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            units.push(Self::of(&batches)?);
        }
        Ok(units)
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() * size_of::<Key>() + size_of::<Self>()
    }

    /// The keys of both, where they were received within some time of each other.
    pub(super) fn common(&self, other: &Self, within: i64) -> Vec<Key> {
        let mut common = Vec::new();
        if !is_near(self.received, other.received, within) || !is_near(self.times, other.times, 0) {
            return common;
        }
        let (mut mine, mut theirs) = (self.keys.iter().peekable(), other.keys.iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => mine.next(),
                std::cmp::Ordering::Greater => theirs.next(),
                std::cmp::Ordering::Equal => {
                    common.push(**a);
                    theirs.next();
                    mine.next()
                }
            };
        }
        common
    }
}

/// Whether two spans overlap, or lie at most so far apart.
pub(super) fn is_near(a: (i64, i64), b: (i64, i64), within: i64) -> bool {
    a.0 <= b.1.saturating_add(within) && b.0 <= a.1.saturating_add(within)
}

/// When rows were received, by what they say: of the same row sent twice to one center, each time.
pub(super) type Rows = HashMap<(Key, Digest), Vec<i64>>;

/// The rows of some keys among those of a batch. `keys` are in order.
pub(super) fn rows_of(
    table: Table,
    batch: &RecordBatch,
    keys: &[Key],
    rows: &mut Rows,
) -> Result<(), String> {
    let received_at = Columns { batch }.times("received_at")?;
    each_row(table, batch, &of_path, &mut |row, key, digest| {
        if keys.binary_search(&key).is_ok() {
            rows.entry((key, digest)).or_default().push(received_at(row).0);
        }
    })
}

/// The rows of some keys in a row group of a file.
pub(super) fn rows_of_group(
    table: Table,
    bytes: &Bytes,
    group: usize,
    keys: &[Key],
    rows: &mut Rows,
) -> Result<(), String> {
    let reader = builder(bytes)?.with_row_groups(vec![group]).build().map_err(|error| error.to_string())?;
    for batch in reader {
        rows_of(table, &batch.map_err(|error| error.to_string())?, keys, rows)?;
    }
    Ok(())
}

fn builder(bytes: &Bytes) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, String> {
    ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| error.to_string())
}
