//! A stored envelope as JSON for people: everything that stands in it, with names. For the command line and the tests, not for
//! the hot path.

use model::UtcMicros;
use serde_json::{Map, Value as Json, json};

use crate::catalogue;
use crate::{Malformed, hex};

use super::envelope::{Envelope, Message, Stream};
use super::payload::{
    Alert, Alerts, Connectivity, Datum, Errors, Metric, Metrics, Tags, Topic, Value, VehicleError, Vitals,
    enumeration_name,
};

/// Members of `Doors` in the order of their numbers.
const DOORS: [&str; 6] =
    ["DriverFront", "DriverRear", "PassengerFront", "PassengerRear", "TrunkFront", "TrunkRear"];

/// Members of `TireLocation` in the order of their numbers.
const TIRES: [&str; 10] = [
    "front_left",
    "front_right",
    "rear_left",
    "rear_right",
    "semi_middle_axle_left_2",
    "semi_middle_axle_right_2",
    "semi_rear_axle_left",
    "semi_rear_axle_right",
    "semi_rear_axle_left_2",
    "semi_rear_axle_right_2",
];

/// Everything that an envelope says, as one JSON object: the envelope's own fields, those of its stream, and under `payload` the
/// topic's message (for a topic that isn't known, its bytes in hexadecimal).
///
/// Values are as the maker sends them, not converted. The result holds personal data; it is not for logs.
pub fn describe(envelope: &[u8]) -> Result<Json, Malformed> {
    let envelope = Envelope::parse(envelope)?;
    let mut object = Map::new();
    object.insert("txid".into(), text(envelope.txid));
    object.insert("topic".into(), text(envelope.topic));
    if !envelope.message_id.is_empty() {
        object.insert("message_id".into(), text(envelope.message_id));
    }
    let (kind, stream) = match envelope.message {
        Message::None => ("none", None),
        Message::Stream(stream) => ("stream", stream),
        Message::Ack => ("ack", None),
        Message::Other(tag) => {
            object.insert("tag".into(), tag.into());
            ("other", None)
        }
    };
    object.insert("message".into(), kind.into());
    if let Some(stream) = stream {
        describe_stream(&stream, &mut object);
        object.insert("payload".into(), describe_payload(envelope.topic, stream.payload)?);
    }
    Ok(Json::Object(object))
}

fn describe_stream(stream: &Stream<'_>, object: &mut Map<String, Json>) {
    if stream.created_at != 0 {
        let created_at = UtcMicros::from_seconds(i64::from(stream.created_at));
        object.insert("created_at".into(), created_at.to_string().into());
    }
    if stream.delivered_at_epoch_ms != 0 {
        let millis = i64::try_from(stream.delivered_at_epoch_ms).unwrap_or(i64::MAX);
        object.insert("delivered_at".into(), UtcMicros::from_millis(millis).to_string().into());
    }
    object.insert("sender_id".into(), text(stream.sender_id));
    object.insert("device_type".into(), text(stream.device_type));
    object.insert("device_id".into(), text(stream.device_id));
}

fn describe_payload(topic: &[u8], payload: &[u8]) -> Result<Json, Malformed> {
    Ok(match Topic::from_bytes(topic) {
        Some(Topic::Vitals) => {
            let vitals = Vitals::parse(payload)?;
            json!({
                "created_at": time(vitals.created_at),
                "is_resend": vitals.is_resend,
                "data": vitals.data().map(|datum| describe_datum(&datum)).collect::<Vec<_>>(),
            })
        }
        Some(Topic::Alerts) => {
            let alerts = Alerts::parse(payload)?;
            let list: Vec<Json> = alerts.iter().map(|alert| describe_alert(&alert)).collect();
            json!({ "created_at": time(alerts.created_at), "alerts": list })
        }
        Some(Topic::Errors) => {
            let errors = Errors::parse(payload)?;
            let list: Vec<Json> = errors.iter().map(|error| describe_error(&error)).collect();
            json!({ "created_at": time(errors.created_at), "errors": list })
        }
        Some(Topic::Metrics) => {
            let metrics = Metrics::parse(payload)?;
            let list: Vec<Json> = metrics.iter().map(|metric| describe_metric(&metric)).collect();
            json!({ "created_at": time(metrics.created_at), "metrics": list })
        }
        Some(Topic::Connectivity) => {
            let connectivity = Connectivity::parse(payload)?;
            json!({
                "created_at": time(connectivity.created_at),
                "connection_id": connectivity.connection_id,
                "status": connectivity.status.as_str(),
                "network_interface": connectivity.network_interface,
            })
        }
        None => json!({ "hex": hex(payload) }),
    })
}

