//! Turns what happened into entries and remembers how far each series was entered.
//!
//! An object is entered in this order: it lies durably in the store; its opening is made durable, or the one that a crash left is
//! taken; the commitment is worked out from what the store gives back; the entry is queued. A crash between any two steps leaves
//! less than an entry, and the start enters it: [`Book::reconcile`] runs the same steps. So nothing is entered that was not read
//! back, and nothing is entered twice: each series has its mark, learned from the log when the book is opened.

mod destroy;
mod manifest;
mod marks;
mod openings;
mod reconcile;
pub(crate) mod tables;

use std::sync::Arc;

use bytes::Bytes;
use model::{Clock, Entropy, GatewayName, Sequence};
use object_store::path::Path;
use parking_lot::{Mutex, RwLock};
use store::{Created, Names, Objects, SealedBatch};

use crate::entry::{
    BatchFacts, Commitment, Entered, Entry, Label, Minute, Numbered, ObjectName, Pack, RecordsFacts, Stored,
    Tabled, Whole, Word,
};
use crate::{Error, Ledger, Pending};
use manifest::{AddedFile, TableManifest};
use marks::Place;
use openings::Openings;

pub use manifest::Destruction;
pub(crate) use manifest::Manifest;
pub(crate) use marks::{Marks, Place as SeriesPlace};
pub use reconcile::{Meaning, Reconciled};

/// The book of a center. Clones are the same book.
#[derive(Clone)]
pub struct Book {
    inner: Arc<Inner>,
}

struct Inner {
    ledger: Ledger,
    objects: Objects,
    names: Names,
    clock: Arc<dyn Clock>,
    openings: Openings,
    /// Held from the look at a series' mark to the place in the ledger's queue, so that entries stand in the order of their series.
    order: Mutex<()>,
    /// Held while a manifest is written and entered: manifests are numbered by who writes them.
    manifests: Mutex<()>,
    marks: RwLock<Marks>,
    /// Destructions that were entered and whose objects may still lie there.
    unfinished: Mutex<Vec<destroy::Unfinished>>,
}

/// A version of a table that was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableVersion {
    /// The table.
    pub table: String,
    /// The version of its log.
    pub version: i64,
    /// The objects that it added: data files and its commit.
    pub added: Vec<Path>,
    /// The data files that it removed from the table. They may be deleted from then on.
    pub removed: Vec<Path>,
}

