//! Housekeeping of the tables: small files become few sorted ones, rows whose term is over leave, and what nobody needs any more
//! is named for deletion.
//!
//! There is one [`Maintenance`] a lake, and a run borrows it, so two can't run at once. It reads and writes data files beside
//! the writer of new rows, and takes that writer's turn (a table's lock) only for a commit. Nobody else removes files from a table,
//! so what was planned still holds when it is committed. A step that a crash or an error cuts leaves at most a file that no commit
//! names; its name begins as no other's does, and the next run deletes it.

mod plan;
mod pool;
mod rewrite;
mod run;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use model::Clock;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use crate::Error;
use crate::columns::Names;
use crate::delta::{
    DataFile, DeltaTable, FileStatistics, Replacement, Snapshot, WrittenFile, version_of_commit,
};
use crate::erased::{Erased, ErasureSource};
use crate::schema::Table;
use crate::tail::Tail;
use crate::terms::{Contents, Cutoffs, Known, SignalClasses, TermSource};
use crate::threads::Threads;
use rewrite::{Context, Rewritten};

pub(crate) use plan::Sizes;
pub use plan::Urgency;
pub use run::{Books, Done, Work};

/// How a name of a file begins that maintenance has written. A gateway's name can't have a dot.
pub(crate) const NAME_START: &str = "sorted.";

/// How long a file stays that others have taken the place of: a query that runs longer than this fails, and its reader asks again.
const GRACE_TIME: Duration = Duration::from_secs(3_600);

/// How often, and how long apart, a table is asked for while its writer is between a commit and showing it. That takes the writer
/// milliseconds, but where the store fails it lasts until it answers again; then the step is for the next time.
const TURNS_MAX: u32 = 50;
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// Commits before a checkpoint are deleted when there are so many, expiry aside: each open lists them.
const OLD_COMMITS_MAX: usize = 1_000;

/// What a step has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: &'static str,
    /// Files that left it.
    pub files_removed: u64,
    /// Files that came.
    pub files_added: u64,
    /// Rows read. Of files that left unread, what their statistics say.
    pub rows: u64,
    /// Rows whose term was over.
    pub expired: u64,
    /// Rows that were erased.
    pub erased: u64,
    /// Rows that were there twice.
    pub doubled: u64,
    /// Size of the files that left.
    pub bytes_before: u64,
    /// Size of the files that came.
    pub bytes_after: u64,
}

/// Objects that may be deleted, once the books say so.
#[derive(Default)]
struct Deletable {
    /// Data files whose rows are gone: to be destroyed at once.
    expired: Vec<Path>,
    /// Data files that others stand for.
    replaced: Vec<Path>,
}

/// Rewrites, expires and cleans the tables. Its methods block: call them on a thread of their own, outside the async runtime.
pub struct Maintenance {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) terms: Arc<dyn TermSource>,
    pub(crate) erasures: Arc<dyn ErasureSource>,
    pub(crate) classes: Arc<SignalClasses>,
    pub(crate) names: Arc<Names>,
    pub(crate) known: Known,
    pub(crate) tail: Arc<Tail>,
    pub(crate) tables: Arc<[Mutex<DeltaTable>; 3]>,
    pub(crate) folders: [Path; 3],
    pub(crate) threads: Arc<Threads>,
    /// Tables from which rows have left since their log was cleaned.
    pub(crate) has_expired: [bool; 3],
    pub(crate) sizes: Sizes,
    /// Sorted files by name that can't be cut by vehicle: they turned out not to be sorted.
    pub(crate) unsliced: [HashSet<String>; 3],
}

impl Maintenance {
    /// The tables' names.
    fn tables(&self) -> [&'static str; 3] {
        Table::ALL.map(Table::name)
    }

    /// Puts a group of small files together. `None` where none is to be.
    fn compact(&mut self, urgency: Urgency) -> Result<Option<Step>, Error> {
        for table in Table::ALL {
            let now = self.clock.now();
            let snapshot = self.settled(table)?;
            if let Some(files) = plan::compaction(&snapshot, now, urgency, &self.sizes).into_iter().next() {
                let cutoffs = self.terms.terms().cutoffs(now);
                return self.rewrite(table, &snapshot, &files, &cutoffs).map(Some);
            }
        }
        Ok(None)
    }

    /// Sets how many rows are sorted at a time, and with it how large files become: two million, unless little memory is to be used.
    pub fn set_rows_max(&mut self, rows: u64) {
        self.sizes.rows_max = rows.max(1);
    }

