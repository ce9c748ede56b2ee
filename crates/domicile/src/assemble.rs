//! Puts the rooms together: the only file that sees every one of them. Opens them in their order, lets them run, and closes them
//! in the inverse order so that nothing that was acknowledged waits for the next start.

use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "lake")]
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Protocol, UtcMicros, Vin};
use policy::Rules;
use store::Journal;
use tokio::sync::watch;
use wire::gbt32960::{Cipher, CoordinateSystem, Keys, Mode, Padding};
use wire::tesla::Issuer;

use crate::api::query::Sql;
use crate::api::{Rooms, private_router, public_router, serve_socket};
use crate::center::{Center, unhex};
use crate::certificates;
use crate::charter::client_authorities;
use crate::cosigning::{Cosigning, CosigningError};
#[cfg(feature = "lake")]
use crate::deriving::Derivers;
use crate::drill::{Drill, Newest};
use crate::egress::Declared;
use crate::egress::declared::DeclarationError;
use crate::egress::gauges::egress_gauges;
use crate::erasure::{self, Eraser};
use crate::hooks::hooks;
#[cfg(feature = "lake")]
use crate::housekeeping::Housekeeper;
use crate::ingress::connections::{Connections, Nudge};
use crate::ingress::diary::Diary;
use crate::ingress::drain::drain;
use crate::ingress::gate::{self, Gate, claimed_vin, refused_certificate};
use crate::ingress::listener::{ListenError, Listeners, Service};
use crate::ingress::tls::{Clients, RefusedCertificates, Tls, TlsError, TlsFiles};
use crate::live::{View, connection_gauges, erasure_gauges, journal_gauges, ledger_gauges};
#[cfg(feature = "lake")]
use crate::live::{chores_gauges, derived_gauges, table_gauges};
use crate::peer::{Others, OthersError};
#[cfg(feature = "lake")]
use crate::pipeline::{Inbox, Parts as PipelineParts, Pipeline};
#[cfg(feature = "lake")]
use crate::postgres::Postgres;
use crate::raw::{RawFrames, RawKeeper};
use crate::settings::{self, Settings};
#[cfg(feature = "lake")]
use crate::sources::{Erasures, Frames, Records, Vehicles};
#[cfg(feature = "lake")]
use crate::tables::Tables;
use crate::world::World;

/// How long sessions may take to part when the program ends.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long sealing may take when the program ends. What is not sealed by then is sealed at the next start.
const SEAL_TIME: Duration = Duration::from_secs(20);

