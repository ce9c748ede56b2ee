//! Values of a pack, each with where it comes from and how far that was checked.

use std::fmt;

use super::reader::{Item, Table};
use crate::PackError;

/// A value of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The law, standard or reason behind it.
    pub source: Box<str>,
    /// How far that was checked.
    pub status: Status,
}

/// How far the source of a value was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The legal text itself was read.
    Confirmed,
    /// Found in publications about the rule.
    Reported,
    /// Not found, found for a draft only, or in a weak source: have it confirmed.
    Unconfirmed,
    /// No rule gives it; it is the product's choice.
    Product,
}

impl Status {
    const WORDS: [(&'static str, Self); 4] = [
        ("confirmed", Self::Confirmed),
        ("reported", Self::Reported),
        ("unconfirmed", Self::Unconfirmed),
        ("product", Self::Product),
    ];

    /// The word that packs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Reported => "reported",
            Self::Unconfirmed => "unconfirmed",
            Self::Product => "product",
        }
    }
}

/// A length of time as a rule states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// How many of the unit.
    pub amount: u32,
    /// The unit.
    pub unit: Unit,
}

/// What a [`Term`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Hours.
    Hours,
    /// Days.
    Days,
    /// Working days of the pack's calendar.
    WorkingDays,
    /// Months.
    Months,
    /// Years.
    Years,
    /// Occasions: a consent that holds once.
    Uses,
}

impl Unit {
    /// The word that packs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Hours => "hours",
            Self::Days => "days",
            Self::WorkingDays => "working-days",
            Self::Months => "months",
            Self::Years => "years",
            Self::Uses => "uses",
        }
    }
}

impl Term {
    /// The longest that so many days, months or years can be, in days: what must be kept is kept this long. `None` for what is
    /// no number of calendar days.
    pub fn days_at_most(self) -> Option<u32> {
        self.days(31, 366)
    }

    /// The shortest that it can be: what may be kept is kept no longer. `None` for what is no number of calendar days.
    pub fn days_at_least(self) -> Option<u32> {
        self.days(28, 365)
    }

    fn days(self, month: u32, year: u32) -> Option<u32> {
        match self.unit {
            Unit::Days => Some(self.amount),
            Unit::Months => Some(self.amount.saturating_mul(month)),
            Unit::Years => Some(self.amount.saturating_mul(year)),
            Unit::Seconds | Unit::Hours | Unit::WorkingDays | Unit::Uses => None,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.unit.as_str())
    }
}

/// A day of each year, such as 15 December.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YearDay {
    /// Month from 1.
    pub month: u8,
    /// Day from 1.
    pub day: u8,
}

impl fmt::Display for YearDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

/// The most of a term that a pack may state: a slip of the pen must not become a century. Nothing is kept for ever.
fn most(unit: Unit) -> u64 {
    match unit {
        Unit::Seconds => 86_400,
        Unit::Hours => 8_784,
        Unit::Days => 7_320,
        Unit::WorkingDays => 366,
        Unit::Months => 240,
        Unit::Years => 20,
        Unit::Uses => 1,
    }
}

/// Reads `{ value, …, source, status }`: the reader given takes what is the value's own.
pub(super) fn sourced<'t, T>(
    item: Item<'t>,
    read: impl FnOnce(&mut Table<'t>) -> Result<T, PackError>,
) -> Result<Sourced<T>, PackError> {
    let mut table = item.table("a table with value, source and status")?;
    let value = read(&mut table)?;
    let (source, status) = provenance(&mut table)?;
    table.finish()?;
    Ok(Sourced { value, source, status })
}

/// Reads `source` and `status`.
pub(super) fn provenance(table: &mut Table<'_>) -> Result<(Box<str>, Status), PackError> {
    const SOURCE: &str = "the law, standard or reason behind the value";
    const STATUS: &str = "how far the source was checked";
    let source = table.need("source", SOURCE)?.text(SOURCE)?.into();
    let status = table
        .need("status", "one of confirmed, reported, unconfirmed, product")?
        .word(STATUS, &Status::WORDS)?;
    Ok((source, status))
}

/// A term in one of the units given.
pub(super) fn term(item: Item<'_>, units: &[Unit]) -> Result<Sourced<Term>, PackError> {
    sourced(item, |table| {
        let words: Vec<(&'static str, Unit)> = units.iter().map(|unit| (unit.as_str(), *unit)).collect();
        let unit = table.need("unit", "the unit of the value")?.word("the unit", &words)?;
        let value = table.need("value", "how many")?;
        let amount = value.whole(unit.as_str(), 1, most(unit))?;
        let amount = u32::try_from(amount).map_err(|_| value.error("out of range"))?;
        Ok(Term { amount, unit })
    })
}

/// A count in the unit given.
pub(super) fn count(
    item: Item<'_>,
    unit: &'static str,
    least: u64,
    most: u64,
) -> Result<Sourced<u64>, PackError> {
    sourced(item, |table| {
        table.need("unit", unit)?.word("the unit", &[(unit, ())])?;
        table.need("value", unit)?.whole(unit, least, most)
    })
}

/// A number in the unit given.
pub(super) fn number(
    item: Item<'_>,
    unit: &'static str,
    least: f64,
    most: f64,
) -> Result<Sourced<f64>, PackError> {
    sourced(item, |table| {
        table.need("unit", unit)?.word("the unit", &[(unit, ())])?;
        table.need("value", unit)?.number(unit, least, most)
    })
}

/// True or false.
pub(super) fn flag(item: Item<'_>) -> Result<Sourced<bool>, PackError> {
    sourced(item, |table| table.need("value", "true or false")?.flag("true or false"))
}

/// One of a list of words.
pub(super) fn word<T: Copy>(
    item: Item<'_>,
    what: &str,
    words: &[(&'static str, T)],
) -> Result<Sourced<T>, PackError> {
    sourced(item, |table| table.need("value", what)?.word(what, words))
}

/// A day of each year.
pub(super) fn year_day(item: Item<'_>) -> Result<Sourced<YearDay>, PackError> {
    const EXPECTED: &str = "month and day, such as 12-15";
    sourced(item, |table| {
        table.need("unit", "each-year")?.word("the unit", &[("each-year", ())])?;
        let value = table.need("value", EXPECTED)?;
        let text = value.text(EXPECTED)?;
        let parts = text.split_once('-').filter(|(month, day)| month.len() == 2 && day.len() == 2);
        let parsed = parts.and_then(|(month, day)| Some((month.parse().ok()?, day.parse().ok()?)));
        let (month, day) = parsed.ok_or_else(|| value.error(format!("`{text}` is not {EXPECTED}")))?;
        // A common year: 29 February is no day of each year.
        model::UtcMicros::from_civil(2025, month, day, 0, 0, 0)
            .ok_or_else(|| value.error(format!("`{text}` is no day of every year; expected {EXPECTED}")))?;
        Ok(YearDay { month, day })
    })
}
