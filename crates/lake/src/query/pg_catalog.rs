//! What PostgreSQL's clients expect beside the tables: its functions, and `pg_catalog` about the tables.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog};

use crate::query::Queries;

/// What all sessions share: a state with PostgreSQL's functions, and the tables of its catalog that never change.
pub(crate) struct PostgresBase {
    pub(crate) state: SessionState,
    statics: Arc<PgCatalogStaticTables>,
}

impl PostgresBase {
    const SCHEMA: &'static str = "pg_catalog";

    /// Adds them to what a context without tables has.
    pub(crate) fn of(bare: &SessionContext) -> Result<Self> {
        setup_pg_catalog(bare, Queries::DATABASE, EmptyContextProvider).map_err(|error| *error)?;
        Ok(Self { state: bare.state(), statics: Arc::new(PgCatalogStaticTables::try_new()?) })
    }

    /// Gives a session's context its `pg_catalog`.
    pub(crate) fn register(&self, context: &SessionContext) -> Result<()> {
        let missing = || DataFusionError::Internal("the session has no catalog".to_owned());
        let catalog = context.catalog(Queries::DATABASE).ok_or_else(missing)?;
        let tables = catalog.schema(Queries::SCHEMA).ok_or_else(missing)?;
        // It lists a catalog of its own, with the tables alone: one that held `pg_catalog` too would hold itself and never be freed.
        let listed = MemoryCatalogProvider::new();
        listed.register_schema(Queries::SCHEMA, tables)?;
        let list: Arc<dyn CatalogProviderList> = Arc::new(MemoryCatalogProviderList::new());
        list.register_catalog(Queries::DATABASE.to_owned(), Arc::new(listed));
        let schema = PgCatalogSchemaProvider::try_new(list, self.statics.clone(), EmptyContextProvider)?;
        catalog.register_schema(Self::SCHEMA, Arc::new(schema))?;
        Ok(())
    }
}
