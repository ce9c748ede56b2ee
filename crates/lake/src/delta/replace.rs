//! Files in the place of others: what compaction and expiry commit, and what of the log may go after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;

use crate::Error;
use crate::delta::action::{Action, Add, Remove};
use crate::delta::log::{version_of_checkpoint, version_of_commit};
use crate::delta::statistics::FileStatistics;
use crate::delta::table::{DeltaTable, millis};
use crate::delta::{Snapshot, checkpoint};

/// A data file that lies in the table's folder and that no commit names yet.
pub(crate) struct WrittenFile {
    /// Its name inside the table's folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) statistics: FileStatistics,
}

/// What takes the place of what.
pub(crate) struct Replacement {
    /// Names of the table's files that leave it.
    pub(crate) removed: Vec<String>,
    pub(crate) added: Vec<WrittenFile>,
    /// Whether rows go with them. `false` where the added files hold all of them.
    pub(crate) data_change: bool,
}

/// Files of a log that a checkpoint stands for.
#[derive(Default)]
pub(crate) struct OldLog {
    /// Commits, oldest first.
    pub(crate) commits: Vec<Path>,
    /// Checkpoints before the newest.
    pub(crate) checkpoints: Vec<Path>,
}

impl DeltaTable {
    /// Commits a replacement on top of a settled snapshot. `false` where the table does not have the files any more or another
    /// process has committed meanwhile: then nothing was changed.
    pub(crate) async fn replace(&mut self, replacement: Replacement) -> Result<bool, Error> {
        let Replacement { removed, added, data_change } = replacement;
        let known: BTreeSet<&str> = self.snapshot.files.iter().map(|file| file.add.path.as_str()).collect();
        if !removed.iter().all(|name| known.contains(name.as_str())) {
            return Ok(false);
        }
        let now = self.clock.now();
        let mut actions = vec![self.commit_info(now, if data_change { "DELETE" } else { "OPTIMIZE" })];
        actions.extend(removed.into_iter().map(|path| Action {
            remove: Some(Remove { path, deletion_timestamp: Some(millis(now)), data_change }),
            ..Action::default()
        }));
        actions.extend(added.into_iter().map(|file| Action {
            add: Some(Add {
                path: file.name,
                partition_values: BTreeMap::new(),
                size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
                modification_time: millis(now),
                data_change,
                stats: Some(file.statistics.to_json()),
            }),
            ..Action::default()
        }));
        // From here on a failure leaves open what took effect.
        self.unsure = true;
        let is_done = self.try_append(&actions).await?;
        if is_done {
            self.unsure = false;
            self.checkpoint_when_due().await;
        }
        Ok(is_done)
    }

    /// Forgets removed files whose objects are gone: no checkpoint names them any more.
    pub(crate) fn forget(&mut self, files: &[String]) {
        let mut next = Snapshot::clone(&self.snapshot);
        let removed = Arc::make_mut(&mut next.removed);
        for file in files {
            removed.remove(file);
        }
        self.snapshot = Arc::new(next);
    }

    /// Writes a checkpoint of the newest version and reads it back: from then on nobody needs the log before it.
    pub(crate) async fn checkpoint_now(&self) -> Result<(), Error> {
        let (store, table) = (self.store.as_ref(), self.table.name());
        checkpoint::write(store, &self.names, &self.snapshot, table).await?;
        let actions = checkpoint::read(store, &self.names, self.snapshot.version, table).await?;
        let mut read = Snapshot::empty();
        read.apply(self.snapshot.version, actions);
        if !read.says_the_same(&self.snapshot) {
            let why = "its checkpoint reads back as another table than was written".to_owned();
            return Err(Error::Damaged { table, version: self.snapshot.version, why });
        }
        Ok(())
    }

    /// What lies in the log before its newest checkpoint.
    pub(crate) async fn old_log(&self) -> Result<OldLog, Error> {
        let mut old = OldLog::default();
        let listed: Vec<_> = self.store.list(Some(self.names.folder())).try_collect().await?;
        let Some(newest) = listed.iter().filter_map(|object| version_of_checkpoint(&object.location)).max()
        else {
            return Ok(old);
        };
        for object in listed {
            let name = object.location;
            if version_of_commit(&name).is_some_and(|version| version < newest) {
                old.commits.push(name);
            } else if version_of_checkpoint(&name).is_some_and(|version| version < newest) {
                old.checkpoints.push(name);
            }
        }
        old.commits.sort_unstable();
        Ok(old)
    }
}