/// Why the center can't be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssembleError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[cfg(feature = "lake")]
    #[error(transparent)]
    Lake(#[from] lake::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Egress(#[from] DeclarationError),
    #[error(transparent)]
    Cosigning(#[from] CosigningError),
    #[error("setting {setting}: {problem}")]
    Setting { setting: &'static str, problem: String },
    #[error(transparent)]
    Others(#[from] OthersError),
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
}

/// Journal, sealer, pipeline and tables: what works without any listener, so also in a command that has opened the folder itself.
pub(crate) struct Flow {
    pub(crate) journal: Journal,
    pub(crate) eraser: Arc<Eraser>,
    /// In a pure gateway.
    raw: Option<RawKeeper>,
    #[cfg(feature = "lake")]
    lake: Option<(Tables, Pipeline)>,
}

impl Flow {
    /// Opens them. The journal recovers what a crash left, and the tables take it. Called inside the runtime.
    ///
    /// # Errors
    /// What the rooms say.
    pub(crate) async fn open(rooms: &Rooms, world: &World) -> Result<Self, AssembleError> {
        let center = rooms.center.clone();
        #[cfg(feature = "lake")]
        if center.settings.lake.enabled {
            return Self::open_with_lake(rooms, world).await;
        }
        let journal = open_journal(rooms, &center).await?;
        let raw = RawKeeper::start(raw_frames(rooms, world), interval(&center.settings));
        let eraser = Eraser::start(erasure::Parts {
            #[cfg(feature = "lake")]
            tables: None,
            ..eraser_parts(rooms, &journal, world)
        });
        Ok(Self {
            eraser: Arc::new(eraser.map_err(AssembleError::Thread)?),
            raw: Some(raw.map_err(AssembleError::Thread)?),
            journal,
            #[cfg(feature = "lake")]
            lake: None,
        })
    }

    #[cfg(feature = "lake")]
    async fn open_with_lake(rooms: &Rooms, world: &World) -> Result<Self, AssembleError> {
        let center = rooms.center.clone();
        let settings = &center.settings;
        let derived = store::Objects::local(&center.folder.join("derived"))?;
        let (lake, writer, maintenance, deriver) = lake::Lake::open(lake::Parts {
            settings: lake::Settings {
                enabled: true,
                memory_bytes_max: settings.lake.memory_bytes_max,
                query_seconds_max: settings.lake.query_seconds_max,
            },
            store: rooms.store.objects().object_store(),
            center: center.genesis.center(),
            gateway: center.gateway(),
            signals: wire::catalogue::signals(),
            clock: world.clock.clone(),
            frames: Arc::new(Frames { store: rooms.store.clone() }),
            vehicles: Arc::new(Vehicles { registry: rooms.registry.clone() }),
            records: Arc::new(Records { registry: rooms.registry.clone(), packs: rooms.packs.clone() }),
            terms: rooms.packs.clone(),
            erasures: Arc::new(Erasures::new(rooms.registry.clone())),
            derived: derived.object_store(),
        })
        .await?;
        let inbox = Arc::new(Inbox::default());
        let sealed = inbox.clone();
        rooms.books.tell(Box::new(move |batch: &store::SealedBatch| sealed.put(batch)));
        let journal = open_journal(rooms, &center).await?;
        let pipeline = Pipeline::start(PipelineParts {
            store: rooms.store.clone(),
            journal: journal.clone(),
            gateway: center.gateway(),
            writer,
            inbox,
            book: rooms.books.book().clone(),
            context: wire::Context::new(keys(&center)?, coordinates(settings)),
            metrics: rooms.metrics.clone(),
        })
        .map_err(AssembleError::Thread)?;
        let (raw, progress) = (raw_frames(rooms, world), pipeline.progress.clone());
        let interval = interval(settings);
        let housekeeper = Housekeeper::start(maintenance, raw, progress, world.clock.clone(), interval)
            .map_err(AssembleError::Thread)?;
        let derivers = Derivers::start(deriver, world.clock.clone()).map_err(AssembleError::Thread)?;
        let tables = Tables { lake, housekeeper: Arc::new(housekeeper), derivers: Arc::new(derivers) };
        let eraser = Eraser::start(erasure::Parts {
            tables: Some((tables.housekeeper.clone(), pipeline.progress.clone(), tables.derivers.clone())),
            ..eraser_parts(rooms, &journal, world)
        });
        let eraser = Arc::new(eraser.map_err(AssembleError::Thread)?);
        Ok(Self { journal, eraser, raw: None, lake: Some((tables, pipeline)) })
    }

    /// Who answers SQL; `None` in a pure gateway.
    pub(crate) fn sql(&self) -> Option<Arc<dyn Sql>> {
        #[cfg(feature = "lake")]
        if let Some((tables, _)) = &self.lake {
            return Some(Arc::new(tables.clone()));
        }
        None
    }

    /// The tables themselves; `None` in a pure gateway.
    #[cfg(feature = "lake")]
    pub(crate) fn lake(&self) -> Option<&lake::Lake> {
        self.lake.as_ref().map(|(tables, _)| &tables.lake)
    }

    /// Waits until everything that was durable when this was called shows in queries.
    pub(crate) async fn caught_up(&self) {
        #[cfg(feature = "lake")]
        if let Some((_, pipeline)) = &self.lake {
            let durable = self.journal.committed().borrow().0;
            let progress = &pipeline.progress;
            let is_behind = || progress.decoded.load(Ordering::Relaxed) < durable;
            while is_behind() && progress.is_running.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Makes durable what was appended, seals it and lets the tables take it. Blocks. Returns whether everything was sealed.
    pub(crate) fn close(self) -> bool {
        // What is open goes on at the next start.
        self.eraser.end();
        let is_sealed = self.journal.close(true, SEAL_TIME);
        if let Some(raw) = &self.raw {
            raw.finish();
        }
        #[cfg(feature = "lake")]
        if let Some((tables, pipeline)) = self.lake {
            // First, for the pipeline enters what it waits for.
            tables.derivers.finish();
            tables.housekeeper.finish();
            self.eraser.finish();
            pipeline.finish();
            return is_sealed;
        }
        self.eraser.finish();
        is_sealed
    }
}

/// How often housekeeping runs by itself; `None` for never.
fn interval(settings: &Settings) -> Option<Duration> {
    Some(settings.lake.maintain_interval_s).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn raw_frames(rooms: &Rooms, world: &World) -> RawFrames {
    let book = rooms.books.book().clone();
    RawFrames::new(rooms.store.clone(), rooms.packs.clone(), book, world.clock.clone())
}

fn eraser_parts(rooms: &Rooms, journal: &Journal, world: &World) -> erasure::Parts {
    erasure::Parts {
        registry: rooms.registry.clone(),
        journal: journal.clone(),
        center: rooms.center.clone(),
        packs: rooms.packs.clone(),
        books: rooms.books.clone(),
        clock: world.clock.clone(),
        #[cfg(feature = "lake")]
        tables: None,
    }
}

/// Opens the journal; its sealed batches go to the bookkeeper.
async fn open_journal(rooms: &Rooms, center: &Arc<Center>) -> Result<Journal, AssembleError> {
    let settings = center.settings.journal.clone();
    let on_sealed = rooms.books.on_sealed();
    let (store, gateway) = (rooms.store.clone(), center.gateway());
    let opened = tokio::task::spawn_blocking(move || store.open_journal(&settings, &gateway, on_sealed));
    let ended = |error: tokio::task::JoinError| AssembleError::Thread(std::io::Error::other(error));
    Ok(opened.await.map_err(ended)??)
}

/// A serving center.
pub(crate) struct Serving {
    gate: Arc<Gate>,
    flow: Flow,
    rooms: Rooms,
    listeners: Listeners,
    tls: Vec<Arc<Tls>>,
    stop: watch::Sender<bool>,
    others: Others,
}

impl Serving {
    /// Opens everything and begins to listen. Called inside the runtime.
    ///
    /// # Errors
    /// Which room could not be opened, and why.
    pub(crate) async fn start(rooms: Rooms, world: &World) -> Result<Self, AssembleError> {
        let flow = Flow::open(&rooms, world).await?;
        let center = rooms.center.clone();
        let settings = &center.settings;
        let started_at = world.clock.now();
        let memory_bytes_max = usize::try_from(settings.limits.memory_bytes_max).unwrap_or(usize::MAX);
        let diary = Arc::new(Diary::default());
        // Half of the memory may lie in connections' buffers; the rest is for tables, queries and the journal.
        let connections =
            Arc::new(Connections::new(started_at, settings.limits.connections_max, memory_bytes_max / 2));
        let gate = Arc::new(Gate::new(gate::Parts {
            journal: flow.journal.clone(),
            registry: rooms.registry.clone(),
            clock: world.clock.clone(),
            metrics: rooms.metrics.clone(),
            connections,
            diary: diary.clone(),
            rules: rules(&rooms),
            limits: settings.limits.clone(),
            issuers: issuers(settings)?,
            looking: wire::Context::new(keys(&center)?, coordinates(settings)),
        }));
        let declared = Arc::new(Declared::of(settings, center.genesis.country())?);
        let stop = watch::channel(false).0;
        let others =
            Others::open(&rooms, &declared, &flow.journal, &gate.away, hooks(&gate, &flow), &stop, world)?;
        let mut serving = Self {
            listeners: Listeners::new(gate.clone()),
            gate,
            flow,
            rooms,
            tls: Vec::new(),
            stop,
            others,
        };
        serving.listen(world, started_at)?;
        serving.others.meet(&serving.rooms, &serving.stop, world)?;
        let (connections, charters) = (serving.gate.connections.clone(), serving.rooms.charters.clone());
        let (own, seconds) = (center.genesis.center(), settings.peer.drain_s);
        tokio::spawn(drain(connections, charters, own, seconds, serving.stop.subscribe()));
        let shown = declared.clone();
        serving.rooms.metrics.add_gauges(move |gauges| egress_gauges(&shown, gauges));
        let (others, stop) = (serving.others.clone(), serving.stop.subscribe());
        certificates::keep(serving.tls.clone(), &serving.rooms, others, world.clock.clone(), stop);
        if !center.settings.ledger.witnesses.is_empty() {
            let cosigning = Cosigning::new(&center, &declared, serving.rooms.books.clone(), world)?;
            tokio::spawn(cosigning.run(serving.stop.subscribe()));
        } else if serving.rooms.charters.others().is_empty() {
            tracing::warn!(
                "no witness cosigns this center's log, and no other center holds a copy of it: a store that is rolled back together \
                 with ledger.seen would not be noticed (ledger.witnesses)"
            );
        }
        Ok(serving)
    }

    /// Where vehicles and people reach this center: the listener's name and its address.
    pub(crate) fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        self.listeners.addresses()
    }

    /// Reads all certificates anew.
    pub(crate) fn reload_certificates(&self) {
        let (tls, metrics) = (self.tls.clone(), self.rooms.metrics.clone());
        tokio::task::spawn_blocking(move || certificates::reload(&tls, &metrics, true));
    }

    /// Ends in good order: accepts nothing more, lets sessions part with what they are owed, seals what the journal holds and lets
    /// the tables take it.
    pub(crate) async fn drain(self) {
        let Self { gate, flow, rooms, listeners, stop, others, .. } = self;
        listeners.stop();
        gate.connections.nudge_all(Nudge::Shutdown);
        let mut waited = Duration::ZERO;
        while gate.connections.count() > 0 && waited < DRAIN_TIME {
            let step = Duration::from_millis(20);
            tokio::time::sleep(step).await;
            waited += step;
            // One that has just finished its handshake has not heard it yet.
            gate.connections.nudge_all(Nudge::Shutdown);
        }
        stop.send_replace(true);
        let closed = tokio::task::spawn_blocking(move || {
            others.finish();
            let is_sealed = flow.close();
            let is_entered = rooms.books.close();
            drop(rooms);
            is_sealed && is_entered
        });
        match closed.await {
            Ok(true) => tracing::info!("everything is sealed and entered"),
            _ => tracing::warn!(
                "not everything could be sealed and entered; journal and store keep it, and the next start does the rest"
            ),
        }
    }

    fn listen(&mut self, world: &World, started_at: UtcMicros) -> Result<(), AssembleError> {
        let center = self.rooms.center.clone();
        let settings = &center.settings;
        let keys = Arc::new(keys(&center)?);
        if !settings.tesla.listen.is_empty() {
            let tls = self.tls(Protocol::Tesla, Clients::Certified)?;
            self.listeners.open(&settings.tesla.listen, Service::Tesla(tls))?;
        }
        if !settings.gbt32960.listen.is_empty() {
            self.listeners.open(&settings.gbt32960.listen, Service::Gbt32960(keys.clone()))?;
        }
        if !settings.gbt32960.tls_listen.is_empty() {
            let tls = self.tls(Protocol::Gbt32960, Clients::MayBeCertified)?;
            self.listeners.open(&settings.gbt32960.tls_listen, Service::Gbt32960Tls(tls, keys))?;
        }
        let drill = Arc::new(Drill {
            gate: self.gate.clone(),
            journal: self.flow.journal.clone(),
            books: self.rooms.books.clone(),
            others: self.others.clone(),
            charters: self.rooms.charters.clone(),
            own: self.rooms.center.genesis.center(),
            clock: world.clock.clone(),
            newest: Newest::default(),
        });
        let live = Arc::new(View {
            drill,
            gate: self.gate.clone(),
            journal: self.flow.journal.clone(),
            metrics: self.rooms.metrics.clone(),
            rules: rules_of(&self.rooms),
            books: self.rooms.books.clone(),
            listening: self.listeners.addresses().to_vec(),
            started_at,
            bytes_max: settings.journal.bytes_max,
            others: self.others.clone(),
            own: self.rooms.center.genesis.center(),
            charters: self.rooms.charters.clone(),
            clock: world.clock.clone(),
        });
        self.add_gauges();
        let office =
            Arc::new(self.rooms.office(world, Some(live), self.flow.sql(), Some(self.flow.eraser.clone())));
        if !settings.http.listen.is_empty() {
            let tls = self.tls(Protocol::Center, Clients::Anonymous)?;
            self.listeners.open(&settings.http.listen, Service::Http(tls, public_router(office.clone())))?;
        }
        #[cfg(feature = "lake")]
        if let Some(lake) = self.flow.lake().cloned().filter(|_| !settings.postgres.listen.is_empty()) {
            let tls = self.tls(Protocol::Center, Clients::Anonymous)?;
            let postgres = Arc::new(Postgres::new(office.clone(), lake));
            self.listeners.open(&settings.postgres.listen, Service::Postgres(tls, postgres))?;
        }
        let (path, stop) = (Center::socket(&center.folder), self.stop.subscribe());
        tokio::spawn(async move {
            if let Err(error) = serve_socket(&path, private_router(office), stop).await {
                tracing::error!(%error, "the center's socket can't be served; commands can't reach this center");
            }
        });
        Ok(())
    }

    fn tls(&mut self, protocol: Protocol, clients: Clients) -> Result<Arc<Tls>, AssembleError> {
        let center = &self.rooms.center;
        let tesla = &center.settings.tesla;
        let files = TlsFiles {
            certificate: center.folder.join(&tesla.certificate),
            key: center.folder.join(&tesla.key),
            client_ca: client_authorities(center),
            clients,
        };
        let refused = Arc::new(Refused { gate: self.gate.clone(), protocol });
        let tls = Arc::new(Tls::load(files, refused)?);
        self.tls.push(tls.clone());
        Ok(tls)
    }

    fn add_gauges(&self) {
        let (gate, journal) = (self.gate.clone(), self.flow.journal.clone());
        let (books, eraser) = (self.rooms.books.clone(), self.flow.eraser.clone());
        self.rooms.metrics.add_gauges(move |gauges| {
            connection_gauges(&gate, gauges)?;
            journal_gauges(&journal, gauges)?;
            erasure_gauges(&eraser, gauges)?;
            ledger_gauges(&books, gauges)
        });
        #[cfg(feature = "lake")]
        if let Some((tables, pipeline)) = &self.flow.lake {
            let (lake, progress) = (tables.lake.clone(), pipeline.progress.clone());
            let (chores, derivers) = (tables.housekeeper.chores(), tables.derivers.clone());
            self.rooms.metrics.add_gauges(move |gauges| {
                table_gauges(&lake, &progress, gauges)?;
                derived_gauges(&derivers, gauges)?;
                chores_gauges(&chores, gauges)
            });
        }
    }
}

/// What admission is decided by.
fn rules(rooms: &Rooms) -> Rules {
    let settings = &rooms.center.settings.gbt32960;
    Rules {
        country: rooms.center.genesis.country(),
        require_tls: settings.require_tls,
        require_signature: settings.require_signature,
        pack: rooms.packs.in_force().pack.version(),
    }
}

/// As [`rules`], asked anew when the country pack has changed.
fn rules_of(rooms: &Rooms) -> Box<dyn Fn() -> Rules + Send + Sync> {
    let (packs, first) = (rooms.packs.clone(), rules(rooms));
    Box::new(move || Rules { pack: packs.in_force().pack.version(), ..first })
}

fn issuers(settings: &Settings) -> Result<Vec<Issuer>, AssembleError> {
    let read = |issuer: &settings::Issuer| {
        let device_type =
            issuer.device_type.parse().map_err(|error: wire::tesla::certificate::UnknownDeviceType| {
                AssembleError::Setting { setting: "tesla.issuers", problem: error.to_string() }
            })?;
        Ok(Issuer { name: issuer.name.clone(), device_type })
    };
    settings.tesla.issuers.iter().map(read).collect()
}

fn coordinates(settings: &Settings) -> CoordinateSystem {
    match settings.gbt32960.position_2016 {
        settings::Coordinates::Wgs84 => CoordinateSystem::Wgs84,
        settings::Coordinates::Gcj02 => CoordinateSystem::Gcj02,
    }
}

/// The keys of encrypted GB/T 32960 frames, from the file that the settings name.
fn keys(center: &Center) -> Result<Keys, AssembleError> {
    const SETTING: &str = "gbt32960.encryption.keys_file";
    let encryption = &center.settings.gbt32960.encryption;
    let mut keys = Keys::none();
    if encryption.keys_file.is_empty() {
        return Ok(keys);
    }
    let path = center.folder.join(&encryption.keys_file);
    let wrong = |problem: String| AssembleError::Setting { setting: SETTING, problem };
    let text =
        std::fs::read_to_string(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let table: toml::Table = text
        .parse()
        .map_err(|_| wrong(format!("{}: lines of name = \"32 hex digits\" are expected", path.display())))?;
    let mode = match encryption.mode {
        settings::CipherMode::Ecb => Mode::Ecb,
        settings::CipherMode::Cbc => Mode::Cbc { iv: [0; 16] },
    };
    let padding = match encryption.padding {
        settings::Padding::Pkcs7 => Padding::Pkcs7,
        settings::Padding::Zero => Padding::Zero,
        settings::Padding::None => Padding::None,
    };
    // Names and keys stay out of the errors: the line's number is enough to find it.
    for (line, (name, value)) in table.iter().enumerate() {
        let key = value.as_str().and_then(unhex);
        let key = key.ok_or_else(|| {
            wrong(format!("{}: entry {}: 32 hex digits are expected", path.display(), line + 1))
        })?;
        let cipher = Cipher { key, mode, padding };
        match name.parse::<Vin>() {
            Ok(vin) => keys.insert_vehicle(*vin.as_bytes(), cipher),
            Err(_) => keys.insert_platform(cipher),
        }
    }
    Ok(keys)
}

/// Writes refused client certificates into the diary of the vehicle that they name.
struct Refused {
    gate: Arc<Gate>,
    protocol: Protocol,
}

impl RefusedCertificates for Refused {
    fn refused(&self, end_entity: &[u8], reason: &'static str) {
        self.gate.metrics.refused(self.protocol, reason);
        if let Some(vin) = claimed_vin(end_entity) {
            self.gate.diary.stranger(refused_certificate(self.gate.clock.now(), vin, self.protocol, reason));
        }
    }
}
