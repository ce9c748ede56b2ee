//! What is in the store and not in the log is entered: what a crash left between a put and its entry, and, for a center from
//! before the ledger, everything it holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Sequence;
use object_store::path::Path;
use store::{BatchName, ObjectKind};

use super::manifest::Manifest;
use super::tables::{self, TableFile};
use super::{Book, TableVersion, object_name};
use crate::entry::{Adopted, Destroyed, Entry, Numbered, Stored, Tabled, Word};
use crate::{Error, Pending};

/// What the meaning of payloads would be needed for, which other rooms know.
pub trait Meaning {
    /// The version that a country pack gives itself; `None` where it is no pack.
    fn pack_version(&self, pack: &[u8]) -> Option<String>;

    /// The kind of an import of records, and how many there are; `None` where it is no import.
    fn records(&self, records: &Bytes) -> Option<(Word, u64)>;
}

/// What a reconciliation did.
#[derive(Debug)]
pub struct Reconciled {
    /// Entries that it queued.
    pub entered: u64,
    /// Whether it adopted what a center from before the ledger held.
    pub adopted: bool,
    /// The last of them: when it is committed, all are.
    pub last: Option<Pending>,
}

/// Numbered objects of the store that the log does not have.
#[derive(Default)]
struct Found {
    batches: Vec<BatchName>,
    controls: Vec<u64>,
    packs: Vec<u64>,
    charters: Vec<u64>,
    records: Vec<u64>,
    manifests: Vec<u64>,
    tables: BTreeMap<String, Vec<Path>>,
}

/// Reconciliation as it goes on.
struct Progress<'a> {
    book: &'a Book,
    meaning: &'a dyn Meaning,
    done: Reconciled,
}

impl Book {
    /// Enters what lies in the store and not in the log, each series in its order. The ledger must be allowed to sign where there
    /// may be more to enter than its queue holds, or this waits for it. Run again after a crash, it goes on where it was.
    ///
    /// A center that was born with a ledger (its genesis names its `country_vkey`) gets its charter first. One from before the
    /// ledger has everything entered as `adopted`, and its genesis last: until that is there, [`Book::is_new`] says so.
    pub fn reconcile(&self, meaning: &dyn Meaning) -> Result<Reconciled, Error> {
        let adopts = self.is_new() && !self.was_born_with_ledger()?;
        let done = Reconciled { entered: 0, adopted: adopts, last: None };
        let mut progress = Progress { book: self, meaning, done };
        if self.is_new() && !adopts {
            progress.count(self.enter_genesis()?);
        }
        let found = self.find()?;
        found.packs.iter().try_for_each(|&number| progress.pack(number, adopts))?;
        found.charters.iter().try_for_each(|&version| progress.charter(version))?;
        found.controls.iter().try_for_each(|&number| progress.control(number, adopts))?;
        found.records.iter().try_for_each(|&number| progress.records(number, adopts))?;
        let paths: Vec<Path> = found.batches.iter().map(BatchName::path).collect();
        self.inner.openings.prepare(&paths)?;
        paths.iter().try_for_each(|batch| progress.batch(batch, adopts))?;
        found.manifests.iter().try_for_each(|&number| progress.manifest(number, adopts))?;
        if adopts {
            for (table, files) in &found.tables {
                progress.table(table, files)?;
            }
            let genesis = self.whole(&self.inner.names.genesis())?;
            progress.enter(Entry::Adopted(Adopted::Genesis(genesis)))?;
        }
        Ok(progress.done)
    }

    /// Enters the packs, the charter's versions, the registry's changes and the records that follow those entered last, without a look at anything else. For
    /// a book that was reconciled: called whenever one of them was written.
    pub fn enter_changes(&self, meaning: &dyn Meaning) -> Result<(), Error> {
        let done = Reconciled { entered: 0, adopted: false, last: None };
        let mut progress = Progress { book: self, meaning, done };
        let names = &self.inner.names;
        let is_there = |name: &Path| self.inner.objects.read(name).map(|found| found.is_some());
        while is_there(&names.pack(self.pack_number() + 1))? {
            progress.pack(self.pack_number() + 1, false)?;
        }
        while is_there(&names.charter(self.charter_version() + 1))? {
            progress.charter(self.charter_version() + 1)?;
        }
        while is_there(&names.control(self.control_number() + 1))? {
            progress.control(self.control_number() + 1, false)?;
        }
        while is_there(&names.record(self.record_number() + 1))? {
            progress.records(self.record_number() + 1, false)?;
        }
        Ok(())
    }

    fn was_born_with_ledger(&self) -> Result<bool, Error> {
        let name = self.inner.names.genesis();
        let genesis: serde_json::Value = serde_json::from_slice(&self.content(&name)?)
            .map_err(|error| Error::corrupt(&name, format!("it is no JSON: {error}")))?;
        // One from before the ledger was signed when it was adopted, and says what it took the place of.
        Ok(genesis.get("country_vkey").is_some() && genesis.get("adopts_sha256").is_none())
    }

    /// What lies in the store beyond the marks, in the order of its series.
    fn find(&self) -> Result<Found, Error> {
        let inner = &self.inner;
        let marks = inner.marks.read().clone();
        let mut found = Found::default();
        let folders = [
            inner.names.batches(),
            inner.names.controls(),
            inner.names.packs(),
            inner.names.charters(),
            inner.names.records(),
            inner.names.manifests(),
            inner.names.tables(),
        ];
        for folder in folders {
            for object in inner.objects.list(&folder)? {
                match inner.names.kind(&object.location) {
                    ObjectKind::Batch(batch) => {
                        let through = marks.gateways.get(&batch.gateway).copied().unwrap_or(0);
                        if batch.last > Sequence(through) {
                            found.batches.push(batch);
                        }
                    }
                    ObjectKind::Control(number) if number > marks.control => found.controls.push(number),
                    ObjectKind::Charter(version) if version > marks.charter => found.charters.push(version),
                    ObjectKind::Pack(number) if number > marks.pack => found.packs.push(number),
                    ObjectKind::Record(number) if number > marks.record => found.records.push(number),
                    ObjectKind::Manifest(number) if number > marks.manifest => found.manifests.push(number),
                    ObjectKind::Table(table) if !marks.tables.contains_key(&table) => {
                        found.tables.entry(table).or_default().push(object.location);
                    }
                    _ => {}
                }
            }
        }
        found.batches.sort_unstable_by(|a, b| (&a.gateway, a.last).cmp(&(&b.gateway, b.last)));
        Ok(found)
    }
}

