//! The entries against the objects that were listed.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use store::ObjectKind;

use super::listing::{Listing, State};
use super::{Report, Store};
use crate::Error;
use crate::book::{Manifest, Marks, SeriesPlace};
use crate::entry::{
    Adopted, BatchFacts, Commitment, Destroyed, Entered, Entry, ObjectName, Opening, RecordsFacts, Stored,
    Tabled,
};

/// What the log has said so far, and of which objects.
pub(super) struct Accounts {
    pub(super) listing: Listing,
    pub(super) marks: Marks,
    /// Entered objects that were not listed: the log is to take them away, or they are missing.
    pub(super) absent: BTreeMap<String, Absent>,
    /// Objects that were listed and were gone when they were read.
    pub(super) vanished: BTreeSet<String>,
    /// What the last destruction of the log names, and its entry. Destructions run one after the other, so only of this one there may
    /// still be something left.
    pub(super) last_destruction: Option<(u64, BTreeSet<String>)>,
    /// Openings that lie there of objects that may go and are gone: whoever deletes them has still to delete these.
    pub(super) leftover_openings: BTreeSet<String>,
    /// Tables one of whose manifests can't be read: what is theirs can't be judged.
    pub(super) doubtful_tables: BTreeSet<String>,
}

/// An entered object that was not listed.
#[derive(Clone, Copy)]
pub(super) struct Absent {
    pub(super) index: u64,
    pub(super) commitment: Commitment,
}

impl Accounts {
    pub(super) fn new(listing: Listing) -> Self {
        Self {
            listing,
            marks: Marks::default(),
            absent: BTreeMap::new(),
            vanished: BTreeSet::new(),
            last_destruction: None,
            leftover_openings: BTreeSet::new(),
            doubtful_tables: BTreeSet::new(),
        }
    }

    /// Takes in the entry of an index.
    pub(super) fn take(
        &mut self,
        store: &Store<'_>,
        index: u64,
        bytes: &[u8],
        report: &mut Report,
    ) -> Result<(), Error> {
        let place = || format!("entry {index}");
        let entry = match Entered::parse(bytes) {
            Ok(entered) => entered.entry,
            Err(error) => {
                report.find(place(), error.to_string());
                return Ok(());
            }
        };
        match report.kinds.get_mut(entry.kind()) {
            Some(count) => *count += 1,
            None => {
                report.kinds.insert(entry.kind().to_owned(), 1);
            }
        }
        match self.marks.place(&entry) {
            SeriesPlace::Next => {}
            SeriesPlace::Past => report.find(place(), "its series has it already"),
            SeriesPlace::Gap(why) => report.find(place(), why),
        }
        if let Some(what) = misnamed(store, &entry) {
            report.find(place(), what);
        }
        self.marks.learn(&entry);
        self.apply(store, index, &entry, report)
    }

