//! The tables of records: sales, owners and whatever else the registry declares.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringViewBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::Error;
use crate::query::counted::CountedExec;
use crate::schema::time_type;
use crate::source::{RecordColumn, RecordKind, RecordSource, RecordTable, RecordValue, SourceError};

/// A declared table, checked.
#[derive(Debug)]
pub(crate) struct Declared {
    table: RecordTable,
    schema: SchemaRef,
}

impl Declared {
    /// The source's tables, all of whose names are fit for SQL and none of which is `taken`.
    pub(crate) fn all(source: &dyn RecordSource, taken: &[&str]) -> Result<Vec<Arc<Self>>, Error> {
        let mut names: BTreeSet<String> = taken.iter().map(|&name| name.to_owned()).collect();
        let declared = source.tables().into_iter().map(|table| {
            let refused = |why: String| Error::Records { table: table.name.clone(), why };
            if !is_plain(&table.name) {
                return Err(refused("its name is not of small letters, digits and underscores".to_owned()));
            }
            if !names.insert(table.name.clone()) {
                return Err(refused("another table has its name".to_owned()));
            }
            let mut columns = BTreeSet::new();
            for RecordColumn { name, .. } in &table.columns {
                if !is_plain(name) {
                    let why = "is not named by small letters, digits and underscores";
                    return Err(refused(format!("column {name} {why}")));
                }
                if !columns.insert(name) {
                    return Err(refused(format!("two columns have the name {name}")));
                }
            }
            let schema = Schema::new(table.columns.iter().map(field).collect::<Vec<_>>());
            Ok(Arc::new(Self { schema: Arc::new(schema), table }))
        });
        declared.collect()
    }

    pub(crate) fn name(&self) -> &str {
        &self.table.name
    }
}

/// Whether SQL can name it without quotes.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain)
}

fn field(column: &RecordColumn) -> Field {
    let datatype = match column.kind {
        RecordKind::Text => DataType::Utf8View,
        RecordKind::Number => DataType::Float64,
        RecordKind::Whole => DataType::Int64,
        RecordKind::Flag => DataType::Boolean,
        RecordKind::Time => time_type(),
    };
    Field::new(&column.name, datatype, true)
}

/// One table of records; its source is asked anew by each query.
pub(crate) struct RecordsTable {
    declared: Arc<Declared>,
    source: Arc<dyn RecordSource>,
}

impl RecordsTable {
    /// Where the source can't say how many rows there are: a fleet's. So a join with what vehicles said holds the
    /// records in memory and not the signals.
    const ROWS_ASSUMED: usize = 100_000;

    pub(crate) fn new(declared: Arc<Declared>, source: Arc<dyn RecordSource>) -> Self {
        Self { declared, source }
    }
}

#[async_trait]
impl TableProvider for RecordsTable {
    fn schema(&self) -> SchemaRef {
        self.declared.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (source, declared) = (self.source.clone(), self.declared.clone());
        let counted = spawn_blocking(move || source.count(declared.name())).await.map_err(ended)?;
        let rows = counted.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(Self::ROWS_ASSUMED);
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.declared.table.columns.len()).collect());
        let schema = Arc::new(self.declared.schema.project(&columns)?);
        let partition = RecordsStream {
            declared: self.declared.clone(),
            source: self.source.clone(),
            columns: columns.into(),
            schema: schema.clone(),
        };
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(partition)];
        let scan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(CountedExec::new(Arc::new(scan), rows)))
    }
}

impl fmt::Debug for RecordsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordsTable({})", self.declared.name())
    }
}

/// The columns asked for, made as the source gives rows.
#[derive(Clone)]
struct RecordsStream {
    declared: Arc<Declared>,
    source: Arc<dyn RecordSource>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
}

/// Rows on their way, with the memory that is booked for them until they arrive.
type Booked = (RecordBatch, MemoryReservation);

impl RecordsStream {
    /// Rows of a batch, as the query engine likes them.
    const BATCH_ROWS: usize = 8_192;

    /// Batches that wait to be read: more rows than a registry has. What bounds them before is their memory.
    const WAITING_BATCHES_MAX: usize = 1 << 14;

    /// Reads the source without ever waiting for who reads the queue: the source may hold a lock that the other
    /// side of the same join needs. So all its rows may wait, in memory booked from what queries share.
    fn read(&self, booked: &MemoryReservation, queue: &Sender<Booked>) -> Result<()> {
        let mut rows = Rows::new(self);
        let mut failed = None;
        let send = |rows: Rows<'_>| -> Result<()> {
            let batch = rows.finish()?;
            let memory = booked.new_empty();
            memory.try_grow(batch.get_array_memory_size())?;
            match queue.try_send((batch, memory)) {
                Err(TrySendError::Full(_)) => {
                    let why = format!("table {} has too many rows", self.declared.name());
                    Err(DataFusionError::ResourcesExhausted(why))
                }
                // Nobody reads on once enough rows came.
                Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            }
        };
        let mut each = |row: Vec<RecordValue>| {
            if failed.is_some() || queue.is_closed() {
                return;
            }
            let mut taken = rows.push(&row);
            if taken.is_ok() && rows.count == Self::BATCH_ROWS {
                taken = send(std::mem::replace(&mut rows, Rows::new(self)));
            }
            failed = taken.err();
        };
        self.source.rows(self.declared.name(), &mut each).map_err(external)?;
        match failed {
            Some(error) => Err(error),
            None if rows.count > 0 => send(rows),
            None => Ok(()),
        }
    }
}

