//! What a log says of one object: when it was entered, and when it was taken away; and what a center has said that it holds of others.

use model::CenterName;
use object_store::path::Path;
use store::{Names, ObjectKind, Objects};

use crate::book::Manifest;
use crate::entry::{Adopted, Entered, Entry, Minute, Mirrored, Numbered, ObjectName};
use crate::{Error, LogReader, StoreTiles, TreeView};

/// An entry that speaks of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// The entry's index.
    pub index: u64,
    /// The minute in which it was written.
    pub at: Minute,
}

/// What a log says of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The entry that entered it.
    pub entered: Told,
    /// The entry that took it away, and that entry's kind.
    pub removed: Option<(Told, String)>,
}

/// What a log says of an object of its center; `None` where it does not name it.
pub fn trace(
    objects: &Objects,
    names: &Names,
    reader: &LogReader,
    view: TreeView<StoreTiles>,
    object: &Path,
) -> Result<Option<Trace>, Error> {
    let table = match names.kind(object) {
        ObjectKind::Table(table) => Some(table),
        _ => None,
    };
    let is_it = |name: &ObjectName| name.as_str() == object.as_ref();
    let mut found: Option<Trace> = None;
    for entry in reader.entries(view, 0) {
        let (index, bytes) = entry?;
        let Entered { at, entry } = Entered::parse(&bytes)?;
        let told = Told { index, at };
        let (mut enters, mut removes) = (entry.committed().is_some_and(|(name, _)| is_it(name)), false);
        match &entry {
            Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled))
                if table.as_deref() == Some(tabled.table.as_str()) =>
            {
                if let Some(Manifest::Table(manifest)) = manifest(objects, &tabled.manifest, tabled.number)? {
                    enters |= manifest.added.iter().any(|file| is_it(&file.name));
                    removes = manifest.removed.iter().any(is_it);
                }
            }
            Entry::Superseded(superseded) => removes = is_it(&superseded.object),
            Entry::Erased(destroyed) | Entry::Expired(destroyed) => {
                removes = destroyed.objects.iter().any(is_it);
                if let Some(Numbered { object: name, number, .. }) = &destroyed.manifest
                    && let Some(Manifest::Destruction(manifest)) = manifest(objects, name, *number)?
                {
                    enters |= is_it(name);
                    removes |= manifest.destroyed.iter().any(is_it);
                }
            }
            _ => {}
        }
        if enters && found.is_none() {
            found = Some(Trace { entered: told, removed: None });
        }
        if removes && let Some(trace) = found.as_mut().filter(|trace| trace.removed.is_none()) {
            trace.removed = Some((told, entry.kind().to_owned()));
        }
    }
    Ok(found)
}

/// What a center has entered that it holds of a center, oldest first: sizes of that center's log, and when.
pub fn mirrored(
    reader: &LogReader,
    view: TreeView<StoreTiles>,
    of: &CenterName,
) -> Result<Vec<(Minute, Mirrored)>, Error> {
    let mut held = Vec::new();
    for entry in reader.entries(view, 0) {
        let (_, bytes) = entry?;
        let Entered { at, entry } = Entered::parse(&bytes)?;
        if let Entry::Mirrored(mirrored) = entry
            && mirrored.center == *of
        {
            held.push((at, mirrored));
        }
    }
    Ok(held)
}

/// A manifest; `None` where it does not lie here.
fn manifest(objects: &Objects, name: &ObjectName, number: u64) -> Result<Option<Manifest>, Error> {
    let Some(content) = objects.read(&name.path())? else { return Ok(None) };
    Manifest::parse(&name.path(), number, &content).map(Some)
}
