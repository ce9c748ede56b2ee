//! The import of records: held against the registry, written as one object, applied.

use std::collections::HashMap;

use model::{KeyPeriod, UtcMicros, VehicleId, Vin};
use policy::{RecordKind, RegistryVersion, VehicleFacts, VehicleState};
use store::Created;

use super::object::{Body, Entry, Period, RecordsObject, decode, encode, rows_of};
use super::parse::{Parsed, parse};
use super::projection::KeyedPeriod;
use super::{RecordInput, RecordSchema};
use crate::control::{Change, Occasion};
use crate::import::Problems;
use crate::registry::Turn;
use crate::{Error, Registry};

/// How far ahead of the center's clock an owner's period may begin: today's date may be tomorrow's in UTC.
const AHEAD_MAX: i64 = UtcMicros::PER_DAY;

/// What an import of records did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsImported {
    /// Records that are new.
    pub rows: usize,
    /// Owners' periods of earlier imports that ended because the next owner's began.
    pub closed: usize,
    /// Vehicles that have a new data key from now on, because they have a new owner.
    pub rekeyed: usize,
    /// The number of the object that holds them; `None` where the file has no record.
    pub number: Option<u64>,
    /// The state of the registry from then on. Where vehicles were rekeyed the caller raises the journal's barrier to it, so that
    /// admissions are asked anew.
    pub version: RegistryVersion,
}

/// The rows of an import, as they are collected.
#[derive(Default)]
struct Draft {
    entries: Vec<Entry>,
    /// What identifies somebody in each entry, as one JSON object.
    personal: Vec<String>,
    closed: usize,
    new_keys: Vec<(VehicleId, KeyPeriod)>,
}

impl Draft {
    fn push(&mut self, vehicle: VehicleId, key: KeyPeriod, body: Body, personal: String) {
        let row = u32::try_from(self.entries.len()).expect("an import has few rows");
        self.entries.push(Entry { row, vehicle, key, body });
        self.personal.push(personal);
    }
}

impl Registry {
    /// Imports records, all or none, as one object. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Import`] with the wrong lines, which names no VIN; or the store's.
    pub fn records_import(
        &self,
        schema: &RecordSchema,
        input: RecordInput<'_>,
    ) -> Result<RecordsImported, Error> {
        let (parsed, problems) = parse(schema, input)?;
        let mut turn = self.begin()?;
        let at = self.world.clock.now();
        let draft = match schema.kind() {
            RecordKind::Owner => self.draft_owners(parsed, problems, at)?,
            kind => self.draft_events(kind, parsed, problems)?,
        };
        let Draft { entries, personal, closed, new_keys } = draft;
        let rows = entries.len() - closed;
        if rows == 0 {
            let version = self.version();
            return Ok(RecordsImported { rows, closed, rekeyed: 0, number: None, version });
        }
        self.keyring.create_many(&new_keys)?;
        let number = self.projection.lock().applied().records + 1;
        let object = RecordsObject { number, at, entries };
        let center = self.names.center();
        let bytes = encode(&object, &personal, center, &self.keyring, &*self.world.entropy)?;
        drop(personal);
        match self.objects.create(&self.names.record(number), bytes)? {
            Created::New => {}
            Created::Exists => {
                let what =
                    "somebody else wrote it meanwhile; only one process may change a registry".to_owned();
                return Err(Error::RecordsDamaged { number, what });
            }
        }
        self.apply_records(&mut turn, &object)?;
        let rekeyed = self.settle_keys(&mut turn)?;
        Ok(RecordsImported { rows, closed, rekeyed, number: Some(number), version: self.version() })
    }

    /// All records of a vehicle as JSON objects, with what identifies somebody, in the order in which they were imported. Reads every
    /// import.
    ///
    /// # Errors
    /// The store's.
    pub fn records_of_vehicle(&self, vehicle: VehicleId) -> Result<Vec<serde_json::Value>, Error> {
        let mut rows = Vec::new();
        for number in 1..=self.records_version() {
            let name = self.names.record(number);
            if let Some(bytes) = self.objects.read(&name)? {
                rows.extend(rows_of(name.as_ref(), bytes, &self.keyring, vehicle)?);
            }
        }
        Ok(rows)
    }

    /// An object of records; `None` where there is none of this number.
    pub(crate) fn read_records(&self, number: u64) -> Result<Option<RecordsObject>, Error> {
        let name = self.names.record(number);
        let Some(bytes) = self.objects.read(&name)? else { return Ok(None) };
        decode(number, name.as_ref(), bytes, self.names.center(), &self.keyring).map(Some)
    }

    /// Gives vehicles the data keys that their present owners' records are sealed under: after an import of owners, and where a
    /// crash came between. Gives the number of vehicles.
    pub(crate) fn settle_keys(&self, turn: &mut Turn<'_>) -> Result<usize, Error> {
        let wanted = self.projection.lock().keys_to_settle()?;
        let mut changes = Vec::with_capacity(wanted.len());
        for (vin, key) in wanted {
            // A revoked one sends nothing, and writing its state anew would restore it.
            if let Some(vehicle) = self.show(&vin)?.filter(|vehicle| vehicle.revoked.is_none()) {
                let vehicle = crate::Vehicle { key, ..vehicle };
                changes.push(Change::Vehicle(Occasion::Changed, Box::new(vehicle)));
            }
        }
        let rekeyed = changes.len();
        if rekeyed > 0 {
            self.record(turn, self.world.clock.now(), changes)?;
        }
        Ok(rekeyed)
    }

