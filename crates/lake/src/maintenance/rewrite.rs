//! Some files of a table become one, in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelector};

use crate::Error;
use crate::columns::Names;
use crate::delta::{DataFile, FileStatistics};
use crate::encode::{BATCH_ROWS, FileEncoder};
use crate::erased::Erased;
use crate::maintenance::plan::Sizes;
use crate::maintenance::pool::Pool;
use crate::schema::Table;
use crate::terms::{Contents, Cutoffs, EVENT_CLASS, SignalClasses};

/// What rewriting needs to know.
pub(super) struct Context<'a> {
    pub(super) table: Table,
    pub(super) store: &'a dyn ObjectStore,
    pub(super) folder: &'a Path,
    pub(super) names: &'a Arc<Names>,
    pub(super) classes: &'a SignalClasses,
    pub(super) erased: &'a Erased,
}

/// Rows that were read, put in order and encoded.
pub(super) struct Rewritten {
    /// The file; `None` where no row is left.
    pub(super) file: Option<(Bytes, FileStatistics)>,
    pub(super) contents: Contents,
    /// Rows read.
    pub(super) rows: u64,
    /// Rows whose term was over.
    pub(super) expired: u64,
    /// Rows that were to be erased.
    pub(super) erased: u64,
    /// Rows that were there twice.
    pub(super) doubled: u64,
}

/// The rows of each file that go into one file of what files are cut into.
pub(super) type Slice = Vec<Range<usize>>;

