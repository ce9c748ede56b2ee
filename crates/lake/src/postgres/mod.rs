//! The tables as PostgreSQL's clients see them: protocol 3.0 messages in, rows out, with the catalog that those clients ask.
//!
//! No sockets and no passwords: who accepts connections and knows tokens hands the messages over and says, anew with each
//! statement, what may be read ([`Permit`]). Nothing is written here; statements that only set a session up are answered and
//! change nothing.

mod handlers;
mod statement;
mod tables;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::tables::SessionTables;
use crate::QueryError;
use crate::query::{Allowed, Answer, Queries, check, failed, malformed};
use crate::threads::Threads;

/// Who stands behind a session. The errors are for its client.
pub trait Permit: Send + Sync {
    /// What the client may read now. Asked anew with each statement.
    fn allowed(&self) -> Result<Allowed, String>;

    /// Told of the tables that an answer was read from, before any of its rows is given. May give a warning for the client.
    fn looks(&self, tables: &BTreeSet<String>) -> BoxFuture<'_, Result<Option<String>, String>>;
}

/// One client's session: give it to `pgwire` as the handler of queries. Clones are the same session.
#[derive(Clone)]
pub struct PostgresSession {
    queries: Arc<Queries>,
    threads: Arc<Threads>,
    permit: Arc<dyn Permit>,
    tables: Arc<SessionTables>,
    context: SessionContext,
}

/// What a statement's planning says of it before it is run.
struct Described {
    plan: LogicalPlan,
    /// By position; `None` where the statement leaves it open.
    parameters: Vec<Option<DataType>>,
}

impl PostgresSession {
    /// The name of the one database.
    pub const DATABASE: &str = Queries::DATABASE;

    pub(crate) fn new(
        queries: Arc<Queries>,
        threads: Arc<Threads>,
        permit: Arc<dyn Permit>,
    ) -> Result<Self, QueryError> {
        let tables = Arc::new(SessionTables::default());
        let context = queries.postgres_context(tables.clone())?;
        Ok(Self { queries, threads, permit, tables, context })
    }

    /// Opens the tables for one statement: those that may be read now, in one view.
    fn open(&self) -> Result<(), QueryError> {
        let allowed = self.permit.allowed().map_err(QueryError::Refused)?;
        self.tables.show(self.queries.tables(&allowed));
        Ok(())
    }

    /// Plans a statement without running it.
    async fn describe(&self, statement: Statement) -> Result<Described, QueryError> {
        self.open()?;
        let context = self.context.clone();
        let planned = self.threads.handle().spawn(async move {
            let plan = plan(&context, statement).await?;
            check(&plan)?;
            let types = plan.get_parameter_types().map_err(|error| malformed(&error))?;
            let count = types.keys().filter_map(|name| name.strip_prefix('$')?.parse().ok()).max();
            let of = |number: usize| types.get(&format!("${number}")).cloned().flatten();
            Ok(Described { plan, parameters: (1..=count.unwrap_or(0)).map(of).collect() })
        });
        planned.await.map_err(|error| QueryError::Failed(error.to_string()))?
    }

    /// Runs a statement with its parameters. Gives the answer, and a warning that comes with it.
    async fn run(
        &self,
        statement: Statement,
        parameters: Option<ParamValues>,
    ) -> Result<(Answer, Option<String>), QueryError> {
        self.open()?;
        let context = self.context.clone();
        let planning = async move {
            let mut plan = plan(&context, statement).await?;
            if let Some(parameters) = parameters {
                plan = plan.with_param_values(parameters).map_err(|error| malformed(&error))?;
            }
            Ok((context, plan))
        };
        let answer = self.queries.run(&self.threads, planning.boxed()).await?;
        let warning = self.permit.looks(&answer.tables).await.map_err(QueryError::Failed)?;
        Ok((answer, warning))
    }
}

async fn plan(context: &SessionContext, statement: Statement) -> Result<LogicalPlan, QueryError> {
    let parsed = Parsed::Statement(Box::new(statement));
    context.state().statement_to_plan(parsed).await.map_err(|error| match malformed(&error) {
        QueryError::Malformed(_) => failed(&error),
        refused => refused,
    })
}
