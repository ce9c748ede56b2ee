//! The tables of other centers, as far as copies of them lie here: queries read their files beside the center's own.
//!
//! A copy is followed, never written: its snapshot goes on from commit to commit, as they come. Rows that the other center has in no
//! file yet are not here.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{CenterName, GatewayName, Sequence};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::RwLock;

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
pub(crate) struct Copies(Arc<RwLock<Arc<BTreeMap<CenterName, CopyTables>>>>);

impl Copies {
    /// As they are now.
    pub(crate) fn all(&self) -> Arc<BTreeMap<CenterName, CopyTables>> {
        self.0.read().clone()
    }

    /// Up to where all three tables of a center have the frames of a gateway.
    pub(crate) fn progress(&self, center: &CenterName, gateway: &GatewayName) -> Sequence {
        let app_id = format!("{center}/{gateway}");
        let all = self.all();
        let of = |snapshot: &Arc<Snapshot>| {
            let version = snapshot.transactions.get(&app_id).copied().unwrap_or(0);
            Sequence(u64::try_from(version).unwrap_or(0))
        };
        let held = all.get(center).map(|tables| tables.snapshots.each_ref().map(of));
        let held = held.unwrap_or([Sequence(0); 3]);
        let [least, most] =
            [held.iter().min(), held.iter().max()].map(|held| held.copied().unwrap_or(Sequence(0)));
        if least < most {
            tracing::warn!(
                %center, %gateway, %least, %most,
                "its tables end at different frames: rows of those between may show twice where a table is ahead"
            );
        }
        least
    }

    /// Goes on to the newest version of each table of a center.
    pub(crate) async fn follow(&self, store: &dyn ObjectStore, center: &CenterName) -> Result<(), Error> {
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
        let mut all = self.0.write();
        let mut next = BTreeMap::clone(&all);
        next.insert(center.clone(), tables);
        *all = Arc::new(next);
        Ok(())
    }
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
