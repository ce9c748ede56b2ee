//! How far each series was entered.
//!
//! Objects of one kind are a series: their numbers follow each other by one. So one number says what was entered, and a gap is
//! seen without a list.

use std::collections::BTreeMap;

use model::GatewayName;

use crate::entry::{Adopted, BatchFacts, Destroyed, Entry, Stored, Tabled};

/// The last of each series that the log names.
#[derive(Clone, Default, Debug)]
pub(crate) struct Marks {
    /// Whether the genesis was entered.
    pub(crate) genesis: bool,
    /// The last sequence of a gateway's last batch.
    pub(crate) gateways: BTreeMap<GatewayName, u64>,
    /// The last change of the registry; 0 where there is none. So for the next three.
    pub(crate) control: u64,
    /// The last version of the country's charter.
    pub(crate) charter: u64,
    pub(crate) pack: u64,
    pub(crate) record: u64,
    pub(crate) manifest: u64,
    /// The last version of a table's log.
    pub(crate) tables: BTreeMap<String, i64>,
}

/// Where an entry stands in its series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// It is the next, or it belongs to no series.
    Next,
    /// It, or one after it, was entered.
    Past,
    /// It leaves out or overlaps others.
    Gap(String),
}

impl Marks {
    /// Where an entry stands.
    pub(crate) fn place(&self, entry: &Entry) -> Place {
        match entry {
            Entry::Charter(_) | Entry::Adopted(Adopted::Genesis(_)) => {
                if self.genesis {
                    Place::Past
                } else {
                    Place::Next
                }
            }
            Entry::Adopted(_) if self.genesis => {
                Place::Gap("nothing is adopted after the genesis".to_owned())
            }
            Entry::Adopted(adopted) => match adopted {
                Adopted::Genesis(_) => Place::Next,
                Adopted::Batch(batch) => self.place_of_batch(batch, true),
                Adopted::Records(records) => numbered("import", self.record, records.number),
                Adopted::Control(control) => numbered("change", self.control, control.number),
                Adopted::Pack(pack) => numbered("pack", self.pack, pack.number),
                Adopted::Table(tabled) => self.place_of_table(tabled, true),
            },
            Entry::Refused(_)
            | Entry::Read(_)
            | Entry::Mirrored(_)
            | Entry::Superseded(_)
            | Entry::Degraded(_)
            | Entry::Checked(_)
            | Entry::Opaque { .. } => Place::Next,
            _ if !self.genesis => Place::Gap("the genesis is entered first: reconcile".to_owned()),
            Entry::Stored(Stored::Batch(batch)) => self.place_of_batch(batch, false),
            Entry::Stored(Stored::Records(records)) => numbered("import", self.record, records.number),
            Entry::Control(control) => numbered("change", self.control, control.number),
            Entry::Policy(pack) => numbered("pack", self.pack, pack.number),
            Entry::Chartered(charter) => numbered("charter", self.charter, charter.number),
            Entry::Tabled(tabled) => self.place_of_table(tabled, false),
            Entry::Erased(destroyed) | Entry::Expired(destroyed) => self.place_of_destruction(destroyed),
        }
    }

    /// Remembers an entry.
    pub(crate) fn learn(&mut self, entry: &Entry) {
        match entry {
            Entry::Charter(_) | Entry::Adopted(Adopted::Genesis(_)) => self.genesis = true,
            Entry::Stored(Stored::Batch(batch)) | Entry::Adopted(Adopted::Batch(batch)) => {
                // Most entries are batches of a known gateway: no copy of its name for these.
                match self.gateways.get_mut(&batch.gateway) {
                    Some(last) => *last = batch.last.max(*last),
                    None => {
                        self.gateways.insert(batch.gateway.clone(), batch.last);
                    }
                }
            }
            Entry::Stored(Stored::Records(records)) | Entry::Adopted(Adopted::Records(records)) => {
                self.record = self.record.max(records.number);
            }
            Entry::Control(control) | Entry::Adopted(Adopted::Control(control)) => {
                self.control = self.control.max(control.number);
            }
            Entry::Chartered(charter) => self.charter = self.charter.max(charter.number),
            Entry::Policy(pack) | Entry::Adopted(Adopted::Pack(pack)) => {
                self.pack = self.pack.max(pack.number)
            }
            Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled)) => {
                self.manifest = self.manifest.max(tabled.number);
                let version = self.tables.entry(tabled.table.as_str().to_owned()).or_insert(tabled.version);
                *version = tabled.version.max(*version);
            }
            Entry::Erased(destroyed) | Entry::Expired(destroyed) => {
                let number = destroyed.manifest.as_ref().map_or(0, |manifest| manifest.number);
                self.manifest = self.manifest.max(number);
            }
            Entry::Refused(_)
            | Entry::Read(_)
            | Entry::Mirrored(_)
            | Entry::Superseded(_)
            | Entry::Degraded(_)
            | Entry::Checked(_)
            | Entry::Opaque { .. } => {}
        }
    }

    fn place_of_batch(&self, batch: &BatchFacts, is_adopted: bool) -> Place {
        let (first, last) = (batch.first, batch.last);
        if first == 0 || last < first || batch.frames == 0 || batch.frames > last - first + 1 {
            return Place::Gap(format!(
                "a batch can't hold {} frames numbered {first} to {last}",
                batch.frames
            ));
        }
        let before = match self.gateways.get(&batch.gateway) {
            Some(before) => *before,
            // What a center held before the ledger may begin anywhere.
            None if is_adopted => return Place::Next,
            None => 0,
        };
        if last <= before {
            Place::Past
        } else if first == before + 1 {
            Place::Next
        } else {
            let gateway = &batch.gateway;
            Place::Gap(format!(
                "after {before}, gateway {gateway}'s batch must begin with {}, not {first}",
                before + 1
            ))
        }
    }

    fn place_of_table(&self, tabled: &Tabled, is_adopted: bool) -> Place {
        let next = match self.tables.get(tabled.table.as_str()) {
            Some(before) if tabled.version <= *before => return Place::Past,
            Some(before) => before.saturating_add(1),
            None if is_adopted => tabled.version,
            None => 0,
        };
        if tabled.version != next {
            let (table, version) = (&tabled.table, tabled.version);
            return Place::Gap(format!("the next version of table {table} is {next}, not {version}"));
        }
        match numbered("manifest", self.manifest, tabled.number) {
            Place::Past => Place::Gap(format!("manifest {} serves a second entry", tabled.number)),
            other => other,
        }
    }

    fn place_of_destruction(&self, destroyed: &Destroyed) -> Place {
        destroyed
            .manifest
            .as_ref()
            .map_or(Place::Next, |manifest| numbered("manifest", self.manifest, manifest.number))
    }
}

fn numbered(what: &str, before: u64, number: u64) -> Place {
    if number <= before {
        Place::Past
    } else if number == before + 1 {
        Place::Next
    } else {
        Place::Gap(format!("the next {what} is {}, not {number}", before + 1))
    }
}
