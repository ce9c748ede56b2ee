//! The lake as the rest of the program holds it.

use std::sync::Arc;

use model::{CenterName, Clock, GatewayName, SignalInfo};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::columns::Names;
use crate::delta::DeltaTable;
use crate::query::{Allowed, Answer, Queries, Sources};
use crate::recall::recall;
use crate::schema::Table;
use crate::seen::Seen;
use crate::source::{FrameSource, RecordSource, VehicleSource};
use crate::tail::Tail;
use crate::threads::Threads;
use crate::{Error, LakeWriter, Permit, PostgresSession, QueryError, Settings};

/// What a lake is made of.
pub struct Parts {
    /// The operator's settings.
    pub settings: Settings,
    /// The store room's durable object store; names begin with the center's.
    pub store: Arc<dyn ObjectStore>,
    /// The center, under whose prefix the tables lie.
    pub center: CenterName,
    /// The gateway, whose sequences the commits follow.
    pub gateway: GatewayName,
    /// The signal catalogue; a [`model::SignalId`] is an index into it.
    pub signals: &'static [SignalInfo],
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The table `frames`.
    pub frames: Arc<dyn FrameSource>,
    /// The table `vehicles`.
    pub vehicles: Arc<dyn VehicleSource>,
    /// The tables of records, whatever it declares.
    pub records: Arc<dyn RecordSource>,
}

/// Answers queries; cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Lake {
    queries: Arc<Queries>,
    tail: Arc<Tail>,
    threads: Arc<Threads>,
}

/// How a table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatus {
    /// Its name.
    pub table: &'static str,
    /// Its Delta version.
    pub version: i64,
    /// Files of that version.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size together.
    pub bytes: u64,
    /// Rows that queries see and that are not yet in a file.
    pub tail_rows: u64,
    /// Rows dropped since the start because they had been seen.
    pub duplicates: u64,
}

impl Lake {
    /// Opens the tables, makes those that do not exist, and learns from the newest files what was seen
    /// lately.
    pub async fn open(parts: Parts) -> Result<(Self, LakeWriter), Error> {
        let threads = Arc::new(Threads::start()?);
        // On the lake's threads: decoding Parquet at the start should not hold up others.
        let opened = threads.handle().spawn(Self::open_here(parts, threads.clone()));
        opened.await.map_err(|error| Error::Threads(error.to_string()))?
    }

    async fn open_here(parts: Parts, threads: Arc<Threads>) -> Result<(Self, LakeWriter), Error> {
        let Parts { settings, store, center, gateway, signals, clock, frames, vehicles, records } = parts;
        let folder = |table: Table| Path::from_iter([center.as_str(), "lake", table.name()]);
        let folders = Table::ALL.map(folder);
        let [signals_folder, positions_folder, events_folder] = folders.clone();
        let open = |table, folder| DeltaTable::open(table, store.clone(), folder, clock.clone());
        let tables = [
            open(Table::Signals, signals_folder).await?,
            open(Table::Positions, positions_folder).await?,
            open(Table::Events, events_folder).await?,
        ];
        // Nearly all rows are signals.
        let bytes = settings.seen_bytes_max();
        let mut seen = [Seen::new(bytes / 8 * 6), Seen::new(bytes / 8), Seen::new(bytes / 8)];
        for (table, (delta, seen)) in Table::ALL.into_iter().zip(tables.iter().zip(&mut seen)) {
            recall(table, delta, store.as_ref(), signals, seen).await?;
        }
        let names = Arc::new(Names::new(signals));
        let snapshots = tables.each_ref().map(|table| table.snapshot().clone());
        let tail = Arc::new(Tail::new(snapshots, clock));
        let queries = Queries::new(
            store,
            &settings,
            tail.clone(),
            names.clone(),
            folders,
            Sources { frames, vehicles, records },
        )?;
        let writer = LakeWriter {
            tail: tail.clone(),
            tables,
            seen,
            names,
            threads: threads.clone(),
            app_id: format!("{center}/{gateway}"),
            gateway: gateway.to_string(),
            tail_bytes_max: settings.tail_bytes_max(),
        };
        Ok((Self { queries: Arc::new(queries), tail, threads }, writer))
    }

    /// Answers one SQL query over `signals`, `positions`, `events`, `frames`, `vehicles` and the tables of
    /// records. Anything but a question is refused.
    pub async fn query(&self, sql: &str) -> Result<Answer, QueryError> {
        self.query_as(sql, &Allowed::default()).await
    }

    /// Answers one SQL query of somebody who may read some tables only. A query that names another, in whatever
    /// part, is refused; listings leave it out.
    pub async fn query_as(&self, sql: &str, allowed: &Allowed) -> Result<Answer, QueryError> {
        self.queries.clone().answer(&self.threads, sql, allowed).await
    }

    /// A session for one PostgreSQL client, who is asked of `permit` anew with each statement.
    pub fn postgres_session(&self, permit: Arc<dyn Permit>) -> Result<PostgresSession, QueryError> {
        PostgresSession::new(self.queries.clone(), self.threads.clone(), permit)
    }

    /// How the three tables stand.
    pub fn status(&self) -> Vec<TableStatus> {
        let state = self.tail.state.lock();
        let stand = |table: Table| {
            let snapshot = &state.snapshots[table.index()];
            let tail: usize = state.slabs(table).map(|slab| slab.rows_of(table)).sum();
            TableStatus {
                table: table.name(),
                version: snapshot.version,
                files: snapshot.files.len() as u64,
                rows: snapshot.rows(),
                bytes: snapshot.bytes(),
                tail_rows: (tail + state.open.rows_of(table)) as u64,
                duplicates: state.duplicates[table.index()],
            }
        };
        Table::ALL.map(stand).to_vec()
    }
}
