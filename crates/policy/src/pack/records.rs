//! Records of sale, ownership and service: their fields, and the check of one value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use model::{Class, Country, InvalidName, UtcMicros, Vin};

use super::calendar::Day;
use super::parts::{CLASSES, description};
use super::reader::{Item, Table};
use super::sourced::{Sourced, Term, Unit, term};
use crate::error::nearest;
use crate::{FieldError, HeaderError, PackError};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// A vehicle was sold; once a vehicle.
    Sale,
    /// Who owns a vehicle, from when to when.
    Owner,
    /// A workshop worked on a vehicle.
    Service,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sale, Self::Owner, Self::Service];

    /// The word for packs, commands, addresses and stored records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Owner => "owner",
            Self::Service => "service",
        }
    }

    /// The name of its SQL table.
    pub fn table(self) -> &'static str {
        match self {
            Self::Sale => "sales",
            Self::Owner => "owners",
            Self::Service => "services",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a word as [`RecordKind::as_str`] gives it.
impl FromStr for RecordKind {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or(InvalidName { what: "kind of records", rule: "sale, owner or service" })
    }
}

/// The fields of a kind of record. `vin` is the first and always required.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSchema {
    kind: RecordKind,
    description: Box<str>,
    retention: Sourced<Term>,
    retained_from: usize,
    fields: Vec<FieldSchema>,
}

/// One field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSchema {
    name: Arc<str>,
    description: Box<str>,
    datatype: FieldType,
    required: bool,
    class: Class,
    identifies: bool,
    /// In characters.
    lengths: (usize, usize),
    range: (f64, f64),
    values: Vec<Box<str>>,
    /// The pack's clock: its difference from UTC.
    clock: i64,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A vehicle identification number; only `vin` is one.
    Vin,
    /// A text.
    Text,
    /// A number, perhaps with decimals.
    Number,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
    /// A day, or an instant.
    Date,
    /// A country's code.
    Country,
}

impl FieldType {
    /// The words that packs may use; `vin` is implied.
    const WORDS: [(&'static str, Self); 6] = [
        ("text", Self::Text),
        ("number", Self::Number),
        ("whole", Self::Whole),
        ("flag", Self::Flag),
        ("date", Self::Date),
        ("country", Self::Country),
    ];
}

/// A value that passed its field's check. Texts borrow from what was checked.
#[derive(Clone, Copy, PartialEq)]
pub enum RecordValue<'a> {
    /// The field is empty.
    Absent,
    /// A vehicle.
    Vin(Vin),
    /// A text, without the spaces around it.
    Text(&'a str),
    /// A finite number.
    Number(f64),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Flag(bool),
    /// An instant; a day is its first instant by the pack's clock.
    Date(UtcMicros),
    /// A country.
    Country(Country),
}

/// Says of which type the value is, never the value.
impl fmt::Debug for RecordValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Vin(_) => "Vin(hidden)",
            Self::Text(_) => "Text(hidden)",
            Self::Number(_) => "Number(hidden)",
            Self::Whole(_) => "Whole(hidden)",
            Self::Flag(_) => "Flag(hidden)",
            Self::Date(_) => "Date(hidden)",
            Self::Country(_) => "Country(hidden)",
        })
    }
}

impl RecordSchema {
    /// More fields than this are a mistake.
    pub const FIELDS_MAX: usize = 64;

    /// Which records these are.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// What a record of this kind says.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How long a record is kept after [`RecordSchema::retained_from`].
    pub fn retention(&self) -> &Sourced<Term> {
        &self.retention
    }

    /// The date from which the retention runs; while it is empty, it does not run.
    pub fn retained_from(&self) -> &FieldSchema {
        &self.fields[self.retained_from]
    }

