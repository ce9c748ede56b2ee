//! Records from a CSV file (RFC 4180) with a header, or from rows of an API call: typed, and every wrong value named.

use std::borrow::Cow;

use csv::StringRecord;
use model::{UtcMicros, Vin};
use serde_json::{Map, Value};

use super::schema::{RecordSchema, VALID_FROM, VALID_TO};
use crate::Error;
use crate::import::{Problems, header_problem};
use crate::vehicle::read_date;

/// The most records of one import: it becomes one object, which is read as a whole at each rebuild.
pub const RECORD_ROWS_MAX: usize = 200_000;
/// The most bytes of an import's file: it is held in memory while it is checked.
pub const RECORDS_BYTES_MAX: usize = 128 << 20;
/// The most bytes of a record as JSON.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// What an import reads.
#[derive(Clone, Copy)]
pub enum RecordInput<'a> {
    /// A CSV file with a header; a byte order mark is tolerated.
    Csv(&'a [u8]),
    /// Rows of JSON values by column; in errors the first is line 1.
    Rows(&'a [Map<String, Value>]),
}

/// A record as far as it can be checked without the registry.
pub(super) struct Parsed {
    pub(super) line: u64,
    pub(super) vin: Vin,
    pub(super) valid_from: Option<UtcMicros>,
    pub(super) valid_to: Option<UtcMicros>,
    /// One JSON object of the fields that tables show.
    pub(super) fields: String,
    /// One JSON object of the fields that identify somebody.
    pub(super) personal: String,
}

/// Reads records: those that are sound, and what is wrong with the others, so that a file's every wrong row is named at once.
///
/// # Errors
/// [`Error::Import`] where the header is wrong.
pub(super) fn parse(schema: &RecordSchema, input: RecordInput<'_>) -> Result<(Vec<Parsed>, Problems), Error> {
    let mut reader = RowReader { schema, problems: Problems::default(), parsed: Vec::new() };
    match input {
        RecordInput::Csv(bytes) => reader.csv(bytes)?,
        RecordInput::Rows(rows) => reader.rows(rows),
    }
    Ok((reader.parsed, reader.problems))
}

struct RowReader<'a> {
    schema: &'a RecordSchema,
    problems: Problems,
    parsed: Vec<Parsed>,
}

