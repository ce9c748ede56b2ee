//! SQL over the tables: questions only.

mod catalog;
mod counted;
mod derived;
mod frames;
mod functions;
mod hidden;
mod kept;
mod pg_catalog;
mod records;
mod sight;
mod table;
mod vehicles;
mod yielding;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SQLOptions, SessionContext, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use model::CenterName;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::columns::Names;
use crate::copies::Copies;
use crate::derived::{DerivedTable, Published};
use crate::doubles::{Doubles, Hidden};
use crate::erased::ErasureSource;
use crate::query::catalog::ClosedTable;
use crate::query::derived::DerivedFiles;
use crate::query::frames::FramesTable;
use crate::query::kept::Kept;
use crate::query::pg_catalog::PostgresBase;
use crate::query::records::{Declared, RecordsTable};
use crate::query::table::{LakeTable, Part};
use crate::query::vehicles::VehiclesTable;
use crate::query::yielding::YieldAboveJoins;
use crate::schema::Table;
use crate::source::{FrameSource, RecordSource, VehicleSource};
use crate::tail::Tail;
use crate::terms::{Known, SignalClasses, TermSource};
use crate::threads::Threads;
use crate::{Error, QueryError, Settings};

pub use catalog::Allowed;
pub(crate) use catalog::Tables;
pub use sight::{Places, Sight};

/// Rows as they come, with their schema known at once.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The tables that are read for it.
    pub tables: BTreeSet<String>,
    /// Of those among them that are Delta tables, the version that is read. Rows that are in no file yet are read too.
    pub versions: BTreeMap<String, i64>,
    /// The rows; dropping it ends the query.
    pub rows: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

/// What says which rows are still shown.
pub(crate) struct Retention {
    pub(crate) terms: Arc<dyn TermSource>,
    pub(crate) erasures: Arc<dyn ErasureSource>,
    pub(crate) known: Known,
    pub(crate) classes: Arc<SignalClasses>,
}

/// Where the tables come from that are made when they are asked for.
pub(crate) struct Sources {
    pub(crate) frames: Arc<dyn FrameSource>,
    pub(crate) vehicles: Arc<dyn VehicleSource>,
    pub(crate) records: Arc<dyn RecordSource>,
    /// The files of the derived tables, and where they lie.
    pub(crate) derived: Published,
    pub(crate) derived_store: Arc<dyn ObjectStore>,
    /// The tables of other centers.
    pub(crate) copies: Copies,
    /// Their rows that the center's own tables show, and the other way round.
    pub(crate) doubles: Doubles,
}

/// Everything that a query needs, shared by all.
pub(crate) struct Queries {
    base: SessionState,
    tail: Arc<Tail>,
    names: Arc<Names>,
    center: CenterName,
    folders: [Path; 3],
    sources: Sources,
    retention: Retention,
    records: Vec<Arc<Declared>>,
    slots: Arc<Semaphore>,
    time_max: Duration,
    /// With what PostgreSQL's clients expect beside the tables; made when the first of them comes.
    postgres: OnceLock<PostgresBase>,
}

/// Makes a plan, on the lake's threads.
pub(crate) type Planning = BoxFuture<'static, Result<(SessionContext, LogicalPlan), QueryError>>;

impl Queries {
    /// Queries that run at once; more wait. All share the memory, and on two threads more would only share
    /// the time.
    const COUNT_MAX: usize = 16;

    /// Batches of rows that wait for a slow reader of an answer.
    const WAITING_BATCHES_MAX: usize = 2;

    /// Where plans look up the object store; never leaves the process.
    const STORE_URL: &'static str = "lake://store";

    /// The one database.
    pub(crate) const DATABASE: &'static str = "domicile";
    /// The schema that the tables lie in.
    pub(crate) const SCHEMA: &'static str = "public";

