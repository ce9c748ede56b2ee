//! What may leave the country, as a pack counts it.

use model::Class;

use super::parts::{CLASSES, description};
use super::reader::{Item, Table};
use super::sourced::{Sourced, Term, Unit, count, provenance, term, word};
use crate::PackError;

/// The rules of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// What holds for what no counter names.
    pub default: Sourced<ExportPath>,
    /// The share of a step at which a counter raises an alarm, in percent.
    pub alarm: Sourced<u64>,
    /// The least number of persons that a row of an aggregate counts.
    pub aggregate_persons: Sourced<u64>,
    /// How long an authority's approval holds.
    pub permit_valid: Option<Sourced<Term>>,
    /// How long before its end a renewal is asked for.
    pub permit_renewal: Option<Sourced<Term>>,
    /// By when an emergency export is reviewed.
    pub emergency_review: Sourced<Term>,
    /// How fast the stop button takes hold.
    pub stop: Sourced<Term>,
    /// What is counted.
    pub counters: Vec<Counter>,
}

/// What is counted since its window began, and what follows from the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: Box<str>,
    /// What it counts, for people.
    pub description: Box<str>,
    /// Exports of these classes count.
    pub classes: Vec<Class>,
    /// What is counted.
    pub counts: Counts,
    /// Since when.
    pub window: Window,
    /// For whom.
    pub per: Per,
    /// What a count leads to; the first step begins at 0, each further one above the one before.
    pub steps: Vec<Step>,
}

/// From this count on, this path applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The least count, and where the number comes from.
    pub from: Sourced<u64>,
    /// The path.
    pub path: ExportPath,
}

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Persons, each once.
    Persons,
    /// Vehicles and other devices, each once.
    Devices,
    /// Exports.
    Exports,
}

/// Since when a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Since 1 January by the pack's clock.
    CalendarYear,
    /// The twelve months before.
    Rolling12Months,
}

/// For whom a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// All that this exporter sends.
    Exporter,
    /// What one recipient gets.
    Recipient,
}

/// How data may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExportPath {
    /// Without a filing; it is entered in the ledger all the same.
    Exempt,
    /// By a contract, certificate or other safeguard that the law names.
    Contract,
    /// By the authority's assessment.
    Assessment,
    /// Not at all.
    Blocked,
}

impl ExportPath {
    const WORDS: [(&'static str, Self); 4] = [
        ("exempt", Self::Exempt),
        ("contract", Self::Contract),
        ("assessment", Self::Assessment),
        ("blocked", Self::Blocked),
    ];
}

impl Counter {
    /// The path for a count: the last step that it reaches.
    pub fn path(&self, count: u64) -> ExportPath {
        self.steps
            .iter()
            .rev()
            .find(|step| step.from.value <= count)
            .map_or(ExportPath::Blocked, |step| step.path)
    }

    fn read(name: &str, item: Item<'_>) -> Result<Self, PackError> {
        const CLASS_LIST: &str = "a list of classes";
        const STEPS: &str = "a list of { value, path, source, status }, the first with value 0";
        const COUNTS: [(&str, Counts); 3] =
            [("persons", Counts::Persons), ("devices", Counts::Devices), ("exports", Counts::Exports)];
        const WINDOWS: [(&str, Window); 2] =
            [("calendar-year", Window::CalendarYear), ("rolling-12-months", Window::Rolling12Months)];
        const PERS: [(&str, Per); 2] = [("exporter", Per::Exporter), ("recipient", Per::Recipient)];
        let mut table = item.table("a counter's table")?;
        let description = description(&mut table)?;
        let classes = table.need("classes", CLASS_LIST)?.list(CLASS_LIST)?;
        let classes =
            classes.iter().map(|item| item.word("a class", &CLASSES)).collect::<Result<Vec<_>, _>>()?;
        let counts = table.need("counts", "persons, devices or exports")?.word("what is counted", &COUNTS)?;
        let window =
            table.need("window", "calendar-year or rolling-12-months")?.word("a window", &WINDOWS)?;
        let per = table.need("per", "exporter or recipient")?.word("for whom it counts", &PERS)?;
        let mut steps: Vec<Step> = Vec::new();
        for item in table.need("steps", STEPS)?.list(STEPS)? {
            let least = steps.last().map_or(0, |step| step.from.value + 1);
            steps.push(Step::read(item, least)?);
        }
        if classes.is_empty() {
            return Err(table.error("classes", "empty: the counter counts nothing"));
        }
        if steps.first().is_none_or(|step| step.from.value != 0) {
            return Err(
                table.error("steps", format!("nothing says what applies from 0 on; expected {STEPS}"))
            );
        }
        table.finish()?;
        Ok(Self { name: name.into(), description, classes, counts, window, per, steps })
    }
}

impl Step {
    fn read(item: Item<'_>, least: u64) -> Result<Self, PackError> {
        let mut table = item.table("a step's table")?;
        let value = table.need("value", "the least count")?.whole(
            "more than the step before",
            least,
            super::PERSONS_MAX,
        )?;
        let path = table.need("path", "how data may leave")?.word("a path", &ExportPath::WORDS)?;
        let (source, status) = provenance(&mut table)?;
        table.finish()?;
        Ok(Self { from: Sourced { value, source, status }, path })
    }
}

impl Export {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        let default = word(table.need("default", "what holds for the rest")?, "a path", &ExportPath::WORDS)?;
        let alarm = count(table.need("alarm", "a share in percent")?, "percent", 1, 100)?;
        let aggregate =
            count(table.need("aggregate_persons", "a number of persons")?, "persons", 2, 1_000_000)?;
        let permit_valid = table
            .take("permit_valid")
            .map(|item| term(item, &[Unit::Days, Unit::Months, Unit::Years]))
            .transpose()?;
        let permit_renewal = table
            .take("permit_renewal")
            .map(|item| term(item, &[Unit::Days, Unit::WorkingDays]))
            .transpose()?;
        let emergency_review = term(
            table.need("emergency_review", "a term in hours or days")?,
            &[Unit::Hours, Unit::Days, Unit::WorkingDays],
        )?;
        let stop = term(table.need("stop", "a term in seconds")?, &[Unit::Seconds])?;
        let counters = match table.take("counters") {
            None => Vec::new(),
            Some(item) => item
                .table("a table a counter")?
                .rest()
                .into_iter()
                .map(|(name, item)| Counter::read(&name, item))
                .collect::<Result<_, _>>()?,
        };
        table.finish()?;
        Ok(Self {
            default,
            alarm,
            aggregate_persons: aggregate,
            permit_valid,
            permit_renewal,
            emergency_review,
            stop,
            counters,
        })
    }
}