    /// Sales and services: each stands for itself. `problems` are those of other rows, found before.
    fn draft_events(
        &self,
        kind: RecordKind,
        parsed: Vec<Parsed>,
        mut problems: Problems,
    ) -> Result<Draft, Error> {
        let mut draft = Draft::default();
        let mut seen: HashMap<Vin, u64> = HashMap::new();
        for record in parsed {
            let Some(facts) = self.lookup(&record.vin) else {
                problems.push(record.line, NOT_REGISTERED.to_owned());
                continue;
            };
            if kind == RecordKind::Sale {
                if let Some(first) = seen.insert(record.vin, record.line) {
                    problems.push(
                        record.line,
                        format!("vin: the same as in line {first}; a vehicle is sold once"),
                    );
                    continue;
                }
                if self.projection.lock().is_sold(facts.id)? {
                    problems
                        .push(record.line, "vin: the sale of this vehicle is recorded already".to_owned());
                    continue;
                }
            }
            let body = Body::Record { kind, period: None, fields: record.fields };
            draft.push(facts.id, facts.key, body, record.personal);
        }
        problems.into_result().map(|()| draft)
    }

    /// Owners: the periods of a vehicle follow each other.
    fn draft_owners(
        &self,
        parsed: Vec<Parsed>,
        mut problems: Problems,
        now: UtcMicros,
    ) -> Result<Draft, Error> {
        let mut order = Vec::new();
        let mut of_vehicle: HashMap<Vin, Vec<Parsed>> = HashMap::new();
        for record in parsed {
            let from = record.valid_from.unwrap_or_default();
            if self.lookup(&record.vin).is_none() {
                problems.push(record.line, NOT_REGISTERED.to_owned());
            } else if from > now.plus_micros(AHEAD_MAX) {
                problems.push(record.line, "valid_from: a date that has come".to_owned());
            } else {
                let records = of_vehicle.entry(record.vin).or_insert_with(|| {
                    order.push(record.vin);
                    Vec::new()
                });
                records.push(record);
            }
        }
        let mut draft = Draft::default();
        for vin in order {
            let (Some(facts), Some(records)) = (self.lookup(&vin), of_vehicle.remove(&vin)) else { continue };
            let known = self.projection.lock().owner_periods(facts.id)?;
            if let Err((line, problem)) = succeed(&mut draft, &facts, &known, records) {
                problems.push(line, problem);
            }
        }
        problems.into_result().map(|()| draft)
    }
}

const NOT_REGISTERED: &str = "vin: not registered; `vehicle import` registers vehicles";

/// Puts the new periods of one vehicle between the known ones. A period without an end ends where the next one begins. Each new
/// period has a data key of its own, but for a vehicle's first one, which has the vehicle's; so the newest owner's is the
/// vehicle's from then on.
///
/// # Errors
/// The line that can't be, and why.
fn succeed(
    draft: &mut Draft,
    facts: &VehicleFacts,
    known: &[KeyedPeriod],
    records: Vec<Parsed>,
) -> Result<(), (u64, String)> {
    enum Link {
        Known(KeyedPeriod),
        New(Parsed),
    }
    let bounds = |link: &Link| match link {
        Link::Known(known) => (known.period.from, known.period.to),
        Link::New(new) => (new.valid_from.unwrap_or_default(), new.valid_to),
    };
    let line = |a: &Link, b: &Link| match (a, b) {
        (_, Link::New(new)) | (Link::New(new), _) => Some(new.line),
        _ => None,
    };
    let mut links: Vec<Link> = known.iter().copied().map(Link::Known).collect();
    links.extend(records.into_iter().map(Link::New));
    links.sort_by_key(|link| bounds(link).0);
    for pair in links.windows(2) {
        let ((_, to), (next, _)) = (bounds(&pair[0]), bounds(&pair[1]));
        let is_apart = bounds(&pair[0]).0 < next && to.is_none_or(|to| to <= next);
        if let (false, Some(line)) = (is_apart, line(&pair[0], &pair[1])) {
            return Err((line, "valid_from: the period overlaps another owner's".to_owned()));
        }
    }
    let starts: Vec<UtcMicros> = links.iter().map(|link| bounds(link).0).collect();
    let mut highest = known.iter().map(|known| known.key).max().unwrap_or_default().max(facts.key);
    let mut is_first = known.is_empty();
    for (index, link) in links.into_iter().enumerate() {
        let next = starts.get(index + 1).copied();
        match link {
            Link::Known(KeyedPeriod { period: Period { from, to: None }, key }) => {
                if let Some(to) = next {
                    draft.push(facts.id, key, Body::Closed { from, to }, "{}".to_owned());
                    draft.closed += 1;
                }
            }
            Link::Known(_) => {}
            Link::New(new) => {
                if !is_first && facts.state == VehicleState::Revoked {
                    return Err((
                        new.line,
                        "vin: revoked; restore the vehicle before it changes hands".to_owned(),
                    ));
                }
                let key = if is_first { facts.key } else { KeyPeriod(highest.0 + 1) };
                if !is_first {
                    draft.new_keys.push((facts.id, key));
                }
                (highest, is_first) = (highest.max(key), false);
                let period = Period { from: new.valid_from.unwrap_or_default(), to: new.valid_to.or(next) };
                let body = Body::Record { kind: RecordKind::Owner, period: Some(period), fields: new.fields };
                draft.push(facts.id, key, body, new.personal);
            }
        }
    }
    Ok(())
}
