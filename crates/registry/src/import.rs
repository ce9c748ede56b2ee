//! Vehicles from a CSV file (RFC 4180) with a header.

use std::collections::HashMap;

use csv::StringRecord;
use model::{InvalidName, Vin};
use policy::InvalidIccid;

use crate::error::LineProblem;
use crate::vehicle::date;
use crate::{Error, NewVehicle};

/// The most lines of one import: it becomes one control object, which is read as a whole at each rebuild.
pub const IMPORT_LINES_MAX: usize = 200_000;
/// Wrong lines that an error tells one by one; of the others only the number.
const PROBLEMS_SHOWN_MAX: usize = 20;
const COLUMNS: [&str; 7] = ["vin", "country", "maker", "model", "iccid", "public_key", "sold_at"];

/// Reads a file of vehicles: `vin` and `country` are required columns, `maker`, `model`, `iccid`, `public_key` and `sold_at`
/// optional ones, in any order. Gives each vehicle with its line number.
///
/// # Errors
/// [`Error::Import`] with every wrong line's number and what is wrong with it; it names no VIN.
pub fn parse_csv(bytes: &[u8]) -> Result<Vec<(u64, NewVehicle)>, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let columns = reader.headers().map_err(|error| header_problem(error.to_string())).and_then(columns)?;
    let mut vehicles = Vec::new();
    let mut problems = Problems::default();
    let mut seen: HashMap<Vin, u64> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(line, "the line is not UTF-8, or a quote is not closed".to_owned());
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if vehicles.len() >= IMPORT_LINES_MAX {
            problems.push(line, format!("more than {IMPORT_LINES_MAX} vehicles; split the file"));
            break;
        }
        match vehicle(&record, &columns) {
            Ok(vehicle) => match seen.insert(vehicle.vin, line) {
                None => vehicles.push((line, vehicle)),
                Some(first) => problems.push(line, format!("vin: the same as in line {first}")),
            },
            Err(problem) => problems.push(line, problem),
        }
    }
    problems.into_result().map(|()| vehicles)
}

/// The problems of an import, the first of them with their text.
#[derive(Default)]
pub(crate) struct Problems {
    shown: Vec<LineProblem>,
    more: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, line: u64, problem: String) {
        if self.shown.len() < PROBLEMS_SHOWN_MAX {
            self.shown.push(LineProblem { line, problem });
        } else {
            self.more += 1;
        }
    }

    /// # Errors
    /// [`Error::Import`] where there is any problem.
    pub(crate) fn into_result(mut self) -> Result<(), Error> {
        self.shown.sort_by_key(|problem| problem.line);
        if self.shown.is_empty() {
            Ok(())
        } else {
            Err(Error::Import { problems: self.shown, more: self.more })
        }
    }
}

pub(crate) fn header_problem(problem: String) -> Error {
    Error::Import { problems: vec![LineProblem { line: 1, problem }], more: 0 }
}

/// Where each column of [`COLUMNS`] stands.
fn columns(header: &StringRecord) -> Result<[Option<usize>; COLUMNS.len()], Error> {
    let mut places = [None; COLUMNS.len()];
    for (place, name) in header.iter().enumerate() {
        let known = COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name));
        let Some(column) = known else {
            let known = COLUMNS.join(", ");
            // A file without a header has a VIN there, which an error must not tell.
            let is_name =
                name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b"_-; ".contains(&b));
            let shown = if is_name { format!("`{name}`") } else { format!("as number {}", place + 1) };
            return Err(header_problem(format!("there is no column {shown}; the columns are {known}")));
        };
        if places[column].replace(place).is_some() {
            return Err(header_problem(format!("the column `{}` stands there twice", COLUMNS[column])));
        }
    }
    for required in 0..2 {
        if places[required].is_none() {
            let problem =
                format!("the column `{}` is missing; the first line names the columns", COLUMNS[required]);
            return Err(header_problem(problem));
        }
    }
    Ok(places)
}

fn vehicle(record: &StringRecord, columns: &[Option<usize>; COLUMNS.len()]) -> Result<NewVehicle, String> {
    let width = columns.iter().flatten().count();
    if record.len() != width {
        return Err(format!("{} values where the header has {width} columns", record.len()));
    }
    let [vin, country, maker, model, iccid, public_key, sold_at] =
        columns.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
    let named = |column: &'static str| move |error: InvalidName| format!("{column}: {}", error.rule);
    let vin = vin.parse().map_err(named("vin"))?;
    let mut vehicle = NewVehicle::new(vin, country.parse().map_err(named("country"))?);
    maker.clone_into(&mut vehicle.maker);
    model.clone_into(&mut vehicle.model);
    if !iccid.is_empty() {
        vehicle.iccid = Some(iccid.parse().map_err(|error: InvalidIccid| error.to_string())?);
    }
    vehicle.public_key = Some(public_key.to_owned()).filter(|key| !key.is_empty());
    if !sold_at.is_empty() {
        vehicle.sold_at = Some(date(sold_at).map_err(|error| error.to_string())?);
    }
    vehicle.check().map_err(|error| error.to_string())?;
    Ok(vehicle)
}
