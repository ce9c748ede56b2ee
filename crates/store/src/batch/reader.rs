//! A batch back into frames.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type, UInt64Type};
use bytes::Bytes;
use model::{ConnectionId, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::KeyValue;

use super::cell::{CellError, Ciphers, Opener};
use super::writer::schema;
use super::{BatchHeader, FORMAT, Row, metadata};
use crate::{Error, Keyring};

/// Rows that are decoded at a time.
const ROWS_AT_ONCE: usize = 1_024;

/// An opened batch.
pub struct Batch {
    name: String,
    header: BatchHeader,
    rows: u64,
    bytes: Bytes,
}

/// Opens the bytes of a batch of any version that was ever written; `name` is for errors.
pub fn read(name: &str, bytes: Bytes) -> Result<Batch, Error> {
    let builder = guarded(name, || ParquetRecordBatchReaderBuilder::try_new(bytes.clone()))?
        .map_err(|error| Error::corrupt(name, format!("not a Parquet file: {error}")))?;
    let file = builder.metadata().file_metadata();
    let no_metadata = Vec::new();
    let entries = file.key_value_metadata().unwrap_or(&no_metadata);
    match text(name, entries, metadata::FORMAT)? {
        FORMAT => {}
        // A later version's reader of an older one is a further arm here, beside a fixture of that version.
        other => return Err(Error::Unsupported { what: "batch", version: other.to_owned() }),
    }
    let columns = |schema: &arrow::datatypes::Schema| -> Vec<_> {
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
    };
    if columns(builder.schema()) != columns(&schema()) {
        return Err(Error::corrupt(name, "its columns are not those of a batch"));
    }
    let rows =
        u64::try_from(file.num_rows()).map_err(|_| Error::corrupt(name, "a negative number of rows"))?;
    let header = header(name, entries)?;
    Ok(Batch { name: name.to_owned(), header, rows, bytes })
}

impl Batch {
    /// What it says of itself.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// How many frames it holds.
    pub fn frames(&self) -> u64 {
        self.rows
    }

    /// The object's size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The data keys that its frames are sealed under, in order, each where it first stands. So they can be unwrapped together.
    pub fn keys(&self) -> Result<Vec<(VehicleId, KeyPeriod)>, Error> {
        let corrupt = |what: String| Error::corrupt(&self.name, what);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut reader = guarded(&self.name, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(self.bytes.clone(), options).and_then(
                |builder| {
                    let columns = ProjectionMask::columns(builder.parquet_schema(), ["vehicle", "key"]);
                    builder.with_projection(columns).with_batch_size(ROWS_AT_ONCE).build()
                },
            )
        })?
        .map_err(|error| corrupt(error.to_string()))?;
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        while let Some(rows) = guarded(&self.name, || reader.next())? {
            let rows = rows.map_err(|error| corrupt(error.to_string()))?;
            let wrong = || corrupt("a column has another type or a null".to_owned());
            let vehicles = rows.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
            let periods = rows.column(1).as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
            if vehicles.null_count() + periods.null_count() > 0 {
                return Err(wrong());
            }
            for index in 0..rows.num_rows() {
                let vehicle = VehicleId::from_bytes(vehicles.value(index).as_bytes())
                    .map_err(|_| corrupt("a vehicle is no pseudonym".to_owned()))?;
                let key = (vehicle, KeyPeriod(periods.value(index)));
                if seen.insert(key) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    /// Gives each frame, decrypted, in order of sequence; stops at the visitor's first error.
    pub fn for_each<E: From<Error>>(
        &self,
        keyring: &Keyring,
        mut visit: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let corrupt = |what: String| Error::corrupt(&self.name, what);
        // The schema was checked when the batch was opened; the embedded one, if any, decides nothing.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut reader = guarded(&self.name, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(self.bytes.clone(), options)
                .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
        })?
        .map_err(|error| corrupt(error.to_string()))?;
        let mut opener = Opener::new(Ciphers::new(&self.header.center, &self.header.gateway, keyring));
        let mut past = None;
        while let Some(rows) = guarded(&self.name, || reader.next())? {
            let rows = rows.map_err(|error| corrupt(error.to_string()))?;
            let columns = Columns::of(&rows)
                .ok_or_else(|| corrupt("a column has another type or a null".to_owned()))?;
            for index in 0..rows.num_rows() {
                let mut row = columns.row(index).map_err(|rule| corrupt(rule.to_owned()))?;
                let is_next = past.is_none_or(|past| row.sequence > past);
                if !is_next || row.sequence < self.header.first || row.sequence > self.header.last {
                    return Err(
                        corrupt("its sequences are out of order or out of its range".to_owned()).into()
                    );
                }
                past = Some(row.sequence);
                let cell = columns.frame.value(index);
                row.bytes =
                    opener.open(row.vehicle, row.key, row.sequence, cell).map_err(|error| match error {
                        CellError::Key(error) => error,
                        CellError::Rule(rule) => corrupt(format!("frame {}: {rule}", row.sequence)),
                    })?;
                visit(row)?;
            }
        }
        Ok(())
    }
}

/// Runs the Parquet library on bytes that may be damaged: it panics on some of them, where this room answers with an error.
fn guarded<T>(name: &str, decode: impl FnOnce() -> T) -> Result<T, Error> {
    std::panic::catch_unwind(AssertUnwindSafe(decode))
        .map_err(|_| Error::corrupt(name, "the Parquet reader gave up on it"))
}

struct Columns<'a> {
    received_at: &'a arrow::array::TimestampMicrosecondArray,
    vehicle: &'a arrow::array::StringArray,
    protocol: &'a arrow::array::StringArray,
    connection: &'a arrow::array::UInt64Array,
    sequence: &'a arrow::array::UInt64Array,
    key: &'a arrow::array::UInt32Array,
    frame: &'a arrow::array::BinaryArray,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        if rows.num_columns() != 7 || rows.columns().iter().any(|column| column.null_count() > 0) {
            return None;
        }
        Some(Self {
            received_at: rows.column(0).as_primitive_opt::<TimestampMicrosecondType>()?,
            vehicle: rows.column(1).as_string_opt()?,
            protocol: rows.column(2).as_string_opt()?,
            connection: rows.column(3).as_primitive_opt::<UInt64Type>()?,
            sequence: rows.column(4).as_primitive_opt::<UInt64Type>()?,
            key: rows.column(5).as_primitive_opt::<UInt32Type>()?,
            frame: rows.column(6).as_binary_opt()?,
        })
    }

    /// The row, its cell not opened yet.
    fn row(&self, index: usize) -> Result<Row<'static>, &'static str> {
        Ok(Row {
            sequence: Sequence(self.sequence.value(index)),
            received_at: UtcMicros(self.received_at.value(index)),
            vehicle: VehicleId::from_bytes(self.vehicle.value(index).as_bytes())
                .map_err(|_| "a vehicle is no pseudonym")?,
            protocol: Protocol::from_name(self.protocol.value(index)).ok_or("an unknown protocol")?,
            connection: ConnectionId(self.connection.value(index)),
            key: KeyPeriod(self.key.value(index)),
            bytes: None,
        })
    }
}

fn header(name: &str, entries: &[KeyValue]) -> Result<BatchHeader, Error> {
    let bad = |key: &str| Error::corrupt(name, format!("its metadata has no valid {key}"));
    let sequence = |key: &str| -> Result<Sequence, Error> {
        text(name, entries, key)?.parse().map(Sequence).map_err(|_| bad(key))
    };
    Ok(BatchHeader {
        center: text(name, entries, metadata::CENTER)?.parse().map_err(|_| bad(metadata::CENTER))?,
        gateway: text(name, entries, metadata::GATEWAY)?.parse().map_err(|_| bad(metadata::GATEWAY))?,
        first: sequence(metadata::FIRST)?,
        last: sequence(metadata::LAST)?,
    })
}

fn text<'a>(name: &str, entries: &'a [KeyValue], key: &str) -> Result<&'a str, Error> {
    entries
        .iter()
        .find(|entry| entry.key == key)
        .and_then(|entry| entry.value.as_deref())
        .ok_or_else(|| Error::corrupt(name, format!("its metadata has no {key}")))
}
