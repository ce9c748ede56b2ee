//! SQL over the tables: questions only.

mod frames;
mod table;
mod vehicles;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SQLOptions, SessionContext, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::{Semaphore, mpsc};

use crate::columns::Names;
use crate::query::frames::FramesTable;
use crate::query::table::LakeTable;
use crate::query::vehicles::VehiclesTable;
use crate::schema::Table;
use crate::source::{FrameSource, VehicleSource};
use crate::tail::Tail;
use crate::threads::Threads;
use crate::{Error, QueryError};

/// Rows as they come, with their schema known at once.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows; dropping it ends the query.
    pub rows: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

/// Everything that a query needs, shared by all.
pub(crate) struct Queries {
    base: SessionState,
    tail: Arc<Tail>,
    names: Arc<Names>,
    folders: [Path; 3],
    frames: Arc<dyn FrameSource>,
    vehicles: Arc<dyn VehicleSource>,
    slots: Arc<Semaphore>,
}

impl Queries {
    /// Queries that run at once; more wait. All share the memory, and on two threads more would only share
    /// the time.
    const COUNT_MAX: usize = 16;

    /// Batches of rows that wait for a slow reader of an answer.
    const WAITING_BATCHES_MAX: usize = 2;

    /// Where plans look up the object store; never leaves the process.
    const STORE_URL: &'static str = "lake://store";

    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        memory_bytes_max: usize,
        tail: Arc<Tail>,
        names: Arc<Names>,
        folders: [Path; 3],
        sources: (Arc<dyn FrameSource>, Arc<dyn VehicleSource>),
    ) -> Result<Self, Error> {
        // Nothing is spilled: a temporary file would hold rows outside the store. A query that is too large
        // fails and says so.
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes_max)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|error| Error::Threads(error.to_string()))?;
        runtime.register_object_store(store_url().as_ref(), store);
        let config = SessionConfig::new()
            .with_target_partitions(Threads::COUNT)
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false);
        let base = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        let (frames, vehicles) = sources;
        let slots = Arc::new(Semaphore::new(Self::COUNT_MAX));
        Ok(Self { base, tail, names, folders, frames, vehicles, slots })
    }

    /// Runs one query on the lake's threads; the answer's rows come through a short queue.
    pub(crate) async fn answer(self: Arc<Self>, threads: &Threads, sql: &str) -> Result<Answer, QueryError> {
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|closed| QueryError::Failed(closed.to_string()))?;
        let (sender, receiver) = mpsc::channel(Self::WAITING_BATCHES_MAX);
        let sql = sql.to_owned();
        let planned = threads.handle().spawn(async move {
            let context = self.context()?;
            let plan = context.state().create_logical_plan(&sql).await.map_err(|error| malformed(&error))?;
            let options =
                SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            options.verify_plan(&plan).map_err(|error| QueryError::Refused(printed(&error)))?;
            let frame = context.execute_logical_plan(plan).await.map_err(|error| failed(&error))?;
            frame.execute_stream().await.map_err(|error| failed(&error))
        });
        let mut rows = planned.await.map_err(|error| QueryError::Failed(error.to_string()))??;
        let schema = rows.schema();
        threads.handle().spawn(async move {
            let _slot = slot;
            loop {
                let batch = tokio::select! {
                    batch = rows.next() => batch,
                    () = sender.closed() => None,
                };
                let Some(batch) = batch else { break };
                let last = batch.is_err();
                let sent = sender.send(batch.map_err(|error| failed(&error))).await;
                if last || sent.is_err() {
                    break;
                }
            }
        });
        let rows = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        Ok(Answer { schema, rows: rows.boxed() })
    }

    /// A context with its own catalog, over one view of the tables.
    fn context(&self) -> Result<SessionContext, QueryError> {
        let schema = Arc::new(MemorySchemaProvider::new());
        let views = self.tail.views();
        for ((table, view), folder) in Table::ALL.into_iter().zip(views).zip(&self.folders) {
            let provider = LakeTable::new(table, view, self.names.clone(), folder.clone());
            register(&schema, table.name(), Arc::new(provider))?;
        }
        register(&schema, "frames", Arc::new(FramesTable::new(self.frames.clone())))?;
        register(&schema, "vehicles", Arc::new(VehiclesTable::new(self.vehicles.clone())))?;
        let catalog = Arc::new(MemoryCatalogProvider::new());
        let options = &self.base.config_options().catalog;
        catalog.register_schema(&options.default_schema, schema).map_err(|error| failed(&error))?;
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(options.default_catalog.clone(), catalog);
        let state =
            SessionStateBuilder::new_from_existing(self.base.clone()).with_catalog_list(catalogs).build();
        Ok(SessionContext::new_with_state(state))
    }
}

fn register(
    schema: &MemorySchemaProvider,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<(), QueryError> {
    schema.register_table(name.to_owned(), table).map(drop).map_err(|error| failed(&error))
}

fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse(Queries::STORE_URL).expect("a URL with scheme and host alone")
}

fn malformed(error: &DataFusionError) -> QueryError {
    QueryError::Malformed(printed(error))
}

fn failed(error: &DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge(printed(error)),
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::SQL(..) => {
            malformed(error)
        }
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => QueryError::Failed(printed(error)),
        _ => QueryError::Failed(printed(error)),
    }
}

fn printed(error: &DataFusionError) -> String {
    error.strip_backtrace()
}
