//! Reading a log: the newest checkpoint, then the commits after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use model::VehicleId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Error;
use crate::delta::action::{Action, Add, Metadata, Protocol};
use crate::delta::checkpoint;
use crate::delta::statistics::{Bounds, FileStatistics};

/// A data file of a snapshot.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub(crate) add: Add,
    /// What the log says of its rows.
    pub(crate) statistics: Option<FileStatistics>,
}

/// A data file that left the table, while its object may still lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// When it left, in milliseconds.
    pub(crate) deleted_at: i64,
    /// Whether rows went with it, so that nothing stands for it.
    pub(crate) data_change: bool,
    /// The version that removed it, or, read from a checkpoint, a later one.
    pub(crate) version: i64,
}

/// A table as of one version of its log. Immutable; a commit makes a new one that shares the files.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// −1 for a log that has no commit yet.
    pub(crate) version: i64,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) metadata: Option<Metadata>,
    /// In the order in which they were added.
    pub(crate) files: Vec<Arc<DataFile>>,
    pub(crate) transactions: BTreeMap<String, i64>,
    /// Removed files whose objects may still lie there: a checkpoint names them too.
    pub(crate) removed: Arc<BTreeMap<String, Tombstone>>,
}

impl DataFile {
    /// Whether it may hold rows of a vehicle, as far as its statistics say.
    pub(crate) fn may_hold(&self, vehicle: VehicleId) -> bool {
        match self.statistics.as_ref().and_then(|known| known.bounds.get("vehicle")) {
            Some(Bounds::Text(least, greatest)) => {
                (least.as_str()..=greatest.as_str()).contains(&vehicle.as_str())
            }
            _ => true,
        }
    }
}

impl Snapshot {
    pub(crate) fn empty() -> Self {
        Self {
            version: -1,
            protocol: None,
            metadata: None,
            files: Vec::new(),
            transactions: BTreeMap::new(),
            removed: Arc::default(),
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().filter_map(|file| file.statistics.as_ref()).map(|known| known.rows).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| u64::try_from(file.add.size).unwrap_or(0)).sum()
    }

    /// Whether both name the same files, live and removed, and the same progress of applications.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let paths = |snapshot: &Self| -> BTreeSet<String> {
            snapshot.files.iter().map(|file| file.add.path.clone()).collect()
        };
        self.version == other.version
            && self.metadata == other.metadata
            && self.transactions == other.transactions
            && paths(self) == paths(other)
            && self.removed.keys().eq(other.removed.keys())
    }

    /// Whether a commit up to this version names the data file, be it still the table's or not.
    pub(crate) fn names(&self, file: &str) -> bool {
        // What is asked for is most likely among the newest.
        self.files.iter().rev().any(|known| known.add.path == file) || self.removed.contains_key(file)
    }

    /// The next version, made by these actions.
    pub(crate) fn apply(&mut self, version: i64, actions: impl IntoIterator<Item = Action>) {
        self.version = version;
        let mut gone = BTreeSet::new();
        for action in actions {
            if let Some(protocol) = action.protocol {
                self.protocol = Some(protocol);
            } else if let Some(metadata) = action.meta_data {
                self.metadata = Some(metadata);
            } else if let Some(transaction) = action.txn {
                self.transactions.insert(transaction.app_id, transaction.version);
            } else if let Some(add) = action.add {
                let statistics = add.stats.as_deref().and_then(FileStatistics::from_json);
                self.files.push(Arc::new(DataFile { add, statistics }));
            } else if let Some(remove) = action.remove {
                let tombstone = Tombstone {
                    deleted_at: remove.deletion_timestamp.unwrap_or(0),
                    data_change: remove.data_change,
                    version,
                };
                gone.insert(remove.path.clone());
                Arc::make_mut(&mut self.removed).insert(remove.path, tombstone);
            }
        }
        if !gone.is_empty() {
            self.files.retain(|file| !gone.contains(&file.add.path));
        }
    }
}

/// The log's folder of a table, and its object names.
#[derive(Debug, Clone)]
pub(crate) struct LogNames {
    folder: Path,
}

impl LogNames {
    pub(crate) fn new(table: &Path) -> Self {
        Self { folder: table.clone().join("_delta_log") }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn commit(&self, version: i64) -> Path {
        self.folder.clone().join(format!("{version:020}.json"))
    }

    pub(crate) fn checkpoint(&self, version: i64) -> Path {
        self.folder.clone().join(format!("{version:020}.checkpoint.parquet"))
    }

    pub(crate) fn last_checkpoint(&self) -> Path {
        self.folder.clone().join("_last_checkpoint")
    }
}

/// Reads the log from its newest checkpoint on.
pub(crate) async fn read(
    store: &dyn ObjectStore,
    names: &LogNames,
    table: &'static str,
) -> Result<Snapshot, Error> {
    let listed: Vec<_> = store.list(Some(&names.folder)).try_collect().await?;
    let mut commits = Vec::new();
    let mut checkpoints = Vec::new();
    for object in &listed {
        if let Some(version) = version_of_checkpoint(&object.location) {
            checkpoints.push(version);
        } else if let Some(version) = version_of_commit(&object.location) {
            commits.push(version);
        }
    }
    commits.sort_unstable();
    let mut snapshot = match checkpoints.into_iter().max() {
        Some(version) => {
            let mut snapshot = Snapshot::empty();
            snapshot.apply(version, checkpoint::read(store, names, version, table).await?);
            snapshot
        }
        None => Snapshot::empty(),
    };
    for version in commits {
        if version <= snapshot.version {
            continue;
        }
        if version != snapshot.version + 1 {
            let why = format!("the commits before {version} are missing");
            return Err(Error::Damaged { table, version: snapshot.version + 1, why });
        }
        let actions = read_commit(store, names, version, table).await?;
        snapshot.apply(version, actions.unwrap_or_default());
    }
    Ok(snapshot)
}

/// Reads one commit; `None` where there is none of that version.
pub(crate) async fn read_commit(
    store: &dyn ObjectStore,
    names: &LogNames,
    version: i64,
    table: &'static str,
) -> Result<Option<Vec<Action>>, Error> {
    let bytes = match store.get(&names.commit(version)).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |why: String| Error::Damaged { table, version, why };
    let text = std::str::from_utf8(&bytes).map_err(|error| damaged(error.to_string()))?;
    let actions: Vec<Action> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| damaged(error.to_string())))
        .collect::<Result<_, _>>()?;
    if actions.is_empty() {
        return Err(damaged("it holds no action".to_owned()));
    }
    Ok(Some(actions))
}

/// The version of a commit's name; `None` for any other object.
pub(crate) fn version_of_commit(object: &Path) -> Option<i64> {
    object.filename()?.strip_suffix(".json").and_then(version_of)
}

/// The version of a checkpoint's name; `None` for any other object.
pub(crate) fn version_of_checkpoint(object: &Path) -> Option<i64> {
    object.filename()?.strip_suffix(".checkpoint.parquet").and_then(version_of)
}

fn version_of(digits: &str) -> Option<i64> {
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}
