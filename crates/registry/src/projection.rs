//! The SQLite file: a projection of the control objects for people's questions. It may be deleted at any time.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{CenterName, KeyPeriod, UtcMicros, VehicleId, Vin};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::Error;
use crate::control::Change;
use crate::token::{Token, TokenHash};
use crate::vehicle::{Platform, Revocation, Vehicle};

/// The version of the schema below. A file of another version is deleted and built again.
const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = "
create table state (center text not null, applied integer not null, applied_records integer not null);
create table vehicles (
    id text primary key, vin text not null unique, key_period integer not null, country text not null,
    maker text not null, model text not null, iccid text, public_key text, sold_at_us integer,
    added_at_us integer not null, revoked_at_us integer, revoked_why text
) without rowid;
create table platforms (
    name text primary key, password_hash text not null, added_at_us integer not null,
    revoked_at_us integer, revoked_why text
) without rowid;
create table tokens (
    name text primary key, id text not null unique, role text not null, sha256 blob not null,
    created_at_us integer not null, expires_at_us integer, revoked_at_us integer, revoked_why text
) without rowid;
";
const VEHICLE_COLUMNS: &str = "id, vin, key_period, country, maker, model, iccid, public_key, sold_at_us, added_at_us, \
                               revoked_at_us, revoked_why";

/// The open file.
pub(crate) struct Projection {
    pub(crate) connection: Connection,
    pub(crate) applied: Newest,
}

/// The newest objects of each kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Newest {
    /// Number of the control object.
    pub(crate) control: u64,
    /// Number of the object of records.
    pub(crate) records: u64,
}

