//! Derived tables: trips, charges, states, battery, gaps and daily sums, worked out from `signals`.
//!
//! They are a projection: one file a table and UTC day in a folder beside the store, which may be deleted at any time. The name of a
//! file says what it was made of (a digest over the names of the signals' files that overlap the day's window, and over who shares an
//! owner that day and who is used privately), so that whether it is up to date is read off its name: late and resent data, an erasure, a compaction and an import
//! of owners all change that, and the day is worked out anew. Start at [`Deriver::run`].

mod compute;
mod owners;
mod private;
mod rules;
mod tables;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use model::{Class, Clock, UtcMicros, VehicleId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use crate::delta::{Bounds, DataFile};
use crate::doubles;
use crate::query::Queries;
use crate::schema::Table;
use crate::source::{RecordSource, VehicleSource};
use crate::tail::Tail;
use crate::terms::{TermSource, received};
use crate::threads::Threads;
use crate::{Error, SourceError};

pub(crate) use owners::Owners;
pub(crate) use private::Private;
pub(crate) use tables::DerivedTable;

/// The signals that the tables are worked out from. Their places are the numbers below.
const INPUTS: [&str; 7] = [
    "Vehicle.Speed",
    "Vehicle.TraveledDistance",
    "Vehicle.Powertrain.TractionBattery.CurrentVoltage",
    "Vehicle.Powertrain.TractionBattery.CurrentCurrent",
    "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
    "Vehicle.Powertrain.TractionBattery.Charging.IsCharging",
    "Vehicle.Tesla.FastChargerPresent",
];
const SPEED: u8 = 0;
const DISTANCE: u8 = 1;
const VOLTAGE: u8 = 2;
const CURRENT: u8 = 3;
const SOC: u8 = 4;
const IS_CHARGING: u8 = 5;
const FAST_CHARGER: u8 = 6;

/// A change of the rules makes every file anew.
const RULES: u8 = 2;

/// How far around its day is looked at: a trip or charge that crosses midnight belongs to the day on which it starts, and is followed
/// for so long beyond it.
const MARGIN_TIME: i64 = 6 * UtcMicros::PER_HOUR;

/// Days before its receipt for which late data is still worked into its day. Vehicles keep what was not acknowledged for days, not for
/// months; a clock that is wrong by years must not have thousands of days worked out.
const LATE_DAYS_MAX: i64 = 30;

/// Hexadecimal digits of a digest in a file's name: 64 bits, against chance and not against an adversary, who has the files themselves.
const KEY_DIGITS: usize = 16;

/// How long a file stays for which a newer one stands: as long as a query may take by default, so that one that has begun finds it.
const GRACE_TIME: Duration = Duration::from_secs(300);

/// A file of a derived table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DerivedFile {
    pub(crate) object: Path,
    pub(crate) bytes: u64,
    key: String,
}

/// The files as queries read them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(BTreeMap<(DerivedTable, i64), DerivedFile>);

impl Files {
    pub(crate) fn of(&self, table: DerivedTable) -> impl Iterator<Item = &DerivedFile> {
        self.0.iter().filter(move |((of, _), _)| *of == table).map(|(_, file)| file)
    }
}

/// What is shared with queries.
pub(crate) type Published = Arc<RwLock<Arc<Files>>>;

/// How the derived tables stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DerivedStatus {
    /// UTC days that are worked out.
    pub days: u64,
    /// Files, and their size.
    pub files: u64,
    /// Their size together.
    pub bytes: u64,
    /// Days whose signals or owners have changed since.
    pub behind: u64,
}

/// Works the derived tables out. There is one a lake; its methods block.
pub struct Deriver {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) terms: Arc<dyn TermSource>,
    pub(crate) records: Arc<dyn RecordSource>,
    pub(crate) owners: Owners,
    pub(crate) vehicles: Arc<dyn VehicleSource>,
    pub(crate) private: Private,
    pub(crate) published: Published,
    /// Files for which newer ones stand, and since when by the clock that never jumps.
    pub(crate) retired: Vec<(Duration, Path)>,
}

