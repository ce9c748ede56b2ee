//! The sections of a pack.

use model::Class;

use super::reader::{Item, Table};
use super::sourced::{Sourced, Term, Unit, YearDay, count, flag, number, sourced, term, word, year_day};
use crate::{PackError, Role};

/// Every class, in the order in which packs name them.
pub(super) const CLASSES: [(&str, Class); 5] = [
    ("technical", Class::Technical),
    ("personal", Class::Personal),
    ("location", Class::Location),
    ("sensitive", Class::Sensitive),
    ("important", Class::Important),
];

/// How data of a class is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRule {
    /// What belongs to it.
    pub description: Box<str>,
    /// When it is destroyed, in days after it was received. No class is without one.
    pub retention: Sourced<Term>,
    /// Who may read it as it is.
    pub readers: Vec<Role>,
    /// Who may read it once it was made coarse ([`Positions::analyst_grid`]).
    pub coarse_readers: Vec<Role>,
}

/// What must not be destroyed earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Logs of network and security.
    pub logs: Sourced<Term>,
    /// Records of giving or entrusting data to others.
    pub handovers: Sourced<Term>,
    /// Impact assessments.
    pub assessments: Sourced<Term>,
    /// Records of exports.
    pub exports: Sourced<Term>,
}

/// By when something must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// Deleting what a person asked to have deleted.
    pub deletion: Sourced<Term>,
    /// Answering a person who asks what is held.
    pub access: Sourced<Term>,
    /// Telling the authority of a breach.
    pub breach_notice: Sourced<Term>,
    /// The same for critical infrastructure.
    pub breach_notice_critical: Option<Sourced<Term>>,
    /// The summary after an incident.
    pub incident_summary: Option<Sourced<Term>>,
    /// Telling the authority of a product's flaw.
    pub flaw_notice: Option<Sourced<Term>>,
    /// The yearly report.
    pub annual_report: Option<Sourced<YearDay>>,
    /// When its draft is made.
    pub annual_report_draft: Option<Sourced<YearDay>>,
}

/// Numbers of persons from which more duties apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds {
    /// Personal information on more persons than this is important data.
    pub important_persons: Option<Sourced<u64>>,
    /// Above it, the duties of who handles important data apply.
    pub important_duties_persons: Option<Sourced<u64>>,
    /// Above it, audits fall due regularly …
    pub audit_persons: Option<Sourced<u64>>,
    /// … each so long.
    pub audit_every: Option<Sourced<Term>>,
    /// From it on, the officer is filed with the authority.
    pub officer_filing_persons: Option<Sourced<u64>>,
    /// A leak of more is relatively major.
    pub leak_relatively_major_persons: Option<Sourced<u64>>,
    /// A leak of more is major.
    pub leak_major_persons: Option<Sourced<u64>>,
    /// A leak of more is particularly major.
    pub leak_particularly_major_persons: Option<Sourced<u64>>,
}

/// Where data may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residency {
    /// How strictly it is bound to the country.
    pub mode: Sourced<ResidencyMode>,
    /// Whether places and pictures of the surroundings go to a qualified custodian.
    pub custodian: Sourced<bool>,
}

/// How strictly data is bound to the country, from the loosest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResidencyMode {
    /// A copy abroad is lawful with the transfer's own grounds.
    MirrorAllowed,
    /// What is collected is first written in the country.
    FirstWriteLocal,
    /// No copy leaves.
    NoCopy,
    /// No copy leaves, and a look from abroad is an export.
    NoRemoteAccess,
}

/// What consents look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Whether each sensitive item needs a consent of its own.
    pub separate: Sourced<bool>,
    /// The periods that a person is offered.
    pub periods: Vec<Sourced<Term>>,
    /// The longest that a consent may hold.
    pub longest: Sourced<Term>,
    /// Below this age a guardian consents.
    pub minor_age: Sourced<u64>,
}

/// What follows from a change of owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Whether the personal data of the owner before is destroyed.
    pub change_deletes: Sourced<bool>,
}

/// What camera clips may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cameras {
    /// Why data of the cabin may be taken in at all.
    pub cabin_reasons: Sourced<Vec<Box<str>>>,
    /// Clips a vehicle and day.
    pub clips_per_day: Option<Sourced<u64>>,
    /// How long one may be, in seconds.
    pub clip_length: Option<Sourced<u64>>,
    /// The share of faces and plates that masking must find, in percent.
    pub masking_recall: Sourced<u64>,
    /// The share of clips masked on board that is checked again, in percent.
    pub recheck: Sourced<u64>,
    /// When a clip that could not be masked is destroyed.
    pub quarantine: Sourced<Term>,
}

