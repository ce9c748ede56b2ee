//! The store as one thing: opened once by the one process that has the data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{CenterName, Clock, Entropy, GatewayName, Sequence};

use crate::{
    Batch, BatchName, Disk, Error, Identity, Journal, JournalSettings, Keyring, Names, Objects, SealedBatch, Settings,
};

/// What the store takes from the outside world.
#[derive(Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for keys.
    pub entropy: Arc<dyn Entropy>,
    /// The disk under the journal.
    pub disk: Arc<dyn Disk>,
}

/// Called on the sealing thread with each batch once it lies durably in the store, in order. It must not block for long.
pub type OnSealed = Box<dyn Fn(&SealedBatch) + Send>;

/// A center's durable state.
pub struct Store {
    objects: Objects,
    names: Names,
    keyring: Keyring,
    _world: World,
    _folder: PathBuf,
}

impl Store {
    /// Opens the store of the data folder `folder` for writing and claims the center's prefix. One process a folder.
    pub fn open(
        settings: &Settings,
        folder: &Path,
        center: &CenterName,
        identity: &Identity,
        world: World,
    ) -> Result<Self, Error> {
        let _ = (settings, folder, center, identity, world);
        unimplemented!()
    }

    /// The objects, for control entries and the like.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The names under the center's prefix.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The vehicles' data keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Opens a gateway's journal: recovers what lies there, starts its threads, seals what was recovered.
    pub fn open_journal(
        &self,
        settings: &JournalSettings,
        gateway: &GatewayName,
        on_sealed: OnSealed,
    ) -> Result<Journal, Error> {
        let _ = (settings, gateway, on_sealed);
        unimplemented!()
    }

    /// The gateway's batches with frames after `after`, oldest first.
    pub fn batches_after(&self, gateway: &GatewayName, after: Sequence) -> Result<Vec<BatchName>, Error> {
        let _ = (gateway, after);
        unimplemented!()
    }

    /// All batches of the center, oldest first within a gateway.
    pub fn batches(&self) -> Result<Vec<BatchName>, Error> {
        unimplemented!()
    }

    /// Reads a batch.
    pub fn read_batch(&self, name: &BatchName) -> Result<Batch, Error> {
        let _ = name;
        unimplemented!()
    }
}
