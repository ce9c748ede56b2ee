//! What the interface works on: the opened center, with or without its listeners running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::{Book, Ledger};
use model::{VehicleId, Vin};
use policy::{Access, RegistryVersion};
use registry::Registry;
use store::{OsDisk, Store};

use super::Problem;
use super::centers::{CopyView, DrillView, MissingView, ReceiptView};
use super::query::Sql;
use super::status::LiveView;
use super::vehicles::{ConnectionView, DiaryLine};
use crate::bookkeeping::{Bookkeeper, Seen};
use crate::center::{Center, CenterError, Packs};
use crate::charter::Charters;
use crate::erasure::Eraser;
use crate::observe::Metrics;
use crate::world::World;

/// Why a center can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfficeError {
    /// Boxed, because it is much larger than the others.
    #[error(transparent)]
    Center(Box<CenterError>),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error("{}: {what}", path.display())]
    Access { path: PathBuf, what: String },
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    #[error(
        "the log in the store is not the one that this center last published (checkpoint of size {size} in {}): {what}. The store was \
         rolled back or exchanged; nothing is signed on top of it. Bring the newest store back, or ask the cosigners what they saw",
        path.display()
    )]
    RolledBack { path: PathBuf, size: u64, what: String },
}

impl From<CenterError> for OfficeError {
    fn from(error: CenterError) -> Self {
        Self::Center(Box::new(error))
    }
}

/// A center's durable rooms, opened by the one process that has the folder.
pub(crate) struct Rooms {
    pub(crate) center: Arc<Center>,
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) charters: Arc<Charters>,
    pub(crate) access: Arc<Access>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) books: Arc<Bookkeeper>,
}

impl Rooms {
    /// Opens a folder's store, ledger and registry. A center from before the ledger is adopted.
    ///
    /// # Errors
    /// [`store::Error::InUse`] (inside) where another process has the folder, and whatever is wrong with the folder.
    pub(crate) fn open(folder: &Path, world: &World) -> Result<Self, OfficeError> {
        let rooms = Self::open_to_serve(folder, world)?;
        if rooms.center.settings.ledger.witnesses.is_empty() {
            rooms.books.book().ledger().allow(None)?;
        }
        Ok(rooms)
    }

    /// As [`Rooms::open`], but that nothing is signed where other centers can be asked first what they hold of the log.
    ///
    /// # Errors
    /// As [`Rooms::open`].
    pub(crate) fn open_to_serve(folder: &Path, world: &World) -> Result<Self, OfficeError> {
        let center = Center::open(folder, world)?;
        let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
        let outside = store::World { clock, entropy, disk: Arc::new(OsDisk) };
        let name = center.genesis.center();
        let store = Store::open(&center.settings.store, folder, &name, &center.identity()?, outside)?;
        let center = center.adopt(store.objects(), world)?;
        center.check_store(store.objects())?;
        let metrics = Arc::new(Metrics::new());
        let ledger = Ledger::open(ledger_parts(&center, &store, world)?)?;
        let (book, seen) = open_book(&center, &store, world, ledger)?;
        let (clock, keyring) = (Arc::clone(&world.clock), store.keyring().clone());
        let books = Bookkeeper::start(book, seen, clock, metrics.clone(), keyring);
        Self::over(center, store, books.map_err(OfficeError::Thread)?, metrics, world)
    }

    /// As [`Rooms::open`] over another store, without threads: what they would do is done with the hands.
    #[cfg(test)]
    pub(crate) fn by_hand(
        center: Center,
        store: Store,
        world: &World,
    ) -> Result<(Self, crate::bookkeeping::Worker, ledger::LedgerHands), OfficeError> {
        center.check_store(store.objects())?;
        let metrics = Arc::new(Metrics::new());
        let (ledger, hands) = Ledger::by_hand(ledger_parts(&center, &store, world)?)?;
        let (book, seen) = open_book(&center, &store, world, ledger)?;
        let (clock, keyring) = (Arc::clone(&world.clock), store.keyring().clone());
        let (books, worker) = Bookkeeper::by_hand(book, seen, clock, metrics.clone(), keyring);
        Ok((Self::over(center, store, books, metrics, world)?, worker, hands))
    }

    fn over(
        center: Center,
        store: Store,
        books: Bookkeeper,
        metrics: Arc<Metrics>,
        world: &World,
    ) -> Result<Self, OfficeError> {
        let books = Arc::new(books);
        let packs = Packs::open(&center, store.objects(), books.on_recorded())?;
        let charters = Charters::open(&center, store.objects(), books.on_recorded())?;
        metrics.decide_by(packs.in_force().pack.version());
        let access = open_access(&center.folder)?;
        let outside =
            registry::World { clock: Arc::clone(&world.clock), entropy: Arc::clone(&world.entropy) };
        let told = books.on_recorded();
        let registry = Registry::open(
            &center.folder.join("registry/registry.sqlite"),
            store.objects().clone(),
            store.names().clone(),
            store.keyring().clone(),
            outside,
            Some(Box::new(move |_| told())),
        )?;
        // What a crash left unentered.
        books.on_recorded()();
        Ok(Self {
            center: Arc::new(center),
            store: Arc::new(store),
            registry: Arc::new(registry),
            packs: Arc::new(packs),
            charters: Arc::new(charters),
            access: Arc::new(access),
            metrics,
            books,
        })
    }