impl Context<'_> {
    /// Reads files, leaves out what the cutoffs let go, and encodes the rest in order.
    pub(super) async fn rewrite(
        &self,
        files: &[Arc<DataFile>],
        cutoffs: &Cutoffs,
    ) -> Result<Rewritten, Error> {
        let mut pool = Pool::new(self.table);
        for file in files {
            let bytes = self.read(file).await?;
            read_rows(self.table, bytes, None, &mut pool).map_err(|why| self.damaged(file, why))?;
        }
        self.encoded(&pool, cutoffs)
    }

    /// As [`Self::rewrite`], of the rows of some vehicles, which lie side by side in each file.
    pub(super) async fn rewrite_slice(
        &self,
        files: &[Arc<DataFile>],
        slice: &Slice,
        cutoffs: &Cutoffs,
    ) -> Result<Rewritten, Error> {
        let mut pool = Pool::new(self.table);
        for (file, rows) in files.iter().zip(slice).filter(|(_, rows)| !rows.is_empty()) {
            let bytes = self.read(file).await?;
            read_rows(self.table, bytes, Some(rows.clone()), &mut pool)
                .map_err(|why| self.damaged(file, why))?;
        }
        self.encoded(&pool, cutoffs)
    }

    /// How sorted files are to be cut by vehicle: for each of what comes of it the rows of each file. The cuts lie between vehicles, so that about as
    /// many files come as went in, with about as many rows each. A vehicle that has more rows than may be sorted at a time gets files of its
    /// own. `Err` has the files that can't be cut: their vehicles do not lie side by side.
    pub(super) async fn slices(
        &self,
        files: &[Arc<DataFile>],
        sizes: &Sizes,
    ) -> Result<Result<Vec<Slice>, Vec<String>>, Error> {
        let mut runs: Vec<Vec<(String, usize)>> = Vec::new();
        let mut unsorted = Vec::new();
        for file in files {
            let bytes = self.read(file).await?;
            let vehicles = self.vehicles(bytes).map_err(|why| self.damaged(file, why))?;
            if !vehicles.windows(2).all(|pair| pair[0].0 < pair[1].0) {
                unsorted.push(file.add.path.clone());
            }
            runs.push(vehicles);
        }
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        for (vehicle, count) in runs.iter().flatten() {
            *rows.entry(vehicle).or_default() += *count as u64;
        }
        if !unsorted.is_empty() {
            return Ok(Err(unsorted));
        }
        let share = (rows.values().sum::<u64>() / files.len() as u64).clamp(1, sizes.rows_max);
        // The first vehicle of each slice but the first one.
        let mut cuts: Vec<&str> = Vec::new();
        let mut sum = 0;
        for (vehicle, count) in &rows {
            // Cut where that is nearer to the share, and never beyond what may be sorted at a time.
            if sum > 0 && (sum + count / 2 > share || sum + count > sizes.rows_max) {
                cuts.push(vehicle);
                sum = 0;
            }
            sum += count;
        }
        let mut places: Vec<(usize, usize)> = vec![(0, 0); runs.len()];
        let mut slices = Vec::new();
        for cut in cuts.into_iter().map(Some).chain(std::iter::once(None)) {
            let slice = runs.iter().zip(&mut places).map(|(vehicles, (next, row))| {
                let begin = *row;
                while let Some((vehicle, count)) = vehicles.get(*next)
                    && cut.is_none_or(|cut| vehicle.as_str() < cut)
                {
                    *row += count;
                    *next += 1;
                }
                begin..*row
            });
            slices.extend(parts(slice.collect(), sizes.rows_max));
        }
        Ok(Ok(slices))
    }

    fn encoded(&self, pool: &Pool, cutoffs: &Cutoffs) -> Result<Rewritten, Error> {
        let Sorted { order, contents, expired, erased } = self.kept(pool, cutoffs);
        let rows = pool.rows() as u64;
        let doubled = rows - expired - erased - order.len() as u64;
        let encoded = FileEncoder::new(self.table, self.names.clone()).and_then(|mut encoder| {
            for rows in order.chunks(BATCH_ROWS) {
                encoder.push_batch(&pool.batch(rows)?)?;
            }
            encoder.finish()
        });
        let file = encoded.map_err(|source| Error::Encode { table: self.table.name(), source })?;
        Ok(Rewritten { file, contents, rows, expired, erased, doubled })
    }

    /// What a file of `signals` holds of each class: two columns of it are read.
    pub(super) async fn contents(&self, file: &DataFile) -> Result<Contents, Error> {
        let bytes = self.read(file).await?;
        let mut contents = Contents::default();
        self.look(bytes, &mut contents).map_err(|why| self.damaged(file, why))?;
        Ok(contents)
    }

    /// Whether a file holds rows that are to be erased: two columns of it are read.
    pub(super) async fn holds_erased(&self, file: &DataFile) -> Result<bool, Error> {
        let bytes = self.read(file).await?;
        self.look_for_erased(bytes).map_err(|why| self.damaged(file, why))
    }

    /// The kept rows in their order.
    fn kept(&self, pool: &Pool, cutoffs: &Cutoffs) -> Sorted {
        let received = pool.times("received_at");
        let at = |row: usize| received[row].unwrap_or(0);
        let (numbers, signals) = pool.signals();
        let of_signals: Vec<_> = signals.iter().map(|path| self.classes.of(path)).collect();
        let class = |row: usize| match self.table {
            Table::Signals => of_signals[numbers[row] as usize],
            Table::Positions => model::Class::Location,
            Table::Events => EVENT_CLASS,
        };
        let (vehicle_numbers, vehicles) = pool.vehicles();
        let spans: Vec<&[(i64, i64)]> = if self.erased.open().is_empty() {
            vec![&[]; vehicles.len()]
        } else {
            vehicles.iter().map(|vehicle| self.erased.of(vehicle)).collect()
        };
        let is_erased = |row: usize| {
            spans[vehicle_numbers[row] as usize].iter().any(|(from, to)| (*from..*to).contains(&at(row)))
        };
        let is_over = |row: usize| !cutoffs.keeps(class(row), at(row));
        let order = pool.order(|row| !is_erased(row) && !is_over(row));
        let mut contents = Contents::default();
        for row in &order {
            contents.add(class(*row as usize), at(*row as usize));
        }
        let count = |is: &dyn Fn(usize) -> bool| (0..pool.rows()).filter(|row| is(*row)).count() as u64;
        let erased = count(&is_erased);
        let expired = count(&|row| !is_erased(row) && is_over(row));
        Sorted { order, contents, expired, erased }
    }

    /// The vehicles of a file's rows, side by side, with how many rows each run has.
    fn vehicles(&self, bytes: Bytes) -> Result<Vec<(String, usize)>, String> {
        let builder = builder(self.table, bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["vehicle"]);
        let reader = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
        let mut runs: Vec<(String, usize)> = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| error.to_string())?;
            let vehicles = texts(&batch, "vehicle")?;
            let words = vehicles.values().as_string_opt::<i32>().ok_or("column vehicle is not a text")?;
            for run in vehicles.keys().values().chunk_by(|a, b| a == b) {
                let word = words.value(run[0] as usize);
                match runs.last_mut() {
                    Some((vehicle, count)) if vehicle == word => *count += run.len(),
                    _ => runs.push((word.to_owned(), run.len())),
                }
            }
        }
        Ok(runs)
    }

    fn look_for_erased(&self, bytes: Bytes) -> Result<bool, String> {
        let builder = builder(self.table, bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["vehicle", "received_at"]);
        let reader = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
        for batch in reader {
            let batch = batch.map_err(|error| error.to_string())?;
            let (vehicles, times) = (texts(&batch, "vehicle")?, times(&batch, "received_at")?);
            let words = vehicles.values().as_string_opt::<i32>().ok_or("column vehicle is not a text")?;
            let spans: Vec<_> = words.iter().map(|vehicle| self.erased.of(vehicle.unwrap_or(""))).collect();
            let is_erased = |(vehicle, at): (&i32, &i64)| {
                spans[*vehicle as usize].iter().any(|(from, to)| (*from..*to).contains(at))
            };
            if vehicles.keys().values().iter().zip(times.values()).any(is_erased) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn look(&self, bytes: Bytes, contents: &mut Contents) -> Result<(), String> {
        let builder = builder(self.table, bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["signal", "received_at"]);
        let reader = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
        for batch in reader {
            let batch = batch.map_err(|error| error.to_string())?;
            let (signals, times) = (texts(&batch, "signal")?, times(&batch, "received_at")?);
            let words = signals.values().as_string_opt::<i32>().ok_or("column signal is not a text")?;
            let classes: Vec<_> = words.iter().map(|path| self.classes.of(path.unwrap_or(""))).collect();
            for (signal, at) in signals.keys().values().iter().zip(times.values()) {
                contents.add(classes[*signal as usize], *at);
            }
        }
        Ok(())
    }

    async fn read(&self, file: &DataFile) -> Result<Bytes, Error> {
        let path = self.folder.clone().join(file.add.path.as_str());
        Ok(self.store.get(&path).await?.bytes().await?)
    }

    fn damaged(&self, file: &DataFile, why: String) -> Error {
        Error::DamagedFile { table: self.table.name(), file: file.add.path.clone(), why }
    }
}

/// A slice in parts that can be sorted at a time: one, unless it is of a vehicle that has more rows.
fn parts(slice: Slice, rows_max: u64) -> Vec<Slice> {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX).max(1);
    let none: Slice = slice.iter().map(|rows| rows.start..rows.start).collect();
    let (mut parts, mut room) = (vec![none.clone()], rows_max);
    for (file, mut rows) in slice.into_iter().enumerate() {
        while !rows.is_empty() {
            if room == 0 {
                parts.push(none.clone());
                room = rows_max;
            }
            let end = rows.start + rows.len().min(room);
            room -= end - rows.start;
            if let Some(part) = parts.last_mut() {
                part[file] = rows.start..end;
            }
            rows.start = end;
        }
    }
    parts
}

