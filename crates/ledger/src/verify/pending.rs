//! Objects that the log does not name: what directly follows the last of its series waits for its entry, all else is foreign.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use store::{BatchName, ObjectKind};

use super::accounts::Accounts;
use super::listing::State;
use super::{Report, Store};
use crate::Error;
use crate::book::Manifest;
use crate::book::tables::{self, TableFile};

const NOBODY: &str = "nobody entered it";

/// Unentered objects, by their series.
#[derive(Default)]
struct Unentered {
    genesis: Option<String>,
    batches: Vec<BatchName>,
    controls: Vec<u64>,
    packs: Vec<u64>,
    charters: Vec<u64>,
    records: Vec<u64>,
    manifests: Vec<u64>,
    tables: BTreeMap<String, Vec<Path>>,
}

impl Accounts {
    /// Judges what nobody has entered.
    pub(super) fn judge_unentered(&self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        let unentered = self.unentered(store);
        if let Some(genesis) = unentered.genesis {
            // It is entered before all else, or, where an older center's store is adopted, last.
            if report.kinds.keys().all(|kind| kind == "adopted") && !self.marks.genesis {
                report.pending.push(genesis);
            } else {
                report.find(genesis, NOBODY);
            }
        }
        self.judge_batches(store, unentered.batches, report)?;
        let names = store.names;
        follow(self.marks.control, &unentered.controls, |number| names.control(number), report);
        follow(self.marks.charter, &unentered.charters, |version| names.charter(version), report);
        follow(self.marks.pack, &unentered.packs, |number| names.pack(number), report);
        follow(self.marks.record, &unentered.records, |number| names.record(number), report);
        let waiting =
            follow(self.marks.manifest, &unentered.manifests, |number| names.manifest(number), report);
        let mut listed = BTreeSet::new();
        for number in waiting {
            let path = names.manifest(number);
            let Some(content) = store.read(&path)? else { continue };
            match Manifest::parse(&path, number, &content) {
                Ok(Manifest::Table(table)) => {
                    listed.extend(table.added.iter().map(|file| file.name.as_str().to_owned()));
                }
                Ok(Manifest::Destruction(_)) => {}
                Err(error) => report.find(&path, error.to_string()),
            }
        }
        for (table, files) in &unentered.tables {
            self.judge_table(store, table, files, &listed, report)?;
        }
        Ok(())
    }

    fn unentered(&self, store: &Store<'_>) -> Unentered {
        let mut found = Unentered::default();
        let waits = |state: State| state == State::Unentered;
        for (name, _) in self.listing.objects.iter().filter(|(_, object)| waits(object.state)) {
            let path = Path::from(name.as_str());
            match store.names.kind(&path) {
                ObjectKind::Genesis => found.genesis = Some(name.clone()),
                ObjectKind::Batch(batch) => found.batches.push(batch),
                ObjectKind::Control(number) => found.controls.push(number),
                ObjectKind::Charter(version) => found.charters.push(version),
                ObjectKind::Pack(number) => found.packs.push(number),
                ObjectKind::Record(number) => found.records.push(number),
                ObjectKind::Manifest(number) => found.manifests.push(number),
                ObjectKind::Table(table) => found.tables.entry(table).or_default().push(path),
                _ => {}
            }
        }
        found.batches.sort_unstable_by(|a, b| (&a.gateway, a.last).cmp(&(&b.gateway, b.last)));
        found
    }

    fn judge_batches(
        &self,
        store: &Store<'_>,
        batches: Vec<BatchName>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut through = self.marks.gateways.clone();
        for batch in batches {
            let path = batch.path();
            let Some(content) = store.read(&path)? else { continue };
            let header = match store::read(path.as_ref(), content) {
                Ok(read) => read.header().clone(),
                Err(error) => {
                    report.find(&path, format!("{NOBODY}, and {error}"));
                    continue;
                }
            };
            let before = through.get(&batch.gateway).copied();
            // While an older center's store is being adopted the first batch of a gateway may begin anywhere.
            let follows = match before {
                Some(before) => header.first.0 == before + 1,
                None => header.first.0 == 1 || !self.marks.genesis,
            };
            if follows && header.last == batch.last && header.gateway == batch.gateway {
                through.insert(batch.gateway, batch.last.0);
                report.pending.push(path.into());
            } else {
                report.find(&path, NOBODY);
            }
        }
        Ok(())
    }

    fn judge_table(
        &self,
        store: &Store<'_>,
        table: &str,
        files: &[Path],
        listed: &BTreeSet<String>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let folder = store.names.table(table);
        if self.doubtful_tables.contains(table) {
            for file in files {
                report.find(file, "no manifest that can be read names it");
            }
            return Ok(());
        }
        let entered = self.marks.tables.get(table).copied().unwrap_or(-1);
        let mut next = entered.saturating_add(1);
        let mut data = Vec::new();
        // Sorted by name, so commits come in the order of their versions.
        for file in files {
            match tables::file(&folder, file) {
                _ if listed.contains(file.as_ref()) => report.pending.push(file.to_string()),
                TableFile::Commit(version) if version == next => report.pending.push(file.to_string()),
                TableFile::Commit(_) => report.find(file, NOBODY),
                TableFile::Data if is_in_log(&folder, file) => report.find(file, NOBODY),
                TableFile::Data => data.push(file.clone()),
                TableFile::Derived => {}
            }
            if tables::file(&folder, file) == TableFile::Commit(next) {
                next = next.saturating_add(1);
            }
        }
        if data.is_empty() {
            return Ok(());
        }
        // A data file is written before the commit that names it. One that an entered commit names had to be in its manifest.
        for name in self.listing.objects.keys() {
            let path = Path::from(name.as_str());
            if let TableFile::Commit(version) = tables::file(&folder, &path)
                && version <= entered
                && let Some(commit) = store.read(&path)?
            {
                for file in tables::named_by(&folder, &commit, &mut data) {
                    report.find(file, format!("{NOBODY}, though version {version} of its table names it"));
                }
            }
        }
        report.pending.extend(data.into_iter().map(String::from));
        Ok(())
    }
}

fn is_in_log(folder: &Path, file: &Path) -> bool {
    file.prefix_matches(&folder.clone().join("_delta_log"))
}

/// Judges a numbered series; gives the numbers that wait.
fn follow(before: u64, numbers: &[u64], name: impl Fn(u64) -> Path, report: &mut Report) -> Vec<u64> {
    let mut waiting = Vec::new();
    let mut next = before + 1;
    for &number in numbers {
        if number == next {
            next += 1;
            waiting.push(number);
            report.pending.push(name(number).into());
        } else {
            report.find(name(number), NOBODY);
        }
    }
    waiting
}