    /// Cuts some sorted files by vehicle. `None` where none are to be.
    fn slice(&mut self, urgency: Urgency) -> Result<Option<Step>, Error> {
        for table in Table::ALL {
            let now = self.clock.now();
            let snapshot = self.settled(table)?;
            let unsliced = &self.unsliced[table.index()];
            let Some(files) = plan::slicing(&snapshot, now, urgency, &self.sizes, unsliced) else { continue };
            let erased = self.erasures.erased();
            let cutoffs = self.terms.terms().cutoffs(now);
            let slices = self.threads.block_on(self.context(table, &erased).slices(&files, &self.sizes))?;
            let slices = match slices {
                Ok(slices) => slices,
                Err(unsliceable) => {
                    self.unsliced[table.index()].extend(unsliceable);
                    continue;
                }
            };
            let mut step = step_of(table, &files);
            let mut added = Vec::new();
            for (index, slice) in slices.iter().enumerate() {
                let context = self.context(table, &erased);
                let written = self.threads.block_on(context.rewrite_slice(&files, slice, &cutoffs))?;
                let Rewritten { file, contents, rows, expired, erased, doubled } = written;
                step.rows += rows;
                step.expired += expired;
                step.erased += erased;
                step.doubled += doubled;
                let name = format!("{NAME_START}{:020}-{index:04}.parquet", snapshot.version);
                added.extend(self.put(table, name, file, contents, &mut step)?);
            }
            self.replace(table, &files, added, step.expired + step.erased > 0)?;
            return Ok(Some(step));
        }
        Ok(None)
    }

    /// Takes rows whose term is over out of some files of a table, or the files. `None` where there are none.
    fn expire(&mut self, urgency: Urgency) -> Result<Option<Step>, Error> {
        for table in Table::ALL {
            let cutoffs = self.terms.terms().cutoffs(self.clock.now());
            let snapshot = self.settled(table)?;
            let known = &self.known[table.index()];
            let mut expiry = plan::expiry(table, &snapshot, known, &cutoffs, urgency, &self.sizes);
            if !expiry.unknown.is_empty() {
                let erased = self.erasures.erased();
                for file in &expiry.unknown {
                    let contents = self.threads.block_on(self.context(table, &erased).contents(file))?;
                    known.learn(&file.add.path, contents);
                }
                expiry = plan::expiry(table, &snapshot, known, &cutoffs, urgency, &self.sizes);
            }
            if !expiry.gone.is_empty() {
                expiry.gone.truncate(plan::FILES_MAX);
                return self.take_out(table, &expiry.gone).map(Some);
            }
            for files in expiry.partly {
                let step = self.rewrite(table, &snapshot, &files, &cutoffs)?;
                if step.files_removed > 0 {
                    return Ok(Some(step));
                }
            }
        }
        Ok(None)
    }

    /// Takes rows of open erasures out of some files of a table. `None` where no file holds any. `without` are files that were
    /// looked into; files of different tables may have one name.
    fn erase(&mut self, without: &mut HashSet<(Table, String)>) -> Result<Option<Step>, Error> {
        let erased = self.erasures.erased();
        for table in Table::ALL {
            let snapshot = self.settled(table)?;
            let mut holding = Vec::new();
            for file in snapshot.files.iter().filter(|file| erased.may_lie_in(file)) {
                let named = (table, file.add.path.clone());
                if without.contains(&named) {
                    continue;
                }
                if self.threads.block_on(self.context(table, &erased).holds_erased(file))? {
                    holding.push(file.clone());
                } else {
                    without.insert(named);
                }
            }
            let cutoffs = self.terms.terms().cutoffs(self.clock.now());
            if let Some(files) = plan::together(holding, &self.sizes).into_iter().next() {
                return self.rewrite(table, &snapshot, &files, &cutoffs).map(Some);
            }
        }
        Ok(None)
    }

    /// What of a table may be deleted. `entered` is the last version of it that the books have for good; `grace` for how long a
    /// file stays that others stand for.
    fn deletable(&self, table: &str, entered: i64, grace: Duration) -> Result<Deletable, Error> {
        let Some(table) = named(table) else { return Ok(Deletable::default()) };
        let snapshot = self.settled(table)?;
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let until = self.clock.now().0.div_euclid(1_000).saturating_sub(grace);
        let mut deletable = Deletable::default();
        for (name, tombstone) in snapshot.removed.iter().filter(|(_, gone)| gone.version <= entered) {
            let object = self.folders[table.index()].clone().join(name.as_str());
            if tombstone.data_change {
                deletable.expired.push(object);
            } else if tombstone.deleted_at <= until {
                deletable.replaced.push(object);
            }
        }
        Ok(deletable)
    }

