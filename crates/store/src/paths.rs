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

    /// The country key's signature over the genesis document.
    pub fn genesis_signature(&self) -> Path {
        self.under("genesis.sig")
    }

    /// The folder of the country packs that were in force.
    pub fn packs(&self) -> Path {
        self.under("policy")
    }

    /// One pack: `policy/<20 digits>.toml`.
    pub fn pack(&self, sequence: u64) -> Path {
        self.under(&format!("policy/{sequence:020}.toml"))
    }

    /// The folder of the charter's versions.
    pub fn charters(&self) -> Path {
        self.under("charter")
    }

    /// One version of the country's charter: `charter/<20 digits>.note`.
    pub fn charter(&self, version: u64) -> Path {
        self.under(&format!("charter/{version:020}.note"))
    }

    /// The folder of sales, ownership and service records.
    pub fn records(&self) -> Path {
        self.under("records")
    }

    /// One import of records: `records/<20 digits>.parquet`.
    pub fn record(&self, sequence: u64) -> Path {
        self.under(&format!("records/{sequence:020}.parquet"))
    }

    /// The folder of manifests.
    pub fn manifests(&self) -> Path {
        self.under("manifest")
    }

    /// One manifest, which lists what a table commit added and removed: `manifest/<20 digits>.json`.
    pub fn manifest(&self, sequence: u64) -> Path {
        self.under(&format!("manifest/{sequence:020}.json"))
    }

    /// The folder of the transparency log. Names below it are C2SP tlog-tiles's, which the ledger room makes.
    pub fn ledger(&self) -> Path {
        self.under("ledger")
    }

    /// The folder of all tables.
    pub fn tables(&self) -> Path {
        self.under("lake")
    }

    /// The folder of openings.
    pub fn openings(&self) -> Path {
        self.under("opening")
    }

    /// The opening of the ledger's commitment to an object of this center: `opening/<the object's name below the center>`.
    /// `None` for an object of another center.
    pub fn opening(&self, object: &Path) -> Option<Path> {
        let rest = object.as_ref().strip_prefix(self.center.as_str())?.strip_prefix('/')?;
        Some(self.under(&format!("opening/{rest}")))
    }

    /// What an object is, by its name.
    pub fn kind(&self, name: &Path) -> ObjectKind {
        let numbered = |folder: Path, ending: &str, kind: fn(u64) -> ObjectKind| {
            let file = name.prefix_match(&folder)?.next()?;
            let digits = file.as_ref().strip_suffix(ending)?.to_owned();
            let sequence = (digits.len() == 20).then(|| digits.parse().ok())??;
            (*name == folder.join(format!("{sequence:020}{ending}"))).then(|| kind(sequence))
        };
        let whole = [
            (self.genesis(), ObjectKind::Genesis),
            (self.genesis_signature(), ObjectKind::GenesisSignature),
            (self.writer(), ObjectKind::Writer),
        ];
        if let Some((_, kind)) = whole.into_iter().find(|(whole, _)| whole == name) {
            return kind;
        }
        if let Some(batch) = BatchName::parse(name).filter(|batch| batch.center == self.center) {
            return ObjectKind::Batch(batch);
        }
        let numbered = numbered(self.controls(), ".json", ObjectKind::Control)
            .or_else(|| numbered(self.packs(), ".toml", ObjectKind::Pack))
            .or_else(|| numbered(self.charters(), ".note", ObjectKind::Charter))
            .or_else(|| numbered(self.records(), ".parquet", ObjectKind::Record))
            .or_else(|| numbered(self.manifests(), ".json", ObjectKind::Manifest));
        if let Some(kind) = numbered {
            return kind;
        }
        let table = name.prefix_match(&self.tables()).and_then(|mut parts| {
            let table = parts.next()?;
            parts.next().map(|_| table.as_ref().to_owned())
        });
        if let Some(table) = table {
            return ObjectKind::Table(table);
        }
        let below = |folder: Path| name.prefix_matches(&folder) && *name != folder;
        if below(self.openings()) {
            ObjectKind::Opening
        } else if below(self.ledger()) {
            ObjectKind::Ledger
        } else if below(self.keys()) {
            ObjectKind::Key
        } else {
            ObjectKind::Foreign
        }
    }

    fn under(&self, rest: &str) -> Path {
        Path::from(format!("{}/{rest}", self.center))
    }
}

/// What an object of a center is, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// The genesis document.
    Genesis,
    /// Its signature.
    GenesisSignature,
    /// The register that says who writes.
    Writer,
    /// A batch of frames.
    Batch(BatchName),
    /// A registry change, by its number.
    Control(u64),
    /// A country pack, by its number.
    Pack(u64),
    /// A version of the country's charter.
    Charter(u64),
    /// An import of records, by its number.
    Record(u64),
    /// A manifest, by its number.
    Manifest(u64),
    /// Something in the folder of a table, which is named.
    Table(String),
    /// A wrapped data key.
    Key,
    /// The opening of a commitment.
    Opening,
    /// A part of the transparency log.
    Ledger,
    /// Nothing that this program writes.
    Foreign,
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

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::{Names, ObjectKind};

    #[test]
    fn what_an_object_is_shows_in_its_name_alone() {
        let names = Names::new("shanghai-1".parse().expect("a name"));
        let kind = |name: &str| names.kind(&Path::from(name));
        assert_eq!(names.kind(&names.control(7)), ObjectKind::Control(7));
        assert_eq!(names.kind(&names.pack(1)), ObjectKind::Pack(1));
        assert_eq!(names.kind(&names.charter(4)), ObjectKind::Charter(4));
        assert_eq!(names.kind(&names.record(2)), ObjectKind::Record(2));
        assert_eq!(names.kind(&names.manifest(3)), ObjectKind::Manifest(3));
        assert_eq!(names.kind(&names.genesis_signature()), ObjectKind::GenesisSignature);
        assert_eq!(kind("shanghai-1/lake/signals/part-1.parquet"), ObjectKind::Table("signals".to_owned()));
        assert_eq!(kind("shanghai-1/ledger/tile/0/000"), ObjectKind::Ledger);
        let batch = Path::from("shanghai-1/batch/2026/11/24/20/gw-00000000000000000042.parquet");
        assert!(matches!(names.kind(&batch), ObjectKind::Batch(name) if name.last.0 == 42));
        let opening = names.opening(&batch).expect("an object of this center");
        assert_eq!(names.kind(&opening), ObjectKind::Opening);
        for foreign in [
            "shanghai-1/control/7.json",
            "shanghai-1/control/x/y",
            "beijing-1/genesis.json",
            "shanghai-1/lake/x",
        ] {
            assert_eq!(kind(foreign), ObjectKind::Foreign, "{foreign}");
        }
    }
}
