//! Rows that somebody had erased: no query shows them, no batch brings them back, and maintenance takes them out of files.

use std::collections::HashMap;
use std::sync::Arc;

use model::{UtcMicros, VehicleId};

use crate::delta::DataFile;
use crate::terms::received;

/// Rows of one erasure: of a vehicle, received from an instant on and before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedRows {
    /// Of this vehicle.
    pub vehicle: VehicleId,
    /// Received from then on.
    pub from: UtcMicros,
    /// Received before then.
    pub to: UtcMicros,
    /// Whether files may still hold them. Where not, only batches may.
    pub is_open: bool,
}

/// The rows of all erasures.
#[derive(Debug, Default)]
pub struct Erased {
    spans: HashMap<VehicleId, Vec<(i64, i64)>>,
    open: Vec<ErasedRows>,
}

/// Who knows what was erased. It may become more while the center runs.
pub trait ErasureSource: Send + Sync {
    /// As it is now; cheap where nothing has changed.
    fn erased(&self) -> Arc<Erased>;
}

impl Erased {
    /// Of these erasures.
    pub fn new(rows: impl IntoIterator<Item = ErasedRows>) -> Self {
        let mut erased = Self::default();
        for rows in rows {
            erased.spans.entry(rows.vehicle).or_default().push((rows.from.0, rows.to.0));
            if rows.is_open {
                erased.open.push(rows);
            }
        }
        erased
    }

    /// Erasures whose rows files may still hold.
    pub(crate) fn open(&self) -> &[ErasedRows] {
        &self.open
    }

    /// Whether a row was erased, by any erasure.
    pub(crate) fn takes(&self, vehicle: VehicleId, received_at: i64) -> bool {
        let spans = self.spans.get(&vehicle);
        spans.is_some_and(|spans| spans.iter().any(|(from, to)| (*from..*to).contains(&received_at)))
    }

    /// The spans of a vehicle's erased rows, by its name; empty for one of which nothing was erased.
    pub(crate) fn of(&self, vehicle: &str) -> &[(i64, i64)] {
        let spans = vehicle.parse().ok().and_then(|vehicle: VehicleId| self.spans.get(&vehicle));
        spans.map_or(&[], Vec::as_slice)
    }

    /// Whether a file may hold rows of an open erasure, as far as its statistics say.
    pub(crate) fn may_lie_in(&self, file: &DataFile) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let times = received(file);
        self.open.iter().any(|rows| {
            let is_of_time = times.is_none_or(|(first, last)| first < rows.to.0 && rows.from.0 <= last);
            file.may_hold(rows.vehicle) && is_of_time
        })
    }
}
