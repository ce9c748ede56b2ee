//! What is not entered because it is derived: the genesis's signature, and the checkpoints of tables' logs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path;
use serde::Deserialize;
use store::{Created, Names, ObjectKind};

use super::{Copy, Followed, Source};
use crate::Error;
use crate::book::tables::{self, TableFile};

/// The pointer to a table's newest checkpoint (Delta PROTOCOL.md, "Last Checkpoint File"), as far as it is needed.
#[derive(Deserialize)]
struct Pointer {
    version: i64,
}

/// Whether an object is one that needs no entry and is copied all the same.
pub fn is_unentered(names: &Names, object: &Path) -> bool {
    match names.kind(object) {
        ObjectKind::GenesisSignature => true,
        ObjectKind::Table(table) => tables::file(&names.table(&table), object) == TableFile::Derived,
        _ => false,
    }
}

impl Copy {
    /// The signature of the genesis, which is never replaced.
    pub(super) fn fetch_signature(&self, source: &dyn Source) -> Result<(), Error> {
        let name = self.names.genesis_signature();
        if self.objects.read(&name)?.is_some() {
            return Ok(());
        }
        if let Some(bytes) = source.unentered(&name)? {
            let _only_we_write_here: Created = self.objects.create(&name, bytes)?;
        }
        Ok(())
    }

    /// The table whose commit an object is, by its name.
    pub(super) fn table_of_commit(&self, object: &Path) -> Option<(String, i64)> {
        let ObjectKind::Table(table) = self.names.kind(object) else { return None };
        match tables::file(&self.names.table(&table), object) {
            TableFile::Commit(version) => Some((table, version)),
            _ => None,
        }
    }

    /// Destroys commits of tables' logs, once a checkpoint is here that stands for them: without it the table could not be read any
    /// more. A checkpoint of a version that is not here yet waits for that version.
    pub(super) fn destroy_due(&mut self, source: &dyn Source, followed: &mut Followed) -> Result<(), Error> {
        let mut due: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for commit in &self.due {
            if let Some((table, version)) = self.table_of_commit(commit) {
                due.entry(table).or_default().insert(version);
            }
        }
        for (table, versions) in due {
            let Some(last) = versions.last().copied() else { continue };
            // Also where one is here that would do: an older one says what files held that are gone.
            self.fetch_checkpoint(source, &table, last)?;
            if self.checkpoint_version(&table)?.is_none_or(|version| version < last) {
                continue;
            }
            let folder = self.names.table(&table);
            for commit in versions.iter().map(|version| tables::commit(&folder, *version)) {
                self.delete_with_opening(&commit)?;
                self.due.remove(&commit);
                followed.removed += 1;
            }
        }
        Ok(())
    }

    /// Fetches a table's checkpoint if it is of `wanted` or a later version, and of none that is not here.
    fn fetch_checkpoint(&self, source: &dyn Source, table: &str, wanted: i64) -> Result<(), Error> {
        let folder = self.names.table(table);
        let pointer_name = tables::last_checkpoint(&folder);
        let Some(pointer) = source.unentered(&pointer_name)? else { return Ok(()) };
        let version = version_of(&pointer_name, &pointer)?;
        let listed = self.objects.list(&tables::log(&folder))?;
        let newest =
            listed.iter().filter_map(|object| self.table_of_commit(&object.location)).map(|(_, v)| v).max();
        if version < wanted || newest.is_none_or(|newest| newest < version) {
            return Ok(());
        }
        let name = tables::checkpoint(&folder, version);
        let Some(checkpoint) = source.unentered(&name)? else { return Ok(()) };
        self.put(&name, checkpoint)?;
        self.put(&pointer_name, pointer)?;
        for object in listed {
            let is_old = tables::file(&folder, &object.location) == TableFile::Derived
                && ![&name, &pointer_name].contains(&&object.location);
            if is_old {
                self.objects.delete(&object.location)?;
            }
        }
        Ok(())
    }

    /// The version of the checkpoint that is here.
    fn checkpoint_version(&self, table: &str) -> Result<Option<i64>, Error> {
        let name = tables::last_checkpoint(&self.names.table(table));
        self.objects.read(&name)?.map(|pointer| version_of(&name, &pointer)).transpose()
    }
}

fn version_of(name: &Path, pointer: &Bytes) -> Result<i64, Error> {
    let pointer: Pointer =
        serde_json::from_slice(pointer).map_err(|error| Error::corrupt(name, error.to_string()))?;
    Ok(pointer.version)
}
