//! From slabs to one Parquet file with its statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::columns::{Gather, Names};
use crate::delta::{Bounds, FileStatistics};
use crate::rows::Slab;
use crate::schema::{Kind, Table};

/// Rows that are ordered and encoded together, one row group: as many as a segment commonly gives, and so few
/// that their order and columns take tens of megabytes at most.
pub(crate) const GROUP_ROWS_MAX: usize = 1 << 20;

/// Rows of one Arrow batch handed to the Parquet writer.
pub(crate) const BATCH_ROWS: usize = 1 << 16;

/// zstd's level: 9 is a third slower for 3 % fewer bytes, 1 gives 3 % more.
const ZSTD_LEVEL: i32 = 3;

/// zstd's level for the texts of sorted files: lists of cell voltages are most of a GB/T 32960 vehicle's bytes and take a fifth less than at level 3.
const ZSTD_LEVEL_OF_TEXTS: i32 = 9;

/// Rows of a page of a sorted file. All signals of a frame have its instants, and a signal's rows follow one another: within one page the
/// next signals repeat them, and take half the bytes that they take in pages of 20,000 rows. Larger ones would have more rows read
/// for a vehicle or signal that is asked for.
const SORTED_PAGE_ROWS: usize = 1 << 16;

/// How the rows of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As they came, by vehicle and signal.
    AsTheyCame,
    /// By vehicle, signal and time. Where most rows are as long after the one before as that one is, their times are written as
    /// differences, which then take next to nothing; where clocks jitter, the times of a frame repeat better as a dictionary's numbers.
    Sorted { is_steady: bool },
}

/// A file of one table that is being encoded in memory.
pub(crate) struct FileEncoder {
    table: Table,
    names: Arc<Names>,
    writer: ArrowWriter<Vec<u8>>,
    statistics: FileStatistics,
}

impl FileEncoder {
    pub(crate) fn new(table: Table, names: Arc<Names>, layout: Layout) -> Result<Self, ParquetError> {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX * 2))
            // Nobody looks for a page by the range of its values or texts.
            .set_column_statistics_enabled("value".into(), EnabledStatistics::Chunk)
            .set_column_statistics_enabled("text".into(), EnabledStatistics::None)
            .set_column_statistics_enabled("detail".into(), EnabledStatistics::None)
            .set_created_by(concat!("domicile ", env!("CARGO_PKG_VERSION")).to_owned());
        if let Layout::Sorted { is_steady } = layout {
            let texts = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL_OF_TEXTS)?);
            properties = properties
                .set_data_page_row_count_limit(SORTED_PAGE_ROWS)
                .set_column_compression("text".into(), texts)
                .set_column_compression("detail".into(), texts);
            if is_steady {
                properties = properties
                    .set_column_dictionary_enabled("time".into(), false)
                    .set_column_encoding("time".into(), Encoding::DELTA_BINARY_PACKED);
            }
        }
        let options =
            ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), table.file_schema(), options)?;
        Ok(Self { table, names, writer, statistics: FileStatistics::default() })
    }

    /// Adds the slabs' rows of this table, in groups of whole slabs.
    pub(crate) fn push(&mut self, slabs: &[Arc<Slab>]) -> Result<(), ParquetError> {
        let mut rest = slabs;
        while !rest.is_empty() {
            let mut rows = 0;
            let count = rest
                .iter()
                .take_while(|slab| {
                    let fits = rows < GROUP_ROWS_MAX;
                    rows += slab.rows();
                    fits
                })
                .count();
            let (group, others) = rest.split_at(count);
            self.push_group(group)?;
            rest = others;
        }
        Ok(())
    }

    /// The file and its statistics; `None` where no row came.
    pub(crate) fn finish(mut self) -> Result<Option<(Bytes, FileStatistics)>, ParquetError> {
        if self.statistics.rows == 0 {
            return Ok(None);
        }
        self.writer.finish()?;
        let bytes = std::mem::take(self.writer.inner_mut());
        Ok(Some((bytes.into(), self.statistics)))
    }

    /// Adds rows that are in order already.
    pub(crate) fn push_batch(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.count(batch);
        self.writer.write(batch)
    }

    fn push_group(&mut self, slabs: &[Arc<Slab>]) -> Result<(), ParquetError> {
        let names = self.names.clone();
        let gather = Gather::new(&names, self.table, slabs);
        for places in gather.file_order().chunks(BATCH_ROWS) {
            self.push_batch(&gather.batch(places)?)?;
        }
        self.writer.flush()
    }

    fn count(&mut self, batch: &RecordBatch) {
        self.statistics.rows += batch.num_rows() as u64;
        for (column, array) in self.table.columns().iter().zip(batch.columns()) {
            if column.nullable {
                *self.statistics.nulls.entry(column.name.to_owned()).or_default() +=
                    array.null_count() as u64;
                continue;
            }
            match column.kind {
                Kind::Time => {
                    let times = array.as_primitive::<TimestampMicrosecondType>();
                    if let (Some(least), Some(greatest)) = (min(times), max(times)) {
                        widen(&mut self.statistics.bounds, column.name, Bounds::Time(least, greatest));
                    }
                }
                Kind::Text if matches!(column.name, "vehicle" | "signal") => {
                    let dictionary = array.as_dictionary::<Int32Type>();
                    let values = dictionary.values().as_string::<i32>();
                    // The file's order is by vehicle, and both dictionaries are small: look at the numbers
                    // that occur.
                    let mut occurs = vec![false; values.len()];
                    dictionary.keys().values().iter().for_each(|key| occurs[*key as usize] = true);
                    let texts = || {
                        occurs.iter().enumerate().filter(|(_, occurs)| **occurs).map(|(i, _)| values.value(i))
                    };
                    if let (Some(least), Some(greatest)) = (texts().min(), texts().max()) {
                        let bounds = Bounds::Text(least.to_owned(), greatest.to_owned());
                        widen(&mut self.statistics.bounds, column.name, bounds);
                    }
                }
                _ => {}
            }
        }
    }
}

fn widen(all: &mut BTreeMap<String, Bounds>, name: &str, more: Bounds) {
    let wider = match (all.remove(name), more) {
        (Some(Bounds::Time(a, b)), Bounds::Time(c, d)) => Bounds::Time(a.min(c), b.max(d)),
        (Some(Bounds::Text(a, b)), Bounds::Text(c, d)) => Bounds::Text(a.min(c), b.max(d)),
        (_, more) => more,
    };
    all.insert(name.to_owned(), wider);
}
