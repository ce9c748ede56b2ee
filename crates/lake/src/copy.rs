//! Rows of an answer as a Parquet file for other engines.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Rows of a row group: what is held in memory, some ten megabytes of `signals`.
const GROUP_ROWS_MAX: usize = 1 << 17;

/// zstd's level, that of the tables' own files.
const ZSTD_LEVEL: i32 = 3;

/// A Parquet file that is being written. Columns are of plain types: texts `STRING`, times `TIMESTAMP(MICROS, UTC)`; no Arrow schema
/// is embedded.
pub struct CopyFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    rows: u64,
}

impl<W: Write + Send> CopyFile<W> {
    /// Begins one.
    ///
    /// # Errors
    /// What the encoder or the writer says.
    pub fn new(schema: SchemaRef, out: W) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
            .set_created_by(concat!("domicile ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        Ok(Self { writer: ArrowWriter::try_new_with_options(out, schema, options)?, rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// What the encoder or the writer says.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch)
    }

    /// Rows so far.
    pub fn count(&self) -> u64 {
        self.rows
    }

    /// Writes the file's end and gives the writer back.
    ///
    /// # Errors
    /// What the encoder or the writer says.
    pub fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}