    fn apply(
        &mut self,
        store: &Store<'_>,
        index: u64,
        entry: &Entry,
        report: &mut Report,
    ) -> Result<(), Error> {
        match entry {
            Entry::Charter(whole) | Entry::Adopted(Adopted::Genesis(whole)) => {
                self.enter(&whole.object, index, whole.commitment, None, report);
            }
            Entry::Stored(Stored::Batch(batch)) | Entry::Adopted(Adopted::Batch(batch)) => {
                self.enter(&batch.object, index, batch.commitment, Some(batch.bytes), report);
            }
            Entry::Stored(Stored::Records(records)) | Entry::Adopted(Adopted::Records(records)) => {
                self.enter(&records.object, index, records.commitment, Some(records.bytes), report);
            }
            Entry::Control(control)
            | Entry::Chartered(control)
            | Entry::Adopted(Adopted::Control(control)) => {
                self.enter(&control.object, index, control.commitment, None, report);
            }
            Entry::Policy(pack) | Entry::Adopted(Adopted::Pack(pack)) => {
                self.enter(&pack.object, index, pack.commitment, None, report);
            }
            Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled)) => {
                self.enter(&tabled.manifest, index, tabled.commitment, None, report);
                self.table(store, index, tabled, report)?;
            }
            Entry::Erased(destroyed) | Entry::Expired(destroyed) => {
                self.destroy(store, index, destroyed, report)?;
            }
            Entry::Superseded(superseded) => self.remove(store, &superseded.object),
            Entry::Opaque { kind, .. } => {
                report.note(
                    format!("entry {index}"),
                    format!("a later program's kind of entry, {kind}: not judged"),
                );
            }
            Entry::Refused(_)
            | Entry::Read(_)
            | Entry::Mirrored(_)
            | Entry::Degraded(_)
            | Entry::Checked(_) => {}
        }
        Ok(())
    }

    fn enter(
        &mut self,
        name: &ObjectName,
        index: u64,
        commitment: Commitment,
        bytes: Option<u64>,
        report: &mut Report,
    ) {
        let Some(object) = self.listing.objects.get_mut(name.as_str()) else {
            self.absent.insert(name.as_str().to_owned(), Absent { index, commitment });
            return;
        };
        if let Some(bytes) = bytes.filter(|bytes| *bytes != object.bytes) {
            report.find(name, format!("it has {} bytes, and {bytes} by entry {index}", object.bytes));
        }
        if let State::Entered { index: before, .. } | State::Removed { index: before, .. } = object.state {
            report.find(name, format!("entry {index} enters it again, after entry {before}"));
        }
        object.state = State::Entered { index, commitment };
    }

    /// The object may go.
    fn remove(&mut self, store: &Store<'_>, name: &ObjectName) {
        self.absent.remove(name.as_str());
        if let Some(object) = self.listing.objects.get_mut(name.as_str()) {
            if let State::Entered { index, commitment } = object.state {
                object.state = State::Removed { index, commitment };
            }
        } else if let Some(opening) = store.names.opening(&name.path()).map(String::from)
            && self.listing.openings.contains(&opening)
        {
            self.leftover_openings.insert(opening);
        }
    }

    fn table(
        &mut self,
        store: &Store<'_>,
        index: u64,
        tabled: &Tabled,
        report: &mut Report,
    ) -> Result<(), Error> {
        let manifest = self.manifest(store, &tabled.manifest, tabled.number, tabled.commitment, report)?;
        let Some(Manifest::Table(manifest)) = manifest else {
            self.doubtful_tables.insert(tabled.table.as_str().to_owned());
            return Ok(());
        };
        let said = (&tabled.table, tabled.version, tabled.added, tabled.removed);
        let lists =
            (&manifest.table, manifest.version, manifest.added.len() as u64, manifest.removed.len() as u64);
        if said != lists {
            report.find(
                format!("entry {index}"),
                format!("it says otherwise than its manifest {}", tabled.manifest),
            );
        }
        for file in &manifest.added {
            self.enter(&file.name, index, file.commitment, Some(file.bytes), report);
        }
        manifest.removed.iter().for_each(|file| self.remove(store, file));
        Ok(())
    }

    fn destroy(
        &mut self,
        store: &Store<'_>,
        index: u64,
        destroyed: &Destroyed,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut names = destroyed.objects.clone();
        if let Some(listed) = &destroyed.manifest {
            self.enter(&listed.object, index, listed.commitment, None, report);
            match self.manifest(store, &listed.object, listed.number, listed.commitment, report)? {
                Some(Manifest::Destruction(manifest)) => names = manifest.destroyed,
                Some(Manifest::Table(_)) => {
                    report.find(&listed.object, "it does not list what was destroyed")
                }
                None => {}
            }
        }
        self.last_destruction = Some((index, names.iter().map(ToString::to_string).collect()));
        for name in names {
            self.absent.remove(name.as_str());
            if let Some(object) = self.listing.objects.get_mut(name.as_str()) {
                object.state = State::Destroyed { index };
            }
        }
        Ok(())
    }

    /// Reads a manifest and holds it against its commitment. `None`, with the finding made here or later, where it is not there
    /// or is not what was entered.
    fn manifest(
        &mut self,
        store: &Store<'_>,
        name: &ObjectName,
        number: u64,
        commitment: Commitment,
        report: &mut Report,
    ) -> Result<Option<Manifest>, Error> {
        let path = name.path();
        let Some(content) = store.read(&path)? else { return Ok(None) };
        if let Some(object) = self.listing.objects.get_mut(name.as_str()) {
            object.is_checked = true;
            report.objects += 1;
            report.bytes += content.len() as u64;
        }
        if let Err(what) = check_content(store, name.as_str(), &content, commitment)? {
            report.find(name, what);
            return Ok(None);
        }
        match Manifest::parse(&path, number, &content) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                report.find(name, error.to_string());
                Ok(None)
            }
        }
    }
}