/// Rows in their order, and what became of the others.
struct Sorted {
    order: Vec<u32>,
    contents: Contents,
    expired: u64,
    erased: u64,
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b DictionaryArray<Int32Type>, String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_dictionary_opt::<Int32Type>());
    column.ok_or_else(|| format!("column {name} is missing or not a text"))
}

fn times<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b TimestampMicrosecondArray, String> {
    let column = batch.column_by_name(name);
    let times = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    times.ok_or_else(|| format!("column {name} is missing or not a time"))
}

fn builder(table: Table, bytes: Bytes) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, String> {
    // Texts as dictionaries, as they lie in the file.
    let options = ArrowReaderOptions::new().with_schema(table.file_schema());
    ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| error.to_string())
}

/// Reads all rows of a file, or some that lie side by side.
fn read_rows(table: Table, bytes: Bytes, rows: Option<Range<usize>>, pool: &mut Pool) -> Result<(), String> {
    let mut builder = builder(table, bytes)?.with_batch_size(BATCH_ROWS);
    if let Some(rows) = rows {
        let selected = vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())];
        builder = builder.with_row_selection(selected.into());
    }
    let reader = builder.build().map_err(|error| error.to_string())?;
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|error| error.to_string())?;
        pool.push(&batch)?;
    }
    Ok(())
}