/// A kind of sensitive place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRule {
    /// Its name.
    pub kind: Box<str>,
    /// What belongs to it.
    pub description: Box<str>,
    /// What happens to data from there where the officer's file says nothing else.
    pub effect: Sourced<ZoneEffect>,
}

/// What happens to data from a sensitive place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneEffect {
    /// Places are removed before anything is stored; clips are refused.
    Drop,
    /// Places are kept on [`Positions::zone_grid`] only.
    Coarsen,
    /// The data is of class important.
    Raise,
}

/// How exact positions may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Positions {
    /// The grid on which coarse readers see positions, in degrees.
    pub analyst_grid: Sourced<f64>,
    /// The grid that a zone with the effect `coarsen` leaves, in degrees.
    pub zone_grid: Sourced<f64>,
    /// From so many positions with times on they are a track.
    pub track_points: Sourced<u64>,
    /// The datum of maps that are shown.
    pub display_datum: Sourced<Datum>,
}

/// A geodetic datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datum {
    /// The world's.
    Wgs84,
    /// China's, shifted.
    Gcj02,
}

pub(super) fn text(table: &mut Table<'_>, key: &'static str, expected: &str) -> Result<Box<str>, PackError> {
    Ok(table.need(key, expected)?.text(expected)?.into())
}

pub(super) fn description(table: &mut Table<'_>) -> Result<Box<str>, PackError> {
    text(table, "description", "a sentence on what this is")
}

impl ClassRule {
    pub(super) fn read(item: Item<'_>) -> Result<Self, PackError> {
        const READERS: &str = "a list of roles";
        let mut table = item.table("a table with description, retention and readers")?;
        let roles = |item: Item<'_>| -> Result<Vec<Role>, PackError> {
            item.list(READERS)?.iter().map(|item| item.word("a role", &Role::WORDS)).collect()
        };
        let rule = Self {
            description: description(&mut table)?,
            retention: term(
                table.need("retention", "a number of days: nothing is kept for ever")?,
                &[Unit::Days],
            )?,
            readers: roles(table.need("readers", READERS)?)?,
            coarse_readers: table.take("coarse_readers").map(roles).transpose()?.unwrap_or_default(),
        };
        if let Some(both) = rule.coarse_readers.iter().find(|role| rule.readers.contains(role)) {
            let problem = format!("{} reads the class as it is already", both.as_str());
            return Err(table.error("coarse_readers", problem));
        }
        table.finish()?;
        Ok(rule)
    }
}

