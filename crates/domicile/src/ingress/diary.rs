//! The connection diary: when, from where, and why refused. Of registered vehicles it is kept as events (through the journal);
//! here, in memory alone, stand the latest of them and of strangers, whose VIN must never reach a disk.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use model::{ConnectionId, Protocol, UtcMicros, Vin};
use parking_lot::Mutex;

/// Strangers' entries that are kept; older ones go. Enough to find the one car of today among a scan's noise.
const STRANGERS_MAX: usize = 1_024;

/// Registered vehicles' entries that are kept here, for a gateway without tables. Apart from the strangers', so that they
/// can't push these out.
const REGISTERED_MAX: usize = 8_192;

/// The same refusal of the same vehicle is written once in this time.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// One line of the diary.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When.
    pub(crate) time: UtcMicros,
    /// What: `connected`, `disconnected`, `refused`, `login`, `logout`.
    pub(crate) kind: &'static str,
    /// Why, as metrics name it; empty where there is no why.
    pub(crate) code: &'static str,
    /// Over which protocol.
    pub(crate) protocol: Protocol,
    /// On which connection; `None` where it never became one.
    pub(crate) connection: Option<ConnectionId>,
    /// From where, where that is known.
    pub(crate) peer: Option<IpAddr>,
    /// Who it was or said to be.
    pub(crate) vin: Vin,
}

/// The latest entries.
#[derive(Default)]
pub(crate) struct Diary {
    strangers: Mutex<VecDeque<Entry>>,
    registered: Mutex<VecDeque<Entry>>,
}

impl Diary {
    /// Notes what somebody did whose VIN is not in the registry.
    pub(crate) fn stranger(&self, entry: Entry) {
        push(&mut self.strangers.lock(), entry, STRANGERS_MAX);
    }

    /// Notes what a registered vehicle did, and says whether that is news: somebody who is refused again and again for the same
    /// reason must not fill the journal with it.
    pub(crate) fn registered(&self, entry: Entry) -> bool {
        let mut ring = self.registered.lock();
        let is_known = entry.kind == "refused"
            && ring.iter().rev().take_while(|earlier| entry.time.since(earlier.time) < REFUSED_AGAIN).any(
                |earlier| {
                    earlier.vin == entry.vin && earlier.kind == entry.kind && earlier.code == entry.code
                },
            );
        if !is_known {
            push(&mut ring, entry, REGISTERED_MAX);
        }
        !is_known
    }

    /// Drops what is known of this VIN.
    pub(crate) fn forget(&self, vin: &Vin) {
        for ring in [&self.strangers, &self.registered] {
            ring.lock().retain(|entry| entry.vin != *vin);
        }
    }

    /// What is known of this VIN, oldest first.
    pub(crate) fn of(&self, vin: &Vin) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for ring in [&self.strangers, &self.registered] {
            entries.extend(ring.lock().iter().filter(|entry| entry.vin == *vin).cloned());
        }
        entries.sort_by_key(|entry| entry.time);
        entries
    }
}

fn push(ring: &mut VecDeque<Entry>, entry: Entry, count_max: usize) {
    if ring.len() == count_max {
        ring.pop_front();
    }
    ring.push_back(entry);
}

#[cfg(test)]
mod tests {
    use model::{Protocol, UtcMicros, Vin};

    use super::{Diary, Entry, STRANGERS_MAX};

    fn entry(vin: &str, time: i64) -> Entry {
        Entry {
            time: UtcMicros(time),
            kind: "refused",
            code: "unknown_vehicle",
            protocol: Protocol::Gbt32960,
            connection: None,
            peer: None,
            vin: vin.parse::<Vin>().expect("a VIN"),
        }
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let diary = Diary::default();
        assert!(diary.registered(entry("LRW3E7FA8MC000001", 1)));
        assert!(
            !diary.registered(entry("LRW3E7FA8MC000001", 2)),
            "the same refusal within a minute is no news"
        );
        for time in 0..i64::try_from(STRANGERS_MAX).expect("small") + 10 {
            diary.stranger(entry("LRW3E7FA8MC000002", time));
        }
        assert_eq!(diary.of(&"LRW3E7FA8MC000001".parse().expect("a VIN")).len(), 1);
        let strangers = diary.of(&"LRW3E7FA8MC000002".parse().expect("a VIN"));
        assert_eq!(strangers.len(), STRANGERS_MAX);
        assert_eq!(strangers[0].time, UtcMicros(10));
    }
}
