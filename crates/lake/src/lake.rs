//! The lake as the rest of the program holds it.

use std::sync::Arc;
use std::time::Duration;

use model::{CenterName, Class, Clock, GatewayName, Sequence, SignalInfo, UtcMicros};
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as AsyncMutex;

use crate::columns::Names;
use crate::copies::Copies;
use crate::delta::{DeltaTable, Snapshot};
use crate::derived::{Deriver, Owners, Private, Published};
use crate::doubles::{Doubles, Examiner, Examining};
use crate::erased::ErasureSource;
use crate::maintenance::{NAME_START, Sizes, waiting};
use crate::query::{Allowed, Answer, Queries, Retention, Sources};
use crate::recall::recall;
use crate::schema::Table;
use crate::seen::Seen;
use crate::source::{FrameSource, RecordSource, VehicleSource};
use crate::tail::Tail;
use crate::terms::{Known, SignalClasses, TermSource, received};
use crate::threads::Threads;
use crate::writer::held_by;
use crate::{Error, LakeWriter, Maintenance, Permit, PostgresSession, QueryError, Settings};

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
    /// For how long rows are kept.
    pub terms: Arc<dyn TermSource>,
    /// What was erased.
    pub erasures: Arc<dyn ErasureSource>,
    /// The folder of the derived tables: a projection, which may be emptied while the lake is closed.
    pub derived: Arc<dyn ObjectStore>,
}

/// Answers queries; cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Lake {
    queries: Arc<Queries>,
    tail: Arc<Tail>,
    threads: Arc<Threads>,
    terms: Arc<dyn TermSource>,
    copies: Copies,
    examining: Examining,
    store: Arc<dyn ObjectStore>,
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
    /// Files that wait to be put together.
    pub waiting: u64,
    /// The first instant of receipt of a row in a file.
    pub oldest: Option<UtcMicros>,
    /// When files were last put together or expired rows taken out of one, as far as a file of it is left.
    pub sorted_at: Option<UtcMicros>,
    /// For how long its rows are kept.
    pub terms: Vec<TermStatus>,
    /// The country pack that says so.
    pub pack: String,
}

/// For how long rows of a class are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermStatus {
    /// The class.
    pub class: Class,
    /// Days after their receipt.
    pub days: u32,
}

impl Lake {
    /// Opens the tables, makes those that do not exist, and learns from the newest files what was seen
    /// lately.
    pub async fn open(parts: Parts) -> Result<(Self, LakeWriter, Maintenance, Deriver), Error> {
        let threads = Arc::new(Threads::start()?);
        // On the lake's threads: decoding Parquet at the start should not hold up others.
        let opened = threads.handle().spawn(Self::open_here(parts, threads.clone()));
        opened.await.map_err(|error| Error::Threads(error.to_string()))?
    }

    async fn open_here(
        parts: Parts,
        threads: Arc<Threads>,
    ) -> Result<(Self, LakeWriter, Maintenance, Deriver), Error> {
        let Parts { settings, store, center, gateway, signals, clock, .. } = parts;
        let Parts { frames, vehicles, records, terms, erasures, derived, .. } = parts;
        let (deriver_records, deriver_vehicles) = (records.clone(), vehicles.clone());
        let published: Published = Arc::new(RwLock::new(Arc::new(Deriver::open(derived.as_ref()).await?)));
        let folders = Table::ALL.map(|table| table.folder(&center));
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
            recall(table, delta.folder(), delta.snapshot(), store.as_ref(), signals, seen).await?;
        }
        let names = Arc::new(Names::new(signals));
        let snapshots = tables.each_ref().map(|table| table.snapshot().clone());
        let tail = Arc::new(Tail::new(snapshots, clock.clone()));
        let known = Known::default();
        let classes = Arc::new(SignalClasses::new(signals));
        let retention = Retention {
            terms: terms.clone(),
            erasures: erasures.clone(),
            known: known.clone(),
            classes: classes.clone(),
        };
        let copies = Copies::default();
        let doubles = Doubles::default();
        let examiner =
            Examiner::open(store.clone(), derived.clone(), clock.clone(), names.clone(), doubles.clone())
                .await;
        let examining = Examining {
            examiner: Arc::new(AsyncMutex::new(examiner)),
            center: center.clone(),
            folders: folders.clone(),
            tail: tail.clone(),
            copies: copies.clone(),
        };
        let queries = Queries::new(
            store.clone(),
            &settings,
            tail.clone(),
            names.clone(),
            center.clone(),
            Sources {
                frames,
                vehicles,
                records,
                derived: published.clone(),
                derived_store: derived.clone(),
                copies: copies.clone(),
                doubles: doubles.clone(),
            },
            retention,
        )?;
        let queries = Arc::new(queries);
        let app_id = format!("{center}/{gateway}");
        let held = tables.each_ref().map(|table| held_by(table, &app_id));
        let tables = Arc::new(tables.map(Mutex::new));
        let maintenance = Maintenance {
            store: store.clone(),
            clock,
            terms: terms.clone(),
            erasures: erasures.clone(),
            classes,
            names: names.clone(),
            known,
            tail: tail.clone(),
            tables: tables.clone(),
            folders,
            threads: threads.clone(),
            // What an earlier run took out may still stand in the log.
            has_expired: [true; 3],
            sizes: Sizes::default(),
        };
        let writer = LakeWriter {
            tail: tail.clone(),
            erasures,
            tables,
            held,
            seen,
            names,
            threads: threads.clone(),
            app_id,
            gateway: gateway.to_string(),
            tail_bytes_max: settings.tail_bytes_max(),
            copies: copies.clone(),
            examining: examining.clone(),
            examined_at: Duration::ZERO,
            store: store.clone(),
        };
        let deriver = Deriver {
            store: derived,
            queries: queries.clone(),
            threads: threads.clone(),
            tail: tail.clone(),
            terms: terms.clone(),
            records: deriver_records,
            owners: Owners::default(),
            vehicles: deriver_vehicles,
            private: Private::default(),
            published,
            retired: Vec::new(),
        };
        Ok((Self { queries, tail, threads, terms, copies, examining, store }, writer, maintenance, deriver))
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