impl Deriver {
    /// Works out the days whose signals, owners or times of private use have changed, the newest first. After each day `goes_on` is asked, which may take its time; where
    /// it says no the run ends early. Gives how many days were worked out.
    pub fn run(&mut self, goes_on: &mut dyn FnMut() -> bool) -> Result<u64, Error> {
        self.forget_old()?;
        self.delete_retired(GRACE_TIME)?;
        self.owners.refresh(self.records.as_ref())?;
        self.private.refresh(self.vehicles.as_ref())?;
        let mut done = 0;
        for (day, key) in self.due().into_iter().rev() {
            self.derive(day, &key)?;
            done += 1;
            if !goes_on() {
                break;
            }
        }
        Ok(done)
    }

    /// Throws all files away; the next run makes them anew.
    pub fn discard(&mut self) -> Result<(), Error> {
        self.delete_retired(Duration::ZERO)?;
        self.replace(|_, _| false)
    }

    /// Throws away the files that may say something of a vehicle: all of the days on which it was there. To be called once its rows have
    /// left `signals`; the next run makes them anew without it.
    pub fn forget(&mut self, vehicle: VehicleId) -> Result<(), Error> {
        let mut naming = Vec::new();
        for (place, file) in &self.files().0 {
            if place.0.has_vehicles()
                && self.threads.block_on(compute::names(self.store.as_ref(), file, vehicle))?
            {
                naming.push(place.1);
            }
        }
        // Of older files it is not looked what they say.
        self.delete_retired(Duration::ZERO)?;
        self.replace(|(_, day), _| !naming.contains(day))
    }

    /// How the tables stand.
    pub fn status(&self) -> DerivedStatus {
        status(&self.files(), self.due().len())
    }

    /// Reads what lies in the folder; what is no file of ours, and older files of a day, are deleted.
    pub(crate) async fn open(store: &dyn ObjectStore) -> Result<Files, Error> {
        let mut files: BTreeMap<(DerivedTable, i64), DerivedFile> = BTreeMap::new();
        let listed: Vec<_> = store.list(None).try_collect().await?;
        let is_of_doubles =
            |object: &Path| object.parts().next().is_some_and(|part| part.as_ref() == doubles::FOLDER);
        for object in listed.into_iter().filter(|object| !is_of_doubles(&object.location)) {
            match parse(&object.location) {
                Some((place, key)) if !files.contains_key(&place) => {
                    let file = DerivedFile { object: object.location, bytes: object.size, key };
                    files.insert(place, file);
                }
                _ => store.delete(&object.location).await?,
            }
        }
        Ok(Files(files))
    }

    fn files(&self) -> Arc<Files> {
        self.published.read().clone()
    }

    /// The days that are to be worked out, with their keys.
    fn due(&self) -> Vec<(i64, String)> {
        let files = self.files();
        let is_current = |day: i64, key: &str| {
            DerivedTable::ALL
                .iter()
                .all(|table| files.0.get(&(*table, day)).is_some_and(|file| file.key == key))
        };
        let days = self.days().into_iter();
        days.filter(|(day, key)| !is_current(*day, key)).collect()
    }

    /// The days of which there are signals that are still kept, with what they are made of.
    fn days(&self) -> Vec<(i64, String)> {
        let snapshot = self.tail.views()[Table::Signals.index()].snapshot.clone();
        let oldest = self.oldest_day();
        let mut by_day: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for file in &snapshot.files {
            let Some((first, last)) = spoken_of(file) else { continue };
            for day in (first - MARGIN_TIME).div_euclid(UtcMicros::PER_DAY)
                ..=(last + MARGIN_TIME).div_euclid(UtcMicros::PER_DAY)
            {
                by_day.entry(day).or_default().push(&file.add.path);
            }
        }
        by_day.retain(|day, _| *day >= oldest);
        by_day.into_iter().map(|(day, names)| (day, self.key_of(day, names))).collect()
    }

    fn key_of(&self, day: i64, mut names: Vec<&str>) -> String {
        names.sort_unstable();
        let mut hash = Sha256::new_with_prefix([RULES]);
        hash.update(self.owners.digest(day));
        self.private.hash(day, &mut hash);
        for name in names {
            hash.update(name.as_bytes());
            hash.update(b"\n");
        }
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        digits[..KEY_DIGITS].to_owned()
    }

    /// The first day that may still be kept: what tells of a person's days has the term of the class `personal`.
    fn oldest_day(&self) -> i64 {
        let days = i64::from(self.terms.terms().days(Class::Personal));
        self.now().0.div_euclid(UtcMicros::PER_DAY) - days
    }

    fn now(&self) -> UtcMicros {
        let clock: &dyn Clock = self.tail.clock();
        clock.now()
    }

