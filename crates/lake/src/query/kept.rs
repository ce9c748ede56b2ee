//! Rows whose term is over, rows that were erased and rows that another center's tables show don't show, wherever they still lie.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use model::Class;

use crate::delta::DataFile;
use crate::doubles::Hidden;
use crate::erased::Erased;
use crate::query::hidden::is_shown;
use crate::schema::Table;
use crate::terms::{Cutoffs, EVENT_CLASS, Fate, Known, SignalClasses, UNKNOWN_CLASS};

/// Which rows of a table one query may see.
pub(crate) struct Kept {
    table: Table,
    pub(crate) cutoffs: Cutoffs,
    pub(crate) erased: Arc<Erased>,
    pub(crate) hidden: Hidden,
    known: Known,
    classes: Arc<SignalClasses>,
}

impl Kept {
    pub(crate) fn new(
        table: Table,
        cutoffs: Cutoffs,
        erased: Arc<Erased>,
        hidden: Hidden,
        known: Known,
        classes: Arc<SignalClasses>,
    ) -> Self {
        Self { table, cutoffs, erased, hidden, known, classes }
    }

    /// The files of which all rows are kept, and those of which some may be gone. Files of which all are gone are left out.
    pub(crate) fn split<'f>(
        &self,
        files: Vec<&'f Arc<DataFile>>,
    ) -> (Vec<&'f Arc<DataFile>>, Vec<&'f Arc<DataFile>>) {
        let (mut whole, mut partly) = (Vec::new(), Vec::new());
        for file in files {
            match self.known[self.table.index()].fate(self.table, file, &self.cutoffs) {
                Fate::Gone => {}
                Fate::Kept if !self.erased.may_lie_in(file) && !self.hidden.may_lie_in(file) => {
                    whole.push(file);
                }
                Fate::Kept => partly.push(file),
                Fate::Partly(_) => partly.push(file),
            }
        }
        (whole, partly)
    }

    /// Columns that a scan must give so that its rows can be judged: those asked for, and behind them what is missing.
    pub(crate) fn scanned(&self, projection: Option<&Vec<usize>>) -> Option<Vec<usize>> {
        let mut columns = projection?.clone();
        let vehicle = (!self.erased.open().is_empty()).then_some("vehicle");
        let all = self.table.columns().iter().map(|column| column.name).filter(|_| !self.hidden.is_empty());
        for name in ["signal", "received_at"].into_iter().chain(vehicle).chain(all) {
            if let Some(place) = self.table.columns().iter().position(|column| column.name == name)
                && !columns.contains(&place)
            {
                columns.push(place);
            }
        }
        Some(columns)
    }

    /// Leaves out rows whose term is over, those that were erased and those that another center shows, and then the columns beyond the first `columns`.
    pub(crate) fn filter(
        &self,
        state: &dyn Session,
        scan: Arc<dyn ExecutionPlan>,
        columns: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        filtered(state, scan, self.condition(), columns)
    }

    fn condition(&self) -> Expr {
        let instant = |at: i64| lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())));
        let shown = match self.hidden.is_empty() {
            true => self.in_term(),
            false => self.in_term().and(is_shown(self.table, self.hidden.clone())),
        };
        self.erased.open().iter().fold(shown, |condition, rows| {
            let is_other = col("vehicle").not_eq(lit(rows.vehicle.as_str()));
            let is_outside =
                col("received_at").lt(instant(rows.from.0)).or(col("received_at").gt_eq(instant(rows.to.0)));
            condition.and(is_other.or(is_outside))
        })
    }

    fn in_term(&self) -> Expr {
        let since = |class: Class| {
            let cutoff = Some(self.cutoffs.of(class));
            col("received_at").gt_eq(lit(ScalarValue::TimestampMicrosecond(cutoff, Some("UTC".into()))))
        };
        match self.table {
            Table::Positions => since(Class::Location),
            Table::Events => since(EVENT_CLASS),
            Table::Signals => {
                let others = [Class::Technical, Class::Location, Class::Sensitive, Class::Important];
                let words = |class: Class| -> Vec<Expr> { self.classes.paths(class).map(lit).collect() };
                // Also signals that the catalogue does not know.
                let all_others = others.into_iter().flat_map(words).collect::<Vec<_>>();
                let mut condition = since(UNKNOWN_CLASS).and(col("signal").in_list(all_others, true));
                for class in others {
                    let words = words(class);
                    if !words.is_empty() {
                        condition = condition.or(since(class).and(col("signal").in_list(words, false)));
                    }
                }
                condition
            }
        }
    }
}

/// Leaves out rows for which a condition is not true, and then the columns beyond the first `columns`.
pub(super) fn filtered(
    state: &dyn Session,
    scan: Arc<dyn ExecutionPlan>,
    condition: Expr,
    columns: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema: SchemaRef = scan.schema();
    let predicate = state.create_physical_expr(condition, &DFSchema::try_from(schema.clone())?)?;
    let kept: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(predicate, scan)?);
    if columns == schema.fields().len() {
        return Ok(kept);
    }
    let asked = schema.fields().iter().take(columns).enumerate().map(|(place, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), place));
        (column, field.name().clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(asked.collect::<Vec<_>>(), kept)?))
}
