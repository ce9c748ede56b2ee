//! Vehicles that tell of days that are over, as fast as they are listened to: a month of a fleet in minutes.

use std::time::Duration;

use model::UtcMicros;

use crate::client::{Message, Source};

/// Which days are told of.
#[derive(Clone, Copy, Debug)]
pub struct Days {
    /// When the first day's telling begins; each further day's begins 24 hours later.
    pub start: UtcMicros,
    /// How many days.
    pub count: u32,
    /// How often a day the vehicle is asked for what it has to say.
    pub times_a_day: u32,
    /// How long lies between two times.
    pub interval: Duration,
}

impl Days {
    /// The instant of a time that a vehicle is asked, counted from the first; `None` after the last.
    pub fn instant(&self, time: u64) -> Option<UtcMicros> {
        let times_a_day = u64::from(self.times_a_day.max(1));
        let (day, time) = (time / times_a_day, time % times_a_day);
        if day >= u64::from(self.count) {
            return None;
        }
        let interval = i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX);
        let micros = i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(interval);
        let day = i64::try_from(day).unwrap_or(i64::MAX).saturating_mul(UtcMicros::PER_DAY);
        Some(self.start.plus_micros(day.saturating_add(micros)))
    }
}

/// A vehicle that is asked at the instants of [`Days`], whatever the time is.
pub struct Past<S> {
    source: S,
    days: Days,
    asked: u64,
}

impl<S: Source> Past<S> {
    /// A vehicle that has told nothing yet.
    pub fn new(source: S, days: Days) -> Self {
        Self { source, days, asked: 0 }
    }
}

impl<S: Source> Source for Past<S> {
    fn next(&mut self, _now: UtcMicros) -> Option<Message> {
        loop {
            let instant = self.days.instant(self.asked)?;
            self.asked += 1;
            if let Some(message) = self.source.next(instant) {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::UtcMicros;

    use super::Days;

    #[test]
    fn each_day_begins_a_day_after_the_one_before() {
        let start = UtcMicros::from_seconds(1_780_000_000);
        let days = Days { start, count: 2, times_a_day: 3, interval: Duration::from_secs(20) };
        let seconds: Vec<i64> =
            (0..).map_while(|time| days.instant(time)).map(|at| (at.0 - start.0) / 1_000_000).collect();
        assert_eq!(seconds, [0, 20, 40, 86_400, 86_420, 86_440]);
    }
}
