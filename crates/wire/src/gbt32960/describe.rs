//! A frame as JSON, for people.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::alarms::flag_name;
use super::cipher::{Keys, open};
use super::error::Unreadable;
use super::fields::{ALARM_LEVEL, Field, Raw, Value, Visitor};
use super::frame::{Envelope, read_unit};
use super::items::{Alarms, FaultCode, Item, Place};
use super::list::{Element, List, Octets, Words, number};
use super::names::NAMES;
use super::{Edition, LoginPacks, Realtime, Signature, Unit, WireTime, without_padding};
use crate::catalogue;

/// A whole frame as one JSON object: header, VIN, time in UTC, every field with the standard's unit applied.
/// Numbers are JSON numbers, sentinels the words `invalid` and `abnormal`, an enumeration's number is
/// followed by `<field>_name`, bytes whose meaning is the maker's are hexadecimal. A password and a key are
/// told by their length alone.
pub fn describe(frame: &[u8], keys: &Keys) -> Result<Json, Unreadable> {
    let envelope = Envelope::read(frame)?;
    let header = &envelope.header;
    let mut plain = Vec::new();
    let unit = open(header, envelope.unit, keys, &mut plain)?;
    let unit = read_unit(header, unit)?;
    let mut object = Map::new();
    object.insert("protocol".into(), json!("gbt32960"));
    object.insert("edition".into(), json!(header.edition.year()));
    named(&mut object, "command", header.command.0, header.command.name());
    named(&mut object, "flag", header.flag.0, header.flag.name());
    object.insert("vin".into(), padded_text(&header.vin));
    named(&mut object, "encryption", header.encryption.0, header.encryption.name());
    object.insert("unit_bytes".into(), json!(envelope.unit.len()));
    object.insert("checksum_ok".into(), json!(envelope.check == envelope.check_computed));
    if let Some(time) = unit.time() {
        object.insert("time".into(), time_text(time));
    }
    describe_unit(&unit, header.edition, &mut object);
    Ok(Json::Object(object))
}

fn describe_unit(unit: &Unit<'_>, edition: Edition, object: &mut Map<String, Json>) {
    let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
    match unit {
        Unit::Login(login) => {
            put("serial", json!(login.serial));
            put("iccid", padded_text(&login.iccid));
            match login.packs {
                LoginPacks::V2016 { count, code_bytes, .. } => {
                    put("subsystems", json!(count));
                    put("code_bytes", json!(code_bytes));
                }
                LoginPacks::V2025 { packs, .. } => {
                    put("packs_per_system", json!(packs.as_slice()));
                }
            }
            put("codes", login.codes().map(padded_text).collect());
        }
        Unit::Realtime(realtime) => describe_realtime(realtime, edition, object),
        Unit::Logout(logout) => {
            put("serial", json!(logout.serial));
        }
        Unit::PlatformLogin(login) => {
            put("serial", json!(login.serial));
            put("user", padded_text(&login.user));
            put("password_bytes", json!(login.password().len()));
            put("unit_encryption", json!(login.encryption.0));
        }
        Unit::Activation(activation) => {
            put("chip", padded_text(&activation.chip));
            put("public_key", json!(hex(activation.public_key)));
            put("activated_vin", padded_text(&activation.vin));
            put("signature", signature(&activation.signature));
        }
        Unit::ActivationResponse(response) => {
            put("result", json!(response.result));
            put("info", json!(response.info));
        }
        Unit::KeyExchange(exchange) => {
            put("unit_encryption", json!(exchange.encryption.0));
            put("key_bytes", json!(exchange.key.len()));
            put("key_start", time_text(exchange.start));
            put("key_end", time_text(exchange.end));
        }
        Unit::Downlink { body, .. } => {
            put("body", json!(hex(body)));
        }
        Unit::Opaque(bytes) => {
            put("body", json!(hex(bytes)));
        }
        Unit::Time(_) | Unit::Empty => {}
    }
}

