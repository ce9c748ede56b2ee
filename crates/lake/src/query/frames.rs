//! The table `frames`: what vehicles sent, as bytes, out of the sealed batches.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryViewBuilder, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use model::UtcMicros;

use crate::erased::Erased;
use crate::schema::time_type;
use crate::source::{FrameBatch, FrameSource, SourceError, StoredFrame};

/// The column of the bytes; all others can be had without decrypting.
const FRAME: usize = 6;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8View, false);
    Arc::new(Schema::new(vec![
        Field::new("received_at", time_type(), false),
        text("vehicle"),
        text("protocol"),
        text("connection"),
        Field::new("sequence", DataType::UInt64, false),
        Field::new("key", DataType::UInt32, false),
        Field::new("frame", DataType::BinaryView, true),
    ]))
});

/// The sealed batches as a table.
pub(crate) struct FramesTable {
    source: Arc<dyn FrameSource>,
    erased: Arc<Erased>,
}

impl FramesTable {
    pub(crate) fn new(source: Arc<dyn FrameSource>, erased: Arc<Erased>) -> Self {
        Self { source, erased }
    }
}

#[async_trait]
impl TableProvider for FramesTable {
    fn schema(&self) -> SchemaRef {
        SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A bound of `received_at` chooses batches by their hour; everything is filtered again above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (from, until) = received_between(filters);
        // The hour that a bound lies in begins before it.
        let from = from.map(|from| from.plus_micros(-UtcMicros::PER_HOUR));
        let batches = self.source.batches(from, until).await.map_err(external)?;
        let with_bytes = projection.is_none_or(|columns| columns.contains(&FRAME));
        let (source, erased) = (self.source.clone(), self.erased.clone());
        let partition = FramesStream { source, erased, batches: batches.into(), with_bytes };
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(partition)];
        Ok(Arc::new(StreamingTableExec::try_new(SCHEMA.clone(), partitions, projection, [], false, limit)?))
    }
}

impl std::fmt::Debug for FramesTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FramesTable")
    }
}

/// One batch after the other, so that only one is in memory.
struct FramesStream {
    source: Arc<dyn FrameSource>,
    erased: Arc<Erased>,
    batches: Arc<[FrameBatch]>,
    with_bytes: bool,
}

impl PartitionStream for FramesStream {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (source, batches, with_bytes) = (self.source.clone(), self.batches.clone(), self.with_bytes);
        let erased = self.erased.clone();
        let rows = futures::stream::iter(0..batches.len()).then(move |index| {
            let (source, batches, erased) = (source.clone(), batches.clone(), erased.clone());
            async move {
                let mut rows = Rows::default();
                let mut each = |frame: StoredFrame<'_>| {
                    // Bytes are gone with the key; that a vehicle sent something is not shown either.
                    if !erased.takes(frame.vehicle, frame.received_at.0) {
                        rows.push(&frame);
                    }
                };
                source.read(&batches[index], with_bytes, &mut each).await.map_err(external)?;
                rows.finish()
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(SCHEMA.clone(), rows))
    }
}

impl std::fmt::Debug for FramesStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FramesStream({} batches)", self.batches.len())
    }
}

#[derive(Default)]
struct Rows {
    received_at: TimestampMicrosecondBuilder,
    vehicle: StringViewBuilder,
    protocol: StringViewBuilder,
    connection: StringViewBuilder,
    sequence: UInt64Builder,
    key: UInt32Builder,
    frame: BinaryViewBuilder,
}

impl Rows {
    fn push(&mut self, frame: &StoredFrame<'_>) {
        self.received_at.append_value(frame.received_at.0);
        self.vehicle.append_value(frame.vehicle.as_str());
        self.protocol.append_value(frame.protocol.as_str());
        self.connection.append_value(frame.connection.to_string());
        self.sequence.append_value(frame.sequence.0);
        self.key.append_value(frame.key.0);
        self.frame.append_option(frame.bytes);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.received_at.finish().with_timezone("UTC")),
            Arc::new(self.vehicle.finish()),
            Arc::new(self.protocol.finish()),
            Arc::new(self.connection.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.frame.finish()),
        ];
        Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
    }
}

fn external(error: SourceError) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// The bounds that the filters, all of which hold, set to `received_at`.
fn received_between(filters: &[Expr]) -> (Option<UtcMicros>, Option<UtcMicros>) {
    let (mut from, mut until): (Option<UtcMicros>, Option<UtcMicros>) = (None, None);
    let mut rest: Vec<&Expr> = filters.iter().collect();
    while let Some(filter) = rest.pop() {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { continue };
        if *op == Operator::And {
            rest.extend([left.as_ref(), right.as_ref()]);
            continue;
        }
        let (instant, op) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(literal, _)) if column.name == "received_at" => {
                (instant_of(literal), *op)
            }
            (Expr::Literal(literal, _), Expr::Column(column)) if column.name == "received_at" => {
                (instant_of(literal), op.swap().unwrap_or(*op))
            }
            _ => continue,
        };
        let Some(instant) = instant else { continue };
        if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) {
            from = from.max(Some(instant));
        }
        if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq) {
            until = Some(until.map_or(instant, |until| until.min(instant)));
        }
    }
    (from, until)
}

fn instant_of(literal: &ScalarValue) -> Option<UtcMicros> {
    match literal {
        ScalarValue::TimestampSecond(Some(number), _) => Some(UtcMicros::from_seconds(*number)),
        ScalarValue::TimestampMillisecond(Some(number), _) => Some(UtcMicros::from_millis(*number)),
        ScalarValue::TimestampMicrosecond(Some(number), _) => Some(UtcMicros(*number)),
        ScalarValue::TimestampNanosecond(Some(number), _) => Some(UtcMicros(number.div_euclid(1_000))),
        _ => None,
    }
}
