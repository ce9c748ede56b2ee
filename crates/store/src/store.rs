//! The store as one thing: opened once, by the one process that has the data folder.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{CenterName, Clock, Entropy, GatewayName, KeyPeriod, Sequence, VehicleId};
use object_store::path::Path;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::disk::create_folder_durable;
use crate::journal::JournalOptions;
use crate::paths::{LOCK_FILE, journal_folder};
use crate::sealer::SealTarget;
use crate::{
    Ack, Batch, BatchName, Disk, Error, HeldFrames, Identity, Journal, JournalHands, JournalSettings,
    Keyring, Names, Objects, Register, Release, SealedBatch, Settings, batch,
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

/// Called on the sealing thread with each batch once it lies durably in the store, in order, together with the right to free its
/// segment. It must not block for long.
pub type OnSealed = Box<dyn Fn(SealedBatch, Release) + Send>;

/// A center's durable state.
pub struct Store {
    settings: Settings,
    folder: PathBuf,
    objects: Objects,
    names: Names,
    keyring: Keyring,
    register: Register,
    world: World,
    /// Locked for as long as a store in a folder is open.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store of the data folder `folder` for writing and claims the center's prefix. One process a folder.
    pub fn open(
        settings: &Settings,
        folder: &FilePath,
        center: &CenterName,
        identity: &Identity,
        world: World,
    ) -> Result<Self, Error> {
        let lock = lock(folder)?;
        let objects = Objects::local(&folder.join(local_folder(&settings.url)?))?;
        let store = Self::over_objects(settings, folder, center, identity, world, objects)?;
        Ok(Self { _lock: Some(lock), ..store })
    }

    /// As [`Store::open`], over objects that are no folder; that nobody else has them is the caller's care.
    pub fn over_objects(
        settings: &Settings,
        folder: &FilePath,
        center: &CenterName,
        identity: &Identity,
        world: World,
        objects: Objects,
    ) -> Result<Self, Error> {
        let names = Names::new(center.clone());
        let register =
            Register::claim(&objects, names.writer(), &format!("{center} at {}", world.clock.now()))?;
        let keyring =
            Keyring::new(objects.clone(), names.clone(), identity.clone(), Arc::clone(&world.entropy));
        // Frames about the center itself are sealed like any other.
        match keyring.key(VehicleId::NONE, KeyPeriod::default()) {
            Err(Error::KeyMissing { .. }) => keyring.create(VehicleId::NONE, KeyPeriod::default())?,
            other => other?,
        };
        let (settings, folder) = (settings.clone(), folder.to_owned());
        Ok(Self { settings, folder, objects, names, keyring, register, world, _lock: None })
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
    ///
    /// Fails with [`Error::JournalDamaged`] where the journal holds what no crash leaves, before anything is changed.
    pub fn open_journal(
        &self,
        settings: &JournalSettings,
        gateway: &GatewayName,
        on_sealed: OnSealed,
    ) -> Result<Journal, Error> {
        let (options, target) = self.journal_parts(settings, gateway, on_sealed);
        let sealed = self.batches_after(gateway, Sequence(0))?;
        Journal::open(options, &self.world, target, &sealed)
    }

    /// As [`Store::open_journal`], without threads: what they would do is done with the hands.
    pub fn journal_by_hand(
        &self,
        settings: &JournalSettings,
        gateway: &GatewayName,
        on_sealed: OnSealed,
    ) -> Result<(Journal, JournalHands), Error> {
        let (options, target) = self.journal_parts(settings, gateway, on_sealed);
        let sealed = self.batches_after(gateway, Sequence(0))?;
        Journal::by_hand(options, &self.world, target, &sealed)
    }

    fn journal_parts(
        &self,
        settings: &JournalSettings,
        gateway: &GatewayName,
        on_sealed: OnSealed,
    ) -> (JournalOptions, SealTarget) {
        let age = Duration::from_millis(self.settings.batch_age_ms_max);
        let options = JournalOptions {
            folder: journal_folder(&self.folder.join(&settings.dir), gateway),
            center: self.names.center().clone(),
            gateway: gateway.clone(),
            segment_bytes: self.settings.batch_bytes_max,
            segment_age: match settings.ack {
                Ack::Journal => age,
                Ack::Object => age.min(JournalSettings::OBJECT_AGE),
            },
            bytes_max: settings.bytes_max,
            commit_interval: Duration::from_millis(settings.commit_interval_ms_min),
            ack: settings.ack,
        };
        let target = SealTarget {
            objects: self.objects.clone(),
            keyring: self.keyring.clone(),
            register: self.register.clone(),
            center: self.names.center().clone(),
            gateway: gateway.clone(),
            on_sealed,
        };
        (options, target)
    }

    /// The frames of another center's journal that are held here: by its name and that of its gateway.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn held_frames(&self, center: &CenterName, gateway: &GatewayName) -> Result<HeldFrames, Error> {
        let folder = self.folder.join("held").join(center.as_str()).join(gateway.as_str());
        let file_bytes = usize::try_from(self.settings.batch_bytes_max).unwrap_or(usize::MAX);
        HeldFrames::open(Arc::clone(&self.world.disk), &folder, file_bytes)
    }

    /// The gateways of another center whose frames are, or were, held here.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn held_gateways(&self, center: &CenterName) -> Result<Vec<GatewayName>, Error> {
        let folder = self.folder.join("held").join(center.as_str());
        let names = match self.world.disk.list(&folder) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::disk(format!("listing {}", folder.display()))(error)),
        };
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The gateway's batches with frames after `after`, oldest first.
    pub fn batches_after(&self, gateway: &GatewayName, after: Sequence) -> Result<Vec<BatchName>, Error> {
        let mut batches = self.batches()?;
        batches.retain(|batch| batch.gateway == *gateway && batch.last > after);
        Ok(batches)
    }

    /// All batches of the center, by gateway and oldest first.
    pub fn batches(&self) -> Result<Vec<BatchName>, Error> {
        self.batches_of(self.names.center())
    }

    /// All batches of a center whose copy lies here, by gateway and oldest first.
    pub fn batches_of(&self, center: &CenterName) -> Result<Vec<BatchName>, Error> {
        let found = self.objects.list(&Names::new(center.clone()).batches())?;
        let mut batches: Vec<_> = found.iter().filter_map(|meta| BatchName::parse(&meta.location)).collect();
        batches.sort_unstable_by(|a, b| (&a.gateway, a.last).cmp(&(&b.gateway, b.last)));
        Ok(batches)
    }

    /// Reads a part of the transparency log by its name below the log's folder; `None` where there is none.
    pub fn read_log(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.objects.read(&Path::from(format!("{}/{name}", self.names.ledger())))
    }

    /// Reads a batch.
    pub fn read_batch(&self, name: &BatchName) -> Result<Batch, Error> {
        read_batch(&self.objects, name)
    }
}

pub(crate) fn read_batch(objects: &Objects, name: &BatchName) -> Result<Batch, Error> {
    let path = name.path();
    let bytes = objects.read(&path)?.ok_or_else(|| Error::corrupt(&path, "the batch is gone"))?;
    batch::read(path.as_ref(), bytes)
}

/// The folder of a `file:` address.
fn local_folder(url: &str) -> Result<&str, Error> {
    let folder = url.strip_prefix("file:").filter(|folder| !folder.is_empty());
    folder.ok_or_else(|| Error::Setting {
        setting: "store.url",
        rule: "must be `file:` and a folder".to_owned(),
    })
}

fn lock(folder: &FilePath) -> Result<File, Error> {
    let doing = || format!("locking {}", folder.display());
    create_folder_durable(folder).map_err(Error::disk(doing()))?;
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(Error::disk(doing()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Error::InUse { folder: folder.display().to_string() }),
        Err(error) => Err(Error::disk(doing())(error.into())),
    }
}
