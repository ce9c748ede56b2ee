//! How a maker's value becomes a reading's `value`, `text` and `quality`. All ways in which a maker writes a value (number,
//! boolean, text of older firmware) meet here, so that they give the same row.

use model::{Datatype, Quality};

use super::Entry;

/// A reading's columns `value`, `text` and `quality`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolved<'a> {
    /// The column `value`.
    pub value: Option<f64>,
    /// The column `text`.
    pub text: Option<&'a str>,
    /// The column `quality`.
    pub quality: Quality,
}

impl Resolved<'static> {
    /// The vehicle says that it has no valid value.
    pub const INVALID: Self = Self { value: None, text: None, quality: Quality::Invalid };

    /// The value can't be: NaN, infinite, or a text where a number is due.
    pub const ABNORMAL: Self = Self { value: None, text: None, quality: Quality::Abnormal };

    fn valid(value: f64) -> Self {
        Self { value: Some(value), text: None, quality: Quality::Valid }
    }
}

/// How older firmware writes that a signal has no valid value.
const INVALID_TEXTS: [&str; 3] = ["<invalid>", "invalid", ""];

impl Entry {
    /// The maker's number in the signal's unit. For GB/T 32960 the argument is the value in the standard's unit, its factor
    /// and offset on the wire already applied.
    pub fn convert(&self, value: f64) -> f64 {
        // Most values need no conversion, and must then come out bit for bit as they went in.
        if self.scale == 1.0 && self.offset == 0.0 { value } else { value * self.scale + self.offset }
    }

    /// What a reading of a number holds: of an enumeration its value and name, else the number in the signal's unit.
    pub fn number(&self, number: f64) -> Resolved<'static> {
        if !number.is_finite() {
            return Resolved::ABNORMAL;
        }
        match (self.enumeration, self.datatype) {
            // Only a whole number is one of an enumeration's; the range keeps the conversion exact.
            (Some(enumeration), _) if number.fract() == 0.0 && number.abs() <= f64::from(u32::MAX) => {
                enumeration.resolve(number as i64)
            }
            (Some(_), _) => Resolved::ABNORMAL,
            (None, Datatype::Boolean) => Resolved::valid(f64::from(number != 0.0)),
            // A number at the end of its range may leave it when it is turned to another unit.
            (None, _) => match self.convert(number) {
                converted if converted.is_finite() => Resolved::valid(converted),
                _ => Resolved::ABNORMAL,
            },
        }
    }

    /// What a reading of a boolean holds. A boolean of a field that is otherwise an enumeration with VSS's words is its 0 or
    /// 1; one of a field whose signal is itself a boolean is what it says.
    pub fn boolean(&self, value: bool) -> Resolved<'static> {
        match self.enumeration {
            Some(enumeration) if self.datatype != Datatype::Boolean => enumeration.resolve(i64::from(value)),
            _ => Resolved::valid(f64::from(value)),
        }
    }

    /// What a reading of a text holds: older firmware writes numbers, booleans and names of enumerations so.
    pub fn text<'a>(&self, text: &'a str) -> Resolved<'a> {
        let trimmed = text.trim();
        if self.datatype == Datatype::Text {
            // An empty title or name is a value; only the maker's own mark says that there is none.
            return if trimmed == "<invalid>" {
                Resolved::INVALID
            } else {
                Resolved { value: None, text: Some(text), quality: Quality::Valid }
            };
        }
        if INVALID_TEXTS.contains(&trimmed) {
            return Resolved::INVALID;
        }
        if let Some(number) = self.enumeration.and_then(|enumeration| enumeration.number(trimmed)) {
            return self.number(f64::from(number));
        }
        match trimmed {
            "true" | "True" => return self.boolean(true),
            "false" | "False" => return self.boolean(false),
            _ => {}
        }
        match trimmed.parse::<f64>() {
            Ok(number) => self.number(number),
            // The text stays to be seen: it may be a name that newer firmware added.
            Err(_) => Resolved { value: None, text: Some(text), quality: Quality::Abnormal },
        }
    }
}
