//! What a record of a kind consists of. The country pack says it; here it is held against what this room can keep.

use model::{Class, Country, InvalidName};
use policy::RecordKind;

use crate::Error;
use crate::vehicle::{DATE_RULE, read_date};

/// The most fields of a record.
const FIELDS_MAX: usize = 64;
/// The longest name of a field.
const FIELD_NAME_LENGTH_MAX: usize = 32;
/// The longest text of a field, in characters, where the schema does not set a lower limit.
const TEXT_LENGTH_MAX: usize = 4_000;
/// Columns that every table has and no schema can define.
const BUILT_IN: [&str; 3] = ["vin", "vehicle", "recorded_at"];
/// The start of an owner's period: a date that an owner's schema must require.
pub(super) const VALID_FROM: &str = "valid_from";
/// The end of an owner's period: a date that an owner's schema may have.
pub(super) const VALID_TO: &str = "valid_to";

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// A text on one line.
    Text,
    /// A decimal number.
    Number,
    /// A whole number.
    Whole,
    /// `true` or `false` (also `1` or `0`).
    Flag,
    /// A date, or an instant in UTC.
    Date,
    /// A country's code, such as `CN`.
    Country,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name: the column of the file and of the table.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether every record has it.
    pub required: bool,
    /// How it is to be treated.
    pub class: Class,
    /// Whether it names a person or a vehicle: then no table shows it, and it is kept only sealed.
    pub identifies: bool,
    /// The fewest characters of a text.
    pub length_min: usize,
    /// The most characters of a text.
    pub length_max: usize,
    /// The least number.
    pub minimum: Option<f64>,
    /// The greatest number.
    pub maximum: Option<f64>,
    /// The texts that are allowed; empty for any.
    pub values: Vec<String>,
}

impl Field {
    /// A field that is not required, technical, identifies nobody and takes any value of its kind.
    pub fn new(name: &str, kind: FieldKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            required: false,
            class: Class::Technical,
            identifies: false,
            length_min: 0,
            length_max: TEXT_LENGTH_MAX,
            minimum: None,
            maximum: None,
            values: Vec::new(),
        }
    }

    /// Holds a value, as a file has it, against the field's rules; an empty one is left to `required`. Appends it as JSON.
    ///
    /// # Errors
    /// The rule that it breaks; the value itself is left out, because it may be personal.
    pub(super) fn check(&self, text: &str, json: &mut Vec<u8>) -> Result<(), String> {
        match self.kind {
            FieldKind::Text => self.check_text(text)?,
            FieldKind::Number => return self.check_number(text, json),
            FieldKind::Whole => return self.check_whole(text, json),
            FieldKind::Flag => {
                let flag: &[u8] = match text {
                    "true" | "1" => b"true",
                    "false" | "0" => b"false",
                    _ => return Err("true or false".to_owned()),
                };
                json.extend_from_slice(flag);
                return Ok(());
            }
            FieldKind::Date => {
                let at = read_date(text).ok_or(DATE_RULE)?;
                json.extend_from_slice(format!("\"{at}\"").as_bytes());
                return Ok(());
            }
            FieldKind::Country => {
                let _: Country = text.parse().map_err(|error: InvalidName| error.rule.to_owned())?;
            }
        }
        serde_json::to_writer(json, text).expect("a text is JSON, and memory takes it");
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        let length = text.chars().count();
        if length < self.length_min || length > self.length_max {
            return Err(format!("{} to {} characters", self.length_min, self.length_max));
        }
        if text.chars().any(char::is_control) {
            return Err("a text on one line, without control characters".to_owned());
        }
        if !self.values.is_empty() && !self.values.iter().any(|value| value == text) {
            return Err(format!("one of {}", self.values.join(", ")));
        }
        Ok(())
    }

    fn check_number(&self, text: &str, json: &mut Vec<u8>) -> Result<(), String> {
        let is_plain =
            text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'e' | b'E' | b'+'));
        let number = text.parse::<f64>().ok().filter(|number| is_plain && number.is_finite());
        let number = number.ok_or("a number such as 12.5")?;
        self.check_range(number)?;
        serde_json::to_writer(json, &number).expect("a finite number is JSON, and memory takes it");
        Ok(())
    }

    fn check_whole(&self, text: &str, json: &mut Vec<u8>) -> Result<(), String> {
        let number: i64 = text.parse().map_err(|_| "a whole number".to_owned())?;
        self.check_range(number as f64)?;
        json.extend_from_slice(number.to_string().as_bytes());
        Ok(())
    }

    fn check_range(&self, number: f64) -> Result<(), String> {
        match (self.minimum, self.maximum) {
            (Some(minimum), _) if number < minimum => Err(format!("at least {minimum}")),
            (_, Some(maximum)) if number > maximum => Err(format!("at most {maximum}")),
            _ => Ok(()),
        }
    }
}

/// The fields of the records of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSchema {
    kind: RecordKind,
    fields: Vec<Field>,
}

impl RecordSchema {
    /// A schema with these fields, in the order of the table's columns. Every record has a `vin` beside them. An owner's schema
    /// must require the date `valid_from` and may have the date `valid_to`.
    ///
    /// # Errors
    /// [`Error::Schema`] where the fields can't be kept.
    pub fn new(kind: RecordKind, fields: Vec<Field>) -> Result<Self, Error> {
        let refused = |rule: String| Err(Error::Schema { kind: kind.as_str(), rule });
        if fields.len() > FIELDS_MAX {
            return refused(format!("a record has at most {FIELDS_MAX} fields"));
        }
        for (index, field) in fields.iter().enumerate() {
            let name = &field.name;
            let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !starts || !plain || name.len() > FIELD_NAME_LENGTH_MAX {
                return refused(format!(
                    "field {}: its name must be 1 to {FIELD_NAME_LENGTH_MAX} characters of a-z, 0-9 and _, the first a letter",
                    index + 1
                ));
            }
            if BUILT_IN.contains(&name.as_str()) {
                return refused(format!("every record has `{name}` by itself; leave the field out"));
            }
            if fields[..index].iter().any(|other| other.name == *name) {
                return refused(format!("there are two fields `{name}`"));
            }
            if field.length_max > TEXT_LENGTH_MAX {
                return refused(format!("`{name}`: a text has at most {TEXT_LENGTH_MAX} characters"));
            }
        }
        if kind == RecordKind::Owner {
            let date = |name: &str| fields.iter().find(|field| field.name == name);
            if !date(VALID_FROM).is_some_and(|field| field.kind == FieldKind::Date && field.required) {
                return refused("it must have `valid_from`, a required date".to_owned());
            }
            if date(VALID_TO).is_some_and(|field| field.kind != FieldKind::Date || field.required) {
                return refused("`valid_to` must be a date that is not required".to_owned());
            }
            if [VALID_FROM, VALID_TO].iter().any(|name| date(name).is_some_and(|field| field.identifies)) {
                return refused("`valid_from` and `valid_to` can't identify anybody".to_owned());
            }
        }
        Ok(Self { kind, fields })
    }

    /// What its records are about.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether a field is one of the two that bound an owner's period.
    pub(super) fn is_bound(&self, field: &Field) -> bool {
        self.kind == RecordKind::Owner && matches!(field.name.as_str(), VALID_FROM | VALID_TO)
    }
}