impl Progress<'_> {
    fn enter(&mut self, entry: Entry) -> Result<(), Error> {
        let pending = self.book.in_series(entry)?;
        self.count(pending);
        Ok(())
    }

    fn count(&mut self, pending: Option<Pending>) {
        if pending.is_some() {
            self.done.entered += 1;
            self.done.last = pending;
        }
    }

    fn control(&mut self, number: u64, adopts: bool) -> Result<(), Error> {
        let control = self.book.numbered(&self.book.inner.names.control(number), number)?;
        self.enter(if adopts { Entry::Adopted(Adopted::Control(control)) } else { Entry::Control(control) })
    }

    /// A version of the charter. None is from before the ledger, and where an older center is adopted its charter follows the genesis.
    fn charter(&mut self, version: u64) -> Result<(), Error> {
        if self.book.is_new() && self.done.adopted {
            return Ok(());
        }
        let charter = self.book.numbered(&self.book.inner.names.charter(version), version)?;
        self.enter(Entry::Chartered(charter))
    }

    fn pack(&mut self, number: u64, adopts: bool) -> Result<(), Error> {
        let name = self.book.inner.names.pack(number);
        let version = self.meaning.pack_version(&self.book.content(&name)?);
        let version = version.ok_or_else(|| Error::corrupt(&name, "it is no country pack"))?;
        let pack = self.book.pack(number, &version)?;
        self.enter(if adopts { Entry::Adopted(Adopted::Pack(pack)) } else { Entry::Policy(pack) })
    }

    fn records(&mut self, number: u64, adopts: bool) -> Result<(), Error> {
        let name = self.book.inner.names.record(number);
        let meant = self.meaning.records(&self.book.content(&name)?);
        let (records, rows) = meant.ok_or_else(|| Error::corrupt(&name, "it is no import of records"))?;
        let facts = self.book.records(number, records, rows)?;
        self.enter(match adopts {
            true => Entry::Adopted(Adopted::Records(facts)),
            false => Entry::Stored(Stored::Records(facts)),
        })
    }

    fn batch(&mut self, batch: &Path, adopts: bool) -> Result<(), Error> {
        let (facts, _) = self.book.batch(batch, |content| {
            let read = store::read(batch.as_ref(), content.clone())?;
            Ok((read.header().first, read.frames()))
        })?;
        self.enter(match adopts {
            true => Entry::Adopted(Adopted::Batch(facts)),
            false => Entry::Stored(Stored::Batch(facts)),
        })
    }

    /// A manifest that was written and whose entry was not: what it lists is entered as it stands there.
    fn manifest(&mut self, number: u64, adopts: bool) -> Result<(), Error> {
        let _manifests = self.book.inner.manifests.lock();
        if number <= self.book.manifest_number() {
            return Ok(());
        }
        let path = self.book.inner.names.manifest(number);
        let manifest = Manifest::parse(&path, number, &self.book.content(&path)?)?;
        let (object, _, commitment) = self.book.commit(&path)?;
        match manifest {
            Manifest::Table(table) => {
                let (added, removed) = (table.added.len() as u64, table.removed.len() as u64);
                let (manifest, version, table) = (object, table.version, table.table);
                let tabled = Tabled { table, version, manifest, number, commitment, added, removed };
                self.enter(if adopts {
                    Entry::Adopted(Adopted::Table(tabled))
                } else {
                    Entry::Tabled(tabled)
                })
            }
            Manifest::Destruction(destruction) => {
                let manifest = Some(Numbered { object, number, commitment });
                let destroyed = Destroyed { ground: destruction.ground, objects: Vec::new(), manifest };
                self.done.entered += 1;
                self.book.queue_destruction(destruction.kind, destroyed)
            }
        }
    }

    /// All of a table that an older center committed, as of its log's last version.
    fn table(&mut self, table: &str, listed: &[Path]) -> Result<(), Error> {
        if self.book.table_version(table).is_some() {
            return Ok(());
        }
        let _manifests = self.book.inner.manifests.lock();
        let folder = self.book.inner.names.table(table);
        let mut commits = Vec::new();
        let mut data = Vec::new();
        for object in listed {
            match tables::file(&folder, object) {
                TableFile::Commit(version) => commits.push((version, object.clone())),
                TableFile::Data => data.push(object.clone()),
                TableFile::Derived => {}
            }
        }
        commits.sort_unstable();
        let Some(&(version, _)) = commits.last() else { return Ok(()) };
        let mut added = Vec::new();
        for (_, commit) in &commits {
            // What no commit names belongs to a version that is still to be written.
            let text = self.book.content(commit)?;
            for object in tables::named_by(&folder, &text, &mut data) {
                object_name(&object)?;
                added.push(object);
            }
            added.push(commit.clone());
        }
        let version = TableVersion { table: table.to_owned(), version, added, removed: Vec::new() };
        let tabled = self.book.tabled(&version, self.book.manifest_number() + 1)?;
        self.enter(Entry::Adopted(Adopted::Table(tabled)))
    }
}
