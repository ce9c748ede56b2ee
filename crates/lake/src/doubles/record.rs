//! What was found and looked at, as it lies in the folder of projections.
//!
//! `doubles/1.rows.parquet` has a row for each hidden row, `doubles/1.examined.json` the files that were looked at. The rows are
//! written first, so that no file counts as looked at whose rows are not there. What can't be read is found anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use bytes::Bytes;
use model::{CenterName, UtcMicros};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::{Double, Doubles};
use crate::Error;
use crate::copy::CopyFile;
use crate::schema::Table;
use crate::seen::{Digest, Key};

/// Where it lies in the folder of projections.
pub(crate) const FOLDER: &str = "doubles";

/// The number at the beginning is that of the digests: another way to work them out has another.
const ROWS: &str = "1.rows.parquet";
const EXAMINED: &str = "1.examined.json";

/// What was looked at of a center's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Examined {
    /// The table's version then.
    pub(super) version: i64,
    pub(super) at: UtcMicros,
    /// Its files.
    pub(super) files: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    table: String,
    center: String,
    version: i64,
    at: i64,
    files: BTreeSet<String>,
}

type All = BTreeMap<(usize, CenterName), Examined>;

/// Reads both; nothing where one of them is missing or damaged.
pub(super) async fn load(folder: &dyn ObjectStore) -> (Vec<Double>, All) {
    let read = async |name: &str| -> Option<Bytes> {
        folder.get(&Path::from_iter([FOLDER, name])).await.ok()?.bytes().await.ok()
    };
    let Some(examined) = read(EXAMINED).await.and_then(|bytes| examined_of(&bytes)) else {
        return Default::default();
    };
    let rows = match read(ROWS).await {
        Some(bytes) => rows_of(bytes),
        None => None,
    };
    rows.map(|rows| (rows, examined)).unwrap_or_default()
}

/// Writes what was looked at, and before it the hidden rows where they have changed.
pub(super) async fn save(
    folder: &dyn ObjectStore,
    rows: Option<&Doubles>,
    examined: &All,
) -> Result<(), Error> {
    let path = |name: &str| Path::from_iter([FOLDER, name]);
    // A first time writes an empty file: then both are there.
    let is_missing = rows.is_none() && folder.head(&path(ROWS)).await.is_err();
    if rows.is_some() || is_missing {
        let rows = rows.map(Doubles::all).unwrap_or_default();
        let bytes = written(&rows).map_err(|source| Error::Encode { table: FOLDER, source })?;
        folder.put(&path(ROWS), bytes.into()).await?;
    }
    let lines: Vec<Line> =
        examined.iter().map(|((table, center), examined)| line(*table, center, examined)).collect();
    let json = serde_json::to_vec(&lines).map_err(|error| Error::Threads(error.to_string()))?;
    folder.put(&path(EXAMINED), json.into()).await?;
    Ok(())
}

fn line(table: usize, center: &CenterName, examined: &Examined) -> Line {
    Line {
        table: Table::ALL[table].name().to_owned(),
        center: center.to_string(),
        version: examined.version,
        at: examined.at.0,
        files: examined.files.clone(),
    }
}

fn examined_of(bytes: &[u8]) -> Option<All> {
    let lines: Vec<Line> = serde_json::from_slice(bytes).ok()?;
    let one = |Line { table, center, version, at, files }: Line| {
        let table = Table::ALL.into_iter().find(|known| known.name() == table)?;
        Some(((table.index(), center.parse().ok()?), Examined { version, at: UtcMicros(at), files }))
    };
    lines.into_iter().map(one).collect()
}

fn written(rows: &[Double]) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let texts = |of: &dyn Fn(&Double) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let words =
        |of: &dyn Fn(&Double) -> u64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<UInt64Array>()) };
    let received_at: ArrayRef = Arc::new(rows.iter().map(|row| row.received_at).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([
        ("table", texts(&|row| Table::ALL[row.table].name().to_owned())),
        ("center", texts(&|row| row.center.to_string())),
        ("by", texts(&|row| row.by.to_string())),
        ("received_at", received_at),
        ("key", words(&|row| row.key.0)),
        ("digest", words(&|row| row.digest.0)),
    ])?;
    let mut file = CopyFile::new(batch.schema(), Vec::new())?;
    file.rows(&batch)?;
    file.finish()
}

fn rows_of(bytes: Bytes) -> Option<Vec<Double>> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?.build().ok()? {
        let batch = batch.ok()?;
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let word = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>();
        let (tables, centers, by) = (text("table")?, text("center")?, text("by")?);
        let (keys, digests) = (word("key")?, word("digest")?);
        let received_at = batch.column_by_name("received_at")?.as_primitive_opt::<Int64Type>()?;
        for row in 0..batch.num_rows() {
            rows.push(Double {
                table: Table::ALL.into_iter().find(|table| table.name() == tables.value(row))?.index(),
                center: centers.value(row).parse().ok()?,
                by: by.value(row).parse().ok()?,
                received_at: received_at.value(row),
                key: Key(keys.value(row)),
                digest: Digest(digests.value(row)),
            });
        }
    }
    Some(rows)
}
