//! Destruction: the entry first, then the objects and their openings.
//!
//! In this order, because the other one has no honest recovery. Were the object deleted first, a crash before the entry would
//! leave an entered object that is missing without a reason, and nobody could tell a destruction from a theft or a lost disk; nor
//! could the destruction be gone on with, for what it was to destroy stood in memory alone. With the entry first, a crash leaves
//! objects that the log has given up, verification names them, and [`Book::finish_destruction`] goes on from the entry. The
//! opening goes after its object: an object without opening could not be proved by anyone, an opening without object opens nothing.

use std::time::Duration;

use object_store::path::Path;
use store::ObjectKind;

use super::manifest::{Destruction, DestructionManifest, Manifest};
use super::{Book, object_name};
use crate::entry::{DESTROYED_NAMES_MAX, Destroyed, Entry, Ground, Numbered, ObjectName};
use crate::{Error, Pending};

/// Most bytes of names in an entry itself; the rest of it needs less than what is left.
const NAMES_BYTES_MAX: usize = 3_072;

/// A destruction that was queued or entered and whose objects may still lie there.
pub(super) struct Unfinished {
    pub(super) destroyed: Destroyed,
    /// The entry, while it is not known to be committed.
    pub(super) pending: Option<Pending>,
}

impl Unfinished {
    pub(super) fn committed(destroyed: Destroyed) -> Self {
        Self { destroyed, pending: None }
    }
}

impl Book {
    /// Destroys objects: enters it, waits until the entry is committed, and deletes them with their openings.
    ///
    /// Only what was entered can be destroyed: batches, imports of records and files of tables. After an error it may have been
    /// entered; [`Book::finish_destruction`] goes on.
    pub fn destroy(
        &self,
        kind: Destruction,
        ground: Ground,
        objects: &[Path],
        timeout: Duration,
    ) -> Result<(), Error> {
        self.finish_destruction(timeout)?;
        for object in objects {
            let is_destructible = matches!(
                self.inner.names.kind(object),
                ObjectKind::Batch(_) | ObjectKind::Record(_) | ObjectKind::Table(_)
            );
            if !is_destructible || !self.inner.openings.exists(object)? {
                let why = format!("{object} is nothing that was entered and may be destroyed");
                return Err(Error::malformed("destruction", why));
            }
        }
        if objects.is_empty() {
            return Ok(());
        }
        self.enter_destruction(kind, ground, objects)?;
        self.finish_destruction(timeout)
    }

    /// Deletes what destructions that were entered have left. To be called once after the start, when the ledger may sign.
    pub fn finish_destruction(&self, timeout: Duration) -> Result<(), Error> {
        let mut unfinished = self.inner.unfinished.lock();
        while let Some(first) = unfinished.first_mut() {
            if let Some(pending) = &first.pending {
                pending.wait(timeout)?.ok_or(Error::TimedOut)?;
                first.pending = None;
            }
            for object in self.names_of(&first.destroyed)? {
                self.inner.openings.delete_with_object(&object.path())?;
            }
            unfinished.remove(0);
        }
        Ok(())
    }

    /// Deletes objects that a later version of their table has removed, or that were entered as superseded, with their openings.
    /// That they may go stands in the log already.
    pub fn discard(&self, objects: &[Path]) -> Result<(), Error> {
        objects.iter().try_for_each(|object| self.inner.openings.delete_with_object(object))
    }

    fn enter_destruction(&self, kind: Destruction, ground: Ground, objects: &[Path]) -> Result<(), Error> {
        let names = objects.iter().map(object_name).collect::<Result<Vec<_>, _>>()?;
        let _manifests = self.inner.manifests.lock();
        let bytes: usize = names.iter().map(|name| name.as_str().len()).sum();
        let destroyed = if names.len() <= DESTROYED_NAMES_MAX && bytes <= NAMES_BYTES_MAX {
            Destroyed { ground, objects: names, manifest: None }
        } else {
            let number = self.manifest_number() + 1;
            let manifest = DestructionManifest::new(number, kind, ground, names);
            let (object, commitment) = self.write_manifest(number, &Manifest::Destruction(manifest))?;
            Destroyed { ground, objects: Vec::new(), manifest: Some(Numbered { object, number, commitment }) }
        };
        self.queue_destruction(kind, destroyed)
    }

    /// Queues the entry and remembers to delete.
    pub(super) fn queue_destruction(&self, kind: Destruction, destroyed: Destroyed) -> Result<(), Error> {
        let entry = match kind {
            Destruction::Erased => Entry::Erased(destroyed.clone()),
            Destruction::Expired => Entry::Expired(destroyed.clone()),
        };
        let pending = self.in_series(entry)?;
        self.inner.unfinished.lock().push(Unfinished { destroyed, pending });
        Ok(())
    }

    fn names_of(&self, destroyed: &Destroyed) -> Result<Vec<ObjectName>, Error> {
        let Some(manifest) = &destroyed.manifest else { return Ok(destroyed.objects.clone()) };
        let path = manifest.object.path();
        match Manifest::parse(&path, manifest.number, &self.content(&path)?)? {
            Manifest::Destruction(destruction) => Ok(destruction.destroyed),
            Manifest::Table(_) => {
                Err(Error::corrupt(&path, "it lists a table's files, not what was destroyed"))
            }
        }
    }
}
