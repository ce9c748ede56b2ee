//! How exactly whoever asks may see the rows of a table.
//!
//! Rows are made coarse, and rows of hidden classes left out, in a step of the plan that hides what lies below it. So filters, joins,
//! aggregates and everything that the optimizer moves see the coarse rows alone, and `EXPLAIN ANALYZE` counts no others.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions, StringViewBuilder,
    new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Float64Type, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use model::Class;

use crate::schema::Table;
use crate::terms::{CLASSES, EVENT_CLASS, SignalClasses};

/// How much of the rows may be seen. By default everything, as exact as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// How exact places are.
    pub places: Places,
    /// Classes whose rows are left out. What is said of [`Class::Location`] here does not matter: `places` says it.
    pub hidden: BTreeSet<Class>,
}

/// How exact places may be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Places {
    /// As they are.
    #[default]
    Exact,
    /// As the centres of a grid's cells. Headings, other signals about places, and what vehicles wrote freely are left out.
    Coarse {
        /// The side of a cell in millionths of a degree; 0 hides places.
        cell: u32,
    },
    /// Not at all.
    Hidden,
}

/// Kinds of events whose `detail` holds only words that this program knows. In any other a vehicle may have written a place.
const FIXED_DETAILS: [&str; 9] = [
    "alarm",
    "alert",
    "connected",
    "disconnected",
    "index_beyond_catalogue",
    "login",
    "logout",
    "refused",
    "unknown_item",
];

impl Sight {
    pub(crate) fn is_whole(&self) -> bool {
        self.places == Places::Exact && self.hidden.iter().all(|class| *class == Class::Location)
    }

    fn shows(&self, class: Class) -> bool {
        match class {
            // Signals about places have no coarse form: a route or a flag `at home` says where in any form.
            Class::Location => self.places == Places::Exact,
            class => !self.hidden.contains(&class),
        }
    }

    /// Whether anything of a table may be seen.
    pub(crate) fn opens(&self, table: &str) -> bool {
        match table {
            "frames" => self.is_whole(),
            "signals" => CLASSES.into_iter().any(|class| self.shows(class)),
            "positions" => !matches!(self.places, Places::Hidden | Places::Coarse { cell: 0 }),
            "events" => self.shows(EVENT_CLASS),
            "trips" | "charges" | "states" | "gaps" | "daily" => self.shows(Class::Personal),
            "battery" => self.shows(Class::Technical),
            _ => true,
        }
    }

    /// What is to be done to the rows of a table; `None` where they are given as they are.
    pub(crate) fn narrowed(&self, table: Table, classes: &Arc<SignalClasses>) -> Option<Narrowed> {
        let narrowing = match (table, self.places) {
            (Table::Signals, _) if !self.is_whole() => {
                Narrowing::Signals { sight: self.clone(), classes: classes.clone() }
            }
            (Table::Positions, Places::Coarse { cell: cell @ 1.. }) => Narrowing::Positions { cell },
            (Table::Events, Places::Coarse { .. } | Places::Hidden) => Narrowing::Events,
            _ => return None,
        };
        Some(Narrowed { table, narrowing: Arc::new(narrowing) })
    }
}

/// A table that is not given as it is.
#[derive(Clone)]
pub(crate) struct Narrowed {
    table: Table,
    narrowing: Arc<Narrowing>,
}

enum Narrowing {
    /// Rows of hidden classes are left out.
    Signals { sight: Sight, classes: Arc<SignalClasses> },
    /// Places become the centres of cells.
    Positions { cell: u32 },
    /// Details that a vehicle may have written are left out.
    Events,
}

impl Narrowed {
    /// Columns that a filter may choose files and pages by: they are given as they are, and what they say of a row that is left out
    /// is in no answer.
    const FREE: [&str; 4] = ["vehicle", "time", "received_at", "source"];

    /// Whether a filter may be used below.
    pub(crate) fn may_choose_by(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty() && columns.iter().all(|column| Self::FREE.contains(&column.name.as_str()))
    }

    /// A limit that holds below too.
    pub(crate) fn limit(&self, limit: Option<usize>) -> Option<usize> {
        match *self.narrowing {
            Narrowing::Signals { .. } => None,
            Narrowing::Positions { .. } | Narrowing::Events => limit,
        }
    }

    /// Columns that must be scanned: those asked for, and behind them the one that rows are judged by.
    pub(crate) fn scanned(&self, projection: Option<&Vec<usize>>) -> Option<Vec<usize>> {
        let judged_by = match *self.narrowing {
            Narrowing::Signals { .. } => "signal",
            Narrowing::Positions { .. } => return projection.cloned(),
            Narrowing::Events => "kind",
        };
        let mut columns = projection?.clone();
        if let Some(place) = self.table.columns().iter().position(|column| column.name == judged_by)
            && !columns.contains(&place)
        {
            columns.push(place);
        }
        Some(columns)
    }