fn describe_realtime(realtime: &Realtime<'_>, edition: Edition, object: &mut Map<String, Json>) {
    let items = realtime.items.iter().map(|item| describe_item(&item, edition)).collect();
    object.insert("items".into(), items);
    if let Some(block) = &realtime.signature {
        object.insert("signature".into(), signature(block));
    }
}

fn describe_item(item: &Item<'_>, edition: Edition) -> Json {
    let mut fields = Fields(Map::new());
    fields.put("type", json!(item.kind(edition)));
    fields.put("name", json!(item_name(item)));
    match item {
        Item::Vehicle(item) => item.visit(edition, &mut fields),
        Item::DriveMotors(list) => fields.list(list, |motor, fields| {
            fields.put("number", json!(motor.number));
            motor.visit(edition, 0, fields);
        }),
        Item::FuelCell(item) => item.visit(&mut fields),
        Item::Hydrogen(item) => item.visit(&mut fields),
        Item::Engine(item) => item.visit(&mut fields),
        Item::Place(place) => describe_place(place, &mut fields),
        Item::Extremes(item) => item.visit(&mut fields),
        Item::Alarms(alarms) => describe_alarms(alarms, edition, &mut fields),
        Item::CellVoltages(list) => fields.list(list, |pack, fields| {
            fields.put("number", json!(pack.pack));
            pack.visit(edition, 0, fields);
        }),
        Item::Temperatures(list) => fields.list(list, |pack, fields| {
            fields.put("number", json!(pack.pack));
            pack.visit(0, fields);
        }),
        Item::Stacks(list) => fields.list(list, |stack, fields| {
            fields.put("number", json!(stack.number));
            stack.visit(0, fields);
        }),
        Item::Supercapacitor(item) => {
            fields.put("system", json!(item.system));
            item.visit(&mut fields);
        }
        Item::SupercapacitorExtremes(item) => item.visit(&mut fields),
        Item::Custom { bytes, .. } | Item::Unknown { bytes, .. } => fields.put("bytes", json!(hex(bytes))),
    }
    Json::Object(fields.0)
}

fn item_name(item: &Item<'_>) -> &'static str {
    match item {
        Item::Vehicle(_) => "vehicle",
        Item::DriveMotors(_) => "drive_motors",
        Item::FuelCell(_) => "fuel_cell",
        Item::Hydrogen(_) => "hydrogen",
        Item::Engine(_) => "engine",
        Item::Place(_) => "position",
        Item::Extremes(_) => "extremes",
        Item::Alarms(_) => "alarms",
        Item::CellVoltages(_) => "cell_voltages",
        Item::Temperatures(_) => "probe_temperatures",
        Item::Stacks(_) => "fuel_cell_stacks",
        Item::Supercapacitor(_) => "supercapacitor",
        Item::SupercapacitorExtremes(_) => "supercapacitor_extremes",
        Item::Custom { .. } => "maker_defined",
        Item::Unknown { .. } => "unknown",
    }
}

fn describe_place(place: &Place, fields: &mut Fields) {
    let degrees = |raw: u32, is_negative: bool| match Raw::Long(raw).value() {
        Value::Number(raw) if is_negative => json!(-(raw as f64) / 1e6),
        Value::Number(raw) => json!(raw as f64 / 1e6),
        Value::Abnormal => json!("abnormal"),
        Value::Invalid => json!("invalid"),
    };
    fields.put("valid", json!(place.state & 0b001 == 0));
    if let Some(system) = place.system {
        let name = match system {
            1 => Some("wgs84"),
            2 => Some("gcj02"),
            3 => Some("other"),
            _ => None,
        };
        named(&mut fields.0, "coordinate_system", system, name);
    }
    fields.put("longitude", degrees(place.longitude, place.state & 0b100 != 0));
    fields.put("latitude", degrees(place.latitude, place.state & 0b010 != 0));
}

fn describe_alarms(alarms: &Alarms<'_>, edition: Edition, fields: &mut Fields) {
    let name = |bit: u8| flag_name(edition, bit).map_or_else(|| format!("flag_{bit}"), str::to_owned);
    let codes = |list: &List<'_, FaultCode>| -> Json {
        list.iter().map(|code| format!("{:#010x}", code.0)).collect()
    };
    fields.value(ALARM_LEVEL, 0, Raw::Byte(alarms.level));
    fields.put("flags", (0..32).filter(|bit| alarms.flags >> bit & 1 == 1).map(name).collect());
    fields.put("battery_faults", codes(&alarms.battery));
    fields.put("motor_faults", codes(&alarms.motor));
    fields.put("engine_faults", codes(&alarms.engine));
    fields.put("other_faults", codes(&alarms.other));
    if let Some(levels) = &alarms.levels {
        let levels = levels.iter().map(|single| json!({ "flag": name(single.flag), "level": single.level }));
        fields.put("levels", levels.collect());
    }
}

