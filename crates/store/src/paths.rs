//! Names of objects and of the journal's files. No other file of the program spells one.

use std::path::{Path as FilePath, PathBuf};

use model::{CenterName, GatewayName, KeyPeriod, Sequence, UtcMicros, VehicleId};
use object_store::path::Path;

/// The names under one center's prefix.
#[derive(Clone, Debug)]
pub struct Names {
    center: CenterName,
}

impl Names {
    /// The names of this center.
    pub fn new(center: CenterName) -> Self {
        Self { center }
    }

    /// The center.
    pub fn center(&self) -> &CenterName {
        &self.center
    }

    /// The center's genesis document.
    pub fn genesis(&self) -> Path {
        self.under("genesis.json")
    }

    /// The register that says who writes under this prefix.
    pub fn writer(&self) -> Path {
        self.under("writer.json")
    }

    /// The folder of registry changes.
    pub fn controls(&self) -> Path {
        self.under("control")
    }

    /// One registry change: `control/<20 digits>.json`.
    pub fn control(&self, sequence: u64) -> Path {
        self.under(&format!("control/{sequence:020}.json"))
    }

    /// The number of a name that [`Names::control`] made.
    pub fn control_sequence(&self, name: &Path) -> Option<u64> {
        let digits = name.filename()?.strip_suffix(".json")?;
        let sequence = (digits.len() == 20).then(|| digits.parse().ok())??;
        (*name == self.control(sequence)).then_some(sequence)
    }

    /// The folder of batches.
    pub fn batches(&self) -> Path {
        self.under("batch")
    }

    /// The folder of one table, such as `signals`.
    pub fn table(&self, table: &str) -> Path {
        self.under(&format!("lake/{table}"))
    }

    /// The folder of wrapped data keys.
    pub fn keys(&self) -> Path {
        self.under("keyring")
    }

    /// A vehicle's wrapped data key: `keyring/<vehicle>-<period>.key`.
    pub fn key(&self, vehicle: VehicleId, period: KeyPeriod) -> Path {
        self.under(&format!("keyring/{vehicle}-{}.key", period.0))
    }

    fn under(&self, rest: &str) -> Path {
        Path::from(format!("{}/{rest}", self.center))
    }
}

/// What a batch's name says: `<center>/batch/<yyyy>/<mm>/<dd>/<hh>/<gateway>-<last sequence, 20 digits>.parquet`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BatchName {
    /// The center that wrote it.
    pub center: CenterName,
    /// The gateway whose journal it came from.
    pub gateway: GatewayName,
    /// Start of the UTC hour of `received_at` of all its frames.
    pub hour: UtcMicros,
    /// The last sequence in it.
    pub last: Sequence,
}

impl BatchName {
    /// The object's name.
    pub fn path(&self) -> Path {
        let (year, month, day, hour, _, _) = self.hour.civil();
        Path::from(format!(
            "{}/batch/{year:04}/{month:02}/{day:02}/{hour:02}/{}-{:020}.parquet",
            self.center, self.gateway, self.last.0
        ))
    }

    /// Reads a name that [`BatchName::path`] made; `None` for any other.
    pub fn parse(path: &Path) -> Option<Self> {
        let parts: Vec<_> = path.parts().collect();
        let [center, folder, year, month, day, hour, file] = parts.as_slice() else { return None };
        if folder.as_ref() != "batch" {
            return None;
        }
        let (gateway, last) = file.as_ref().strip_suffix(".parquet")?.rsplit_once('-')?;
        let hour = UtcMicros::from_civil(
            year.as_ref().parse().ok()?,
            month.as_ref().parse().ok()?,
            day.as_ref().parse().ok()?,
            hour.as_ref().parse().ok()?,
            0,
            0,
        )?;
        let name = Self {
            center: center.as_ref().parse().ok()?,
            gateway: gateway.parse().ok()?,
            hour,
            last: Sequence(last.parse().ok()?),
        };
        (name.path() == *path).then_some(name)
    }
}

/// The folder of a gateway's journal.
pub(crate) fn journal_folder(journal: &FilePath, gateway: &GatewayName) -> PathBuf {
    journal.join(gateway.as_str())
}

/// The file name of one of a journal's slots.
pub(crate) fn slot_file(slot: u32) -> String {
    format!("{slot:06}.segment")
}

/// The slot of a name that [`slot_file`] made.
pub(crate) fn slot_of_file(name: &str) -> Option<u32> {
    let slot = name.strip_suffix(".segment")?.parse().ok()?;
    (slot_file(slot) == name).then_some(slot)
}

/// The file in the data folder whose lock says that a process has the folder.
pub(crate) const LOCK_FILE: &str = "store.lock";

/// The folder in a local store where files grow until they are complete; cleared at each start.
pub(crate) const STAGING_FOLDER: &str = ".staging";
