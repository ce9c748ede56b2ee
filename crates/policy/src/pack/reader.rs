//! Reading TOML strictly: each key is asked for by name, and what nobody asked for is an error that names its place.

use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::PackError;
use crate::error::nearest;

/// Turns a byte of the text into its line: where each line begins.
#[derive(Clone)]
struct Lines(Rc<[usize]>);

impl Lines {
    fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect())
    }

    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

/// A table of which keys are taken one by one.
pub(super) struct Table<'t> {
    path: String,
    line: usize,
    /// In the order of the text; a taken one is `None`.
    entries: Vec<Option<(String, Item<'t>)>>,
    asked: Vec<&'static str>,
}

/// A value and where it stands.
pub(super) struct Item<'t> {
    lines: Lines,
    table: String,
    key: String,
    line: usize,
    value: DeValue<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, PackError> {
        let lines = Lines::new(text);
        let table = DeTable::parse(text).map_err(|error| PackError {
            line: lines.of(error.span().map_or(0, |span| span.start)),
            table: String::new(),
            key: String::new(),
            problem: format!("not TOML: {}", error.message()),
            meant: None,
        })?;
        Ok(Self::new(&lines, String::new(), 1, table.into_inner()))
    }

    fn new(lines: &Lines, path: String, line: usize, table: DeTable<'t>) -> Self {
        let mut entries: Vec<(usize, String, Spanned<DeValue<'t>>)> = table
            .into_iter()
            .map(|(key, value)| (key.span().start, key.into_inner().into_owned(), value))
            .collect();
        entries.sort_by_key(|(start, ..)| *start);
        let entries = entries
            .into_iter()
            .map(|(start, key, value)| {
                let item = Item {
                    lines: lines.clone(),
                    table: path.clone(),
                    key: key.clone(),
                    line: lines.of(start),
                    value: value.into_inner(),
                };
                Some((key, item))
            })
            .collect();
        Self { path, line, entries, asked: Vec::new() }
    }

    /// The value of a key that may be absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'t>> {
        self.asked.push(key);
        let entry = self.entries.iter_mut().find(|entry| matches!(entry, Some((name, _)) if name == key))?;
        entry.take().map(|(_, item)| item)
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, expected: &str) -> Result<Item<'t>, PackError> {
        match self.take(key) {
            Some(item) => Ok(item),
            None => {
                let known = self.entries.iter().flatten().map(|(name, _)| name.as_str());
                let written = nearest(key, known).map(ToOwned::to_owned);
                let problem = match written {
                    Some(written) => format!("missing (is `{written}` meant to be it?); expected {expected}"),
                    None => format!("missing; expected {expected}"),
                };
                Err(self.error(key, problem))
            }
        }
    }

    /// Everything that is left, for tables whose keys are names.
    pub(super) fn rest(&mut self) -> Vec<(String, Item<'t>)> {
        self.entries.iter_mut().filter_map(Option::take).collect()
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), PackError> {
        let Some((name, item)) = self.entries.into_iter().flatten().next() else { return Ok(()) };
        let known = self.asked.join(", ");
        Err(PackError {
            line: item.line,
            table: self.path,
            meant: nearest(&name, self.asked.iter().copied()).map(ToOwned::to_owned),
            key: name,
            problem: format!("unknown key; this table has {known}"),
        })
    }

    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> PackError {
        PackError {
            line: self.line,
            table: self.path.clone(),
            key: key.to_owned(),
            problem: problem.into(),
            meant: None,
        }
    }
}

impl<'t> Item<'t> {
    pub(super) fn error(&self, problem: impl Into<String>) -> PackError {
        PackError {
            line: self.line,
            table: self.table.clone(),
            key: self.key.clone(),
            problem: problem.into(),
            meant: None,
        }
    }

    fn wrong_kind(&self, expected: &str) -> PackError {
        let kind = match &self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("{kind} stands here; expected {expected}"))
    }

    pub(super) fn table(self, expected: &str) -> Result<Table<'t>, PackError> {
        let path =
            if self.table.is_empty() { self.key.clone() } else { format!("{}.{}", self.table, self.key) };
        match self.value {
            DeValue::Table(table) => Ok(Table::new(&self.lines, path, self.line, table)),
            _ => Err(self.wrong_kind(expected)),
        }
    }

    pub(super) fn list(self, expected: &str) -> Result<Vec<Item<'t>>, PackError> {
        let DeValue::Array(values) = self.value else { return Err(self.wrong_kind(expected)) };
        let items = values.into_iter().enumerate().map(|(index, value)| Item {
            lines: self.lines.clone(),
            table: self.table.clone(),
            key: format!("{}[{index}]", self.key),
            line: self.lines.of(value.span().start),
            value: value.into_inner(),
        });
        Ok(items.collect())
    }

    pub(super) fn text(&self, expected: &str) -> Result<&str, PackError> {
        /// Nothing in a pack needs more.
        const BYTES_MAX: usize = 1_000;
        let DeValue::String(text) = &self.value else { return Err(self.wrong_kind(expected)) };
        if text.trim().is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            return Err(
                self.error(format!("empty, or with spaces around it or a line break; expected {expected}"))
            );
        }
        if text.len() > BYTES_MAX {
            return Err(self.error(format!("longer than {BYTES_MAX} bytes; expected {expected}")));
        }
        Ok(text)
    }

    /// One of a list of words.
    pub(super) fn word<T: Copy>(&self, what: &str, words: &[(&'static str, T)]) -> Result<T, PackError> {
        let names = || words.iter().map(|(name, _)| *name);
        let expected = || format!("{what}: one of {}", names().collect::<Vec<_>>().join(", "));
        let text = self.text(&expected())?;
        words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| PackError {
            meant: nearest(text, names()).map(ToOwned::to_owned),
            ..self.error(format!("`{text}` is not {}", expected()))
        })
    }

    pub(super) fn flag(&self, expected: &str) -> Result<bool, PackError> {
        match self.value {
            DeValue::Boolean(flag) => Ok(flag),
            _ => Err(self.wrong_kind(expected)),
        }
    }

    pub(super) fn whole(&self, expected: &str, least: u64, most: u64) -> Result<u64, PackError> {
        let DeValue::Integer(whole) = &self.value else { return Err(self.wrong_kind(expected)) };
        let value = i64::from_str_radix(whole.as_str(), whole.radix()).ok();
        let value = value.and_then(|value| u64::try_from(value).ok()).filter(|v| (least..=most).contains(v));
        value.ok_or_else(|| {
            self.error(format!("{whole} is out of range; expected {expected}, {least} to {most}"))
        })
    }

    pub(super) fn number(&self, expected: &str, least: f64, most: f64) -> Result<f64, PackError> {
        let text = match &self.value {
            DeValue::Integer(whole) if whole.radix() == 10 => whole.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(self.wrong_kind(expected)),
        };
        let value = text.parse::<f64>().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| {
            self.error(format!("{text} is out of range; expected {expected}, {least} to {most}"))
        })
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }
}