impl RowReader<'_> {
    fn csv(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > RECORDS_BYTES_MAX {
            let problem = format!("the file has more than {} MiB; split it", RECORDS_BYTES_MAX >> 20);
            return Err(header_problem(problem));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|_| header_problem("the header is not UTF-8".to_owned()))?;
        let (width, places) = (header.len(), places(self.schema, header)?);
        let mut record = StringRecord::new();
        loop {
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.problems.push(line, "the line is not UTF-8".to_owned());
                    continue;
                }
            }
            let line = record.position().map_or(0, csv::Position::line);
            if self.is_full(line) {
                return Ok(());
            }
            if record.len() == width {
                self.row(line, |column| {
                    places[column].and_then(|place| record.get(place)).map(Cow::Borrowed)
                });
            } else {
                let problem = format!("{} values where the header has {width} columns", record.len());
                self.problems.push(line, problem);
            }
        }
    }

    fn rows(&mut self, rows: &[Map<String, Value>]) {
        for (line, row) in (1..).zip(rows) {
            if self.is_full(line) {
                return;
            }
            let names = columns(self.schema);
            let known = row.keys().all(|key| names.contains(&key.as_str()));
            if !known {
                self.problems.push(line, format!("a column that is none of {}", names.join(", ")));
                continue;
            }
            self.row(line, |column| match row.get(names[column])? {
                Value::Null => None,
                Value::String(text) => Some(Cow::Borrowed(text.trim())),
                // An array or object reads as a text that no kind of field takes, because of its line break.
                Value::Array(_) | Value::Object(_) => Some(Cow::Borrowed("\n")),
                simple => Some(Cow::Owned(simple.to_string())),
            });
        }
    }

    /// Whether there are too many rows; that is a problem, too.
    fn is_full(&mut self, line: u64) -> bool {
        let is_full = self.parsed.len() >= RECORD_ROWS_MAX;
        if is_full {
            self.problems.push(line, format!("more than {RECORD_ROWS_MAX} records; split the file"));
        }
        is_full
    }

    /// Takes a row; `cell` gives the value of a column: 0 is the VIN, then the schema's fields.
    fn row<'c>(&mut self, line: u64, cell: impl Fn(usize) -> Option<Cow<'c, str>>) {
        let mut is_sound = true;
        let cell = |column| cell(column).filter(|text| !text.is_empty());
        let vin = match cell(0).as_deref().map(str::parse::<Vin>) {
            Some(Ok(vin)) => Some(vin),
            Some(Err(error)) => self.wrong(line, "vin", error.rule),
            None => self.wrong(line, "vin", "every record has one"),
        };
        let (mut fields, mut personal) = (vec![b'{'], vec![b'{']);
        let (mut valid_from, mut valid_to) = (None, None);
        for (field, column) in self.schema.fields().iter().zip(1..) {
            let Some(text) = cell(column) else {
                if field.required {
                    is_sound = self.wrong::<()>(line, &field.name, "every record has one").is_some();
                }
                continue;
            };
            let json = if field.identifies { &mut personal } else { &mut fields };
            let before = json.len();
            if before > 1 {
                json.push(b',');
            }
            json.extend_from_slice(format!("\"{}\":", field.name).as_bytes());
            if let Err(rule) = field.check(&text, json) {
                is_sound = self.wrong::<()>(line, &field.name, &rule).is_some();
            } else if self.schema.is_bound(field) {
                json.truncate(before);
                let bound = if field.name == VALID_FROM { &mut valid_from } else { &mut valid_to };
                *bound = read_date(&text);
            }
        }
        if valid_to.zip(valid_from).is_some_and(|(to, from)| to <= from) {
            is_sound = self.wrong::<()>(line, VALID_TO, "later than valid_from").is_some();
        }
        if fields.len() + personal.len() > RECORD_BYTES_MAX {
            self.problems.push(line, format!("more than {} KiB", RECORD_BYTES_MAX >> 10));
            is_sound = false;
        }
        let Some(vin) = vin.filter(|_| is_sound) else { return };
        let text = |mut json: Vec<u8>| {
            json.push(b'}');
            String::from_utf8(json).expect("it was made of texts")
        };
        let (fields, personal) = (text(fields), text(personal));
        self.parsed.push(Parsed { line, vin, valid_from, valid_to, fields, personal });
    }

    fn wrong<T>(&mut self, line: u64, column: &str, rule: &str) -> Option<T> {
        self.problems.push(line, format!("{column}: {rule}"));
        None
    }
}

/// The columns that a file may have.
fn columns(schema: &RecordSchema) -> Vec<&str> {
    std::iter::once("vin").chain(schema.fields().iter().map(|field| field.name.as_str())).collect()
}

/// Where each of [`columns`] stands in the file. A wrong column is named by its place: where the header is missing there are
/// personal values in the first line.
fn places(schema: &RecordSchema, header: &StringRecord) -> Result<Vec<Option<usize>>, Error> {
    let names = columns(schema);
    let mut places = vec![None; names.len()];
    for (place, name) in header.iter().enumerate() {
        let Some(column) = names.iter().position(|column| column.eq_ignore_ascii_case(name)) else {
            let names = names.join(", ");
            return Err(header_problem(format!("column {} is none of {names}", place + 1)));
        };
        if places[column].replace(place).is_some() {
            return Err(header_problem(format!("the column `{}` stands there twice", names[column])));
        }
    }
    let is_required = |column: usize| column == 0 || schema.fields()[column - 1].required;
    for (column, name) in names.iter().enumerate() {
        if places[column].is_none() && is_required(column) {
            return Err(header_problem(format!(
                "the column `{name}` is missing; the first line names the columns"
            )));
        }
    }
    Ok(places)
}
