//! Reads the catalogue's two files.

use std::collections::HashMap;

use model::{Class, Datatype, SignalId, SignalInfo};

use super::{Catalogue, Entry, Enumeration, EnumerationEntry, TeslaEntry, TeslaPart};

/// The header of `signals.csv`.
const SIGNALS_HEADER: &str =
    "protocol,number,name,range,signal,unit,datatype,class,enumeration,maker_unit,scale,offset";
/// The header of `enumerations.csv`.
const ENUMERATIONS_HEADER: &str = "enumeration,prefix,number,name,text,value";
/// Largest Tesla field number: fields are looked up in an array. The largest known is 259.
const TESLA_NUMBER_MAX: u32 = 1_023;
/// Longest range of an indexed line, so that a slip of the pen does not make thousands of signals. GB/T 32960 numbers 250.
const RANGE_MAX: u32 = 250;

/// Why a file of the catalogue can't be used.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{file}, line {line}: {rule}")]
pub(super) struct InvalidLine {
    file: &'static str,
    line: usize,
    rule: String,
}

/// Reads both files' text.
pub(super) fn load(signals: &'static str, enumerations: &'static str) -> Result<Catalogue, InvalidLine> {
    let mut catalogue = Catalogue {
        signals: Vec::new(),
        by_path: HashMap::new(),
        tesla: Vec::new(),
        tesla_by_name: HashMap::new(),
        gbt: HashMap::new(),
        enumerations: load_enumerations(enumerations)?,
    };
    for (line, columns) in rows::<12>("signals.csv", SIGNALS_HEADER, signals)? {
        add_line(&mut catalogue, columns).map_err(|rule| InvalidLine {
            file: "signals.csv",
            line,
            rule: rule.to_string(),
        })?;
    }
    Ok(catalogue)
}

fn load_enumerations(text: &'static str) -> Result<HashMap<&'static str, &'static Enumeration>, InvalidLine> {
    let mut enumerations = HashMap::new();
    let mut open: Option<(&'static str, &'static str, Vec<EnumerationEntry>)> = None;
    let mut last_line = 0;
    let invalid = |line, rule: &str| InvalidLine { file: "enumerations.csv", line, rule: rule.to_string() };
    let mut close = |open: Option<(&'static str, &'static str, Vec<EnumerationEntry>)>| {
        let Some((name, prefix, entries)) = open else { return Ok(()) };
        // Kept for the program's life, as the whole catalogue is: entries point to it.
        let enumeration: &'static Enumeration = Box::leak(Box::new(Enumeration::new(name, prefix, entries)?));
        match enumerations.insert(name, enumeration) {
            Some(_) => Err("an enumeration's lines must stand together"),
            None => Ok(()),
        }
    };
    for (line, [name, prefix, number, value_name, text, value]) in
        rows::<6>("enumerations.csv", ENUMERATIONS_HEADER, text)?
    {
        if open
            .as_ref()
            .is_none_or(|(open_name, open_prefix, _)| (*open_name, *open_prefix) != (name, prefix))
        {
            close(open.replace((name, prefix, Vec::new()))).map_err(|rule| invalid(last_line, rule))?;
        }
        last_line = line;
        let number = number.parse().map_err(|_| invalid(line, "the number is not a number"))?;
        let text = if text.is_empty() { value_name.strip_prefix(prefix).unwrap_or(value_name) } else { text };
        let value = match value {
            "" => Some(f64::from(number)),
            "unknown" => None,
            other => Some(other.parse().map_err(|_| invalid(line, "the value is not a number"))?),
        };
        if let Some((_, _, entries)) = &mut open {
            entries.push(EnumerationEntry { number, name: value_name, text, value });
        }
    }
    close(open).map_err(|rule| invalid(last_line, rule))?;
    Ok(enumerations)
}

/// The lines of a file after its header, with their numbers from 1. `#` begins a line for people.
fn rows<const COLUMNS: usize>(
    file: &'static str,
    header: &str,
    text: &'static str,
) -> Result<Vec<(usize, [&'static str; COLUMNS])>, InvalidLine> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, first)) if first == header => {}
        _ => return Err(InvalidLine { file, line: 1, rule: format!("the header must be {header}") }),
    }
    lines
        .map(|(line, text)| {
            let columns: Vec<&'static str> = text.split(',').collect();
            let count = columns.len();
            columns.try_into().map(|columns| (line, columns)).map_err(|_| InvalidLine {
                file,
                line,
                rule: format!("{count} columns where {COLUMNS} are expected"),
            })
        })
        .collect()
}