impl Keep {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        let mut keep = |key| {
            term(table.need(key, "how long it must be kept")?, &[Unit::Days, Unit::Months, Unit::Years])
        };
        let read = Self {
            logs: keep("logs")?,
            handovers: keep("handovers")?,
            assessments: keep("assessments")?,
            exports: keep("exports")?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl Deadlines {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const PERSONS: [Unit; 3] = [Unit::Days, Unit::WorkingDays, Unit::Months];
        const CLOCK: [Unit; 3] = [Unit::Hours, Unit::Days, Unit::WorkingDays];
        let may = |table: &mut Table<'_>, key| table.take(key).map(|item| term(item, &CLOCK)).transpose();
        let read = Self {
            deletion: term(table.need("deletion", "a term in days, working days or months")?, &PERSONS)?,
            access: term(table.need("access", "a term in days, working days or months")?, &PERSONS)?,
            breach_notice: term(table.need("breach_notice", "a term in hours or days")?, &CLOCK)?,
            breach_notice_critical: may(&mut table, "breach_notice_critical")?,
            incident_summary: may(&mut table, "incident_summary")?,
            flaw_notice: may(&mut table, "flaw_notice")?,
            annual_report: table.take("annual_report").map(year_day).transpose()?,
            annual_report_draft: table.take("annual_report_draft").map(year_day).transpose()?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl Thresholds {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        let mut persons =
            |key| table.take(key).map(|item| count(item, "persons", 1, super::PERSONS_MAX)).transpose();
        let mut read = Self {
            important_persons: persons("important_persons")?,
            important_duties_persons: persons("important_duties_persons")?,
            audit_persons: persons("audit_persons")?,
            audit_every: None,
            officer_filing_persons: persons("officer_filing_persons")?,
            leak_relatively_major_persons: persons("leak_relatively_major_persons")?,
            leak_major_persons: persons("leak_major_persons")?,
            leak_particularly_major_persons: persons("leak_particularly_major_persons")?,
        };
        read.audit_every =
            table.take("audit_every").map(|item| term(item, &[Unit::Months, Unit::Years])).transpose()?;
        if read.audit_persons.is_some() != read.audit_every.is_some() {
            return Err(table.error("audit_every", "`audit_persons` and `audit_every` go together"));
        }
        table.finish()?;
        Ok(read)
    }
}

impl Residency {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const MODES: [(&str, ResidencyMode); 4] = [
            ("mirror-allowed", ResidencyMode::MirrorAllowed),
            ("first-write-local", ResidencyMode::FirstWriteLocal),
            ("no-copy", ResidencyMode::NoCopy),
            ("no-remote-access", ResidencyMode::NoRemoteAccess),
        ];
        let read = Self {
            mode: word(table.need("mode", "how strictly data is bound to the country")?, "a mode", &MODES)?,
            custodian: flag(table.need("custodian", "whether geographic data goes to a custodian")?)?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl Consent {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const UNITS: [Unit; 4] = [Unit::Uses, Unit::Days, Unit::Months, Unit::Years];
        const PERIODS: &str = "a list of terms, each with source and status";
        let separate = flag(table.need("separate", "whether each item needs a consent of its own")?)?;
        let longest = term(table.need("longest", "the longest that a consent may hold")?, &UNITS[1..])?;
        let list = table.need("periods", PERIODS)?;
        let line = list.line();
        let periods = list.list(PERIODS)?.into_iter().map(|item| term(item, &UNITS));
        let periods = periods.collect::<Result<Vec<_>, _>>()?;
        // Each compared by its shortest form: a month is not longer than itself.
        let most = longest.value.days_at_least();
        let too_long = periods.iter().find(|period| period.value.days_at_least() > most);
        let problem = match too_long {
            Some(period) => format!("{} is longer than `longest`, {}", period.value, longest.value),
            None if periods.is_empty() => format!("empty; expected {PERIODS}"),
            None => {
                let minor_age = count(table.need("minor_age", "an age")?, "age", 1, 21)?;
                table.finish()?;
                return Ok(Self { separate, periods, longest, minor_age });
            }
        };
        Err(PackError { line, ..table.error("periods", problem) })
    }
}

impl Ownership {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        let read = Self {
            change_deletes: flag(table.need("change_deletes", "whether a change of owner deletes")?)?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl Cameras {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const REASONS: &str = "a list of reasons";
        let percent = |item| count(item, "percent", 1, 100);
        let read = Self {
            cabin_reasons: sourced(table.need("cabin_reasons", REASONS)?, |inner| {
                let items = inner.need("value", REASONS)?.list(REASONS)?;
                items.iter().map(|item| Ok(item.text("a reason")?.into())).collect()
            })?,
            clips_per_day: table
                .take("clips_per_day")
                .map(|item| count(item, "clips", 1, 10_000))
                .transpose()?,
            clip_length: table
                .take("clip_length")
                .map(|item| count(item, "seconds", 1, 86_400))
                .transpose()?,
            masking_recall: percent(table.need("masking_recall", "a share in percent")?)?,
            recheck: percent(table.need("recheck", "a share in percent")?)?,
            quarantine: term(
                table.need("quarantine", "a term in hours or days")?,
                &[Unit::Hours, Unit::Days],
            )?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl ZoneRule {
    pub(super) fn read(kind: &str, item: Item<'_>) -> Result<Self, PackError> {
        const EFFECTS: [(&str, ZoneEffect); 3] =
            [("drop", ZoneEffect::Drop), ("coarsen", ZoneEffect::Coarsen), ("raise", ZoneEffect::Raise)];
        let mut table = item.table("a table with description and effect")?;
        let read = Self {
            kind: kind.into(),
            description: description(&mut table)?,
            effect: word(table.need("effect", "drop, coarsen or raise")?, "an effect", &EFFECTS)?,
        };
        table.finish()?;
        Ok(read)
    }
}

impl Positions {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, PackError> {
        const GRID: &str = "the side of a grid's cell in degrees";
        const DATUMS: [(&str, Datum); 2] = [("wgs-84", Datum::Wgs84), ("gcj-02", Datum::Gcj02)];
        let mut grid = |key| number(table.need(key, GRID)?, "degrees", 0.001, 10.0);
        let read = Self {
            analyst_grid: grid("analyst_grid")?,
            zone_grid: grid("zone_grid")?,
            track_points: count(table.need("track_points", "a number of positions")?, "points", 2, 1_000)?,
            display_datum: word(table.need("display_datum", "wgs-84 or gcj-02")?, "a datum", &DATUMS)?,
        };
        table.finish()?;
        Ok(read)
    }
}