fn signature(signature: &Signature<'_>) -> Json {
    let mut object = Map::new();
    named(&mut object, "algorithm", signature.algorithm.0, signature.algorithm.name());
    object.insert("r".into(), json!(hex(signature.r)));
    object.insert("s".into(), json!(hex(signature.s)));
    Json::Object(object)
}

/// An object that takes fields one by one.
struct Fields(Map<String, Json>);

impl Fields {
    fn put(&mut self, name: &str, value: Json) {
        self.0.insert(name.to_owned(), value);
    }

    fn list<'a, T: Element<'a>>(&mut self, list: &List<'a, T>, visit: impl Fn(&T, &mut Self)) {
        if list.count() >= 0xfe {
            self.put("count", sentinel(list.count()));
        }
        let elements = list.iter().map(|element| {
            let mut fields = Self(Map::new());
            visit(&element, &mut fields);
            Json::Object(fields.0)
        });
        self.put("elements", elements.collect());
    }

    fn array(&mut self, field: Field, values: impl Iterator<Item = Raw>) {
        let numbers = values.map(|raw| value_json(field, raw)).collect();
        self.put(field.short_name(), numbers);
    }
}

impl Visitor for Fields {
    fn value(&mut self, field: Field, _element: usize, raw: Raw) {
        self.put(field.short_name(), value_json(field, raw));
        let enumeration = catalogue::gbt(NAMES[field.index(0)].0).and_then(|entry| entry.enumeration);
        if let (Some(enumeration), Value::Number(raw)) = (enumeration, raw.value())
            && let Some(text) = enumeration.text(raw)
        {
            self.put(&format!("{}_name", field.short_name()), json!(text));
        }
    }

    fn octets(&mut self, field: Field, _element: usize, values: &Octets<'_>) {
        self.array(field, values.as_slice().iter().map(|raw| Raw::Byte(*raw)));
    }

    fn words(&mut self, field: Field, _element: usize, values: &Words<'_>) {
        self.array(field, values.as_slice().iter().map(|pair| Raw::Word(number(*pair))));
    }
}

fn value_json(field: Field, raw: Raw) -> Json {
    match raw.value() {
        Value::Number(raw) if field.divisor == 1 => json!(raw - field.bias),
        Value::Number(raw) => json!(field.scaled(raw)),
        Value::Abnormal => json!("abnormal"),
        Value::Invalid => json!("invalid"),
    }
}

fn sentinel(count: u8) -> Json {
    if count == 0xff { json!("invalid") } else { json!("abnormal") }
}

/// A number and, where the standard has one, its name: `command` and `command_name`.
fn named(object: &mut Map<String, Json>, key: &str, number: u8, name: Option<&str>) {
    object.insert(key.to_owned(), json!(number));
    if let Some(name) = name {
        object.insert(format!("{key}_name"), json!(name));
    }
}

fn time_text(time: WireTime) -> Json {
    time.utc().map_or_else(|| json!(format!("impossible {}", hex(&time.0))), |utc| json!(utc.to_string()))
}

/// A text field without its padding; hexadecimal where it is not ASCII (a platform's name may be GB 18030).
fn padded_text(field: &[u8]) -> Json {
    let text = without_padding(field);
    match std::str::from_utf8(text) {
        Ok(text) if text.is_ascii() => json!(text),
        _ => json!(format!("0x{}", hex(text))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
