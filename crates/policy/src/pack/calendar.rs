//! Working days.

use std::collections::{BTreeMap, BTreeSet};

use model::UtcMicros;

use super::reader::{Item, Table};
use super::sourced::{Status, provenance};
use crate::PackError;

/// A day by its number since 1970-01-01, in the pack's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of a date; `None` where there is no such date.
    pub fn from_civil(year: i32, month: u8, day: u8) -> Option<Self> {
        let start = UtcMicros::from_civil(year, month, day, 0, 0, 0)?;
        Some(Self(start.0.div_euclid(UtcMicros::PER_DAY)))
    }

    /// Year, month and day.
    pub fn civil(self) -> (i32, u8, u8) {
        let (year, month, day, ..) = UtcMicros(self.0.saturating_mul(UtcMicros::PER_DAY)).civil();
        (year, month, day)
    }

    /// Reads `2026-11-24`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return None;
        }
        Self::from_civil(text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?)
    }

    /// 0 is Monday.
    fn weekday(self) -> usize {
        // 1970-01-01 was a Thursday.
        usize::try_from((self.0 + 3).rem_euclid(7)).unwrap_or(0)
    }
}

/// Which days are worked on: by weekday, with the exceptions of the years that the pack knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    weekend: [bool; 7],
    holidays: BTreeSet<Day>,
    workdays: BTreeSet<Day>,
    years: BTreeMap<i32, (Box<str>, Status)>,
}

const WEEKDAYS: [(&str, usize); 7] = [
    ("monday", 0),
    ("tuesday", 1),
    ("wednesday", 2),
    ("thursday", 3),
    ("friday", 4),
    ("saturday", 5),
    ("sunday", 6),
];

impl Calendar {
    /// Whether a day is worked on. A year that the pack doesn't know has its weekends only, so that a deadline falls earlier
    /// and never later than the true calendar would have it.
    pub fn is_working_day(&self, day: Day) -> bool {
        self.workdays.contains(&day) || !(self.weekend[day.weekday()] || self.holidays.contains(&day))
    }

    /// The last day of a term of so many working days that begins the day after `day`.
    pub fn after_working_days(&self, day: Day, working_days: u32) -> Day {
        let mut last = day;
        let mut left = working_days;
        while left > 0 {
            last = Day(last.0 + 1);
            left -= u32::from(self.is_working_day(last));
        }
        last
    }

    /// Where the exceptions of a year come from; `None` where the pack has none for it.
    pub fn year(&self, year: i32) -> Option<(&str, Status)> {
        self.years.get(&year).map(|(source, status)| (source.as_ref(), *status))
    }

    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const WEEKEND: &str = "the weekdays that are not worked on, such as [\"saturday\", \"sunday\"]";
        let mut calendar = Self {
            weekend: [false; 7],
            holidays: BTreeSet::new(),
            workdays: BTreeSet::new(),
            years: BTreeMap::new(),
        };
        let weekend = table.need("weekend", WEEKEND)?;
        let line = weekend.line();
        for item in weekend.list(WEEKEND)? {
            calendar.weekend[item.word("a weekday", &WEEKDAYS)?] = true;
        }
        if calendar.weekend == [true; 7] {
            return Err(PackError { line, ..table.error("weekend", "no day is left to work on") });
        }
        if let Some(years) = table.take("years") {
            for (name, item) in years.table("a table a year")?.rest() {
                calendar.read_year(&name, item)?;
            }
        }
        table.finish()?;
        Ok(calendar)
    }

    fn read_year(&mut self, name: &str, item: Item<'_>) -> Result<(), PackError> {
        const DAYS: &str = "a list of days of that year, each 2026-01-01 or 2026-01-01/2026-01-03";
        let year: i32 = name
            .parse()
            .ok()
            .filter(|year| (2021..=2199).contains(year))
            .ok_or_else(|| item.error(format!("`{name}` is not a year such as 2026")))?;
        let mut table = item.table("holidays, workdays, source and status of a year")?;
        for (key, days) in [("holidays", &mut self.holidays), ("workdays", &mut self.workdays)] {
            let Some(list) = table.take(key) else { continue };
            for item in list.list(DAYS)? {
                let text = item.text(DAYS)?;
                let (first, last) = text.split_once('/').unwrap_or((text, text));
                let within = |text| Day::parse(text).filter(|day: &Day| day.civil().0 == year);
                let (Some(first), Some(last)) = (within(first), within(last)) else {
                    return Err(item.error(format!("`{text}`: expected {DAYS}")));
                };
                if last < first {
                    return Err(item.error(format!("`{text}` ends before it begins")));
                }
                days.extend((first.0..=last.0).map(Day));
            }
        }
        if let Some(both) = self.holidays.intersection(&self.workdays).next() {
            let (year, month, day) = both.civil();
            let problem = format!("{year}-{month:02}-{day:02} is a holiday and a workday");
            return Err(table.error("workdays", problem));
        }
        self.years.insert(year, provenance(&mut table)?);
        table.finish()
    }
}