    /// What the interface's handlers share, for these rooms.
    pub(crate) fn office(
        &self,
        world: &World,
        live: Option<Arc<dyn Live>>,
        sql: Option<Arc<dyn Sql>>,
        eraser: Option<Arc<Eraser>>,
    ) -> Office {
        Office {
            world: world.clone(),
            center: self.center.clone(),
            store: self.store.clone(),
            registry: self.registry.clone(),
            packs: self.packs.clone(),
            charters: self.charters.clone(),
            access: self.access.clone(),
            books: self.books.clone(),
            live,
            sql,
            eraser,
        }
    }
}

fn ledger_parts(center: &Center, store: &Store, world: &World) -> Result<ledger::Parts, CenterError> {
    Ok(ledger::Parts {
        objects: store.objects().clone(),
        folder: store.names().ledger(),
        key: center.log_key()?,
        clock: Arc::clone(&world.clock),
        owner: format!("{} at {}", store.names().center(), world.clock.now()),
        publish_at_once: center.settings.ledger.quorum == 0,
    })
}

/// Opens the book of a ledger that is the one which was seen last. A center that is alone and without witnesses has nobody to ask what was
/// seen of the log, and signs at once.
fn open_book(
    center: &Center,
    store: &Store,
    world: &World,
    ledger: Ledger,
) -> Result<(Book, Seen), OfficeError> {
    let seen = Seen::of(&center.folder);
    seen.check(&ledger, &center.genesis.log_key())?;
    let (objects, names) = (store.objects().clone(), store.names().clone());
    let is_alone = objects.list(&names.charters())?.is_empty();
    if center.settings.ledger.witnesses.is_empty() && is_alone {
        ledger.allow(None)?;
    }
    let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
    Ok((Book::open(ledger, objects, names, clock, entropy)?, seen))
}

fn open_access(folder: &Path) -> Result<Access, OfficeError> {
    let path = folder.join("policy/access.cedar");
    let wrong = |what: String| OfficeError::Access { path: path.clone(), what };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    Access::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// What only a serving center knows and does.
pub(crate) trait Live: Send + Sync {
    /// The registry has changed in a way that must hold at once: raises the journal's barrier to this version and lets every
    /// connection ask again whether it may stay. Returns after the barrier.
    fn registry_changed(&self, version: RegistryVersion);

    /// Another country pack is in force: decisions from now on are taken by it and name it.
    fn pack_changed(&self);

    /// Drops what is remembered of a VIN: it was erased.
    fn forget(&self, vin: &Vin);

    /// The latest of what somebody who shows or claims this VIN did, oldest first.
    fn diary(&self, vin: &Vin) -> Vec<DiaryLine>;

    /// The connection that holds a vehicle now.
    fn connection(&self, vehicle: VehicleId) -> Option<ConnectionView>;

    /// How connections, journal and store are.
    fn status(&self) -> LiveView;

    /// What this center holds of others, and what others say that they hold of it.
    fn copies(&self) -> (Vec<CopyView>, Vec<ReceiptView>);

    /// Begins a drill of so many seconds. Called inside the runtime.
    ///
    /// # Errors
    /// Where one goes on already, or where vehicles could go nowhere.
    fn begin_drill(&self, seconds: u32) -> Result<DrillView, Problem>;

    /// The newest drill.
    fn drill(&self) -> Option<DrillView>;

    /// Which centers' rows may be missing in what queries over all centers answer, and from when on.
    fn missing(&self) -> Vec<MissingView>;

    /// The metrics in Prometheus's text format.
    fn metrics(&self) -> String;
}

/// What the interface's handlers share.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) center: Arc<Center>,
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) charters: Arc<Charters>,
    pub(crate) access: Arc<Access>,
    pub(crate) books: Arc<Bookkeeper>,
    /// `None` where a command has opened the folder of a center that is not running.
    pub(crate) live: Option<Arc<dyn Live>>,
    /// `None` in a pure gateway.
    pub(crate) sql: Option<Arc<dyn Sql>>,
    /// `None` where a command has opened the registry alone.
    pub(crate) eraser: Option<Arc<Eraser>>,
}

impl Office {
    /// Runs what blocks on the disk on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let office = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&office)).await {
            Ok(result) => result,
            Err(_) => {
                Err(Problem::unavailable("the center failed while it worked on this; its log says more"))
            }
        }
    }

    /// Makes a change hold for connections that are there already.
    pub(super) fn changed(&self, version: RegistryVersion) {
        if let Some(live) = &self.live {
            live.registry_changed(version);
        }
    }
}
