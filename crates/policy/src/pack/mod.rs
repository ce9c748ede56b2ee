//! Country packs: what the rules of a country demand, as data. Each number carries where it comes from.
//!
//! The format is described in `docs/formats/pack.md`; the packs that the program brings along lie in `packs/`.

mod calendar;
mod export;
mod parts;
mod reader;
mod records;
mod sourced;
#[cfg(test)]
mod tests;
mod version;

use model::{Class, Country};

pub use calendar::{Calendar, Day};
pub use export::{Counter, Counts, Export, ExportPath, Per, Step, Window};
pub use parts::{
    Cameras, ClassRule, Consent, Datum, Deadlines, Keep, Ownership, Positions, Residency, ResidencyMode,
    Thresholds, ZoneEffect, ZoneRule,
};
pub use records::{FieldSchema, FieldType, RecordKind, RecordSchema, RecordValue};
pub use sourced::{Sourced, Status, Term, Unit, YearDay};
pub use version::PackVersion;

use crate::{PackError, Role};
use parts::CLASSES;
use reader::{Item, Table};

/// More persons than there are.
const PERSONS_MAX: u64 = 10_000_000_000;

const CN: &str = include_str!("../../../../packs/cn.toml");
const EU: &str = include_str!("../../../../packs/eu.toml");
const GENERIC: &str = include_str!("../../../../packs/generic.toml");

/// A country pack that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    version: PackVersion,
    title: Box<str>,
    /// Empty: any country.
    countries: Vec<Country>,
    /// Microseconds ahead of UTC.
    clock: i64,
    /// In the order of [`CLASSES`].
    classes: [ClassRule; 5],
    keep: Keep,
    deadlines: Deadlines,
    thresholds: Thresholds,
    residency: Residency,
    export: Export,
    consent: Consent,
    ownership: Ownership,
    cameras: Cameras,
    zones: Vec<ZoneRule>,
    positions: Positions,
    calendar: Calendar,
    /// In the order of [`RecordKind::ALL`].
    records: [RecordSchema; 3],
}

impl Pack {
    /// The version of the format that this program reads.
    pub const FORMAT: u64 = 1;
    /// A longer text is no pack.
    pub const TEXT_BYTES_MAX: usize = 1 << 20;

    /// Reads a pack. Nothing is guessed and nothing is passed over: an unknown key is an error, as is a missing one.
    ///
    /// # Errors
    /// The first place that doesn't hold, by line, table and key, with what is expected there.
    pub fn parse(text: &str) -> Result<Self, PackError> {
        const COUNTRIES: &str = "a list of ISO 3166-1 codes, or [\"*\"] for any country";
        if text.len() > Self::TEXT_BYTES_MAX {
            let problem = format!("{} bytes; a pack has at most {}", text.len(), Self::TEXT_BYTES_MAX);
            return Err(PackError {
                line: 1,
                table: String::new(),
                key: String::new(),
                problem,
                meant: None,
            });
        }
        let mut top = Table::parse(text)?;
        // First, so that a pack of a later format is told from a faulty one.
        top.need("format", "the format's version, 1")?.whole(
            "the format's version",
            Self::FORMAT,
            Self::FORMAT,
        )?;
        let version = read_version(&mut top)?;
        let title = parts::text(&mut top, "title", "the pack's title")?;
        let countries = read_countries(top.need("countries", COUNTRIES)?, COUNTRIES)?;
        let clock = read_clock(&top.need("clock", "a difference from UTC, such as +08:00")?)?;
        let pack = Self {
            version,
            title,
            countries,
            clock,
            classes: read_classes(section(&mut top, "classes")?)?,
            keep: Keep::read(section(&mut top, "keep")?)?,
            deadlines: Deadlines::read(section(&mut top, "deadlines")?)?,
            thresholds: Thresholds::read(section(&mut top, "thresholds")?)?,
            residency: Residency::read(section(&mut top, "residency")?)?,
            export: Export::read(section(&mut top, "export")?)?,
            consent: Consent::read(section(&mut top, "consent")?)?,
            ownership: Ownership::read(section(&mut top, "ownership")?)?,
            cameras: Cameras::read(section(&mut top, "cameras")?)?,
            zones: read_zones(section(&mut top, "zones")?)?,
            positions: Positions::read(section(&mut top, "positions")?)?,
            calendar: Calendar::read(section(&mut top, "calendar")?)?,
            records: read_records(section(&mut top, "records")?, clock)?,
        };
        top.finish()?;
        Ok(pack)
    }

