//! A table as a query sees it: the files of one snapshot and the rows that are not yet in a file.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use object_store::path::Path;

use crate::columns::{Gather, Names};
use crate::delta::{Bounds, DataFile, FileStatistics, Snapshot};
use crate::doubles::Hidden;
use crate::erased::Erased;
use crate::query::counted::CountedExec;
use crate::query::kept::Kept;
use crate::query::sight::Narrowed;
use crate::query::store_url;
use crate::rows::Slab;
use crate::schema::{Kind, Table};
use crate::tail::View;
use crate::terms::Cutoffs;

/// One table for one query.
pub(crate) struct LakeTable {
    table: Table,
    view: View,
    names: Arc<Names>,
    /// The center's own files, then those of the copies that lie here.
    parts: Vec<Part>,
    /// What is done to the rows of somebody who may not see them as they are.
    narrowed: Option<Narrowed>,
}

/// The files of one center.
pub(crate) struct Part {
    pub(crate) folder: Path,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) kept: Kept,
}

impl LakeTable {
    /// Read at once from a file's end: the footer of a file of ten seconds fits, so that opening takes one
    /// read and not two.
    const FOOTER_BYTES_HINT: usize = 32 << 10;

    pub(crate) fn new(
        table: Table,
        view: View,
        names: Arc<Names>,
        parts: Vec<Part>,
        narrowed: Option<Narrowed>,
    ) -> Self {
        Self { table, view, names, parts, narrowed }
    }

    /// The Delta version whose files it reads.
    pub(crate) fn version(&self) -> i64 {
        self.view.snapshot.version
    }

    /// The files of a part that may hold rows for which the predicate is true.
    fn files<'a>(&self, part: &'a Part, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Vec<&'a Arc<DataFile>> {
        let all = &part.snapshot.files;
        let kept = predicate.and_then(|predicate| {
            let pruning =
                PruningPredicateBuilder::new().with_file_schema(self.schema()).build(predicate.clone())?;
            let statistics = all.iter().map(|file| Arc::new(bounds_of(self.table, file.statistics.as_ref())));
            pruning.prune(&PrunableStatistics::new(statistics.collect(), self.schema())).ok()
        });
        match kept {
            Some(kept) => all.iter().zip(kept).filter(|(_, kept)| *kept).map(|(file, _)| file).collect(),
            None => all.iter().collect(),
        }
    }

    fn scan_files(
        &self,
        folder: &Path,
        files: &[&Arc<DataFile>],
        predicate: Option<Arc<dyn PhysicalExpr>>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut source = ParquetSource::new(self.schema()).with_metadata_size_hint(Self::FOOTER_BYTES_HINT);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let mut groups = vec![Vec::new(); partitions.clamp(1, files.len())];
        let count = groups.len();
        for (index, file) in files.iter().enumerate() {
            let path = folder.clone().join(file.add.path.as_str());
            let size = u64::try_from(file.add.size).unwrap_or(0);
            let mut known = Statistics::new_unknown(&self.schema());
            if let Some(statistics) = &file.statistics {
                known.num_rows = Precision::Exact(usize::try_from(statistics.rows).unwrap_or(usize::MAX));
            }
            groups[index % count].push(PartitionedFile::new(path, size).with_statistics(Arc::new(known)));
        }
        // An estimate, as the files may hold rows that the predicate leaves out: it only chooses sides of joins.
        let rows = files.iter().try_fold(0_u64, |sum, file| Some(sum + file.statistics.as_ref()?.rows));
        let mut known = Statistics::new_unknown(&self.schema());
        if let Some(rows) = rows {
            known.num_rows = Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX));
        }
        let config = FileScanConfigBuilder::new(store_url(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_statistics(known)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn scan_tail(
        &self,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.table.columns().len()).collect());
        let schema = Arc::new(self.schema().project(&columns)?);
        let stream = TailStream {
            table: self.table,
            slabs: self.view.slabs.clone(),
            names: self.names.clone(),
            columns,
            schema: schema.clone(),
            cutoffs: self.parts[0].kept.cutoffs,
            erased: self.parts[0].kept.erased.clone(),
            hidden: self.parts[0].kept.hidden.clone(),
        };
        let rows = self.view.slabs.iter().map(|slab| slab.rows_of(self.table)).sum();
        let scan = StreamingTableExec::try_new(schema, vec![Arc::new(stream)], None, [], false, limit)?;
        Ok(Arc::new(CountedExec::new(Arc::new(scan), rows)))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.table.query_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose files, row groups and pages; the rows themselves are filtered again above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let may_choose =
            |filter: &&Expr| self.narrowed.as_ref().is_none_or(|narrowed| narrowed.may_choose_by(filter));
        let support = |filter| match may_choose(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(narrowed) = &self.narrowed else {
            return self.scan_as_it_is(state, projection, filters, limit);
        };
        let filters: Vec<Expr> =
            filters.iter().filter(|filter| narrowed.may_choose_by(filter)).cloned().collect();
        let scanned = narrowed.scanned(projection);
        let scan = self.scan_as_it_is(state, scanned.as_ref(), &filters, narrowed.limit(limit))?;
        narrowed.over(scan, projection.map_or(self.table.columns().len(), Vec::len), self.rows())
    }
}