impl PartitionStream for RecordsStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let this = self.clone();
        let rows = stream::once(async move {
            let (sender, queue) = channel(Self::WAITING_BATCHES_MAX);
            let reader = spawn_blocking(move || {
                let booked = MemoryConsumer::new("records").register(context.memory_pool());
                this.read(&booked, &sender)
            });
            stream::unfold(Some((queue, reader)), |reading| async move { next(reading?).await })
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows.flatten()))
    }
}

type Reading = (Receiver<Booked>, JoinHandle<Result<()>>);

/// The next rows; at the end of the queue what the reader says, since a queue also ends when its reader fails.
async fn next((mut queue, reader): Reading) -> Option<(Result<RecordBatch>, Option<Reading>)> {
    if let Some((batch, _memory)) = queue.recv().await {
        return Some((Ok(batch), Some((queue, reader))));
    }
    match reader.await.map_err(ended) {
        Ok(Ok(())) => None,
        Ok(Err(error)) | Err(error) => Some((Err(error), None)),
    }
}

impl fmt::Debug for RecordsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordsStream({}, {} columns)", self.declared.name(), self.columns.len())
    }
}

/// Some rows, column by column.
struct Rows<'a> {
    stream: &'a RecordsStream,
    builders: Vec<Builder>,
    count: usize,
}

enum Builder {
    Text(StringViewBuilder),
    Number(Float64Builder),
    Whole(Int64Builder),
    Flag(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl<'a> Rows<'a> {
    fn new(stream: &'a RecordsStream) -> Self {
        let columns = &stream.declared.table.columns;
        let builder = |column: &usize| match columns[*column].kind {
            RecordKind::Text => Builder::Text(StringViewBuilder::new()),
            RecordKind::Number => Builder::Number(Float64Builder::new()),
            RecordKind::Whole => Builder::Whole(Int64Builder::new()),
            RecordKind::Flag => Builder::Flag(BooleanBuilder::new()),
            RecordKind::Time => Builder::Time(TimestampMicrosecondBuilder::new()),
        };
        Self { stream, builders: stream.columns.iter().map(builder).collect(), count: 0 }
    }

    fn push(&mut self, row: &[RecordValue]) -> Result<()> {
        let RecordTable { name, columns } = &self.stream.declared.table;
        if row.len() != columns.len() {
            let (values, columns) = (row.len(), columns.len());
            let why = format!("table {name} gave a row of {values} values for {columns} columns");
            return Err(external(SourceError(why)));
        }
        for (builder, column) in self.builders.iter_mut().zip(self.stream.columns.iter()) {
            if !builder.push(&row[*column]) {
                let RecordColumn { name: column, kind } = &columns[*column];
                let why = format!("table {name} gave a value for column {column} that is no {kind:?}");
                return Err(external(SourceError(why)));
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result<RecordBatch> {
        let columns = self.builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        Ok(RecordBatch::try_new_with_options(self.stream.schema.clone(), columns, &options)?)
    }
}

impl Builder {
    /// Whether the value is of the column's kind.
    fn push(&mut self, value: &RecordValue) -> bool {
        match (self, value) {
            (Self::Text(texts), RecordValue::Text(text)) => texts.append_value(text),
            (Self::Text(texts), RecordValue::Null) => texts.append_null(),
            (Self::Number(numbers), RecordValue::Number(number)) => numbers.append_value(*number),
            (Self::Number(numbers), RecordValue::Null) => numbers.append_null(),
            (Self::Whole(numbers), RecordValue::Whole(number)) => numbers.append_value(*number),
            (Self::Whole(numbers), RecordValue::Null) => numbers.append_null(),
            (Self::Flag(flags), RecordValue::Flag(flag)) => flags.append_value(*flag),
            (Self::Flag(flags), RecordValue::Null) => flags.append_null(),
            (Self::Time(times), RecordValue::Time(time)) => times.append_value(time.0),
            (Self::Time(times), RecordValue::Null) => times.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut texts) => Arc::new(texts.finish()),
            Self::Number(mut numbers) => Arc::new(numbers.finish()),
            Self::Whole(mut numbers) => Arc::new(numbers.finish()),
            Self::Flag(mut flags) => Arc::new(flags.finish()),
            Self::Time(mut times) => Arc::new(times.finish().with_timezone("UTC")),
        }
    }
}

fn external(error: SourceError) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// The thread that asked the source ended early: the program ends, or the source has a defect.
fn ended(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::External(error.into())
}
