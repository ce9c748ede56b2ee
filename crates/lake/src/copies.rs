//! The tables of other centers, as far as copies of them lie here: queries read their files beside the center's own.
//!
//! A copy is followed, never written: its snapshot goes on from commit to commit, as they come. Rows that the other center has in no
//! file yet are not here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use model::{CenterName, GatewayName, Sequence, VehicleId};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::{Mutex, RwLock};

use crate::Error;
use crate::delta::{LogNames, Snapshot, read_commit, read_log};
use crate::schema::Table;
use crate::terms::Known;

/// One center's tables.
#[derive(Clone)]
pub(crate) struct CopyTables {
    pub(crate) folders: [Path; 3],
    pub(crate) snapshots: [Arc<Snapshot>; 3],
    /// What is known of their files; names of files are a center's own.
    pub(crate) known: Known,
}

/// The copies that queries read. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Copies(Arc<Shared>);

#[derive(Default)]
struct Asked {
    lessons: Vec<Lesson>,
    /// The writer is gone.
    has_ended: bool,
}

/// A center, and who waits.
type Lesson = (CenterName, SyncSender<Result<(), Error>>);

#[derive(Default)]
struct Shared {
    tables: RwLock<Arc<BTreeMap<CenterName, CopyTables>>>,
    /// Centers whose newest rows the writer is to count as seen, and who waits for it.
    asked: Mutex<Asked>,
}

impl Copies {
    /// As they are now.
    pub(crate) fn all(&self) -> Arc<BTreeMap<CenterName, CopyTables>> {
        self.0.tables.read().clone()
    }

    /// Asks the writer to count a center's newest rows as seen; the answer comes once it has.
    pub(crate) fn ask_to_learn(&self, center: &CenterName) -> Receiver<Result<(), Error>> {
        let (done, learned) = sync_channel(1);
        let mut asked = self.0.asked.lock();
        if !asked.has_ended {
            asked.lessons.push((center.clone(), done));
        }
        drop(asked);
        learned
    }

    /// What the writer was asked.
    pub(crate) fn asked(&self) -> Vec<Lesson> {
        std::mem::take(&mut self.0.asked.lock().lessons)
    }

    /// Nobody learns any more: who waits is told by the end of the channel.
    pub(crate) fn end_learning(&self) {
        *self.0.asked.lock() = Asked { lessons: Vec::new(), has_ended: true };
    }

    /// Up to where all three tables of a center have the frames of a gateway.
    pub(crate) fn progress(&self, center: &CenterName, gateway: &GatewayName) -> Sequence {
        let app_id = format!("{center}/{gateway}");
        self.all().get(center).map_or(Sequence(0), |tables| common(&tables.snapshots, &app_id))
    }

    /// The newest version of each table of a center, to be looked at before it is shown.
    pub(crate) async fn newest(
        &self,
        store: &dyn ObjectStore,
        center: &CenterName,
    ) -> Result<CopyTables, Error> {
        let known = self.all().get(center).cloned();
        let mut tables = known.unwrap_or_else(|| CopyTables {
            folders: Table::ALL.map(|table| table.folder(center)),
            snapshots: Table::ALL.map(|_| Arc::new(Snapshot::empty())),
            known: Known::default(),
        });
        for table in Table::ALL {
            let index = table.index();
            let names = LogNames::new(&tables.folders[index]);
            if let Some(next) = newest(store, &names, table.name(), &tables.snapshots[index]).await? {
                tables.snapshots[index] = Arc::new(next);
            }
        }
        Ok(tables)
    }

    /// Shows a center's tables.
    pub(crate) fn show(&self, center: &CenterName, tables: CopyTables) {
        let mut all = self.0.tables.write();
        let mut next = BTreeMap::clone(&all);
        next.insert(center.clone(), tables);
        *all = Arc::new(next);
    }
}

/// The files of a center's tables that may hold rows of a vehicle, as far as their statistics say, as they stand in the store now.
///
/// # Errors
/// The store's, or a log that is damaged.
pub async fn files_of_vehicle(
    store: &dyn ObjectStore,
    center: &CenterName,
    vehicle: VehicleId,
) -> Result<Vec<Path>, Error> {
    let mut files = Vec::new();
    for table in Table::ALL {
        let folder = table.folder(center);
        let snapshot = read_log(store, &LogNames::new(&folder), table.name()).await?;
        let held = snapshot.files.iter().filter(|file| file.may_hold(vehicle));
        files.extend(held.map(|file| folder.clone().join(file.add.path.as_str())));
    }
    Ok(files)
}

/// Up to where all three tables have the frames of a gateway.
fn common(tables: &[Arc<Snapshot>; 3], app_id: &str) -> Sequence {
    let of = |snapshot: &Arc<Snapshot>| snapshot.transactions.get(app_id).copied().unwrap_or(0);
    let least = tables.iter().map(of).min().unwrap_or(0);
    Sequence(u64::try_from(least).unwrap_or(0))
}

/// The newest version of a table, where it is another than the known one. Commits that are gone are in a checkpoint.
async fn newest(
    store: &dyn ObjectStore,
    names: &LogNames,
    table: &'static str,
    known: &Snapshot,
) -> Result<Option<Snapshot>, Error> {
    let mut next = known.clone();
    while let Some(actions) = read_commit(store, names, next.version + 1, table).await? {
        next.apply(next.version + 1, actions);
    }
    if next.version > known.version {
        return Ok(Some(next));
    }
    let read = read_log(store, names, table).await?;
    Ok((read.version > known.version).then_some(read))
}
