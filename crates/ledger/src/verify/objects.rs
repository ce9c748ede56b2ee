//! The contents of the objects, and what is left over at the end.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;

use super::accounts::{Absent, Accounts, check_content};
use super::listing::State;
use super::{Report, Store};
use crate::Error;

impl Accounts {
    /// Reads every entered object that was listed, one at a time, and holds it against its commitment.
    pub(super) fn check_objects(&mut self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        for (name, object) in &mut self.listing.objects {
            let (State::Entered { commitment, .. } | State::Removed { commitment, .. }) = object.state else {
                continue;
            };
            if object.is_checked {
                continue;
            }
            object.is_checked = true;
            let Some(content) = store.read(&Path::from(name.as_str()))? else {
                self.vanished.insert(name.clone());
                continue;
            };
            report.objects += 1;
            report.bytes += content.len() as u64;
            if let Err(what) = check_content(store, name, &content, commitment)? {
                // It may just be on its way out, its opening gone first from what was read here.
                if store.read(&Path::from(name.as_str()))?.is_some() {
                    report.find(name, what);
                } else {
                    self.vanished.insert(name.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether an entered object is missing, so that the log has to be asked again.
    pub(super) fn misses_any(&self, store: &Store<'_>) -> Result<bool, Error> {
        if !self.vanished.is_empty() {
            return Ok(true);
        }
        for name in self.absent.keys() {
            if store.read(&Path::from(name.as_str()))?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the log has said to its end against what there is.
    pub(super) fn finish(mut self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        // Entries that the second look at the log brought may be of objects that were listed.
        self.check_objects(store, report)?;
        self.find_missing(store, report)?;
        for (name, object) in &self.listing.objects {
            if let State::Destroyed { index } = object.state
                && store.read(&Path::from(name.as_str()))?.is_some()
            {
                self.judge_undeleted(name, index, report);
            }
        }
        self.judge_unentered(store, report)?;
        self.judge_openings(store, report)
    }

    /// Without a log nothing can be said but that.
    pub(super) fn finish_without_log(self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        report.find(
            store.names.ledger(),
            "there is no head of a log that could be believed: no object can be judged",
        );
        Ok(())
    }

    fn find_missing(&mut self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        for (name, Absent { index, commitment }) in std::mem::take(&mut self.absent) {
            match store.read(&Path::from(name.as_str()))? {
                // It was put after the list was made.
                Some(content) => {
                    report.objects += 1;
                    report.bytes += content.len() as u64;
                    if let Err(what) = check_content(store, &name, &content, commitment)? {
                        report.find(&name, what);
                    }
                }
                None => report.find(
                    &name,
                    format!("it is missing: entry {index} entered it, and no entry took it away"),
                ),
            }
        }
        for name in std::mem::take(&mut self.vanished) {
            let state = self.listing.objects.get(&name).map(|object| object.state);
            if let Some(State::Entered { index, .. }) = state {
                report.find(
                    &name,
                    format!(
                        "it went while this was running: entry {index} entered it, no entry took it away"
                    ),
                );
            }
        }
        Ok(())
    }

    /// An object that the log says was destroyed is there. The last destruction may be at it, or be cut by a crash and gone on with
    /// by the next start; any earlier one was finished before the next began.
    fn judge_undeleted(&self, name: &str, index: u64, report: &mut Report) {
        if self.last_destruction.as_ref().is_some_and(|(last, _)| *last == index) {
            report.note(name, format!("entry {index}, the log's last destruction, has still to delete it"));
            report.pending.push(name.to_owned());
        } else {
            report.find(name, format!("entry {index} says that it was destroyed, and it is there"));
        }
    }

    fn judge_openings(&self, store: &Store<'_>, report: &mut Report) -> Result<(), Error> {
        let mut owners: BTreeMap<String, &String> = BTreeMap::new();
        for name in self.listing.objects.keys() {
            if let Some(opening) = store.names.opening(&Path::from(name.as_str())) {
                owners.insert(opening.into(), name);
            }
        }
        for opening in &self.listing.openings {
            if owners.contains_key(opening) {
                continue;
            }
            // The object of the opening has the opening's name, without the folder of openings.
            let below = opening.strip_prefix(store.names.openings().as_ref()).unwrap_or_default();
            let object = Path::from(format!("{}{below}", store.names.center()));
            let is_there = |name: &Path| store.read(name).map(|content| content.is_some());
            let is_last = |(_, names): &(u64, BTreeSet<String>)| names.contains(object.as_ref());
            if is_there(&Path::from(opening.as_str()))? && !is_there(&object)? {
                if self.last_destruction.as_ref().is_some_and(is_last)
                    || self.leftover_openings.contains(opening)
                {
                    report.pending.push(opening.clone());
                    continue;
                }
                report.find(
                    opening,
                    "it is the opening of no object: of one that is gone, it must be gone too",
                );
            }
        }
        Ok(())
    }
}
