//! A derived table as a query sees it: its files, one a UTC day.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::derived::{DerivedTable, Files};
use crate::erased::Erased;
use crate::query::kept::filtered;

/// One derived table for one query.
#[derive(Debug)]
pub(crate) struct DerivedFiles {
    table: DerivedTable,
    files: Arc<Files>,
    erased: Arc<Erased>,
}

impl DerivedFiles {
    /// Where plans look up the folder; never leaves the process.
    pub(crate) const STORE_URL: &'static str = "derived://folder";

    pub(crate) fn new(table: DerivedTable, files: Arc<Files>, erased: Arc<Erased>) -> Self {
        Self { table, files, erased }
    }

    pub(crate) fn url() -> ObjectStoreUrl {
        ObjectStoreUrl::parse(Self::STORE_URL).expect("a URL with scheme and host alone")
    }

    /// Leaves out vehicles of open erasures: their days are not worked out anew yet.
    fn without_erased(
        &self,
        state: &dyn Session,
        scan: Arc<dyn ExecutionPlan>,
        columns: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let names =
            self.erased.open().iter().map(|rows| lit(ScalarValue::Utf8(Some(rows.vehicle.to_string()))));
        let condition = col("vehicle").in_list(names.collect(), true);
        filtered(state, scan, condition, columns)
    }
}

#[async_trait]
impl TableProvider for DerivedFiles {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose files and row groups; the rows themselves are filtered again above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files: Vec<PartitionedFile> = self
            .files
            .of(self.table)
            .map(|file| PartitionedFile::new(file.object.clone(), file.bytes))
            .collect();
        let all: Vec<usize> = (0..self.schema().fields().len()).collect();
        let asked = projection.unwrap_or(&all);
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema().project(asked)?))));
        }
        let mut source = ParquetSource::new(self.schema());
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(self.schema())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let hides = self.table.has_vehicles() && !self.erased.open().is_empty();
        let mut scanned = asked.clone();
        if hides && !scanned.contains(&0) {
            // The vehicle is the first column.
            scanned.push(0);
        }
        let config = FileScanConfigBuilder::new(Self::url(), Arc::new(source))
            .with_file_groups(vec![FileGroup::new(files)])
            .with_projection_indices(Some(scanned))?
            .with_limit(limit.filter(|_| !hides))
            .build();
        let scan = DataSourceExec::from_data_source(config);
        if hides { self.without_erased(state, scan, asked.len()) } else { Ok(scan) }
    }
}