    /// The text of the pack that the program brings along for a country: its own, its union's, or the generic one.
    pub fn builtin(country: Country) -> &'static str {
        [CN, EU]
            .into_iter()
            .find(|text| Self::parse(text).is_ok_and(|pack| pack.is_for(country)))
            .unwrap_or(GENERIC)
    }

    /// Name and edition, such as `cn-2026.1`.
    pub fn version(&self) -> PackVersion {
        self.version
    }

    /// The pack's title, for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether the pack is for this country.
    pub fn is_for(&self, country: Country) -> bool {
        self.countries.is_empty() || self.countries.contains(&country)
    }

    /// The countries that it is for; empty for any.
    pub fn countries(&self) -> &[Country] {
        &self.countries
    }

    /// How far its clock is ahead of UTC, in microseconds: its days, and the years of its counters, run by this clock.
    pub fn clock_offset_micros(&self) -> i64 {
        self.clock
    }

    /// The day of an instant by the pack's clock.
    pub fn day(&self, instant: model::UtcMicros) -> Day {
        Day(instant.plus_micros(self.clock).0.div_euclid(model::UtcMicros::PER_DAY))
    }

    /// How data of a class is treated.
    pub fn class(&self, class: Class) -> &ClassRule {
        let index = CLASSES.iter().position(|(_, candidate)| *candidate == class);
        &self.classes[index.expect("the list of classes is complete: a test holds it")]
    }

    /// After how many days data of a class is destroyed.
    pub fn retention_days(&self, class: Class) -> u32 {
        self.class(class).retention.value.amount
    }

    /// After how many days raw frames are destroyed: a frame holds data of any class, so the shortest term of all rules.
    pub fn frame_retention_days(&self) -> u32 {
        self.classes.iter().map(|rule| rule.retention.value.amount).min().unwrap_or(1)
    }

    /// Whether a role may read data of a class as it is.
    pub fn may_read(&self, role: Role, class: Class) -> bool {
        self.class(class).readers.contains(&role)
    }

    /// Whether a role may read data of a class once it was made coarse.
    pub fn may_read_coarse(&self, role: Role, class: Class) -> bool {
        self.may_read(role, class) || self.class(class).coarse_readers.contains(&role)
    }

    /// What must not be destroyed earlier.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// By when something must be done.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Numbers of persons from which more duties apply.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Where data may be.
    pub fn residency(&self) -> &Residency {
        &self.residency
    }

    /// What may leave.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// What consents look like.
    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// What follows from a change of owner.
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// What camera clips may be.
    pub fn cameras(&self) -> &Cameras {
        &self.cameras
    }

    /// The kinds of sensitive places.
    pub fn zones(&self) -> &[ZoneRule] {
        &self.zones
    }

    /// A kind of sensitive place by its name.
    pub fn zone(&self, kind: &str) -> Option<&ZoneRule> {
        self.zones.iter().find(|zone| &*zone.kind == kind)
    }

    /// How exact positions may be.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Which days are worked on.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The fields of a kind of record.
    pub fn record_schema(&self, kind: RecordKind) -> &RecordSchema {
        let index = self.records.iter().position(|schema| schema.kind() == kind);
        &self.records[index.expect("every kind has its schema: `read_records` asks for each")]
    }
}

fn section<'t>(top: &mut Table<'t>, key: &'static str) -> Result<Table<'t>, PackError> {
    top.need(key, "a table of this name")?.table("a table")
}

fn read_version(top: &mut Table<'_>) -> Result<PackVersion, PackError> {
    const NAME: &str = "1 to 12 characters of a-z and 0-9, the first a letter";
    const VERSION: &str = "a text of year and number, such as \"2026.1\"";
    let name = top.need("name", NAME)?;
    let version = top.need("version", VERSION)?;
    let (name_text, version_text) = (name.text(NAME)?, version.text(VERSION)?);
    PackVersion::from_parts(name_text, version_text).map_err(|_| {
        // Told apart by a name that is certainly good.
        match PackVersion::from_parts("a", version_text) {
            Ok(_) => name.error(format!("`{name_text}`: expected {NAME}")),
            Err(_) => version.error(format!("`{version_text}`: expected {VERSION}")),
        }
    })
}

fn read_countries(item: Item<'_>, expected: &str) -> Result<Vec<Country>, PackError> {
    let empty = item.error(format!("empty; expected {expected}"));
    let items = item.list(expected)?;
    let any = |item: &Item<'_>| item.text(expected).is_ok_and(|text| text == "*");
    match items.as_slice() {
        [] => Err(empty),
        [only] if any(only) => Ok(Vec::new()),
        items => items
            .iter()
            .map(|item| item.text(expected)?.parse().map_err(|error| item.error(format!("{error}"))))
            .collect(),
    }
}

fn read_clock(item: &Item<'_>) -> Result<i64, PackError> {
    const EXPECTED: &str = "a difference from UTC, such as +08:00";
    let text = item.text(EXPECTED)?;
    records::offset(text).ok_or_else(|| item.error(format!("`{text}`: expected {EXPECTED}")))
}

fn read_classes(mut table: Table<'_>) -> Result<[ClassRule; 5], PackError> {
    const EXPECTED: &str = "a table: every class has its description, retention and readers";
    let mut rule = |key| ClassRule::read(table.need(key, EXPECTED)?);
    let [technical, personal, location, sensitive, important] = CLASSES.map(|(name, _)| name);
    let rules = [rule(technical)?, rule(personal)?, rule(location)?, rule(sensitive)?, rule(important)?];
    table.finish()?;
    Ok(rules)
}

fn read_zones(mut table: Table<'_>) -> Result<Vec<ZoneRule>, PackError> {
    table.rest().into_iter().map(|(kind, item)| ZoneRule::read(&kind, item)).collect()
}

fn read_records(mut table: Table<'_>, clock: i64) -> Result<[RecordSchema; 3], PackError> {
    const EXPECTED: &str = "a table: every kind of record has its fields";
    let mut schema = |kind: RecordKind| RecordSchema::read(kind, table.need(kind.as_str(), EXPECTED)?, clock);
    let [sale, owner, service] = RecordKind::ALL;
    let schemas = [schema(sale)?, schema(owner)?, schema(service)?];
    table.finish()?;
    Ok(schemas)
}