fn add_line(catalogue: &mut Catalogue, columns: [&'static str; 12]) -> Result<(), &'static str> {
    let [protocol, number, name, range, path, ..] = columns;
    if range.is_empty() {
        if name.contains("{n}") || path.contains("{n}") {
            return Err("{n} needs a range");
        }
        return add_entry(catalogue, protocol, number, name, path, columns);
    }
    let (first, last) = range.split_once("..").ok_or("the range must be <first>..<last>")?;
    let first: u32 = first.parse().map_err(|_| "the range's first is not a number")?;
    let last: u32 = last.parse().map_err(|_| "the range's last is not a number")?;
    if first > last || last - first >= RANGE_MAX {
        return Err("the range must go up, by less than 250");
    }
    for index in first..=last {
        let index = index.to_string();
        // Kept for the program's life, as the file's own text is.
        let name: &'static str = name.replace("{n}", &index).leak();
        let path: &'static str = path.replace("{n}", &index).leak();
        add_entry(catalogue, protocol, number, name, path, columns)?;
    }
    Ok(())
}

fn add_entry(
    catalogue: &mut Catalogue,
    protocol: &'static str,
    number: &'static str,
    name: &'static str,
    path: &'static str,
    columns: [&'static str; 12],
) -> Result<(), &'static str> {
    let [.., unit, datatype, class, enumeration, maker_unit, scale, offset] = columns;
    let datatype = datatype_of(datatype).ok_or("no such datatype")?;
    let class = Class::from_name(class).ok_or("no such class")?;
    let signal = add_signal(catalogue, SignalInfo { path, unit, datatype, class })?;
    let entry = Entry {
        name,
        signal,
        maker_unit,
        scale: number_or(scale, 1.0)?,
        offset: number_or(offset, 0.0)?,
        datatype,
        class,
        enumeration: match enumeration {
            "" => None,
            name => Some(catalogue.enumerations.get(name).copied().ok_or("no such enumeration")?),
        },
    };
    if datatype == Datatype::Enumeration && entry.enumeration.is_none() {
        return Err("an enumeration's line must name it");
    }
    match protocol {
        "tesla" => add_tesla(catalogue, number, entry),
        "gbt32960" if !number.is_empty() => Err("a GB/T line has no number"),
        "gbt32960" => match catalogue.gbt.insert(name, entry) {
            Some(_) => Err("this GB/T name stands twice"),
            None => Ok(()),
        },
        _ => Err("the protocol must be tesla or gbt32960"),
    }
}

/// The id of a signal: of a new one, or of the same one that an earlier line named.
fn add_signal(catalogue: &mut Catalogue, info: SignalInfo) -> Result<SignalId, &'static str> {
    if !info.path.starts_with("Vehicle.") {
        return Err("a signal's path begins with Vehicle.");
    }
    if let Some(id) = catalogue.by_path.get(info.path) {
        if catalogue.signals[usize::from(id.0)] != info {
            return Err("another line gives this signal another unit, datatype or class");
        }
        return Ok(*id);
    }
    let id = SignalId(u16::try_from(catalogue.signals.len()).map_err(|_| "more than 65,536 signals")?);
    catalogue.by_path.insert(info.path, id);
    catalogue.signals.push(info);
    Ok(id)
}

/// Adds a field (`<number>`) or a member of a field whose value is a message (`<number>.<member>`).
fn add_tesla(catalogue: &mut Catalogue, number: &'static str, entry: Entry) -> Result<(), &'static str> {
    let (field, member) = match number.split_once('.') {
        Some((field, member)) => (field, Some(member)),
        None => (number, None),
    };
    let field: u32 = field.parse().map_err(|_| "the field number is not a number")?;
    if field > TESLA_NUMBER_MAX {
        return Err("the field number is larger than 1023");
    }
    let slot = field as usize;
    let Some(member) = member else {
        if catalogue.tesla.len() <= slot {
            catalogue.tesla.resize_with(slot + 1, || None);
        }
        let name = entry.name;
        let added = TeslaEntry { number: field, entry, parts: Vec::new() };
        if catalogue.tesla[slot].replace(added).is_some() {
            return Err("this field number stands twice");
        }
        return match catalogue.tesla_by_name.insert(name, field) {
            Some(_) => Err("this field name stands twice"),
            None => Ok(()),
        };
    };
    let member: u32 = member.parse().map_err(|_| "the member number is not a number")?;
    let owner = catalogue
        .tesla
        .get_mut(slot)
        .and_then(Option::as_mut)
        .ok_or("the field must stand before its members")?;
    let member_name = entry
        .name
        .strip_prefix(owner.entry.name)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or("a member's name is <field>.<member>")?;
    if owner.parts.last().map_or(0, |part| part.member) + 1 != member {
        return Err("members must stand in the order of their numbers, from 1");
    }
    owner.parts.push(TeslaPart { member, member_name, entry });
    Ok(())
}

fn datatype_of(word: &str) -> Option<Datatype> {
    Some(match word {
        "number" => Datatype::Number,
        "boolean" => Datatype::Boolean,
        "enumeration" => Datatype::Enumeration,
        "text" => Datatype::Text,
        "array" => Datatype::Array,
        _ => return None,
    })
}

fn number_or(text: &str, default: f64) -> Result<f64, &'static str> {
    let number = match text {
        "" => default,
        _ => text.parse().map_err(|_| "scale and offset must be numbers")?,
    };
    if f64::is_finite(number) { Ok(number) } else { Err("scale and offset must be finite") }
}