    const FRAMES: &'static str = "frames";
    const VEHICLES: &'static str = "vehicles";

    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        settings: &Settings,
        tail: Arc<Tail>,
        names: Arc<Names>,
        center: CenterName,
        sources: Sources,
        retention: Retention,
    ) -> Result<Self, Error> {
        let mut own = Table::ALL.map(Table::name).to_vec();
        own.extend(DerivedTable::ALL.map(DerivedTable::name));
        own.extend([Self::FRAMES, Self::VEHICLES]);
        let records = Declared::all(sources.records.as_ref(), &own)?;
        // Nothing is spilled: a temporary file would hold rows outside the store. A query that is too large
        // fails and says so.
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(settings.query_bytes_max())))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|error| Error::Threads(error.to_string()))?;
        runtime.register_object_store(store_url().as_ref(), store);
        runtime.register_object_store(DerivedFiles::url().as_ref(), sources.derived_store.clone());
        let config = SessionConfig::new()
            .with_target_partitions(Threads::COUNT)
            .with_information_schema(true)
            .with_default_catalog_and_schema(Self::DATABASE, Self::SCHEMA)
            .with_create_default_catalog_and_schema(false);
        let base = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_scalar_functions(functions::all().collect())
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(YieldAboveJoins))
            .build();
        let slots = Arc::new(Semaphore::new(Self::COUNT_MAX));
        Ok(Self {
            base,
            tail,
            names,
            folders: Table::ALL.map(|table| table.folder(&center)),
            center,
            sources,
            retention,
            records,
            slots,
            time_max: settings.query_time_max(),
            postgres: OnceLock::new(),
        })
    }

    /// Runs one query on the lake's threads; the answer's rows come through a short queue.
    pub(crate) async fn answer(
        self: Arc<Self>,
        threads: &Threads,
        sql: &str,
        allowed: &Allowed,
    ) -> Result<Answer, QueryError> {
        let (queries, sql, allowed) = (self.clone(), sql.to_owned(), allowed.clone());
        let planning = async move {
            let context = queries.context(&allowed)?;
            let plan = context.state().create_logical_plan(&sql).await.map_err(|error| malformed(&error))?;
            Ok((context, plan))
        };
        self.run(threads, planning.boxed()).await
    }

    /// Runs what is planned, if it is a question, within the time that a query may take.
    pub(crate) async fn run(&self, threads: &Threads, planning: Planning) -> Result<Answer, QueryError> {
        let time_max = self.time_max;
        let too_long = move || QueryError::TooLong { seconds: time_max.as_secs() };
        let (sender, receiver) = mpsc::channel(Self::WAITING_BATCHES_MAX);
        let slots = self.slots.clone();
        let planned = threads.handle().spawn(async move {
            // Made here, because the caller's runtime may have no timer.
            let running = async move {
                let slot =
                    slots.acquire_owned().await.map_err(|closed| QueryError::Failed(closed.to_string()))?;
                let (context, plan) = planning.await?;
                check(&plan)?;
                let (tables, versions) = tables_of(&plan).map_err(|error| failed(&error))?;
                let frame = context.execute_logical_plan(plan).await.map_err(|error| failed(&error))?;
                let rows = frame.execute_stream().await.map_err(|error| failed(&error))?;
                Ok::<_, QueryError>((slot, rows, tables, versions))
            };
            timeout(time_max, running).await
        });
        let planned = planned.await.map_err(|error| QueryError::Failed(error.to_string()))?;
        let (slot, mut rows, tables, versions) = planned.map_err(|_| too_long())??;
        let schema = rows.schema();
        threads.handle().spawn(async move {
            let late = sender.clone();
            let sent = timeout(time_max, async move {
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
            if sent.await.is_err() {
                // The place is free at once; a reader that has not read meanwhile finds it at the end of what waits.
                drop(slot);
                let _gone = late.send(Err(too_long())).await;
            }
        });
        let rows = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        Ok(Answer { schema, tables, versions, rows: rows.boxed() })
    }

    /// A context with its own catalog, over one view of the tables that may be read.
    fn context(&self, allowed: &Allowed) -> Result<SessionContext, QueryError> {
        self.context_of(&self.base, Arc::new(self.tables(allowed)))
    }

    /// A context of a state, whose tables are those of a schema.
    fn context_of(
        &self,
        state: &SessionState,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<SessionContext, QueryError> {
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(Self::SCHEMA, schema).map_err(|error| failed(&error))?;
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(Self::DATABASE.to_owned(), catalog);
        let state = SessionStateBuilder::new_from_existing(state.clone()).with_catalog_list(catalogs).build();
        Ok(SessionContext::new_with_state(state))
    }

    /// A context for a PostgreSQL client's session, over the tables of a schema.
    pub(crate) fn postgres_context(
        &self,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<SessionContext, QueryError> {
        let base = match self.postgres.get() {
            Some(base) => base,
            None => {
                let bare = self.context_of(&self.base, Arc::new(Tables::default()))?;
                let made = PostgresBase::of(&bare).map_err(|error| failed(&error))?;
                self.postgres.get_or_init(|| made)
            }
        };
        let context = self.context_of(&base.state, schema)?;
        base.register(&context).map_err(|error| failed(&error))?;
        Ok(context)
    }

    /// The tables that may be read, in one view of them.
    pub(crate) fn tables(&self, allowed: &Allowed) -> Tables {
        let mut tables = Tables::default();
        let views = self.tail.views();
        let Retention { terms, erasures, known, classes } = &self.retention;
        let erased = erasures.erased();
        let copies = if allowed.own_alone { Arc::default() } else { self.sources.copies.all() };
        let cutoffs = terms.terms().cutoffs(self.tail.clock().now());
        for ((table, view), folder) in Table::ALL.into_iter().zip(views).zip(&self.folders) {
            let kept = |center: &CenterName, known: &Known| {
                let is_seen = |by: &CenterName| *by == self.center || copies.contains_key(by);
                let hidden = match copies.is_empty() {
                    true => Hidden::default(),
                    false => self.sources.doubles.of(table, center, is_seen),
                };
                Kept::new(table, cutoffs, erased.clone(), hidden, known.clone(), classes.clone())
            };
            let narrowed = allowed.sight.narrowed(table, classes);
            let make = || {
                let own = Part {
                    folder: folder.clone(),
                    snapshot: view.snapshot.clone(),
                    kept: kept(&self.center, known),
                };
                let others = copies.iter().map(|(center, copy)| Part {
                    folder: copy.folders[table.index()].clone(),
                    snapshot: copy.snapshots[table.index()].clone(),
                    kept: kept(center, &copy.known),
                });
                let parts = std::iter::once(own).chain(others).collect();
                LakeTable::new(table, view, self.names.clone(), parts, narrowed)
            };
            tables.add(table.name(), allowed, make);
        }
        let derived = self.sources.derived.read().clone();
        for table in DerivedTable::ALL {
            let make = || DerivedFiles::new(table, derived.clone(), erased.clone());
            tables.add(table.name(), allowed, make);
        }
        let Sources { frames, vehicles, records, .. } = &self.sources;
        tables.add(Self::FRAMES, allowed, || FramesTable::new(frames.clone(), erased.clone()));
        tables.add(Self::VEHICLES, allowed, || VehiclesTable::new(vehicles.clone()));
        for declared in &self.records {
            tables.add(declared.name(), allowed, || RecordsTable::new(declared.clone(), records.clone()));
        }
        tables
    }
}

/// The tables of the lake that a plan reads, in whatever part, and the versions of those that have some.
fn tables_of(plan: &LogicalPlan) -> Result<(BTreeSet<String>, BTreeMap<String, i64>), DataFusionError> {
    let (mut tables, mut versions) = (BTreeSet::new(), BTreeMap::new());
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.schema().is_none_or(|schema| schema == Queries::SCHEMA)
        {
            let name = scan.table_name.table().to_owned();
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = (provider.as_ref() as &dyn Any).downcast_ref::<LakeTable>() {
                versions.insert(name.clone(), table.version());
            }
            tables.insert(name);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((tables, versions))
}

/// Lets questions through and nothing else.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options
        .verify_plan(plan)
        .map_err(|error| QueryError::Refused(format!("only SELECT is answered here: {}", printed(&error))))
}

fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse(Queries::STORE_URL).expect("a URL with scheme and host alone")
}

pub(crate) fn malformed(error: &DataFusionError) -> QueryError {
    if let Some(closed) = ClosedTable::behind(error) {
        return QueryError::Refused(closed.to_string());
    }
    QueryError::Malformed(printed(error))
}

pub(crate) fn failed(error: &DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge(printed(error)),
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::SQL(..) => {
            malformed(error)
        }
        _ if ClosedTable::behind(error).is_some() => malformed(error),
        _ => QueryError::Failed(printed(error)),
    }
}

fn printed(error: &DataFusionError) -> String {
    error.strip_backtrace()
}