impl LakeTable {
    /// Rows of the files and the tail, as far as that is known.
    fn rows(&self) -> u64 {
        let tail: usize = self.view.slabs.iter().map(|slab| slab.rows_of(self.table)).sum();
        let files: u64 = self.parts.iter().map(|part| part.snapshot.rows()).sum();
        files + tail as u64
    }

    fn scan_as_it_is(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = conjunction(filters.to_vec())
            .map(|filter| state.create_physical_expr(filter, &DFSchema::try_from(self.schema())?))
            .transpose()?;
        let mut plans = Vec::new();
        let partitions = state.config_options().execution.target_partitions;
        for part in &self.parts {
            let (whole, partly) = part.kept.split(self.files(part, predicate.as_ref()));
            let folder = &part.folder;
            if !whole.is_empty() {
                plans.push(self.scan_files(
                    folder,
                    &whole,
                    predicate.clone(),
                    projection,
                    limit,
                    partitions,
                )?);
            }
            if !partly.is_empty() {
                // Without a limit: rows are left out after the scan.
                let scanned = part.kept.scanned(projection);
                let scan =
                    self.scan_files(folder, &partly, predicate.clone(), scanned.as_ref(), None, partitions)?;
                let columns = projection.map_or(self.table.columns().len(), Vec::len);
                plans.push(part.kept.filter(state, scan, columns)?);
            }
        }
        if !self.view.slabs.is_empty() {
            plans.push(self.scan_tail(projection, limit)?);
        }
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema().project(columns)?),
                    None => self.schema(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

impl std::fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LakeTable({}, version {})", self.table.name(), self.view.snapshot.version)
    }
}

/// The rows that are not yet in a file, made into columns only as they are asked for.
struct TailStream {
    table: Table,
    slabs: Vec<Arc<Slab>>,
    names: Arc<Names>,
    columns: Vec<usize>,
    schema: SchemaRef,
    cutoffs: Cutoffs,
    erased: Arc<Erased>,
    hidden: Hidden,
}

impl TailStream {
    /// Rows of a batch, as the query engine likes them.
    const BATCH_ROWS: usize = 8_192;
}

impl PartitionStream for TailStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, names) = (self.table, self.names.clone());
        let (columns, schema, cutoffs) = (self.columns.clone(), self.schema.clone(), self.cutoffs);
        let (erased, hidden) = (self.erased.clone(), self.hidden.clone());
        let batches = self.slabs.clone().into_iter().flat_map(move |slab| {
            let slabs = [slab];
            let gather = Gather::new(&names, table, &slabs);
            let mut places = gather.kept(&cutoffs, &erased);
            if let Err(error) = gather.leave_out(&hidden, &mut places) {
                return vec![Err(error.into())];
            }
            let batches: Vec<Result<RecordBatch>> = places
                .chunks(Self::BATCH_ROWS)
                .map(|places| {
                    let arrays = columns.iter().zip(schema.fields()).map(|(column, field)| {
                        let array = gather.column(*column, places)?;
                        if field.data_type() == &DataType::Utf8View {
                            cast(&array, &DataType::Utf8View)
                        } else {
                            Ok(array)
                        }
                    });
                    let arrays = arrays.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
                    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
                    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
                })
                .collect();
            batches
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

impl std::fmt::Debug for TailStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TailStream({}, {} slabs)", self.table.name(), self.slabs.len())
    }
}

/// What is known of a file's rows, for choosing files. The bounds may be wider than the rows, which choosing
/// allows.
fn bounds_of(table: Table, statistics: Option<&FileStatistics>) -> Statistics {
    let columns = table
        .columns()
        .iter()
        .map(|column| {
            let mut known = ColumnStatistics::new_unknown();
            let Some(statistics) = statistics else { return known };
            let nulls = if column.nullable { statistics.nulls.get(column.name).copied() } else { Some(0) };
            if let Some(nulls) = nulls {
                known.null_count = Precision::Exact(usize::try_from(nulls).unwrap_or(usize::MAX));
            }
            let time = |instant: i64| ScalarValue::TimestampMicrosecond(Some(instant), Some("UTC".into()));
            let text = |text: &String| ScalarValue::Utf8View(Some(text.clone()));
            let (least, greatest) = match (column.kind, statistics.bounds.get(column.name)) {
                (Kind::Time, Some(Bounds::Time(least, greatest))) => (time(*least), time(*greatest)),
                (Kind::Text, Some(Bounds::Text(least, greatest))) => (text(least), text(greatest)),
                _ => return known,
            };
            known.min_value = Precision::Exact(least);
            known.max_value = Precision::Exact(greatest);
            known
        })
        .collect();
    let num_rows = statistics.map_or(Precision::Absent, |known| {
        Precision::Exact(usize::try_from(known.rows).unwrap_or(usize::MAX))
    });
    Statistics { num_rows, total_byte_size: Precision::Absent, column_statistics: columns }
}
