//! Who owned a vehicle on a day, for the counts of `daily`: owners are numbers here, and no file says whose.

use std::collections::{BTreeMap, HashMap};

use model::{UtcMicros, VehicleId};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::SourceError;
use crate::source::{OwnerTime, RecordSource};

/// The owners of a day's vehicles, as numbers that mean something on that day alone.
pub(super) type OwnersOfDay = BTreeMap<String, Vec<u32>>;

/// A vehicle's time with an owner, microseconds since 1970; the end is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Period {
    vehicle: VehicleId,
    from: i64,
    to: i64,
    owner: u32,
}

/// The periods as they were last read.
#[derive(Default)]
pub(crate) struct Owners {
    /// Of the records; `None` before they were read.
    version: Option<u64>,
    /// By vehicle and time.
    periods: Vec<Period>,
    /// Of days that were asked for.
    digests: Mutex<BTreeMap<i64, [u8; 32]>>,
}

impl Owners {
    /// Reads the records where they have changed.
    pub(super) fn refresh(&mut self, source: &dyn RecordSource) -> Result<(), SourceError> {
        // Before the rows: what changes meanwhile is read the next time.
        let version = source.version();
        if self.version != Some(version) {
            *self =
                Self { version: Some(version), periods: read(source)?, digests: Mutex::new(BTreeMap::new()) };
        }
        Ok(())
    }

    /// Says which vehicles have an owner on a day and which of them the same one, and of no owner who it is.
    pub(super) fn digest(&self, day: i64) -> [u8; 32] {
        *self.digests.lock().entry(day).or_insert_with(|| {
            let mut hash = Sha256::new();
            for (vehicle, owner) in self.on(day) {
                hash.update(vehicle.as_str());
                hash.update(owner.to_le_bytes());
            }
            hash.finalize().into()
        })
    }

    /// The owners of each vehicle whose period overlaps a day.
    pub(super) fn of(&self, day: i64) -> OwnersOfDay {
        let mut all = OwnersOfDay::new();
        for (vehicle, owner) in self.on(day) {
            all.entry(vehicle.to_string()).or_default().push(owner);
        }
        all
    }

    /// Numbered in the order in which they appear, so that the same records give the same in whatever order they were read.
    fn on(&self, day: i64) -> impl Iterator<Item = (VehicleId, u32)> {
        let (from, until) = (day * UtcMicros::PER_DAY, (day + 1) * UtcMicros::PER_DAY);
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let here = self.periods.iter().filter(move |period| period.from < until && period.to > from);
        here.map(move |period| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            (period.vehicle, *numbers.entry(period.owner).or_insert(next))
        })
    }
}

fn read(source: &dyn RecordSource) -> Result<Vec<Period>, SourceError> {
    let period = |time: OwnerTime| Period {
        vehicle: time.vehicle,
        from: time.from.0,
        to: time.to.map_or(i64::MAX, |to| to.0),
        owner: time.owner,
    };
    let mut periods: Vec<Period> = source.owners()?.into_iter().map(period).collect();
    periods.sort_unstable();
    Ok(periods)
}
