//! An import as it lies in the store: a batch with a row a record, sealed under the vehicles' keys.

use bytes::Bytes;
use model::{
    CenterName, ConnectionId, Entropy, Frame, GatewayName, KeyPeriod, Protocol, Sequence, UtcMicros,
    VehicleId,
};
use policy::RecordKind;
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{BatchHeader, Keyring};

use crate::Error;
use crate::vehicle::read_date;

/// What stands in the place of a gateway's name in the object's header.
const GATEWAY: &str = "records";
/// The kind of a row that ends an owner's period of an earlier import.
const CLOSED: &str = "closed";
/// Bits of a row's sequence that number the row; those above are drawn for each import. A frame's nonce is made of the sequence,
/// and two imports may hold the same row of the same vehicle (one that was tried again, or after a store was put back from a
/// backup): with 43 random bits their nonces differ all the same.
const ROW_BITS: u32 = 20;

/// An import as the projection applies it.
pub(crate) struct RecordsObject {
    /// Its number.
    pub(crate) number: u64,
    /// When it was recorded.
    pub(super) at: UtcMicros,
    /// Its rows, but for those whose key was destroyed: they were erased.
    pub(super) entries: Vec<Entry>,
}

/// A row of an import.
pub(super) struct Entry {
    pub(super) row: u32,
    pub(super) vehicle: VehicleId,
    pub(super) key: KeyPeriod,
    pub(super) body: Body,
}

/// What a row says.
pub(super) enum Body {
    /// A record; of an owner's the period.
    Record { kind: RecordKind, period: Option<Period>, fields: String },
    /// The owner's period that began at `from` ended at `to`, because the next one began.
    Closed { from: UtcMicros, to: UtcMicros },
}

/// From when to when somebody owned a vehicle; without an end it lasts.
#[derive(Clone, Copy)]
pub(super) struct Period {
    pub(super) from: UtcMicros,
    pub(super) to: Option<UtcMicros>,
}

