//! What the interface works on: the opened center, with or without its listeners running.

use std::path::Path;
use std::sync::Arc;

use model::{VehicleId, Vin};
use policy::RegistryVersion;
use registry::Registry;
use store::{OsDisk, Store};

use super::Problem;
use super::query::Sql;
use super::status::LiveView;
use super::vehicles::{ConnectionView, DiaryLine};
use crate::center::{Center, CenterError};
use crate::world::World;

/// Why a center can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfficeError {
    #[error(transparent)]
    Center(#[from] CenterError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

/// A center's durable rooms, opened by the one process that has the folder.
pub(crate) struct Rooms {
    pub(crate) center: Arc<Center>,
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Arc<Registry>,
}

impl Rooms {
    /// Opens a folder's store and registry.
    ///
    /// # Errors
    /// [`store::Error::InUse`] (inside) where another process has the folder, and whatever is wrong with the folder.
    pub(crate) fn open(folder: &Path, world: &World) -> Result<Self, OfficeError> {
        let center = Center::open(folder, world)?;
        let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
        let outside = store::World { clock, entropy, disk: Arc::new(OsDisk) };
        let name = center.genesis.center();
        let store = Store::open(&center.settings.store, folder, &name, &center.identity()?, outside)?;
        center.check_store(store.objects())?;
        let outside =
            registry::World { clock: Arc::clone(&world.clock), entropy: Arc::clone(&world.entropy) };
        let registry = Registry::open(
            &folder.join("registry/registry.sqlite"),
            store.objects().clone(),
            store.names().clone(),
            store.keyring().clone(),
            outside,
        )?;
        Ok(Self { center: Arc::new(center), store: Arc::new(store), registry: Arc::new(registry) })
    }
}

/// What only a serving center knows and does.
pub(crate) trait Live: Send + Sync {
    /// The registry has changed in a way that must hold at once: raises the journal's barrier to this version and lets every
    /// connection ask again whether it may stay. Returns after the barrier.
    fn registry_changed(&self, version: RegistryVersion);

    /// The latest of what somebody who shows or claims this VIN did, oldest first.
    fn diary(&self, vin: &Vin) -> Vec<DiaryLine>;

    /// The connection that holds a vehicle now.
    fn connection(&self, vehicle: VehicleId) -> Option<ConnectionView>;

    /// How connections, journal and store are.
    fn status(&self) -> LiveView;

    /// The metrics in Prometheus's text format.
    fn metrics(&self) -> String;
}

/// What the interface's handlers share.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) center: Arc<Center>,
    pub(crate) registry: Arc<Registry>,
    /// `None` where a command has opened the folder of a center that is not running.
    pub(crate) live: Option<Arc<dyn Live>>,
    /// `None` in a pure gateway.
    pub(crate) sql: Option<Arc<dyn Sql>>,
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