    /// All fields, `vin` first, in the pack's order.
    pub fn fields(&self) -> &[FieldSchema] {
        &self.fields
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| &*field.name == name)
    }

    /// Checks one value. An importer asks [`RecordSchema::columns`] once and then each column's [`FieldSchema::check`].
    ///
    /// # Errors
    /// The field is not known, or doesn't take this text.
    pub fn check<'a>(&self, field: &str, text: &'a str) -> Result<RecordValue<'a>, FieldError> {
        match self.field(field) {
            Some(field) => field.check(text),
            None => Err(FieldError { field: field.into(), rule: "no field of this kind of record".into() }),
        }
    }

    /// The field of each column of a header.
    ///
    /// # Errors
    /// The first column that no field belongs to or that stands twice, else the first required field without a column.
    pub fn columns<'h>(
        &self,
        header: impl IntoIterator<Item = &'h str>,
    ) -> Result<Vec<&FieldSchema>, HeaderError> {
        let kind = self.kind.as_str();
        let names = || self.fields.iter().map(|field| &*field.name);
        let mut columns: Vec<&FieldSchema> = Vec::new();
        for (index, name) in header.into_iter().enumerate() {
            let position = index + 1;
            // A spreadsheet's export begins with a byte order mark.
            let name = name.trim_start_matches('\u{feff}').trim();
            let field = self.field(name).ok_or_else(|| HeaderError::Unknown {
                kind,
                position,
                name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
                meant: nearest(name, names()).map(ToOwned::to_owned),
                known: names().collect::<Vec<_>>().join(", "),
            })?;
            if columns.iter().any(|column| column.name == field.name) {
                return Err(HeaderError::Twice { position, name: field.name.to_string() });
            }
            columns.push(field);
        }
        let is_missing =
            |field: &&FieldSchema| field.required && !columns.iter().any(|c| c.name == field.name);
        match self.fields.iter().find(is_missing) {
            Some(field) => Err(HeaderError::Missing { kind, name: field.name.to_string() }),
            None => Ok(columns),
        }
    }

    pub(super) fn read(kind: RecordKind, item: Item<'_>, clock: i64) -> Result<Self, PackError> {
        const FROM: &str = "the date field from which the retention runs";
        let mut table = item.table("a table with description, retention, retained_from and fields")?;
        let description = description(&mut table)?;
        let retention = term(table.need("retention", "a number of days")?, &[Unit::Days])?;
        let from = table.need("retained_from", FROM)?;
        let mut fields = vec![FieldSchema::vin(clock)];
        let mut list = table.need("fields", "a table a field")?.table("a table a field")?;
        for (name, item) in list.rest() {
            fields.push(FieldSchema::read(&name, item, clock)?);
        }
        if fields.len() > Self::FIELDS_MAX {
            return Err(list.error("", format!("{} fields; at most {}", fields.len(), Self::FIELDS_MAX)));
        }
        let name = from.text(FROM)?;
        let dates = || fields.iter().filter(|field| field.datatype == FieldType::Date);
        let retained_from = fields.iter().position(|f| f.datatype == FieldType::Date && &*f.name == name);
        let Some(retained_from) = retained_from else {
            let meant = nearest(name, dates().map(|field| &*field.name)).map(ToOwned::to_owned);
            return Err(PackError {
                meant,
                ..from.error(format!("`{name}` is no field of type date; expected {FROM}"))
            });
        };
        table.finish()?;
        Ok(Self { kind, description, retention, retained_from, fields })
    }
}

impl FieldSchema {
    /// The longest text that a field may take, in characters.
    const LENGTH_MAX: u64 = 4_000;
    /// The longest where the pack says nothing.
    const LENGTH_DEFAULT: usize = 200;
    /// Whole numbers up to here are exact as numbers too.
    const NUMBER_MAX: f64 = 9_007_199_254_740_992.0;

    /// The field's name, as a column has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it takes.
    pub fn datatype(&self) -> FieldType {
        self.datatype
    }

    /// Whether every record has it.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// How it is treated.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether it names a person or a vehicle, and so is shown only to who may read identities.
    pub fn identifies(&self) -> bool {
        self.identifies
    }

    /// The fewest and the most characters of a text.
    pub fn lengths(&self) -> (usize, usize) {
        self.lengths
    }

