//! Frames into a batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use model::{Frame, Sequence};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::cell::{Ciphers, Sealer};
use super::{BatchHeader, FORMAT, metadata};
use crate::{Error, Keyring};

/// Writes frames, in order of sequence, as one batch. A frame whose vehicle's key was destroyed is written without its bytes.
pub fn write<'a>(
    header: &BatchHeader,
    frames: impl Iterator<Item = (Sequence, Frame<'a>)>,
    keyring: &Keyring,
) -> Result<Bytes, Error> {
    let mut columns = Columns::new(frames.size_hint().0);
    let mut sealer = Sealer::new(Ciphers::new(&header.center, &header.gateway, keyring));
    for (sequence, frame) in frames {
        let cell = sealer.seal(frame.vehicle, frame.key, sequence, frame.bytes)?;
        columns.push(sequence, &frame, cell);
    }
    let rows = columns.finish();
    encode(header, &rows)
        .map_err(|error| Error::corrupt("batch", format!("Parquet does not take it: {error}")))
}

/// The file's columns, in order.
pub(super) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("received_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("vehicle", DataType::Utf8, false),
        Field::new("protocol", DataType::Utf8, false),
        Field::new("connection", DataType::UInt64, false),
        Field::new("sequence", DataType::UInt64, false),
        Field::new("key", DataType::UInt32, false),
        Field::new("frame", DataType::Binary, false),
    ])
}

struct Columns {
    received_at: TimestampMicrosecondBuilder,
    vehicle: StringBuilder,
    protocol: StringBuilder,
    connection: UInt64Builder,
    sequence: UInt64Builder,
    key: UInt32Builder,
    frame: BinaryBuilder,
}

impl Columns {
    fn new(rows: usize) -> Self {
        Self {
            received_at: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            vehicle: StringBuilder::with_capacity(rows, rows * 17),
            protocol: StringBuilder::with_capacity(rows, rows * 8),
            connection: UInt64Builder::with_capacity(rows),
            sequence: UInt64Builder::with_capacity(rows),
            key: UInt32Builder::with_capacity(rows),
            frame: BinaryBuilder::with_capacity(rows, rows * 256),
        }
    }

    fn push(&mut self, sequence: Sequence, frame: &Frame<'_>, cell: &[u8]) {
        self.received_at.append_value(frame.received_at.0);
        self.vehicle.append_value(frame.vehicle.as_str());
        self.protocol.append_value(frame.protocol.as_str());
        self.connection.append_value(frame.connection.0);
        self.sequence.append_value(sequence.0);
        self.key.append_value(frame.key.0);
        self.frame.append_value(cell);
    }

    fn finish(mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.received_at.finish()),
            Arc::new(self.vehicle.finish()),
            Arc::new(self.protocol.finish()),
            Arc::new(self.connection.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.frame.finish()),
        ];
        RecordBatch::try_new(Arc::new(schema()), columns).expect("the builders follow the schema")
    }
}

fn encode(header: &BatchHeader, rows: &RecordBatch) -> Result<Bytes, ParquetError> {
    let column = |name: &str| ColumnPath::from(name.to_owned());
    let delta = |name: &str, properties: parquet::file::properties::WriterPropertiesBuilder| {
        properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED)
    };
    let properties = WriterProperties::builder()
        .set_created_by("domicile".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(key_values(header)));
    // Sealed bytes neither compress nor repeat, and their extremes say nothing.
    let properties = properties
        .set_column_compression(column("frame"), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(column("frame"), false)
        .set_column_statistics_enabled(column("frame"), EnabledStatistics::None);
    let properties = delta("received_at", delta("sequence", properties)).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let capacity = rows.column(6).get_array_memory_size() + rows.num_rows() * 16;
    let mut writer = ArrowWriter::try_new_with_options(Vec::with_capacity(capacity), rows.schema(), options)?;
    writer.write(rows)?;
    Ok(writer.into_inner()?.into())
}

fn key_values(header: &BatchHeader) -> Vec<KeyValue> {
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    vec![
        entry(metadata::FORMAT, FORMAT.to_owned()),
        entry(metadata::CENTER, header.center.to_string()),
        entry(metadata::GATEWAY, header.gateway.to_string()),
        entry(metadata::FIRST, header.first.to_string()),
        entry(metadata::LAST, header.last.to_string()),
    ]
}
