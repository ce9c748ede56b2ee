//! The tables that one query may name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};

use crate::query::sight::Sight;

/// Which tables whoever asks may read, and how exactly. By default all of them, as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The tables by their names; `None` for all, those to come too.
    pub tables: Option<BTreeSet<String>>,
    /// How much of their rows.
    pub sight: Sight,
    /// Whether the rows of other centers, of which copies lie here, are left out.
    pub own_alone: bool,
}

impl Allowed {
    fn allows(&self, table: &str) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.contains(table)) && self.sight.opens(table)
    }
}

/// A query names a table that is closed to whoever asks.
#[derive(Debug, thiserror::Error)]
#[error("table {0} is not open to you; ask for a role that may read it")]
pub(crate) struct ClosedTable(String);

impl ClosedTable {
    /// Finds it as the cause of the planner's error.
    pub(crate) fn behind(error: &DataFusionError) -> Option<&Self> {
        match error.find_root() {
            DataFusionError::External(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// The lake's tables, of which some are closed. A closed table can't be had by any way that SQL has to name one,
/// and no listing shows it.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    open: BTreeMap<String, Arc<dyn TableProvider>>,
    closed: BTreeSet<String>,
}

impl Tables {
    /// Adds a table, which is made only if it is open.
    pub(crate) fn add<T: TableProvider + 'static>(
        &mut self,
        name: &str,
        allowed: &Allowed,
        table: impl FnOnce() -> T,
    ) {
        if allowed.allows(name) {
            self.open.insert(name.to_owned(), Arc::new(table()));
        } else {
            self.closed.insert(name.to_owned());
        }
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.open.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.closed.contains(name) {
            return Err(DataFusionError::External(ClosedTable(name.to_owned()).into()));
        }
        Ok(self.open.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.open.contains_key(name)
    }
}
