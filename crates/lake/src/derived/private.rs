//! When vehicles are used privately, for the trips of then.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::MARGIN_TIME;
use crate::SourceError;
use crate::source::VehicleSource;
use model::UtcMicros;

/// The times as they were last read, by vehicle, in microseconds since 1970; the end is not in it.
#[derive(Default)]
pub(crate) struct Private(BTreeMap<String, Vec<(i64, i64)>>);

impl Private {
    /// Reads them anew.
    pub(super) fn refresh(&mut self, source: &dyn VehicleSource) -> Result<(), SourceError> {
        let mut all: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        for time in source.private()? {
            let until = time.until.map_or(i64::MAX, |until| until.0);
            all.entry(time.vehicle.to_string()).or_default().push((time.from.0, until));
        }
        all.values_mut().for_each(|times| times.sort_unstable());
        self.0 = all;
        Ok(())
    }

    /// Whether a vehicle was used privately at some instant from `from` to `to`, both included.
    pub(super) fn overlaps(&self, vehicle: &str, from: i64, to: i64) -> bool {
        let times = self.0.get(vehicle).into_iter().flatten();
        times.into_iter().any(|(begin, end)| *begin <= to && *end > from)
    }

    /// What of them matters to the trips that begin on a day.
    pub(super) fn hash(&self, day: i64, hash: &mut Sha256) {
        let from = day * UtcMicros::PER_DAY;
        let until = from + UtcMicros::PER_DAY + MARGIN_TIME;
        for (vehicle, times) in &self.0 {
            for (begin, end) in times.iter().filter(|(begin, end)| *begin < until && *end > from) {
                hash.update(vehicle);
                hash.update((*begin).max(from).to_le_bytes());
                hash.update((*end).min(until).to_le_bytes());
            }
        }
    }
}