impl Projection {
    /// Opens the file, or makes it anew where it is missing, damaged, another center's or of another version, or knows of
    /// changes that the store doesn't have (`newest` is the store's newest).
    pub(crate) fn open(path: &Path, center: &CenterName, newest: Newest) -> Result<Self, Error> {
        match Self::open_existing(path, center) {
            Ok(Some(projection))
                if projection.applied.control <= newest.control
                    && projection.applied.records <= newest.records =>
            {
                return Ok(projection);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the registry's SQLite file is built anew"),
        }
        remove(path).map_err(error("removing the SQLite file"))?;
        Self::create(path, center)
    }

    /// The last objects that are in the file.
    pub(crate) fn applied(&self) -> Newest {
        self.applied
    }

    /// Applies a control object's changes in one transaction.
    pub(crate) fn apply(&mut self, sequence: u64, changes: &[Change]) -> Result<(), Error> {
        let doing = "writing to the registry's SQLite file";
        let transaction = self.connection.transaction().map_err(error(doing))?;
        for change in changes {
            apply_change(&transaction, change).map_err(error(doing))?;
        }
        let number = i64::try_from(sequence).expect("there are fewer changes than 2^63");
        transaction.execute("update state set applied = ?1", [number]).map_err(error(doing))?;
        transaction.commit().map_err(error(doing))?;
        self.applied.control = sequence;
        Ok(())
    }

    /// The vehicle of a VIN.
    pub(crate) fn vehicle(&self, vin: &Vin) -> Result<Option<Vehicle>, Error> {
        self.one_vehicle("vin", vin.as_str())
    }

    /// The vehicle of a pseudonym.
    pub(crate) fn vehicle_by_id(&self, id: VehicleId) -> Result<Option<Vehicle>, Error> {
        self.one_vehicle("id", id.as_str())
    }

    /// Up to `limit` vehicles in the order of their VINs, those after `after`.
    pub(crate) fn vehicles(&self, after: Option<&Vin>, limit: usize) -> Result<Vec<Vehicle>, Error> {
        let sql = format!("select {VEHICLE_COLUMNS} from vehicles where vin > ?1 order by vin limit ?2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![after.map_or("", Vin::as_str), limit], read_vehicle)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("listing vehicles"))
    }

    /// Calls `each` for every vehicle.
    pub(crate) fn for_each_vehicle(&self, mut each: impl FnMut(Vehicle)) -> Result<(), Error> {
        let sql = format!("select {VEHICLE_COLUMNS} from vehicles");
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(&sql)?;
            for vehicle in statement.query_map([], read_vehicle)? {
                each(vehicle?);
            }
            Ok(())
        };
        read().map_err(error("reading the vehicles"))
    }

    /// How many vehicles there are: (all, revoked).
    pub(crate) fn vehicle_counts(&self) -> Result<(u64, u64), Error> {
        let read = |row: &Row<'_>| -> rusqlite::Result<(i64, i64)> { Ok((row.get(0)?, row.get(1)?)) };
        let (all, revoked) = self
            .connection
            .query_row("select count(*), count(revoked_at_us) from vehicles", [], read)
            .map_err(error("counting vehicles"))?;
        Ok((all.unsigned_abs(), revoked.unsigned_abs()))
    }

    /// All platforms with their password hashes, in the order of their names.
    pub(crate) fn platforms(&self) -> Result<Vec<(Platform, String)>, Error> {
        const SQL: &str = "select name, password_hash, added_at_us, revoked_at_us, revoked_why from platforms order by name";
        let read = || {
            let mut statement = self.connection.prepare(SQL)?;
            let rows = statement.query_map([], |row| {
                let platform = Platform {
                    name: row.get(0)?,
                    added_at: UtcMicros(row.get(2)?),
                    revoked: revocation(row.get(3)?, row.get(4)?),
                };
                Ok((platform, row.get(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("listing platforms"))
    }

    /// All tokens with the hashes of their texts, in the order of their names.
    pub(crate) fn tokens(&self) -> Result<Vec<(Token, TokenHash)>, Error> {
        const SQL: &str = "select name, id, role, sha256, created_at_us, expires_at_us, revoked_at_us, revoked_why \
                           from tokens order by name";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], |row| {
                let token = Token {
                    name: row.get(0)?,
                    id: row.get(1)?,
                    role: parsed(row, 2)?,
                    created_at: UtcMicros(row.get(4)?),
                    expires_at: row.get::<_, Option<i64>>(5)?.map(UtcMicros),
                    revoked: revocation(row.get(6)?, row.get(7)?),
                };
                Ok((token, TokenHash(row.get(3)?)))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("listing tokens"))
    }

    fn open_existing(path: &Path, center: &CenterName) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> rusqlite::Result<Option<Self>> {
            let connection = connect(path)?;
            let sound: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
            let version: i64 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
            if sound != "ok" || version != SCHEMA_VERSION {
                return Ok(None);
            }
            let state: Option<(String, i64, i64)> = connection
                .query_row("select center, applied, applied_records from state", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            Ok(state.filter(|(name, ..)| name == center.as_str()).map(|(_, control, records)| Self {
                connection,
                applied: Newest { control: control.unsigned_abs(), records: records.unsigned_abs() },
            }))
        };
        read().map_err(error("opening the registry's SQLite file"))
    }

    fn create(path: &Path, center: &CenterName) -> Result<Self, Error> {
        // The file is made before SQLite opens it, because SQLite would make it readable for others.
        let doing = "making the registry's SQLite file";
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|cause| error(doing)(rusqlite::Error::ToSqlConversionFailure(Box::new(cause))))?;
        let make = || -> rusqlite::Result<Connection> {
            let mut connection = connect(path)?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.execute_batch(&crate::records::sql_schema())?;
            transaction.execute("insert into state values (?1, 0, 0)", [center.as_str()])?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
            Ok(connection)
        };
        Ok(Self { connection: make().map_err(error(doing))?, applied: Newest::default() })
    }

    fn one_vehicle(&self, column: &str, value: &str) -> Result<Option<Vehicle>, Error> {
        let sql = format!("select {VEHICLE_COLUMNS} from vehicles where {column} = ?1");
        let read = || self.connection.prepare_cached(&sql)?.query_row([value], read_vehicle).optional();
        read().map_err(error("looking a vehicle up"))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // What a crash takes from a projection is built again, so it need not wait for the disk.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    // Nothing of it lies outside of the center's folder, not even for a moment.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Removes the file and what SQLite keeps beside it.
fn remove(path: &Path) -> rusqlite::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(PathBuf::from(name)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(cause)));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn error(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Projection { doing, source }
}

fn apply_change(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Vehicle(_, vehicle) => {
            const SQL: &str = "insert or replace into vehicles values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, null, null)";
            transaction.prepare_cached(SQL)?.execute(params![
                vehicle.id.as_str(),
                vehicle.vin.as_str(),
                vehicle.key.0,
                vehicle.country.as_str(),
                vehicle.maker,
                vehicle.model,
                vehicle.iccid.as_ref().map(policy::Iccid::as_str),
                vehicle.public_key,
                vehicle.sold_at.map(|at| at.0),
                vehicle.added_at.0,
            ])?;
        }
        Change::VehicleRevoked { id, revocation, .. } => {
            const SQL: &str = "update vehicles set revoked_at_us = ?2, revoked_why = ?3 where id = ?1";
            transaction.prepare_cached(SQL)?.execute(params![
                id.as_str(),
                revocation.at.0,
                revocation.why
            ])?;
        }
        Change::PlatformAdded { platform, password_hash } => {
            const SQL: &str = "insert or replace into platforms values (?1, ?2, ?3, null, null)";
            transaction.prepare_cached(SQL)?.execute(params![
                platform.name,
                password_hash,
                platform.added_at.0
            ])?;
        }
        Change::PlatformRevoked { name, revocation } => {
            const SQL: &str = "update platforms set revoked_at_us = ?2, revoked_why = ?3 where name = ?1";
            transaction.prepare_cached(SQL)?.execute(params![name, revocation.at.0, revocation.why])?;
        }
        Change::TokenCreated { token, hash } => {
            const SQL: &str = "insert or replace into tokens values (?1, ?2, ?3, ?4, ?5, ?6, null, null)";
            transaction.prepare_cached(SQL)?.execute(params![
                token.name,
                token.id,
                token.role.as_str(),
                hash.0,
                token.created_at.0,
                token.expires_at.map(|at| at.0)
            ])?;
        }
        Change::TokenRevoked { name, revocation } => {
            const SQL: &str = "update tokens set revoked_at_us = ?2, revoked_why = ?3 where name = ?1";
            transaction.prepare_cached(SQL)?.execute(params![name, revocation.at.0, revocation.why])?;
        }
    }
    Ok(())
}

fn revocation(at: Option<i64>, why: Option<String>) -> Option<Revocation> {
    at.map(|at| Revocation { at: UtcMicros(at), why: why.unwrap_or_default() })
}

fn read_vehicle(row: &Row<'_>) -> rusqlite::Result<Vehicle> {
    Ok(Vehicle {
        id: parsed(row, 0)?,
        vin: parsed(row, 1)?,
        key: KeyPeriod(row.get(2)?),
        country: parsed(row, 3)?,
        maker: row.get(4)?,
        model: row.get(5)?,
        iccid: row.get_ref(6)?.as_str_or_null()?.map(str::parse).transpose().map_err(|_| malformed(6))?,
        public_key: row.get(7)?,
        sold_at: row.get::<_, Option<i64>>(8)?.map(UtcMicros),
        added_at: UtcMicros(row.get(9)?),
        revoked: revocation(row.get(10)?, row.get(11)?),
    })
}

pub(crate) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| malformed(column))
}

/// A text in the file is not what this program wrote there; the text itself is left out, because it may be personal.
pub(crate) fn malformed(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "a name".to_owned(), rusqlite::types::Type::Text)
}
