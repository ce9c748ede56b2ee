//! The records in the SQLite file.

use model::{KeyPeriod, UtcMicros, VehicleId, Vin};
use policy::RecordKind;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::OwnerPeriod;
use super::object::{Body, Entry, Period, RecordsObject};
use super::tables::RecordPlace;
use crate::Error;
use crate::projection::{Projection, error, parsed};

/// The tables of records: one a kind. `fields` is one JSON object; what identifies somebody is not in it.
pub(crate) fn sql_schema() -> String {
    let table = |kind: RecordKind| {
        let table = kind.table();
        format!(
            "create table {table} (
                import integer not null, row integer not null, vehicle text not null, key_period integer not null,
                recorded_at_us integer not null, valid_from_us integer, valid_to_us integer, fields text not null,
                primary key (import, row)
            ) without rowid;
            create index {table}_of_vehicle on {table} (vehicle, valid_from_us);"
        )
    };
    RecordKind::ALL.map(table).concat()
}

/// A row of a table.
pub(super) struct ProjectedRow {
    pub(super) place: RecordPlace,
    pub(super) vehicle: VehicleId,
    pub(super) recorded_at: UtcMicros,
    pub(super) valid_from: Option<UtcMicros>,
    pub(super) valid_to: Option<UtcMicros>,
    pub(super) fields: String,
}

/// An owner's period with the key that it is sealed under.
#[derive(Clone, Copy)]
pub(super) struct KeyedPeriod {
    pub(super) period: Period,
    pub(super) key: KeyPeriod,
}

impl Projection {
    /// Applies an import in one transaction.
    pub(crate) fn apply_records(&mut self, object: &RecordsObject) -> Result<(), Error> {
        let doing = "writing records to the registry's SQLite file";
        let number = i64::try_from(object.number).expect("there are fewer imports than 2^63");
        let transaction = self.connection.transaction().map_err(error(doing))?;
        for entry in &object.entries {
            apply_entry(&transaction, number, object.at, entry).map_err(error(doing))?;
        }
        transaction.execute("update state set applied_records = ?1", [number]).map_err(error(doing))?;
        transaction.commit().map_err(error(doing))?;
        self.applied.records = object.number;
        Ok(())
    }

    /// Whether there is a record of the sale of a vehicle.
    pub(super) fn is_sold(&self, vehicle: VehicleId) -> Result<bool, Error> {
        const SQL: &str = "select 1 from sales where vehicle = ?1 limit 1";
        let read = || self.connection.prepare_cached(SQL)?.exists([vehicle.as_str()]);
        read().map_err(error("looking a sale up"))
    }

    /// The owners' periods of a vehicle, earliest first.
    pub(super) fn owner_periods(&self, vehicle: VehicleId) -> Result<Vec<KeyedPeriod>, Error> {
        const SQL: &str = "select valid_from_us, valid_to_us, key_period from owners where vehicle = ?1 \
                           order by valid_from_us";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let rows = statement.query_map([vehicle.as_str()], |row| {
                let period = Period { from: UtcMicros(row.get(0)?), to: instant(row, 1)? };
                Ok(KeyedPeriod { period, key: KeyPeriod(row.get(2)?) })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("looking owners up"))
    }

    /// The owners' periods of a vehicle with their data keys, earliest first.
    pub(crate) fn owner_keys(&self, vehicle: VehicleId) -> Result<Vec<(OwnerPeriod, KeyPeriod)>, Error> {
        let keyed =
            |keyed: KeyedPeriod| (OwnerPeriod { from: keyed.period.from, to: keyed.period.to }, keyed.key);
        Ok(self.owner_periods(vehicle)?.into_iter().map(keyed).collect())
    }

    /// The owner's period that an instant lies in.
    pub(super) fn owner_period(
        &self,
        vehicle: VehicleId,
        at: UtcMicros,
    ) -> Result<Option<OwnerPeriod>, Error> {
        const SQL: &str = "select valid_from_us, valid_to_us from owners \
                           where vehicle = ?1 and valid_from_us <= ?2 order by valid_from_us desc limit 1";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let row = statement.query_row(params![vehicle.as_str(), at.0], |row| {
                Ok(OwnerPeriod { from: UtcMicros(row.get(0)?), to: instant(row, 1)? })
            });
            row.optional()
        };
        let last = read().map_err(error("looking an owner up"))?;
        Ok(last.filter(|period| period.to.is_none_or(|to| at < to)))
    }

    /// Vehicles whose present owner has a newer data key than the vehicle: the key's VIN and period.
    pub(super) fn keys_to_settle(&self) -> Result<Vec<(Vin, KeyPeriod)>, Error> {
        const SQL: &str = "select v.vin, o.key_period from owners o join vehicles v on v.id = o.vehicle \
                           where o.key_period > v.key_period and o.valid_from_us = \
                           (select max(valid_from_us) from owners where vehicle = o.vehicle) order by v.vin";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], |row| Ok((parsed(row, 0)?, KeyPeriod(row.get(1)?))))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("looking at the owners' keys"))
    }

    /// Up to `limit` rows of a table in the order of their places, those after `after`.
    pub(super) fn record_rows(
        &self,
        kind: RecordKind,
        after: RecordPlace,
        limit: usize,
    ) -> Result<Vec<ProjectedRow>, Error> {
        let sql = format!(
            "select import, row, vehicle, recorded_at_us, valid_from_us, valid_to_us, fields from {} \
             where (import, row) > (?1, ?2) order by import, row limit ?3",
            kind.table()
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![after.import, after.row, limit], |row| {
                Ok(ProjectedRow {
                    place: RecordPlace { import: row.get(0)?, row: row.get(1)? },
                    vehicle: parsed(row, 2)?,
                    recorded_at: UtcMicros(row.get(3)?),
                    valid_from: instant(row, 4)?,
                    valid_to: instant(row, 5)?,
                    fields: row.get(6)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("reading records"))
    }
}

/// Deletes a vehicle's records that are sealed under a data key.
pub(crate) fn delete_records(
    transaction: &Transaction<'_>,
    vehicle: &str,
    key: KeyPeriod,
) -> rusqlite::Result<()> {
    for kind in RecordKind::ALL {
        let sql = format!("delete from {} where vehicle = ?1 and key_period = ?2", kind.table());
        transaction.prepare_cached(&sql)?.execute(params![vehicle, key.0])?;
    }
    Ok(())
}

fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UtcMicros>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(UtcMicros))
}

fn apply_entry(
    transaction: &Transaction<'_>,
    import: i64,
    at: UtcMicros,
    entry: &Entry,
) -> rusqlite::Result<()> {
    match &entry.body {
        Body::Record { kind, period, fields } => {
            let sql = match kind {
                RecordKind::Sale => "insert or replace into sales values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                RecordKind::Owner => "insert or replace into owners values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                RecordKind::Service => {
                    "insert or replace into services values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                }
            };
            transaction.prepare_cached(sql)?.execute(params![
                import,
                entry.row,
                entry.vehicle.as_str(),
                entry.key.0,
                at.0,
                period.map(|period| period.from.0),
                period.and_then(|period| period.to).map(|to| to.0),
                fields,
            ])?;
        }
        Body::Closed { from, to } => {
            const SQL: &str = "update owners set valid_to_us = ?3 where vehicle = ?1 and valid_from_us = ?2";
            transaction.prepare_cached(SQL)?.execute(params![entry.vehicle.as_str(), from.0, to.0])?;
        }
    }
    Ok(())
}