    /// The least and the greatest number.
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// The texts that are allowed; empty for any.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Checks one value; an empty text is absent. Allocates only for an error.
    ///
    /// # Errors
    /// The field doesn't take this text; the error names the rule and not the text.
    pub fn check<'a>(&self, text: &'a str) -> Result<RecordValue<'a>, FieldError> {
        let text = text.trim();
        if text.is_empty() {
            return if self.required {
                Err(self.error("required, and empty"))
            } else {
                Ok(RecordValue::Absent)
            };
        }
        match self.datatype {
            FieldType::Vin => Vin::from_str(text)
                .map(RecordValue::Vin)
                .map_err(|_| self.error("17 characters, each an upper-case letter or a digit")),
            FieldType::Text => self.check_text(text),
            FieldType::Number => self.check_number(text),
            FieldType::Whole => self.check_whole(text),
            FieldType::Flag => match text {
                "true" | "1" => Ok(RecordValue::Flag(true)),
                "false" | "0" => Ok(RecordValue::Flag(false)),
                _ => Err(self.error("true or false")),
            },
            FieldType::Date => instant(text, self.clock).map(RecordValue::Date).ok_or_else(|| {
                self.error(
                    "a day or an instant from 1900 to 2199, such as 2026-11-24 or 2026-11-24T20:10:00Z",
                )
            }),
            FieldType::Country => Country::from_str(text)
                .map(RecordValue::Country)
                .map_err(|_| self.error("two upper-case letters of ISO 3166-1, such as CN")),
        }
    }

    fn check_text<'a>(&self, text: &'a str) -> Result<RecordValue<'a>, FieldError> {
        if text.chars().any(char::is_control) {
            return Err(self.error("a text without line breaks and control characters"));
        }
        let (least, most) = self.lengths;
        let length = text.chars().count();
        if length < least || length > most {
            return Err(self.error(format!("a text of {least} to {most} characters; it has {length}")));
        }
        if !self.values.is_empty() && !self.values.iter().any(|value| **value == *text) {
            return Err(self.error(format!("one of {}", self.values.join(", "))));
        }
        Ok(RecordValue::Text(text))
    }

    fn check_number<'a>(&self, text: &str) -> Result<RecordValue<'a>, FieldError> {
        // `inf`, `NaN` and exponents are numbers to Rust and slips in a register of sales.
        let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
        let value = text.parse::<f64>().ok().filter(|_| plain);
        let value =
            value.ok_or_else(|| self.error("a number such as 249900 or 249900.50, without separators"))?;
        if (self.range.0..=self.range.1).contains(&value) {
            Ok(RecordValue::Number(value))
        } else {
            Err(self.out_of_range())
        }
    }

    fn check_whole<'a>(&self, text: &str) -> Result<RecordValue<'a>, FieldError> {
        let value = text
            .parse::<i64>()
            .map_err(|_| self.error("a whole number such as 12000, without separators"))?;
        if (self.range.0..=self.range.1).contains(&(value as f64)) {
            Ok(RecordValue::Whole(value))
        } else {
            Err(self.out_of_range())
        }
    }

    fn out_of_range(&self) -> FieldError {
        self.error(format!("a number from {} to {}", self.range.0, self.range.1))
    }

    fn error(&self, rule: impl Into<Cow<'static, str>>) -> FieldError {
        FieldError { field: self.name.clone(), rule: rule.into() }
    }

    fn vin(clock: i64) -> Self {
        Self {
            name: "vin".into(),
            description: "The vehicle's identification number".into(),
            datatype: FieldType::Vin,
            required: true,
            class: Class::Personal,
            identifies: true,
            lengths: (Vin::LENGTH, Vin::LENGTH),
            range: (0.0, 0.0),
            values: Vec::new(),
            clock,
        }
    }

    fn read(name: &str, item: Item<'_>, clock: i64) -> Result<Self, PackError> {
        const VALUES: &str = "a list of the texts that the field takes";
        if let Some(problem) = name_problem(name) {
            return Err(item.error(problem));
        }
        let mut table = item.table("a table with description, type and class")?;
        let datatype = table.need("type", "what the field takes")?.word("a type", &FieldType::WORDS)?;
        let mut field = Self {
            name: name.into(),
            description: description(&mut table)?,
            datatype,
            required: optional_flag(&mut table, "required")?,
            class: table.need("class", "how the field is treated")?.word("a class", &CLASSES)?,
            identifies: optional_flag(&mut table, "identifies")?,
            lengths: (1, Self::LENGTH_DEFAULT),
            range: (-Self::NUMBER_MAX, Self::NUMBER_MAX),
            values: Vec::new(),
            clock,
        };
        if datatype == FieldType::Text {
            let length = |table: &mut Table<'_>, key, default: usize| -> Result<usize, PackError> {
                let Some(item) = table.take(key) else { return Ok(default) };
                let length = item.whole("characters", 1, Self::LENGTH_MAX)?;
                usize::try_from(length).map_err(|_| item.error("out of range"))
            };
            field.lengths.0 = length(&mut table, "min_length", 1)?;
            field.lengths.1 = length(&mut table, "max_length", Self::LENGTH_DEFAULT.max(field.lengths.0))?;
            if let Some(list) = table.take("values") {
                let values = list.list(VALUES)?;
                field.values =
                    values.iter().map(|item| Ok(item.text(VALUES)?.into())).collect::<Result<_, _>>()?;
            }
        }
        if matches!(datatype, FieldType::Number | FieldType::Whole) {
            let bound = |table: &mut Table<'_>, key, default| match table.take(key) {
                Some(item) => item.number("a bound", -Self::NUMBER_MAX, Self::NUMBER_MAX),
                None => Ok(default),
            };
            field.range.0 = bound(&mut table, "min", field.range.0)?;
            field.range.1 = bound(&mut table, "max", field.range.1)?;
        }
        let (least, most) = field.lengths;
        if least > most || field.range.0 > field.range.1 {
            return Err(table.error("", "no value fits: the least is more than the most"));
        }
        if let Some(value) = field.values.iter().find(|value| value.chars().count() > most) {
            return Err(table.error("values", format!("`{value}` is longer than max_length, {most}")));
        }
        table.finish()?;
        Ok(field)
    }
}

