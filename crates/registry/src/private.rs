//! When a vehicle is used privately: whoever works trips out leaves out where they were.

use model::UtcMicros;

use crate::Error;

/// Times of a vehicle: more are put together, or are none of a person's making.
const TIMES_MAX: usize = 1_000;

/// The times in which a vehicle is used privately, in order, none of which touches another. `Debug` says only how many they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrivateTimes(Vec<(i64, i64)>);

impl std::fmt::Debug for PrivateTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} times", self.0.len())
    }
}

impl PrivateTimes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each time: its begin, and its end, which is not in it; `None` where it goes on.
    pub fn iter(&self) -> impl Iterator<Item = (UtcMicros, Option<UtcMicros>)> {
        self.0.iter().map(|(from, to)| (UtcMicros(*from), Some(UtcMicros(*to)).filter(|to| to.0 != i64::MAX)))
    }

    /// The times from one instant up to another are private from now on, or are not.
    ///
    /// # Errors
    /// [`Error::Field`] where the end is not after the begin, or the times become too many.
    pub fn set(&mut self, from: UtcMicros, to: Option<UtcMicros>, is_private: bool) -> Result<(), Error> {
        let (from, to) = (from.0, to.map_or(i64::MAX, |to| to.0));
        if to <= from {
            return Err(Error::Field { field: "until", rule: "an instant after `from`" });
        }
        let mut times = Vec::new();
        let (mut first, mut last) = (from, to);
        for (begin, end) in self.0.drain(..) {
            if is_private && begin <= to && end >= from {
                (first, last) = (first.min(begin), last.max(end));
            } else {
                times.extend(
                    [(begin, end.min(from)), (begin.max(to), end)].into_iter().filter(|(a, b)| a < b),
                );
            }
        }
        if is_private {
            times.push((first, last));
        }
        times.sort_unstable();
        times.dedup();
        self.0 = times;
        if self.0.len() > TIMES_MAX {
            return Err(Error::Field { field: "private", rule: "at most 1000 times of a vehicle" });
        }
        Ok(())
    }

    /// Takes out what lies before an instant, or between two.
    pub(crate) fn forget(&mut self, from: Option<UtcMicros>, to: UtcMicros) {
        let from = from.unwrap_or(UtcMicros(i64::MIN));
        // It becomes fewer or, cut in two, one more: that is never refused.
        let _kept_in_any_case = self.set(from, Some(to), false);
    }

    /// As it is stored.
    pub(crate) fn stored(&self) -> Vec<(i64, Option<i64>)> {
        self.iter().map(|(from, to)| (from.0, to.map(|to| to.0))).collect()
    }

    /// Reads what was stored; what this program never writes is put in order.
    pub(crate) fn read(stored: Vec<(i64, Option<i64>)>) -> Self {
        let mut times = Self::default();
        for (from, to) in stored.into_iter().take(TIMES_MAX + 1) {
            let _is_kept = times.set(UtcMicros(from), to.map(UtcMicros), true);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use model::UtcMicros;

    use super::PrivateTimes;

    #[test]
    fn times_are_joined_and_cut() {
        let mut times = PrivateTimes::default();
        let mut set = |from, to: Option<i64>, is_private| {
            times.set(UtcMicros(from), to.map(UtcMicros), is_private).expect("set");
            assert_eq!(PrivateTimes::read(times.stored()), times);
            times.stored()
        };
        assert_eq!(set(10, Some(20), true), [(10, Some(20))]);
        assert_eq!(set(30, None, true), [(10, Some(20)), (30, None)]);
        assert_eq!(set(20, Some(25), true), [(10, Some(25)), (30, None)]);
        assert_eq!(set(12, Some(13), true), [(10, Some(25)), (30, None)]);
        assert_eq!(set(15, Some(40), false), [(10, Some(15)), (40, None)]);
        assert_eq!(set(50, Some(60), false), [(10, Some(15)), (40, Some(50)), (60, None)]);
        assert_eq!(set(0, None, true), [(0, None)]);
        assert_eq!(set(-5, None, false), []);
        assert!(times.set(UtcMicros(5), Some(UtcMicros(5)), true).is_err());
    }
}
