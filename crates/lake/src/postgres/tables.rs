//! The tables of a session: those of the statement that runs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;
use parking_lot::RwLock;

use crate::query::Tables;

/// The tables of the statement that is being planned. The schema stays for the session, because its tables' object identifiers must.
#[derive(Default)]
pub(super) struct SessionTables(RwLock<Arc<Tables>>);

impl SessionTables {
    /// Shows other tables from now on; what is planned already keeps its own.
    pub(super) fn show(&self, tables: Tables) {
        *self.0.write() = Arc::new(tables);
    }

    fn shown(&self) -> Arc<Tables> {
        self.0.read().clone()
    }
}

impl fmt::Debug for SessionTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionTables").field(&self.shown()).finish()
    }
}

#[async_trait]
impl SchemaProvider for SessionTables {
    fn table_names(&self) -> Vec<String> {
        self.shown().table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.shown().table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shown().table_exist(name)
    }
}