fn optional_flag(table: &mut Table<'_>, key: &'static str) -> Result<bool, PackError> {
    table.take(key).map_or(Ok(false), |item| item.flag("true or false"))
}

/// Why a field can't have this name: it becomes a column of a table, and some columns are there already.
fn name_problem(name: &str) -> Option<String> {
    const LENGTH_MAX: usize = 40;
    const TAKEN: [&str; 3] = ["vehicle", "received_at", "record"];
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name == "vin" {
        Some("every record has `vin`; leave it out".to_owned())
    } else if TAKEN.contains(&name) {
        Some(format!("`{name}` is a column of its own; expected another name"))
    } else if !starts || !plain || name.len() > LENGTH_MAX {
        Some(format!(
            "not a field's name: 1 to {LENGTH_MAX} characters of a-z, 0-9 and _, the first a letter"
        ))
    } else {
        None
    }
}

/// Reads a day, or a day and a time, with the difference from UTC or by the clock given (micros ahead of UTC).
fn instant(text: &str, clock: i64) -> Option<UtcMicros> {
    let day = Day::parse(text.get(..10)?).filter(|day| (1900..=2199).contains(&day.civil().0))?;
    let midnight = day.0 * UtcMicros::PER_DAY;
    let Some(rest) = text[10..].strip_prefix(['T', ' ']) else {
        return text[10..].is_empty().then_some(UtcMicros(midnight - clock));
    };
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let ahead = match zone {
        "" => clock,
        "Z" => 0,
        zone => offset(zone)?,
    };
    let mut parts = time.split(':').map(two_digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let of_day = (hour * 3_600 + minute * 60 + second) * UtcMicros::PER_SECOND;
    Some(UtcMicros(midnight + of_day - ahead))
}

/// Reads `+08:00` as microseconds.
pub(super) fn offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours <= 14 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60 * UtcMicros::PER_SECOND)
}

fn two_digits(text: &str) -> Option<i64> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
