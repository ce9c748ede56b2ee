//! The SQLite file: a projection of the control objects for people's questions. It may be deleted at any time.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{CenterName, KeyPeriod, UtcMicros, VehicleId, Vin};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::Error;
use crate::control::Change;
use crate::erasure::Erasure;
use crate::private::PrivateTimes;
use crate::token::{Token, TokenHash};
use crate::vehicle::{Platform, Revocation, Stated, Vehicle};

/// The version of the schema below. A file of another version is deleted and built again.
const SCHEMA_VERSION: i64 = 5;
const SCHEMA: &str = "
create table state (center text not null, applied integer not null, applied_records integer not null);
create table vehicles (
    id text primary key, vin text not null unique, key_period integer not null, country text not null,
    maker text not null, model text not null, iccid text, public_key text, sold_at_us integer,
    added_at_us integer not null, revoked_at_us integer, revoked_why text, erased_until_us integer,
    private text, lifted_us integer, aliases text not null, stated_at_us integer not null, stated_by text not null
) without rowid;
create index private_vehicles on vehicles (id) where private is not null;
create table erasures (
    number integer primary key, vehicle text not null, keys text not null, from_us integer, to_us integer,
    ground text not null, why text not null, asked_at_us integer not null, began_at_us integer not null,
    subject text not null, done_at_us integer, certificate text
);
create table adopted (center text primary key, control integer not null) without rowid;
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
                               revoked_at_us, revoked_why, erased_until_us, private, lifted_us, aliases, stated_at_us, stated_by";

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

    /// Applies a control object's changes, made at `at`, in one transaction. What an erasure takes out is gone from the file when
    /// this returns.
    pub(crate) fn apply(&mut self, sequence: u64, at: UtcMicros, changes: &[Change]) -> Result<(), Error> {
        let doing = "writing to the registry's SQLite file";
        let transaction = self.connection.transaction().map_err(error(doing))?;
        for change in changes {
            apply_change(&transaction, at, change).map_err(error(doing))?;
        }
        let number = i64::try_from(sequence).expect("there are fewer changes than 2^63");
        transaction.execute("update state set applied = ?1", [number]).map_err(error(doing))?;
        transaction.commit().map_err(error(doing))?;
        self.applied.control = sequence;
        if changes.iter().any(|change| matches!(change, Change::Erased { .. })) {
            // Pages as they were before lie in the write-ahead log, and in it alone.
            self.connection
                .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
                .map_err(error("emptying the write-ahead log of the registry's SQLite file"))?;
        }
        Ok(())
    }

    /// Notes that a control object of another center was taken over.
    pub(crate) fn note_adopted(&self, center: &CenterName, sequence: u64) -> Result<(), Error> {
        const SQL: &str = "insert or replace into adopted values (?1, ?2)";
        let number = i64::try_from(sequence).expect("there are fewer changes than 2^63");
        let write = || self.connection.prepare_cached(SQL)?.execute(params![center.as_str(), number]);
        write().map(|_| ()).map_err(error("writing to the registry's SQLite file"))
    }

    /// The last control object of another center that was taken over; 0 before the first.
    pub(crate) fn adopted(&self, center: &CenterName) -> Result<u64, Error> {
        const SQL: &str = "select control from adopted where center = ?1";
        let read = || -> rusqlite::Result<Option<i64>> {
            self.connection.prepare_cached(SQL)?.query_row([center.as_str()], |row| row.get(0)).optional()
        };
        Ok(read().map_err(error("reading the registry's SQLite file"))?.unwrap_or(0).unsigned_abs())
    }

    /// All erasures, the newest first.
    pub(crate) fn erasures(&self) -> Result<Vec<Erasure>, Error> {
        const SQL: &str = "select number, vehicle, keys, from_us, to_us, ground, why, asked_at_us, began_at_us, subject, \
                           done_at_us, certificate from erasures order by number desc";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], read_erasure)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("listing erasures"))
    }

    /// The vehicle of a VIN.
    pub(crate) fn vehicle(&self, vin: &Vin) -> Result<Option<Vehicle>, Error> {
        self.one_vehicle("vin", vin.as_str())
    }

    /// The vehicle of a pseudonym.
    pub(crate) fn vehicle_by_id(&self, id: VehicleId) -> Result<Option<Vehicle>, Error> {
        self.one_vehicle("id", id.as_str())
    }

    /// The vehicle that a pseudonym is an alias of. Looks at every vehicle that has one.
    pub(crate) fn vehicle_by_alias(&self, alias: VehicleId) -> Result<Option<Vehicle>, Error> {
        let sql = format!(
            "select {VEHICLE_COLUMNS} from vehicles where aliases <> '' and ' ' || aliases || ' ' like '% ' || ?1 || ' %'"
        );
        let read =
            || self.connection.prepare_cached(&sql)?.query_row([alias.as_str()], read_vehicle).optional();
        read().map_err(error("looking a vehicle up by its alias"))
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

    /// The vehicles that are used privately at times, with these.
    pub(crate) fn private_times(&self) -> Result<Vec<(VehicleId, PrivateTimes)>, Error> {
        const SQL: &str = "select id, private from vehicles where private is not null order by id";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], |row| Ok((parsed(row, 0)?, read_private(row, 1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(error("listing times of private use"))
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
    // What is deleted is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
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

fn apply_change(transaction: &Transaction<'_>, at: UtcMicros, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Vehicle(_, vehicle) => {
            const SQL: &str = "insert or replace into vehicles values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, null, null, ?11, ?12, ?13, \
                               ?14, ?15, ?16)";
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
                vehicle.erased_until.map(|at| at.0),
                private_text(&vehicle.private),
                vehicle.lifted.map(|at| at.0),
                vehicle.aliases.iter().map(VehicleId::as_str).collect::<Vec<_>>().join(" "),
                vehicle.stated.at.0,
                vehicle.stated.by.as_str(),
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
        Change::Erased { erasure, .. } => apply_erasure(transaction, erasure)?,
        Change::ErasureDone { number, certificate } => {
            const SQL: &str = "update erasures set done_at_us = ?2, certificate = ?3 where number = ?1";
            transaction.prepare_cached(SQL)?.execute(params![*number as i64, at.0, certificate])?;
        }
    }
    Ok(())
}

fn apply_erasure(transaction: &Transaction<'_>, erasure: &Erasure) -> rusqlite::Result<()> {
    let vehicle = erasure.vehicle.as_str();
    for key in &erasure.keys {
        crate::records::delete_records(transaction, vehicle, *key)?;
    }
    // The state under its new key, or its new pseudonym, follows in the same change.
    transaction.prepare_cached("delete from vehicles where id = ?1")?.execute([vehicle])?;
    // The words of earlier erasures of the vehicle go with it.
    transaction.prepare_cached("update erasures set why = '' where vehicle = ?1")?.execute([vehicle])?;
    const SQL: &str =
        "insert or replace into erasures values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, null, null)";
    let keys: Vec<String> = erasure.keys.iter().map(|key| key.0.to_string()).collect();
    transaction.prepare_cached(SQL)?.execute(params![
        erasure.number as i64,
        vehicle,
        keys.join(" "),
        erasure.span.map(|(from, _)| from.0),
        erasure.span.map(|(_, to)| to.0),
        erasure.ground.as_str(),
        erasure.why,
        erasure.asked_at.0,
        erasure.began_at.0,
        erasure.subject,
    ])?;
    Ok(())
}

fn read_erasure(row: &Row<'_>) -> rusqlite::Result<Erasure> {
    let keys: String = row.get(2)?;
    let keys = keys.split_whitespace().map(|key| key.parse().map(KeyPeriod));
    let (from, to): (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
    let (done_at, certificate): (Option<i64>, Option<String>) = (row.get(10)?, row.get(11)?);
    Ok(Erasure {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        vehicle: parsed(row, 1)?,
        keys: keys.collect::<Result<_, _>>().map_err(|_| malformed(2))?,
        span: from.zip(to).map(|(from, to)| (UtcMicros(from), UtcMicros(to))),
        ground: parsed(row, 5)?,
        why: row.get(6)?,
        asked_at: UtcMicros(row.get(7)?),
        began_at: UtcMicros(row.get(8)?),
        subject: row.get(9)?,
        done: done_at.map(|at| (UtcMicros(at), certificate.unwrap_or_default())),
    })
}

fn revocation(at: Option<i64>, why: Option<String>) -> Option<Revocation> {
    at.map(|at| Revocation { at: UtcMicros(at), why: why.unwrap_or_default() })
}

fn read_vehicle(row: &Row<'_>) -> rusqlite::Result<Vehicle> {
    let aliases = row.get_ref(15)?.as_str()?.split_whitespace().map(str::parse);
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
        erased_until: row.get::<_, Option<i64>>(12)?.map(UtcMicros),
        private: read_private(row, 13)?,
        lifted: row.get::<_, Option<i64>>(14)?.map(UtcMicros),
        aliases: aliases.collect::<Result<_, _>>().map_err(|_| malformed(15))?,
        stated: Stated { at: UtcMicros(row.get(16)?), by: parsed(row, 17)? },
    })
}

/// Times of private use as JSON; `None` for none.
fn private_text(times: &PrivateTimes) -> Option<String> {
    (!times.is_empty()).then(|| serde_json::to_string(&times.stored()).expect("numbers are JSON"))
}

fn read_private(row: &Row<'_>, column: usize) -> rusqlite::Result<PrivateTimes> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(PrivateTimes::default()) };
    serde_json::from_str(text).map(PrivateTimes::read).map_err(|_| malformed(column))
}

pub(crate) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| malformed(column))
}

/// A text in the file is not what this program wrote there; the text itself is left out, because it may be personal.
pub(crate) fn malformed(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "a name".to_owned(), rusqlite::types::Type::Text)
}