/// A row as JSON; what identifies somebody is not read.
#[derive(Deserialize)]
struct Stored {
    kind: String,
    #[serde(default)]
    valid_from: Option<String>,
    #[serde(default)]
    valid_to: Option<String>,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// What identifies an owner in a row.
#[derive(Deserialize)]
struct Named {
    kind: String,
    #[serde(default)]
    personal: Personal,
}

#[derive(Default, Deserialize)]
struct Personal {
    #[serde(default)]
    owner_id: Option<String>,
}

impl Entry {
    /// The row as JSON. `personal` is one JSON object.
    fn json(&self, personal: &str) -> Vec<u8> {
        match &self.body {
            Body::Record { kind, period, fields } => {
                let from =
                    period.map_or(String::new(), |period| format!(",\"valid_from\":\"{}\"", period.from));
                let to = period.and_then(|period| period.to);
                let to = to.map_or(String::new(), |to| format!(",\"valid_to\":\"{to}\""));
                format!("{{\"kind\":\"{kind}\"{from}{to},\"fields\":{fields},\"personal\":{personal}}}")
            }
            Body::Closed { from, to } => {
                format!("{{\"kind\":\"{CLOSED}\",\"valid_from\":\"{from}\",\"valid_to\":\"{to}\"}}")
            }
        }
        .into_bytes()
    }
}

/// Writes rows as one object; `rows` gives each entry with what identifies somebody in it. There is at least one.
///
/// # Errors
/// [`Error::Store`] where a key can't be had.
pub(super) fn encode(
    object: &RecordsObject,
    personal: &[String],
    center: &CenterName,
    keyring: &Keyring,
    entropy: &dyn Entropy,
) -> Result<Bytes, Error> {
    let mut random = [0; 8];
    entropy.fill(&mut random);
    // The highest bit stays free: readers have signed numbers.
    let base = (u64::from_le_bytes(random) >> 1) >> ROW_BITS << ROW_BITS;
    let bodies: Vec<Vec<u8>> =
        object.entries.iter().zip(personal).map(|(entry, personal)| entry.json(personal)).collect();
    let header = BatchHeader {
        center: center.clone(),
        gateway: gateway(),
        first: Sequence(base),
        last: Sequence(base + bodies.len().saturating_sub(1) as u64),
    };
    for entries in object.entries.chunks(Keyring::WARMED_MAX) {
        keyring.warm(&entries.iter().map(|entry| (entry.vehicle, entry.key)).collect::<Vec<_>>())?;
    }
    let frames = object.entries.iter().zip(&bodies).map(|(entry, bytes)| {
        let frame = Frame {
            received_at: object.at,
            vehicle: entry.vehicle,
            key: entry.key,
            protocol: Protocol::Records,
            connection: ConnectionId(0),
            bytes,
        };
        (Sequence(base + u64::from(entry.row)), frame)
    });
    Ok(store::write(&header, frames, keyring)?)
}

/// Reads an object of records. `name` is for errors.
///
/// # Errors
/// [`Error::RecordsDamaged`] where it is not what this program wrote, [`Error::Store`] where a key can't be had.
pub(crate) fn decode(
    number: u64,
    name: &str,
    bytes: Bytes,
    center: &CenterName,
    keyring: &Keyring,
) -> Result<RecordsObject, Error> {
    let damaged = |what: &str| Error::RecordsDamaged { number, what: what.to_owned() };
    let batch = store::read(name, bytes)?;
    if batch.header().center != *center || batch.header().gateway != gateway() {
        return Err(damaged("it is another center's, or no records"));
    }
    let keys = batch.keys()?;
    // Keys stand in the order of the rows that they serve first, so this is always ahead of the rows.
    let warm = |from: usize| {
        let next = keys.get(from..).unwrap_or_default();
        keyring.warm(&next[..next.len().min(Keyring::WARMED_MAX)])
    };
    warm(0)?;
    let mut rows = 0;
    let base = batch.header().first.0;
    let mut object = RecordsObject { number, at: UtcMicros(0), entries: Vec::new() };
    batch.for_each(keyring, |row| {
        object.at = row.received_at;
        rows += 1;
        if rows % Keyring::WARMED_MAX == 0 {
            warm(rows)?;
        }
        let number =
            u32::try_from(row.sequence.0 - base).map_err(|_| damaged("a row's number is too great"))?;
        if row.protocol != Protocol::Records {
            return Err(damaged("a row is no record"));
        }
        let Some(bytes) = row.bytes else { return Ok(()) };
        let stored: Stored = serde_json::from_slice(bytes)
            .map_err(|_| damaged(&format!("row {number} is not what it should be")))?;
        let body =
            stored.body().ok_or_else(|| damaged(&format!("row {number} is of no kind that is known")))?;
        object.entries.push(Entry { row: number, vehicle: row.vehicle, key: row.key, body });
        Ok(())
    })?;
    Ok(object)
}

/// The rows of a vehicle as JSON, with what identifies somebody; those whose key was destroyed are left out.
///
/// # Errors
/// As [`decode`].
pub(super) fn rows_of(
    name: &str,
    bytes: Bytes,
    keyring: &Keyring,
    vehicle: VehicleId,
) -> Result<Vec<Value>, Error> {
    let mut rows = Vec::new();
    store::read(name, bytes)?.for_each(keyring, |row| {
        if row.vehicle == vehicle
            && let Some(value) = row.bytes.and_then(|bytes| serde_json::from_slice(bytes).ok())
        {
            rows.push(value);
        }
        Ok::<(), Error>(())
    })?;
    Ok(rows)
}

/// Calls `each` with the row and the owner's number in the customer register (`owner_id`) of each owner's record; those whose key was
/// destroyed are left out.
///
/// # Errors
/// As [`decode`].
pub(super) fn owners_of(
    name: &str,
    bytes: Bytes,
    keyring: &Keyring,
    mut each: impl FnMut(u64, String),
) -> Result<(), Error> {
    let batch = store::read(name, bytes)?;
    let base = batch.header().first.0;
    batch.for_each(keyring, |row| {
        let named = row.bytes.and_then(|bytes| serde_json::from_slice::<Named>(bytes).ok());
        let owner = named.filter(|named| named.kind == RecordKind::Owner.as_str());
        if let Some(id) = owner.and_then(|named| named.personal.owner_id) {
            each(row.sequence.0 - base, id);
        }
        Ok(())
    })
}

/// What an object of records is of, and how many rows it has; `None` where it is no object of records. The kind stands in the rows,
/// which are sealed: it is not known where every vehicle in it was erased.
pub fn records_of(bytes: Bytes, keyring: &Keyring) -> Option<(Option<RecordKind>, u64)> {
    let batch = store::read("records", bytes).ok()?;
    if batch.header().gateway != gateway() {
        return None;
    }
    let mut kind = None;
    let read = batch.for_each(keyring, |row| {
        if kind.is_none()
            && let Some(stored) = row.bytes.and_then(|bytes| serde_json::from_slice::<Stored>(bytes).ok())
        {
            kind = stored.kind.parse().ok();
        }
        Ok::<(), Error>(())
    });
    read.ok()?;
    Some((kind, batch.frames()))
}

impl Stored {
    fn body(self) -> Option<Body> {
        let date = |text: Option<String>| text.map(|text| read_date(&text));
        let (from, to) = (date(self.valid_from), date(self.valid_to));
        if self.kind == CLOSED {
            return Some(Body::Closed { from: from??, to: to?? });
        }
        let kind: RecordKind = self.kind.parse().ok()?;
        let period = match kind {
            RecordKind::Owner => Some(Period { from: from??, to: to.map_or(Some(None), |to| to.map(Some))? }),
            _ => None,
        };
        let fields = serde_json::to_string(&self.fields).expect("it was JSON");
        Some(Body::Record { kind, period, fields })
    }
}

fn gateway() -> GatewayName {
    GATEWAY.parse().expect("it is a name")
}