    /// The newest version of a table.
    fn version(&self, table: &str) -> Result<i64, Error> {
        named(table).map_or(Ok(-1), |table| Ok(self.settled(table)?.version))
    }

    /// Whether an object lies in the store.
    fn is_there(&self, object: &Path) -> Result<bool, Error> {
        match self.threads.block_on(self.store.head(object)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Is told that objects of [`Self::deletable`] are deleted.
    fn deleted(&self, table: &str, objects: &[Path]) {
        let Some(table) = named(table) else { return };
        let names: Vec<String> =
            objects.iter().filter_map(|object| object.filename()).map(str::to_owned).collect();
        self.tables[table.index()].lock().forget(&names);
    }

    /// The commits of a table's log that are to be deleted, up to the last version that the books have: a checkpoint, which this
    /// writes, stands for them. Empty where rows have not left and they are few.
    fn old_commits(&self, table: &str, entered: i64) -> Result<Vec<Path>, Error> {
        let Some(table) = named(table) else { return Ok(Vec::new()) };
        let tables = self.tables.clone();
        let delta = tables[table.index()].lock();
        let is_due = self.has_expired[table.index()];
        let newest = delta.snapshot().version;
        if newest < 1 || (!is_due && self.commits(table)? <= OLD_COMMITS_MAX as u64) {
            return Ok(Vec::new());
        }
        self.threads.block_on(delta.checkpoint_now())?;
        let old = self.threads.block_on(delta.old_log())?;
        drop(delta);
        for checkpoint in &old.checkpoints {
            self.delete(checkpoint)?;
        }
        let is_entered = |commit: &Path| version_of_commit(commit).is_some_and(|version| version <= entered);
        Ok(old.commits.into_iter().filter(is_entered).collect())
    }

    /// Is told that the commits of [`Self::old_commits`] are deleted.
    fn cleaned(&mut self, table: &str) {
        if let Some(table) = named(table) {
            self.has_expired[table.index()] = false;
        }
    }

    /// Deletes files that an earlier step wrote and did not commit; gives their number. No other program writes such names, and
    /// no step of this one is under way.
    fn sweep(&mut self) -> Result<u64, Error> {
        let mut swept = 0;
        for table in Table::ALL {
            let snapshot = self.settled(table)?;
            for object in self.listed(&self.folders[table.index()])? {
                let name = object.filename().unwrap_or_default();
                let is_child = object.parts_count() == self.folders[table.index()].parts_count() + 1;
                if is_child && name.starts_with(NAME_START) && !snapshot.names(name) {
                    self.delete(&object)?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    /// Writes what is left of files in order, and commits it in their place.
    fn rewrite(
        &mut self,
        table: Table,
        snapshot: &Snapshot,
        files: &[Arc<DataFile>],
        cutoffs: &Cutoffs,
    ) -> Result<Step, Error> {
        let open = self.erasures.erased();
        let Rewritten { file, contents, rows, expired, erased, doubled } =
            self.threads.block_on(self.context(table, &open).rewrite(files, cutoffs))?;
        let mut step = Step { rows, expired, erased, doubled, ..step_of(table, files) };
        if files.len() == 1 && expired + erased + doubled == 0 {
            // Its statistics are wider than its rows.
            for file in files {
                self.known[table.index()].learn(&file.add.path, contents);
            }
            return Ok(Step { files_removed: 0, bytes_before: 0, ..step });
        }
        // The version that it was made from makes the name this commit's own: the commit is a later one.
        let is_slice = files.len() == 1 && files.iter().all(|file| plan::is_slice(&file.add.path));
        let ending = if is_slice { "-0000" } else { "" };
        let name = format!("{NAME_START}{:020}{ending}.parquet", snapshot.version);
        let added = self.put(table, name, file, contents, &mut step)?;
        self.replace(table, files, added.into_iter().collect(), expired + erased > 0)?;
        Ok(step)
    }

    /// Writes a file that no commit names yet; `None` where no row is left for it.
    fn put(
        &self,
        table: Table,
        name: String,
        file: Option<(Bytes, FileStatistics)>,
        contents: Contents,
        step: &mut Step,
    ) -> Result<Option<WrittenFile>, Error> {
        let Some((bytes, statistics)) = file else { return Ok(None) };
        let length = bytes.len() as u64;
        step.files_added += 1;
        step.bytes_after += length;
        let object = self.folders[table.index()].clone().join(name.as_str());
        self.threads.block_on(self.store.put(&object, bytes.into()))?;
        self.known[table.index()].learn(&name, contents);
        Ok(Some(WrittenFile { name, bytes: length, statistics }))
    }

    /// Commits that files of which no row is left leave the table.
    fn take_out(&mut self, table: Table, files: &[Arc<DataFile>]) -> Result<Step, Error> {
        self.replace(table, files, Vec::new(), true)?;
        let rows = files.iter().filter_map(|file| file.statistics.as_ref()).map(|known| known.rows).sum();
        Ok(Step { rows, expired: rows, ..step_of(table, files) })
    }

    fn replace(
        &mut self,
        table: Table,
        files: &[Arc<DataFile>],
        added: Vec<WrittenFile>,
        data_change: bool,
    ) -> Result<(), Error> {
        let removed: Vec<String> = files.iter().map(|file| file.add.path.clone()).collect();
        // Also after a commit whose outcome is unknown the log is to be cleaned.
        self.has_expired[table.index()] |= data_change;
        let replacement = Replacement { removed: removed.clone(), added, data_change };
        let is_done = self.in_turn(table, |threads, delta| threads.block_on(delta.replace(replacement)))?;
        if !is_done {
            return Err(Error::Contended { table: table.name(), tries: 1 });
        }
        removed.iter().for_each(|name| self.known[table.index()].forget(name));
        Ok(())
    }

    /// The newest snapshot of a table, which queries see too.
    fn settled(&self, table: Table) -> Result<Arc<Snapshot>, Error> {
        self.in_turn(table, |_, delta| Ok(delta.snapshot().clone()))
    }

    /// Does something in the writer's turn, between two of its commits, and lets queries see it.
    fn in_turn<T>(
        &self,
        table: Table,
        act: impl FnOnce(&Threads, &mut DeltaTable) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..TURNS_MAX {
            let mut delta = self.tables[table.index()].lock();
            self.threads.block_on(delta.settle())?;
            if self.tail.show(table, delta.snapshot()) {
                let done = act(&self.threads, &mut delta)?;
                self.tail.show(table, delta.snapshot());
                return Ok(done);
            }
            drop(delta);
            std::thread::sleep(TURN_PAUSE);
        }
        Err(Error::Busy { table: table.name() })
    }

    fn context<'a>(&'a self, table: Table, erased: &'a Erased) -> Context<'a> {
        Context {
            erased,
            table,
            store: self.store.as_ref(),
            folder: &self.folders[table.index()],
            names: &self.names,
            classes: &self.classes,
        }
    }

    fn listed(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        let listed: Vec<_> = self.threads.block_on(self.store.list(Some(folder)).try_collect())?;
        Ok(listed.into_iter().map(|object| object.location).collect())
    }

    /// How many commits lie in a table's log.
    fn commits(&self, table: Table) -> Result<u64, Error> {
        let listed = self.listed(&self.folders[table.index()].clone().join("_delta_log"))?;
        Ok(listed.iter().filter(|object| version_of_commit(object).is_some()).count() as u64)
    }

    fn delete(&self, object: &Path) -> Result<(), Error> {
        match self.threads.block_on(self.store.delete(object)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How many files of a table wait to be put together.
pub(crate) fn waiting(snapshot: &Snapshot, now: model::UtcMicros) -> u64 {
    plan::compaction(snapshot, now, Urgency::Due, &Sizes::default())
        .iter()
        .map(|group| group.len() as u64)
        .sum()
}

fn step_of(table: Table, files: &[Arc<DataFile>]) -> Step {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.add.path.as_str()).collect();
    Step {
        table: table.name(),
        files_removed: paths.len() as u64,
        files_added: 0,
        rows: 0,
        expired: 0,
        erased: 0,
        doubled: 0,
        bytes_before: files.iter().map(|file| u64::try_from(file.add.size).unwrap_or(0)).sum(),
        bytes_after: 0,
    }
}

fn named(table: &str) -> Option<Table> {
    Table::ALL.into_iter().find(|known| known.name() == table)
}