    /// Shows the rows of another center, of whose tables a copy lies in the store, as they stand there now. Rows that several centers
    /// received show once.
    pub async fn show_copy(&self, center: &CenterName) -> Result<(), Error> {
        let (copies, store, center) = (self.copies.clone(), self.store.clone(), center.clone());
        let examining = self.examining.clone();
        let followed = self.threads.handle().spawn(async move {
            let tables = copies.newest(store.as_ref(), &center).await?;
            examining.examine(Some((&center, &tables))).await;
            copies.show(&center, tables);
            Ok(())
        });
        followed.await.map_err(|error| Error::Threads(error.to_string()))?
    }

    /// Counts the newest rows of a center's copy as seen, so that what that center would have dropped as a duplicate is dropped here. Blocks until
    /// the writer has done so; [`LakeWriter::learn`] is to be called by whoever has it.
    ///
    /// # Errors
    /// The store's; or that there is no writer any more.
    pub fn learn_copy(&self, center: &CenterName) -> Result<(), Error> {
        let learned = self.copies.ask_to_learn(center);
        learned
            .recv()
            .unwrap_or_else(|_| Err(Error::Threads("the writer of the tables has ended".to_owned())))
    }

    /// Up to where all three tables of a center's copy have the frames of one of its gateways; 0 where they have none.
    ///
    /// # Errors
    /// The store's.
    pub async fn copy_progress(&self, center: &CenterName, gateway: &GatewayName) -> Result<Sequence, Error> {
        self.show_copy(center).await?;
        Ok(self.copies.progress(center, gateway))
    }

    /// How the three tables stand.
    pub fn status(&self) -> Vec<TableStatus> {
        let (terms, now) = (self.terms.terms(), self.tail.clock().now());
        // New rows wait for the lock: what takes longer is worked out after it.
        let seen = {
            let state = self.tail.state.lock();
            Table::ALL.map(|table| {
                let tail: usize = state.slabs(table).map(|slab| slab.rows_of(table)).sum();
                let tail_rows = (tail + state.open.rows_of(table)) as u64;
                (state.snapshots[table.index()].clone(), tail_rows, state.duplicates[table.index()])
            })
        };
        let stand = |table: Table| {
            let (snapshot, tail_rows, duplicates) = &seen[table.index()];
            let term = |(class, days)| TermStatus { class, days };
            TableStatus {
                table: table.name(),
                version: snapshot.version,
                files: snapshot.files.len() as u64,
                rows: snapshot.rows(),
                bytes: snapshot.bytes(),
                tail_rows: *tail_rows,
                duplicates: *duplicates,
                waiting: waiting(snapshot, now),
                oldest: snapshot.files.iter().filter_map(|file| Some(UtcMicros(received(file)?.0))).min(),
                sorted_at: sorted_at(snapshot),
                terms: terms.of_table(table).into_iter().map(term).collect(),
                pack: terms.pack.clone(),
            }
        };
        Table::ALL.map(stand).to_vec()
    }
}

/// When maintenance wrote its newest file.
fn sorted_at(snapshot: &Snapshot) -> Option<UtcMicros> {
    let sorted = snapshot.files.iter().filter(|file| file.add.path.starts_with(NAME_START));
    sorted.map(|file| UtcMicros::from_millis(file.add.modification_time)).max()
}