/// Holds an object's content against its commitment; what is wrong, if anything is.
pub(super) fn check_content(
    store: &Store<'_>,
    name: &str,
    content: &[u8],
    commitment: Commitment,
) -> Result<Result<(), String>, Error> {
    let place = store.names.opening(&Path::from(name)).expect("what was listed is the center's own");
    let Some(text) = store.read(&place)? else {
        let what =
            format!("its opening {place} is missing, so nobody can tell whether it is what was entered");
        return Ok(Err(what));
    };
    let Ok(opening) = Opening::parse(&text) else {
        return Ok(Err(format!("its opening {place} is damaged")));
    };
    if opening.commit(name, content) == commitment {
        Ok(Ok(()))
    } else {
        Ok(Err(format!("it, or its opening {place}, is not what was entered")))
    }
}

/// What is wrong with the name of the object that an entry speaks of.
fn misnamed(store: &Store<'_>, entry: &Entry) -> Option<String> {
    let kind = |name: &ObjectName| store.names.kind(&name.path());
    let is_batch = |batch: &BatchFacts| match kind(&batch.object) {
        ObjectKind::Batch(name) => name.gateway == batch.gateway && name.last.0 == batch.last,
        _ => false,
    };
    let is_record = |records: &RecordsFacts| kind(&records.object) == ObjectKind::Record(records.number);
    let is_manifest = |name: &ObjectName, number: u64| kind(name) == ObjectKind::Manifest(number);
    let fits = match entry {
        Entry::Charter(whole) | Entry::Adopted(Adopted::Genesis(whole)) => {
            kind(&whole.object) == ObjectKind::Genesis
        }
        Entry::Stored(Stored::Batch(batch)) | Entry::Adopted(Adopted::Batch(batch)) => is_batch(batch),
        Entry::Stored(Stored::Records(records)) | Entry::Adopted(Adopted::Records(records)) => {
            is_record(records)
        }
        Entry::Control(control) | Entry::Adopted(Adopted::Control(control)) => {
            kind(&control.object) == ObjectKind::Control(control.number)
        }
        Entry::Chartered(charter) => kind(&charter.object) == ObjectKind::Charter(charter.number),
        Entry::Policy(pack) | Entry::Adopted(Adopted::Pack(pack)) => {
            kind(&pack.object) == ObjectKind::Pack(pack.number)
        }
        Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled)) => {
            is_manifest(&tabled.manifest, tabled.number)
        }
        Entry::Erased(destroyed) | Entry::Expired(destroyed) => {
            destroyed.manifest.as_ref().is_none_or(|manifest| is_manifest(&manifest.object, manifest.number))
        }
        Entry::Superseded(_)
        | Entry::Refused(_)
        | Entry::Read(_)
        | Entry::Mirrored(_)
        | Entry::Degraded(_)
        | Entry::Checked(_)
        | Entry::Opaque { .. } => true,
    };
    (!fits).then(|| "its object's name is another kind's or another number's".to_owned())
}