fn describe_datum(datum: &Datum<'_>) -> Json {
    let entry = catalogue::tesla(datum.field).map(|field| &field.entry);
    let mut object = Map::new();
    object.insert("field".into(), datum.field.into());
    object.insert("name".into(), entry.map(|entry| entry.name).into());
    describe_value(&datum.value, &mut object);
    if let Some(unit) = entry.map(|entry| entry.maker_unit).filter(|unit| !unit.is_empty()) {
        object.insert("unit".into(), unit.into());
    }
    Json::Object(object)
}

/// Adds `kind` and `value` (and for an enumeration its `enumeration` and `text`).
fn describe_value(value: &Value<'_>, object: &mut Map<String, Json>) {
    let (kind, json) = match *value {
        Value::Absent => ("absent", Json::Null),
        Value::Invalid => ("invalid", Json::Null),
        Value::Text(text) => ("string", text.into()),
        Value::Int(number) => ("int", number.into()),
        Value::Long(number) => ("long", number.into()),
        Value::Float(number) => ("float", shortest(number)),
        Value::Double(number) => ("double", number.into()),
        Value::Boolean(flag) => ("boolean", flag.into()),
        Value::Location { latitude, longitude } => {
            ("location", json!({ "latitude": latitude, "longitude": longitude }))
        }
        Value::Doors(bits) => ("doors", members(&DOORS, bits)),
        Value::Tires(bits) => ("tires", members(&TIRES, bits)),
        Value::Time { hour, minute, second } => {
            ("time", json!({ "hour": hour, "minute": minute, "second": second }))
        }
        Value::Enumeration { kind, number } => {
            let name = enumeration_name(kind);
            let known = name.and_then(catalogue::enumeration);
            object.insert("enumeration".into(), name.into());
            let entry = known.and_then(|known| known.entry(i64::from(number)));
            object.insert("text".into(), entry.map(|entry| entry.name).into());
            ("enumeration", number.into())
        }
        Value::Unknown { kind } => {
            object.insert("one_of".into(), kind.into());
            ("unknown", Json::Null)
        }
    };
    object.insert("kind".into(), kind.into());
    object.insert("value".into(), json);
}

fn describe_alert(alert: &Alert<'_>) -> Json {
    let audiences: Vec<&str> = alert.audiences().map(|audience| audience.as_str()).collect();
    json!({
        "name": alert.name,
        "audiences": audiences,
        "started_at": time(alert.started_at),
        "ended_at": time(alert.ended_at),
    })
}

fn describe_error(error: &VehicleError<'_>) -> Json {
    json!({
        "name": error.name,
        "created_at": time(error.created_at),
        "tags": describe_tags(&error.tags),
        "body": error.body,
    })
}

fn describe_metric(metric: &Metric<'_>) -> Json {
    json!({ "name": metric.name, "tags": describe_tags(&metric.tags), "value": metric.value })
}

fn describe_tags(tags: &Tags<'_>) -> Json {
    Json::Object(tags.iter().map(|(key, value)| (key.to_string(), Json::from(value))).collect())
}

fn members(names: &[&str], bits: u16) -> Json {
    let set = |index: usize| bits >> index & 1 == 1;
    Json::Object(
        names.iter().enumerate().map(|(index, name)| (name.to_string(), set(index).into())).collect(),
    )
}

/// A `float` as the shortest number that reads back as it: 0.1, not 0.10000000149011612. NaN and infinity, which JSON lacks, as text.
fn shortest(number: f32) -> Json {
    let written = number.to_string();
    if number.is_finite() { written.parse::<f64>().map_or(Json::Null, Json::from) } else { written.into() }
}

fn time(instant: Option<UtcMicros>) -> Json {
    instant.map(|instant| instant.to_string()).into()
}

/// Bytes that should be text; what isn't UTF-8 as hexadecimal, so that nothing is lost.
fn text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}
