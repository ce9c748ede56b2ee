//! Instants.

use std::fmt;
use std::time::Duration;

/// An instant in microseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX time).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    /// Microseconds in a second.
    pub const PER_SECOND: i64 = 1_000_000;
    /// Microseconds in an hour.
    pub const PER_HOUR: i64 = 3_600 * Self::PER_SECOND;
    /// Microseconds in a day.
    pub const PER_DAY: i64 = 24 * Self::PER_HOUR;

    /// The instant of whole seconds since the epoch; saturates at the ends of the range.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(Self::PER_SECOND))
    }

    /// The instant of milliseconds since the epoch; saturates at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The instant of a proleptic Gregorian date and time of day in UTC; `None` where a part is out of its range.
    pub fn from_civil(year: i32, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !in_range {
            return None;
        }
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day));
        let seconds = days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
        Some(Self::from_seconds(seconds))
    }

    /// Year, month, day, hour, minute and second in UTC.
    pub fn civil(self) -> (i32, u8, u8, u8, u8, u8) {
        let seconds = self.0.div_euclid(Self::PER_SECOND);
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        (year, month, day, (of_day / 3_600) as u8, (of_day / 60 % 60) as u8, (of_day % 60) as u8)
    }

    /// This instant moved by a signed number of microseconds, saturating.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The time since `earlier`; zero where that lies later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC, with as many decimals as needed (none, 3 or 6).
impl fmt::Display for UtcMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let micros = self.0.rem_euclid(Self::PER_SECOND);
        if micros == 0 {
            f.write_str("Z")
        } else if micros % 1_000 == 0 {
            write!(f, ".{:03}Z", micros / 1_000)
        } else {
            write!(f, ".{micros:06}Z")
        }
    }
}

fn is_leap(year: i32) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, by counting years from March in eras of 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i32, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (i32::try_from(year).unwrap_or(i32::MAX), month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::UtcMicros;

    #[test]
    fn civil_and_instant_are_inverse_on_every_day_of_eight_centuries() {
        let first = UtcMicros::from_civil(1601, 1, 1, 0, 0, 0).expect("a date");
        let mut instant = first;
        for _ in 0..(800 * 366) {
            let (year, month, day, hour, minute, second) = instant.civil();
            assert_eq!(UtcMicros::from_civil(year, month, day, hour, minute, second), Some(instant));
            instant = instant.plus_micros(UtcMicros::PER_DAY);
        }
    }

    #[test]
    fn known_instants_print_as_rfc_3339() {
        assert_eq!(UtcMicros(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UtcMicros::from_seconds(1_709_164_799).to_string(), "2024-02-28T23:59:59Z");
        assert_eq!(UtcMicros(1_709_164_800_000_000 + 1).to_string(), "2024-02-29T00:00:00.000001Z");
        assert_eq!(UtcMicros::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        assert_eq!(UtcMicros::from_civil(2023, 2, 29, 0, 0, 0), None);
        assert_eq!(UtcMicros::from_civil(2023, 13, 1, 0, 0, 0), None);
        assert_eq!(UtcMicros::from_civil(2023, 1, 1, 24, 0, 0), None);
        assert_eq!(UtcMicros::from_civil(2023, 1, 0, 0, 0, 0), None);
    }
}