impl Book {
    /// Opens the book: reads the whole log, to learn how far each series was entered.
    pub fn open(
        ledger: Ledger,
        objects: Objects,
        names: Names,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let mut marks = Marks::default();
        let mut unfinished = None;
        for entry in ledger.entries(0)? {
            let (index, bytes) = entry?;
            let entered = Entered::parse(&bytes).map_err(|error| damaged(index, &error.to_string()))?;
            match marks.place(&entered.entry) {
                Place::Next => marks.learn(&entered.entry),
                Place::Past => return Err(damaged(index, "it was entered before")),
                Place::Gap(why) => return Err(damaged(index, &why)),
            }
            if let Entry::Erased(destroyed) | Entry::Expired(destroyed) = entered.entry {
                // Destructions run one after the other, each to its end: only the last can be unfinished.
                unfinished = Some(destroyed);
            }
        }
        let openings = Openings::new(objects.clone(), names.clone(), entropy);
        let unfinished = unfinished.into_iter().map(destroy::Unfinished::committed).collect();
        let inner = Inner {
            ledger,
            objects,
            names,
            clock,
            openings,
            order: Mutex::new(()),
            manifests: Mutex::new(()),
            marks: RwLock::new(marks),
            unfinished: Mutex::new(unfinished),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The ledger that the entries go to.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// Whether the log does not have the genesis yet: it is new, or what an older center held is still being adopted.
    pub fn is_new(&self) -> bool {
        !self.inner.marks.read().genesis
    }

    /// The last sequence of a gateway that is entered.
    pub fn stored_through(&self, gateway: &GatewayName) -> Option<Sequence> {
        self.inner.marks.read().gateways.get(gateway).copied().map(Sequence)
    }

    /// The last version of a table that is entered.
    pub fn table_version(&self, table: &str) -> Option<i64> {
        self.inner.marks.read().tables.get(table).copied()
    }

    /// The last change of the registry that is entered; 0 where there is none.
    pub fn control_number(&self) -> u64 {
        self.inner.marks.read().control
    }

    /// The last country pack that is entered; 0 where there is none.
    pub fn pack_number(&self) -> u64 {
        self.inner.marks.read().pack
    }

    /// The last version of the country's charter that is entered; 0 where there is none.
    pub fn charter_version(&self) -> u64 {
        self.inner.marks.read().charter
    }

    /// The last import of records that is entered; 0 where there is none.
    pub fn record_number(&self) -> u64 {
        self.inner.marks.read().record
    }

    /// The last manifest that is entered; 0 where there is none.
    pub fn manifest_number(&self) -> u64 {
        self.inner.marks.read().manifest
    }

    /// Enters the genesis of a new center. `None`, here and below: it was entered before, or waits in the queue.
    pub fn enter_genesis(&self) -> Result<Option<Pending>, Error> {
        if !self.is_new() {
            return Ok(None);
        }
        self.in_series(Entry::Charter(self.whole(&self.inner.names.genesis())?))
    }

    /// Enters a batch that lies in the store.
    pub fn enter_batch(&self, batch: &SealedBatch) -> Result<Option<Pending>, Error> {
        if self.stored_through(&batch.name.gateway).is_some_and(|through| batch.last <= through) {
            return Ok(None);
        }
        let (facts, _) = self.batch(&batch.name.path(), |_| Ok((batch.first, batch.frames)))?;
        if facts.bytes != batch.bytes {
            return Err(Error::corrupt(
                &facts.object,
                "the store gives back another number of bytes than was sealed",
            ));
        }
        self.in_series(Entry::Stored(Stored::Batch(facts)))
    }

    /// Enters a change of the registry.
    pub fn enter_control(&self, number: u64) -> Result<Option<Pending>, Error> {
        if number <= self.control_number() {
            return Ok(None);
        }
        self.in_series(Entry::Control(self.numbered(&self.inner.names.control(number), number)?))
    }

    /// Enters a country pack and the version that it gives itself.
    pub fn enter_pack(&self, number: u64, version: &str) -> Result<Option<Pending>, Error> {
        if number <= self.pack_number() {
            return Ok(None);
        }
        self.in_series(Entry::Policy(self.pack(number, version)?))
    }

    /// Enters an import of records: their kind (`sale`, `owner`, `service`) and how many.
    pub fn enter_records(&self, number: u64, records: Word, rows: u64) -> Result<Option<Pending>, Error> {
        if number <= self.record_number() {
            return Ok(None);
        }
        self.in_series(Entry::Stored(Stored::Records(self.records(number, records, rows)?)))
    }

    /// Enters a version of a table: the openings of what it added, then its manifest, then the entry.
    pub fn enter_table_version(&self, version: &TableVersion) -> Result<Option<Pending>, Error> {
        if self.table_version(&version.table).is_some_and(|entered| version.version <= entered) {
            return Ok(None);
        }
        let _manifests = self.inner.manifests.lock();
        let tabled = self.tabled(version, self.manifest_number() + 1)?;
        self.in_series(Entry::Tabled(tabled))
    }

    /// Enters what has no object: refusals, looks, degradations, checks, and what is held of others.
    pub fn enter(&self, entry: &Entry) -> Result<Pending, Error> {
        match entry {
            Entry::Refused(_)
            | Entry::Read(_)
            | Entry::Mirrored(_)
            | Entry::Degraded(_)
            | Entry::Checked(_) => self.append(entry),
            other => Err(Error::malformed(
                "entry",
                format!("`{}` speaks of an object and is not entered so", other.kind()),
            )),
        }
    }

    /// Enters that an object may go because another stands for it.
    pub fn enter_superseded(&self, object: &Path, by: &Path) -> Result<Pending, Error> {
        let (object, by) = (object_name(object)?, object_name(by)?);
        self.append(&Entry::Superseded(crate::entry::Superseded { object, by }))
    }

    /// Queues an entry if it is the next of its series.
    fn in_series(&self, entry: Entry) -> Result<Option<Pending>, Error> {
        let _order = self.inner.order.lock();
        let place = self.inner.marks.read().place(&entry);
        match place {
            Place::Next => {
                let pending = self.append(&entry)?;
                self.inner.marks.write().learn(&entry);
                Ok(Some(pending))
            }
            Place::Past => Ok(None),
            Place::Gap(why) => Err(Error::malformed("the order of entries", why)),
        }
    }

    fn append(&self, entry: &Entry) -> Result<Pending, Error> {
        self.inner.ledger.append(entry.write(Minute::of(self.inner.clock.now()))?)
    }

    /// Reads an object back and commits to it.
    fn commit(&self, object: &Path) -> Result<(ObjectName, Bytes, Commitment), Error> {
        let name = object_name(object)?;
        let content = self.content(object)?;
        let opening = self.inner.openings.of(object)?;
        let commitment = opening.commit(name.as_str(), &content);
        Ok((name, content, commitment))
    }

    fn content(&self, object: &Path) -> Result<Bytes, Error> {
        self.inner.objects.read(object)?.ok_or_else(|| Error::corrupt(object, "it was put and is gone"))
    }

    fn whole(&self, object: &Path) -> Result<Whole, Error> {
        let (object, _, commitment) = self.commit(object)?;
        Ok(Whole { object, commitment })
    }

    fn numbered(&self, object: &Path, number: u64) -> Result<Numbered, Error> {
        let (object, _, commitment) = self.commit(object)?;
        Ok(Numbered { object, number, commitment })
    }

    fn pack(&self, number: u64, version: &str) -> Result<Pack, Error> {
        let version: Label = version.parse().map_err(|rule| broken("pack", rule))?;
        let (object, _, commitment) = self.commit(&self.inner.names.pack(number))?;
        Ok(Pack { object, number, version, commitment })
    }

    fn records(&self, number: u64, records: Word, rows: u64) -> Result<RecordsFacts, Error> {
        let (object, content, commitment) = self.commit(&self.inner.names.record(number))?;
        let bytes = content.len() as u64;
        Ok(RecordsFacts { object, number, commitment, bytes, records, rows })
    }

    /// What an entry says of a batch; `first_and_frames` says what its name does not.
    fn batch(
        &self,
        object: &Path,
        first_and_frames: impl FnOnce(&Bytes) -> Result<(Sequence, u64), Error>,
    ) -> Result<(BatchFacts, Bytes), Error> {
        let name = store::BatchName::parse(object)
            .ok_or_else(|| Error::malformed("batch", "its name is not one that the store makes"))?;
        let (object, content, commitment) = self.commit(object)?;
        let (first, frames) = first_and_frames(&content)?;
        let (bytes, gateway) = (content.len() as u64, name.gateway);
        Ok((
            BatchFacts { object, commitment, bytes, gateway, first: first.0, last: name.last.0, frames },
            content,
        ))
    }

    /// Writes the manifest of a table's version, or takes the one that a crash left.
    fn tabled(&self, version: &TableVersion, number: u64) -> Result<Tabled, Error> {
        let table: Label = version.table.parse().map_err(|rule| broken("table", rule))?;
        self.inner.openings.prepare(&version.added)?;
        let mut added = Vec::with_capacity(version.added.len());
        for object in &version.added {
            let (name, content, commitment) = self.commit(object)?;
            added.push(AddedFile { name, bytes: content.len() as u64, commitment });
        }
        let removed = version.removed.iter().map(object_name).collect::<Result<Vec<_>, _>>()?;
        let manifest = TableManifest::new(number, table.clone(), version.version, added, removed);
        let (added, removed) = (manifest.added.len() as u64, manifest.removed.len() as u64);
        let (manifest, commitment) = self.write_manifest(number, &Manifest::Table(manifest))?;
        Ok(Tabled { table, version: version.version, manifest, number, commitment, added, removed })
    }

    fn write_manifest(&self, number: u64, manifest: &Manifest) -> Result<(ObjectName, Commitment), Error> {
        let path = self.inner.names.manifest(number);
        let bytes = Bytes::from(manifest.write());
        if self.inner.objects.create(&path, bytes.clone())? == Created::Exists
            && self.content(&path)? != bytes
        {
            return Err(Error::corrupt(
                &path,
                "a start left another one here; reconcile before anything is entered",
            ));
        }
        let (name, _, commitment) = self.commit(&path)?;
        Ok((name, commitment))
    }
}

fn object_name(object: &Path) -> Result<ObjectName, Error> {
    ObjectName::try_from(object).map_err(|rule| broken("object name", rule))
}

fn broken(what: &'static str, rule: crate::entry::Rule) -> Error {
    Error::malformed(what, rule.to_string())
}

fn damaged(index: u64, why: &str) -> Error {
    Error::corrupt(format!("entry {index}"), why)
}
