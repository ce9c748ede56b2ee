//! The table `vehicles`: the registry's vehicles by their pseudonyms.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use crate::schema::time_type;
use crate::source::{VehicleRow, VehicleSource};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8View, false);
    Arc::new(Schema::new(vec![
        text("vehicle"),
        text("country"),
        text("maker"),
        text("model"),
        text("state"),
        Field::new("registered_at", time_type(), false),
    ]))
});

/// The registry as a table; asked anew by each query.
#[derive(Clone)]
pub(crate) struct VehiclesTable {
    source: Arc<dyn VehicleSource>,
}

impl VehiclesTable {
    pub(crate) fn new(source: Arc<dyn VehicleSource>) -> Self {
        Self { source }
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = self.source.vehicles().map_err(|error| DataFusionError::External(error.into()))?;
        let text = |of: fn(&VehicleRow) -> &str| -> ArrayRef {
            Arc::new(StringViewArray::from_iter_values(rows.iter().map(of)))
        };
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.registered_at.0));
        let columns = vec![
            text(|row| row.vehicle.as_str()),
            text(|row| row.country.as_str()),
            text(|row| &row.maker),
            text(|row| &row.model),
            text(|row| &row.state),
            Arc::new(times.with_timezone("UTC")),
        ];
        Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
    }
}

#[async_trait]
impl TableProvider for VehiclesTable {
    fn schema(&self) -> SchemaRef {
        SCHEMA.clone()
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
        let partition: Arc<dyn PartitionStream> = Arc::new(self.clone());
        Ok(Arc::new(StreamingTableExec::try_new(
            SCHEMA.clone(),
            vec![partition],
            projection,
            [],
            false,
            limit,
        )?))
    }
}

impl PartitionStream for VehiclesTable {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let table = self.clone();
        let rows = futures::stream::once(async move { table.rows() });
        Box::pin(RecordBatchStreamAdapter::new(SCHEMA.clone(), rows))
    }
}

impl std::fmt::Debug for VehiclesTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VehiclesTable")
    }
}
