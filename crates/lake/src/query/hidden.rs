//! The condition that a row is not hidden because another center's tables show it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col,
};

use crate::doubles::Hidden;
use crate::schema::Table;

/// The condition, over all columns of the table.
pub(super) fn is_shown(table: Table, hidden: Hidden) -> Expr {
    let function =
        IsShown { table, hidden, signature: Signature::any(table.columns().len(), Volatility::Immutable) };
    ScalarUDF::from(function).call(table.columns().iter().map(|column| col(column.name)).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct IsShown {
    table: Table,
    hidden: Hidden,
    signature: Signature,
}

/// By the table alone: what is hidden is large, and equal functions are equal here too.
impl Hash for IsShown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.table.hash(state);
    }
}

impl ScalarUDFImpl for IsShown {
    fn name(&self) -> &'static str {
        "is_shown"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let batch = RecordBatch::try_new(self.table.query_schema(), arrays)?;
        let received = batch.column_by_name("received_at");
        let Some(received) =
            received.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        else {
            return internal_err!("received_at is not a time");
        };
        // Hardly any row is: only those received at such an instant are looked at as a whole.
        let suspects: BooleanArray =
            received.values().iter().map(|at| Some(self.hidden.knows(*at))).collect();
        let mut shown = vec![true; batch.num_rows()];
        if suspects.true_count() > 0 {
            let places: Vec<usize> = (0..batch.num_rows()).filter(|row| suspects.value(*row)).collect();
            let rows = filter_record_batch(&batch, &suspects)?;
            self.hidden.judge(self.table, &rows, &mut |row| shown[places[row]] = false)?;
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(shown))))
    }
}
