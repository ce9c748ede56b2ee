//! A center for tests: real time, real randomness, a store in a temporary folder, a disk that can fail.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, Entropy, Frame, KeyPeriod, Protocol, UtcMicros, VehicleId};
use parking_lot::Mutex;
use policy::{Admission, Admitted, Facts, RegistryVersion, Rules, VehicleFacts, VehicleState};
use tempfile::TempDir;

use crate::faults::FaultyDisk;
use crate::{Error, Identity, Journal, JournalSettings, Release, SealedBatch, Settings, Store, World};

pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(1_700_000_000)
    }

    fn monotonic(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("below a second"))
    }
}

pub(crate) struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        SystemRandom::new().fill(buffer).expect("the system has randomness");
    }
}

/// Ten o'clock of some day.
pub(crate) const TEN: UtcMicros = UtcMicros::from_seconds(1_700_042_400);

pub(crate) fn vehicle(number: u8) -> VehicleId {
    let mut id = *VehicleId::NONE.as_bytes();
    id[16] = b'a' + number;
    VehicleId::from_bytes(&id).expect("a vehicle id")
}

pub(crate) fn admission(vehicle: VehicleId, version: u64) -> Admission {
    let country = "CN".parse().expect("a country");
    let facts = VehicleFacts {
        id: vehicle,
        key: KeyPeriod(0),
        country,
        state: VehicleState::Active,
        iccid: None,
        public_key: None,
        erased_until: None,
    };
    let vin = "LRW3E7FS2RC000001".parse().expect("a VIN");
    policy::admit(&Facts {
        rules: &Rules {
            country,
            require_tls: false,
            require_signature: false,
            pack: "cn-2026.1".parse().expect("a version"),
        },
        version: RegistryVersion(version),
        vin: &vin,
        vehicle: Some(&facts),
        transport: policy::Transport::Tls,
        via: policy::Via::Direct,
        certificate: policy::Certificate::Names(&vin),
        iccid: None,
        signature: policy::Signature::NotApplicable,
        holder: None,
    })
    .expect("the vehicle is admitted")
}

pub(crate) fn admitted(vehicle: VehicleId, received_at: UtcMicros, bytes: &[u8]) -> Admitted<Frame<'_>> {
    admission(vehicle, 1).frame(received_at, Protocol::Tesla, model::ConnectionId(7), bytes)
}

/// What stays when the program stops: the data folder, the journal's disk and the identity.
pub(crate) struct Center {
    pub(crate) folder: TempDir,
    pub(crate) disk: FaultyDisk,
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    pub(crate) journal: JournalSettings,
}

/// A running center.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) sealed: Arc<Mutex<Vec<SealedBatch>>>,
}

/// Set in the disk's log with the last sequence of a batch once that lies in the store.
pub(crate) const SEALED_MARK: u64 = 1 << 63;

impl Center {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            disk: FaultyDisk::default(),
            identity: Identity::generate(),
            settings: Settings { batch_bytes_max: 64 << 10, ..Settings::default() },
            // Absolute, so that the disk's image fits a center in another folder.
            journal: JournalSettings {
                dir: "/journal".to_owned(),
                commit_interval_ms_min: 0,
                bytes_max: 512 << 10,
                ..JournalSettings::default()
            },
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What its store and journal run in.
    pub(crate) fn world(&self) -> World {
        World {
            clock: Arc::new(RealClock),
            entropy: Arc::new(RealEntropy),
            disk: Arc::new(self.disk.clone()),
        }
    }

    pub(crate) fn start(&self) -> Running {
        self.try_start().expect("the center starts")
    }

    pub(crate) fn try_start(&self) -> Result<Running, Error> {
        self.try_start_with(Release::release)
    }

    /// Starts it; `held` takes the right to free each sealed segment.
    pub(crate) fn try_start_with(&self, held: impl Fn(Release) + Send + 'static) -> Result<Running, Error> {
        let center = "shanghai-1".parse().expect("a center");
        let store = Store::open(&self.settings, self.path(), &center, &self.identity, self.world())?;
        let new: Vec<_> = (0..10).map(|number| (vehicle(number), KeyPeriod(0))).collect();
        store.keyring().create_many(&new)?;
        let sealed = Arc::new(Mutex::new(Vec::new()));
        let (into, disk) = (Arc::clone(&sealed), self.disk.clone());
        let on_sealed = Box::new(move |batch: SealedBatch, release: Release| {
            disk.mark(SEALED_MARK | batch.last.0);
            into.lock().push(batch);
            held(release);
        });
        let gateway = "gw".parse().expect("a gateway");
        let journal = store.open_journal(&self.journal, &gateway, on_sealed)?;
        Ok(Running { store, journal, sealed })
    }
}

impl Running {
    /// All frames that lie in batches: sequence and bytes, in the order of the batches.
    pub(crate) fn frames_in_batches(&self) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        for name in self.store.batches().expect("a listing") {
            let batch = self.store.read_batch(&name).expect("a batch");
            let visit = |row: crate::Row<'_>| {
                frames.push((row.sequence.0, row.bytes.expect("its key is there").to_vec()));
                Ok::<_, Error>(())
            };
            batch.for_each(self.store.keyring(), visit).expect("the batch opens");
        }
        frames
    }
}

/// Waits until it holds; a minute at most.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came to pass that {what}");
}