    /// The scan of about so many rows, with its rows narrowed and only its first `columns` columns.
    pub(crate) fn over(
        &self,
        scan: Arc<dyn ExecutionPlan>,
        columns: usize,
        rows: u64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::new(scan.schema().project(&(0..columns).collect::<Vec<_>>())?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(scan.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        // A power of two, which is enough to choose a join's side by, and does not count what is left out.
        let rows =
            usize::try_from(rows).unwrap_or(usize::MAX).checked_next_power_of_two().unwrap_or(usize::MAX);
        Ok(Arc::new(SightExec { scan, narrowed: self.clone(), properties: Arc::new(properties), rows }))
    }

    fn narrow(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let batch = match self.narrowing.as_ref() {
            Narrowing::Signals { sight, classes } => {
                let signals = column(batch, "signal")?.as_string_view_opt().ok_or_else(unexpected)?;
                // Rows of a signal stand together in a file.
                let mut last: Option<(&str, bool)> = None;
                let shown: BooleanArray = signals
                    .iter()
                    .map(|signal| {
                        let signal = signal.unwrap_or_default();
                        let shown = match last {
                            Some((known, shown)) if known == signal => shown,
                            _ => sight.shows(classes.of(signal)),
                        };
                        last = Some((signal, shown));
                        Some(shown)
                    })
                    .collect();
                &filter_record_batch(batch, &shown)?
            }
            Narrowing::Positions { .. } | Narrowing::Events => batch,
        };
        let fields = schema.fields().iter().enumerate();
        let arrays = fields.map(|(place, field)| {
            let array = batch.column(place);
            Ok(match (self.narrowing.as_ref(), field.name().as_str()) {
                (Narrowing::Positions { cell }, "latitude") => coarse(array, *cell, 90.0)?,
                (Narrowing::Positions { cell }, "longitude") => coarse(array, *cell, 180.0)?,
                // With the speed it would lead from one crossing of a cell's border to the next.
                (Narrowing::Positions { .. }, "heading") => new_null_array(array.data_type(), array.len()),
                (Narrowing::Events, "detail") => fixed_details(array, column(batch, "kind")?)?,
                _ => array.clone(),
            })
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    batch.column_by_name(name).ok_or_else(unexpected)
}

/// Without the column's values in the text.
fn unexpected() -> DataFusionError {
    DataFusionError::Internal("a table has other columns than rows are judged by".to_owned())
}

/// Degrees to the centres of cells.
fn coarse(degrees: &ArrayRef, cell: u32, most: f64) -> Result<ArrayRef> {
    let exact = degrees.as_primitive_opt::<Float64Type>().ok_or_else(unexpected)?;
    let coarse: Float64Array =
        exact.iter().map(|degrees| centre(degrees?, cell).map(|centre| centre.clamp(-most, most))).collect();
    Ok(Arc::new(coarse))
}

/// The centre of the cell that a coordinate lies in; none of what is no coordinate. In whole millionths of a degree, so that
/// all places of a cell give the same number.
fn centre(degrees: f64, cell: u32) -> Option<f64> {
    if !(-180.0..=180.0).contains(&degrees) {
        return None;
    }
    let (millionths, cell) = ((degrees * 1e6).floor() as i64, i64::from(cell));
    let least = millionths.div_euclid(cell) * cell;
    Some((least as f64 + cell as f64 / 2.0) / 1e6)
}

/// The details of the events whose details hold fixed words.
fn fixed_details(details: &ArrayRef, kinds: &ArrayRef) -> Result<ArrayRef> {
    let details = details.as_string_view_opt().ok_or_else(unexpected)?;
    let kinds = kinds.as_string_view_opt().ok_or_else(unexpected)?;
    let mut fixed = StringViewBuilder::with_capacity(details.len());
    for (detail, kind) in details.iter().zip(kinds) {
        let is_fixed = kind.is_some_and(|kind| FIXED_DETAILS.contains(&kind));
        fixed.append_option(detail.filter(|_| is_fixed));
    }
    Ok(Arc::new(fixed.finish()))
}

/// Narrows the rows of a scan. To everything above it is a leaf: no filter, sort or limit goes below, and no metrics come up.
struct SightExec {
    scan: Arc<dyn ExecutionPlan>,
    narrowed: Narrowed,
    properties: Arc<PlanProperties>,
    rows: usize,
}

impl fmt::Debug for SightExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SightExec({})", self.narrowed.table.name())
    }
}

impl DisplayAs for SightExec {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.narrowed.table.name();
        match form {
            DisplayFormatType::TreeRender => writeln!(f, "table={table}"),
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(f, "SightExec: table={table}"),
        }
    }
}

impl ExecutionPlan for SightExec {
    fn name(&self) -> &'static str {
        "SightExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    /// None: what the scan chooses files by is not shown.
    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            return Ok(self);
        }
        Err(DataFusionError::Internal("a table's narrowed scan has no inputs".to_owned()))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (narrowed, schema) = (self.narrowed.clone(), self.schema());
        let rows = self.scan.execute(partition, context)?;
        let rows = rows.map(move |batch| narrowed.narrow(&batch?, &schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    /// About how many rows there are, and nothing of what is in them.
    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        _arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let known = Statistics::new_unknown(&self.schema());
        Ok(Arc::new(known.with_num_rows(Precision::Inexact(self.rows))))
    }
}

#[cfg(test)]
mod tests {
    use super::centre;

    #[test]
    fn all_places_of_a_cell_give_its_centre() {
        for (degrees, expected) in [
            (31.230_416, 31.23),
            (31.22, 31.23),
            (31.239_999_9, 31.23),
            (31.24, 31.25),
            (-0.000_001, -0.01),
            (0.0, 0.01),
            (-31.230_416, -31.23),
        ] {
            assert_eq!(centre(degrees, 20_000), Some(expected), "{degrees}");
        }
        for odd in [f64::NAN, f64::INFINITY, 181.0, -1e300] {
            assert_eq!(centre(odd, 20_000), None);
        }
    }
}