    fn derive(&mut self, day: i64, key: &str) -> Result<(), Error> {
        let tables = self.threads.block_on(compute::day(
            &self.queries,
            &self.threads,
            &compute::Known { owners: &self.owners.of(day), private: &self.private },
            day,
        ))?;
        let mut made = Vec::new();
        for (table, bytes) in tables {
            let object = name(table, day, key);
            let file = DerivedFile { object: object.clone(), bytes: bytes.len() as u64, key: key.to_owned() };
            self.threads.block_on(self.store.put(&object, bytes.into()))?;
            made.push(((table, day), file));
        }
        let mut files = Files::clone(&self.files());
        let now = self.tail.clock().monotonic();
        for (place, file) in made {
            let object = file.object.clone();
            let before = files.0.insert(place, file);
            self.retired.retain(|(_, retired)| *retired != object);
            self.retired
                .extend(before.filter(|before| before.object != object).map(|before| (now, before.object)));
        }
        *self.published.write() = Arc::new(files);
        Ok(())
    }

    /// Deletes files for which newer ones stand for so long.
    fn delete_retired(&mut self, grace: Duration) -> Result<(), Error> {
        let now = self.tail.clock().monotonic();
        while let Some((since, object)) = self.retired.first() {
            if now.saturating_sub(*since) < grace {
                return Ok(());
            }
            self.delete(object)?;
            self.retired.remove(0);
        }
        Ok(())
    }

    /// Files of days whose term is over go.
    fn forget_old(&self) -> Result<(), Error> {
        let oldest = self.oldest_day();
        self.replace(|(_, day), _| *day >= oldest)
    }

    /// Keeps some files; the others are not shown from then on, and deleted.
    fn replace(&self, keeps: impl Fn(&(DerivedTable, i64), &DerivedFile) -> bool) -> Result<(), Error> {
        let files = self.files();
        let (kept, gone): (Vec<_>, Vec<_>) = files.0.iter().partition(|(place, file)| keeps(place, file));
        if gone.is_empty() {
            return Ok(());
        }
        let kept = kept.into_iter().map(|(place, file)| (*place, file.clone())).collect();
        *self.published.write() = Arc::new(Files(kept));
        gone.into_iter().try_for_each(|(_, file)| self.delete(&file.object))
    }

    fn delete(&self, object: &Path) -> Result<(), Error> {
        match self.threads.block_on(self.store.delete(object)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn status(files: &Files, behind: usize) -> DerivedStatus {
    let days: std::collections::BTreeSet<i64> = files.0.keys().map(|(_, day)| *day).collect();
    DerivedStatus {
        days: days.len() as u64,
        files: files.0.len() as u64,
        bytes: files.0.values().map(|file| file.bytes).sum(),
        behind: behind as u64,
    }
}

/// The first and the last instant that a file of `signals` speaks of, as far as they are believed.
fn spoken_of(file: &DataFile) -> Option<(i64, i64)> {
    let (received_first, received_last) = received(file)?;
    let Some(Bounds::Time(first, last)) = file.statistics.as_ref()?.bounds.get("time") else { return None };
    let first = (*first).max(received_first - LATE_DAYS_MAX * UtcMicros::PER_DAY);
    let last = (*last).min(received_last + UtcMicros::PER_DAY);
    (first <= last).then_some((first, last))
}

/// `<table>/<day>.<key>.parquet`.
fn name(table: DerivedTable, day: i64, key: &str) -> Path {
    let (year, month, day, ..) = UtcMicros(day * UtcMicros::PER_DAY).civil();
    Path::from(format!("{}/{year:04}-{month:02}-{day:02}.{key}.parquet", table.name()))
}

fn parse(object: &Path) -> Option<((DerivedTable, i64), String)> {
    let (table, file) = object.as_ref().split_once('/')?;
    let table = DerivedTable::ALL.into_iter().find(|known| known.name() == table)?;
    let (date, key) = file.strip_suffix(".parquet")?.split_once('.')?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let start = UtcMicros::from_civil(year, month, day, 0, 0, 0)?;
    let place = (table, start.0.div_euclid(UtcMicros::PER_DAY));
    (name(table, place.1, key) == *object).then(|| (place, key.to_owned()))
}

impl From<crate::QueryError> for Error {
    fn from(error: crate::QueryError) -> Self {
        Self::Source(SourceError(error.to_string()))
    }
}
