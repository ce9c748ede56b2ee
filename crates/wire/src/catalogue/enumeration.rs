//! Enumerations: a maker's numbers, their names, and what a reading of them holds.

use std::collections::HashMap;

use model::Quality;

use super::Resolved;

/// The values of one enumeration of a maker.
#[derive(Debug)]
pub struct Enumeration {
    name: &'static str,
    prefix: &'static str,
    entries: Vec<EnumerationEntry>,
    by_number: Vec<Option<u16>>,
    by_name: HashMap<&'static str, u16>,
}

/// One value of an enumeration.
#[derive(Clone, Debug, PartialEq)]
pub struct EnumerationEntry {
    /// The maker's number.
    pub number: u32,
    /// The maker's full name, such as `ShiftStateP`.
    pub name: &'static str,
    /// What stands in a reading's `text`: the name without the enumeration's prefix (`P`), or VSS's word for it.
    pub text: &'static str,
    /// What stands in a reading's `value`: the maker's number, or VSS's. `None` where the maker says that it doesn't know.
    pub value: Option<f64>,
}

/// Largest number of an enumeration's value: numbers are looked up in an array. The largest known is 18.
pub(super) const NUMBER_MAX: u32 = 255;

impl Enumeration {
    /// An enumeration of entries in the order of their numbers; `Err` says what is wrong with them.
    pub(super) fn new(
        name: &'static str,
        prefix: &'static str,
        entries: Vec<EnumerationEntry>,
    ) -> Result<Self, &'static str> {
        let mut by_number = Vec::new();
        let mut by_name = HashMap::new();
        for (index, entry) in (0_u16..).zip(&entries) {
            if entry.number > NUMBER_MAX {
                return Err("a number of the enumeration is larger than 255");
            }
            let slot = entry.number as usize;
            if by_number.len() <= slot {
                by_number.resize(slot + 1, None);
            }
            if by_number[slot].replace(index).is_some() {
                return Err("a number of the enumeration stands twice");
            }
            let short = entry.name.strip_prefix(prefix).ok_or("a name lacks the enumeration's prefix")?;
            let mut spellings = vec![entry.name];
            if short != entry.name && !short.is_empty() {
                spellings.push(short);
            }
            if !spellings.contains(&entry.text) {
                spellings.push(entry.text);
            }
            for spelling in spellings {
                // A VSS word may stand for several of a maker's values; then only their own names lead back.
                if spelling == entry.text && by_name.contains_key(spelling) {
                    continue;
                }
                if by_name.insert(spelling, index).is_some() {
                    return Err("a name of the enumeration stands twice");
                }
            }
        }
        Ok(Self { name, prefix, entries, by_number, by_name })
    }

    /// The maker's name of the enumeration, such as `ShiftState`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the names of its values begin with; may be empty.
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Its values in the order of their numbers.
    pub fn entries(&self) -> &[EnumerationEntry] {
        &self.entries
    }

    /// The entry of a maker's number. An array look-up.
    pub fn entry(&self, number: i64) -> Option<&EnumerationEntry> {
        let index = (*self.by_number.get(usize::try_from(number).ok()?)?)?;
        self.entries.get(usize::from(index))
    }

    /// The text of a maker's number.
    pub fn text(&self, number: i64) -> Option<&'static str> {
        self.entry(number).map(|entry| entry.text)
    }

    /// The maker's number of a name, with the enumeration's prefix or without it: `ShiftStateP` and `P` are the same.
    pub fn number(&self, name: &str) -> Option<u32> {
        let index = self.by_name.get(name)?;
        self.entries.get(usize::from(*index)).map(|entry| entry.number)
    }

    /// What a reading of a maker's number holds. A number that the catalogue doesn't know stays as it is, without text: newer
    /// firmware may send it, and it is a valid value there.
    pub fn resolve(&self, number: i64) -> Resolved<'static> {
        match self.entry(number) {
            Some(entry) => Resolved {
                value: entry.value,
                text: Some(entry.text),
                quality: if entry.value.is_some() { Quality::Valid } else { Quality::Invalid },
            },
            None => Resolved { value: Some(number as f64), text: None, quality: Quality::Valid },
        }
    }
}
