//! The records as tables: what SQL may see of them.

use std::collections::HashMap;

use model::{Class, UtcMicros, VehicleId};
use policy::RecordKind;
use serde_json::{Map, Value};

use super::object::owners_of;
use super::schema::{FieldKind, RecordSchema, VALID_FROM, VALID_TO};
use crate::vehicle::read_date;
use crate::{Error, Registry};

/// A table of records, as a schema makes it: `vehicle`, the fields that identify nobody, and `recorded_at`.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordTable {
    /// What its records are about.
    pub kind: RecordKind,
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A column of a table of records.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds; a [`FieldKind::Country`] is a text.
    pub kind: FieldKind,
    /// How it is to be treated.
    pub class: Class,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// Of a column of texts or countries.
    Text(String),
    /// Of a column of decimal numbers.
    Number(f64),
    /// Of a column of whole numbers.
    Whole(i64),
    /// Of a column of flags.
    Flag(bool),
    /// Of a column of dates.
    Date(UtcMicros),
}

/// Where a row stands among the rows of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RecordPlace {
    pub(super) import: i64,
    pub(super) row: i64,
}

/// A row of a table of records.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRow {
    /// Where it stands: what to go on after.
    pub place: RecordPlace,
    /// Its values in the order of the table's columns; `None` where the record has none.
    pub values: Vec<Option<FieldValue>>,
}

/// From when to when somebody owned a vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerPeriod {
    /// The first instant.
    pub from: UtcMicros,
    /// The first instant after it; `None` while it lasts.
    pub to: Option<UtcMicros>,
}

impl RecordSchema {
    /// The table of its records.
    pub fn table(&self) -> RecordTable {
        let built_in = |name: &str, kind, class| Column { name: name.to_owned(), kind, class };
        let fields = self.fields().iter().filter(|field| !field.identifies);
        let fields = fields.map(|field| built_in(&field.name, field.kind, field.class));
        let mut columns = vec![built_in("vehicle", FieldKind::Text, Class::Technical)];
        columns.extend(fields);
        if self.kind() == RecordKind::Owner && !columns.iter().any(|column| column.name == VALID_TO) {
            columns.push(built_in(VALID_TO, FieldKind::Date, Class::Personal));
        }
        columns.push(built_in("recorded_at", FieldKind::Date, Class::Technical));
        RecordTable { kind: self.kind(), name: self.kind().table(), columns }
    }
}

/// Owners' periods that are read at once.
const OWNERS_AT_ONCE: usize = 10_000;

/// A vehicle's time with an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerTime {
    /// The pseudonym.
    pub vehicle: VehicleId,
    /// Its first instant.
    pub from: UtcMicros,
    /// The first instant after it; `None` while it lasts.
    pub to: Option<UtcMicros>,
    /// The owner.
    pub owner: u32,
}

impl Registry {
    /// The tables of these schemas.
    pub fn record_tables(schemas: &[RecordSchema]) -> Vec<RecordTable> {
        schemas.iter().map(RecordSchema::table).collect()
    }

    /// Up to `limit` rows of a table in the order in which they were imported, those after `after`. As long as
    /// [`Registry::records_version`] is the same, so is the answer.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn record_rows(
        &self,
        table: &RecordTable,
        after: Option<RecordPlace>,
        limit: usize,
    ) -> Result<Vec<RecordRow>, Error> {
        let after = after.unwrap_or(RecordPlace { import: -1, row: -1 });
        let rows = self.projection.lock().record_rows(table.kind, after, limit)?;
        let values = rows.into_iter().map(|row| {
            let fields: Map<String, Value> = serde_json::from_str(&row.fields).unwrap_or_default();
            let date = |at: Option<UtcMicros>| at.map(FieldValue::Date);
            let value = |column: &Column| match column.name.as_str() {
                "vehicle" => Some(FieldValue::Text(row.vehicle.to_string())),
                "recorded_at" => date(Some(row.recorded_at)),
                VALID_FROM if table.kind == RecordKind::Owner => date(row.valid_from),
                VALID_TO if table.kind == RecordKind::Owner => date(row.valid_to),
                name => fields.get(name).and_then(|value| read(column.kind, value)),
            };
            RecordRow { place: row.place, values: table.columns.iter().map(value).collect() }
        });
        Ok(values.collect())
    }

    /// All owners' periods, with the same number for the same `owner_id`; the number means nothing else and changes from call to call. Reads
    /// every import.
    ///
    /// # Errors
    /// [`Error::Projection`], or the store's.
    pub fn owner_times(&self) -> Result<Vec<OwnerTime>, Error> {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut owners: HashMap<(i64, i64), u32> = HashMap::new();
        for import in 1..=self.records_version() {
            let name = self.names.record(import);
            let Some(bytes) = self.objects.read(&name)? else { continue };
            owners_of(name.as_ref(), bytes, &self.keyring, |row, id| {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                let owner = *numbers.entry(id).or_insert(next);
                owners.insert((import.cast_signed(), row.cast_signed()), owner);
            })?;
        }
        let mut times = Vec::new();
        let mut after = RecordPlace { import: -1, row: -1 };
        loop {
            let rows = self.projection.lock().record_rows(RecordKind::Owner, after, OWNERS_AT_ONCE)?;
            let Some(last) = rows.last() else { return Ok(times) };
            after = last.place;
            times.extend(rows.iter().filter_map(|row| {
                let owner = *owners.get(&(row.place.import, row.place.row))?;
                Some(OwnerTime { vehicle: row.vehicle, from: row.valid_from?, to: row.valid_to, owner })
            }));
        }
    }

    /// The owner's period of a vehicle that an instant lies in; `None` where nobody is recorded as its owner then. What the
    /// vehicle sent in it is that owner's to see, and no other owner's.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn owner_period(&self, vehicle: VehicleId, at: UtcMicros) -> Result<Option<OwnerPeriod>, Error> {
        self.projection.lock().owner_period(vehicle, at)
    }
}

/// A stored value as its column's kind; `None` where it is of another, because the schema was changed since.
fn read(kind: FieldKind, value: &Value) -> Option<FieldValue> {
    Some(match kind {
        FieldKind::Text | FieldKind::Country => FieldValue::Text(value.as_str()?.to_owned()),
        FieldKind::Number => FieldValue::Number(value.as_f64()?),
        FieldKind::Whole => FieldValue::Whole(value.as_i64()?),
        FieldKind::Flag => FieldValue::Flag(value.as_bool()?),
        FieldKind::Date => FieldValue::Date(read_date(value.as_str()?)?),
    })
}
