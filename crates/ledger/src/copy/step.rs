//! What one bundle of entries means for a copy: what is to be there, and what is to go.

use std::collections::BTreeSet;

use object_store::path::Path;

use super::{Copy, Followed, Source};
use crate::Error;
use crate::book::Manifest;
use crate::book::tables::{self, TableFile};
use crate::entry::{Adopted, Commitment, Destroyed, Entered, Entry, Numbered, ObjectName, Tabled};

/// Manifests by their objects' names, and what is to be done by each.
#[derive(Default)]
struct Plan {
    /// Objects that entries name themselves.
    named: Vec<(ObjectName, Commitment)>,
    /// Manifests of tables' versions, in the log's order.
    tabled: Vec<Tabled>,
    /// Manifests of destructions.
    destructions: Vec<Numbered>,
    gone: BTreeSet<String>,
    /// Files that a later version of their table does without.
    leaving: BTreeSet<String>,
    controls: Vec<u64>,
    news: u64,
}

impl Copy {
    /// Does what entries say that directly follow each other.
    pub(super) fn step(
        &mut self,
        source: &dyn Source,
        entries: &[Vec<u8>],
        followed: &mut Followed,
    ) -> Result<(), Error> {
        let mut plan = Plan::default();
        for bytes in entries {
            plan.take(Entered::parse(bytes)?.entry);
        }
        // Manifests say what else is to be there and to go, so they come first.
        let manifests = plan.tabled.iter().map(|tabled| (tabled.manifest.clone(), tabled.commitment));
        let others = plan.destructions.iter().map(|listed| (listed.object.clone(), listed.commitment));
        let manifests: Vec<_> = manifests.chain(others).collect();
        self.fetch(source, &manifests, followed)?;
        let mut files: Vec<(ObjectName, Commitment)> = Vec::new();
        let mut commits: Vec<(ObjectName, Commitment)> = Vec::new();
        for tabled in &plan.tabled {
            let Manifest::Table(manifest) = self.manifest(&tabled.manifest, tabled.number)? else {
                return Err(Error::corrupt(&tabled.manifest, "it does not list a table's files"));
            };
            let folder = self.names.table(tabled.table.as_str());
            for file in manifest.added {
                let is_commit = matches!(tables::file(&folder, &file.name.path()), TableFile::Commit(_));
                if is_commit { &mut commits } else { &mut files }.push((file.name, file.commitment));
            }
            plan.leaving.extend(manifest.removed.iter().map(ToString::to_string));
        }
        for listed in &plan.destructions {
            let Manifest::Destruction(manifest) = self.manifest(&listed.object, listed.number)? else {
                return Err(Error::corrupt(&listed.object, "it does not list what was destroyed"));
            };
            plan.gone.extend(manifest.destroyed.iter().map(ToString::to_string));
        }
        // What is to go is not fetched. Data comes before the commit that names it, so that a table can be read at any time.
        let stays = |(name, _): &(ObjectName, Commitment)| {
            !plan.gone.contains(name.as_str()) && !plan.leaving.contains(name.as_str())
        };
        let data: Vec<_> = plan.named.iter().chain(&files).filter(|object| stays(object)).cloned().collect();
        self.fetch(source, &data, followed)?;
        let commits: Vec<_> = commits.into_iter().filter(stays).collect();
        self.fetch(source, &commits, followed)?;
        self.take_away(&plan.gone, followed)?;
        for name in plan.leaving.iter().filter(|name| !plan.gone.contains(*name)) {
            self.absent.remove(name);
            followed.leaving.push(Path::from(name.as_str()));
        }
        followed.tables += plan.tabled.len() as u64;
        followed.controls.append(&mut plan.controls);
        followed.news += plan.news;
        Ok(())
    }

    fn take_away(&mut self, gone: &BTreeSet<String>, followed: &mut Followed) -> Result<(), Error> {
        for name in gone {
            self.absent.remove(name);
            let path = Path::from(name.as_str());
            if self.opening_is_foreign(&path) {
                return Err(Error::corrupt(name, "an entry takes away an object of another center"));
            }
            if self.table_of_commit(&path).is_some() {
                self.due.insert(path);
                continue;
            }
            self.delete_with_opening(&path)?;
            followed.removed += 1;
        }
        Ok(())
    }

    fn opening_is_foreign(&self, object: &Path) -> bool {
        self.names.opening(object).is_none()
    }

    /// A manifest that lies here. Manifests are never destroyed, so one that the source does not have is waited for.
    fn manifest(&self, name: &ObjectName, number: u64) -> Result<Manifest, Error> {
        let missing = || Error::Unavailable {
            name: name.to_string(),
            why: "the center that it is of does not have it".to_owned(),
        };
        let content = self.objects.read(&name.path())?.ok_or_else(missing)?;
        Manifest::parse(&name.path(), number, &content)
    }
}

impl Plan {
    fn take(&mut self, entry: Entry) {
        self.news += u64::from(!matches!(entry, Entry::Mirrored(_)));
        match entry {
            Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled)) => self.tabled.push(tabled),
            Entry::Erased(destroyed) | Entry::Expired(destroyed) => self.destroy(destroyed),
            Entry::Superseded(superseded) => {
                self.gone.insert(superseded.object.to_string());
            }
            other => {
                match &other {
                    Entry::Control(control) | Entry::Adopted(Adopted::Control(control)) => {
                        self.controls.push(control.number);
                    }
                    _ => {}
                }
                self.named.extend(other.committed().map(|(name, commitment)| (name.clone(), *commitment)));
            }
        }
    }

    fn destroy(&mut self, destroyed: Destroyed) {
        self.gone.extend(destroyed.objects.iter().map(ToString::to_string));
        self.destructions.extend(destroyed.manifest);
    }
}
