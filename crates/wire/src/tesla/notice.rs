//! Alerts, errors, connectivity and metrics to events.

use model::{Event, ReadingSink, UtcMicros};

use super::payload::{Alerts, Connectivity, Errors, Metrics, Tags};

/// The most characters of one text in an event's detail: an error's body may be a whole dump.
const TEXT_CHARACTERS_MAX: usize = 2_000;

/// The most tags in an event's detail.
const TAGS_MAX: usize = 32;

/// An event `alert` for each alert: its name, from when to when, and `{"audiences":[…]}`.
pub(super) fn alerts(alerts: &Alerts<'_>, time: UtcMicros, sink: &mut (impl ReadingSink + ?Sized)) {
    let mut json = Json::default();
    for alert in alerts.iter() {
        json.begin();
        json.key("audiences");
        json.out.push('[');
        for audience in alert.audiences() {
            json.separate();
            json.string(audience.as_str());
        }
        json.out.push_str("]}");
        sink.event(Event {
            time: alert.started_at.unwrap_or(time),
            kind: "alert",
            code: alert.name,
            level: None,
            ended_at: alert.ended_at,
            detail: Some(&json.out),
        });
    }
}

/// An event `error` for each error: its name, when it happened, and `{"body":…,"tags":{…}}`.
pub(super) fn errors(errors: &Errors<'_>, time: UtcMicros, sink: &mut (impl ReadingSink + ?Sized)) {
    let mut json = Json::default();
    for error in errors.iter() {
        json.begin();
        json.key("body");
        json.string(error.body);
        json.tags(&error.tags);
        json.out.push('}');
        let time = error.created_at.unwrap_or(time);
        let detail = Some(json.out.as_str());
        sink.event(Event { time, kind: "error", code: error.name, level: None, ended_at: None, detail });
    }
}

/// An event `metric` for each metric: its name and `{"value":…,"tags":{…}}`; a value that JSON can't hold is null.
pub(super) fn metrics(metrics: &Metrics<'_>, time: UtcMicros, sink: &mut (impl ReadingSink + ?Sized)) {
    let mut json = Json::default();
    for metric in metrics.iter() {
        json.begin();
        json.key("value");
        json.number(metric.value);
        json.tags(&metric.tags);
        json.out.push('}');
        let detail = Some(json.out.as_str());
        sink.event(Event { time, kind: "metric", code: metric.name, level: None, ended_at: None, detail });
    }
}

/// An event `connectivity` whose code is `connected` or `disconnected`.
pub(super) fn connectivity(
    connectivity: &Connectivity<'_>,
    time: UtcMicros,
    sink: &mut (impl ReadingSink + ?Sized),
) {
    let mut json = Json::default();
    json.begin();
    json.key("connection_id");
    json.string(connectivity.connection_id);
    json.key("network_interface");
    json.string(connectivity.network_interface);
    json.out.push('}');
    sink.event(Event {
        time: connectivity.created_at.unwrap_or(time),
        kind: "connectivity",
        code: connectivity.status.as_str(),
        level: None,
        ended_at: None,
        detail: Some(&json.out),
    });
}

/// Writes one JSON object at a time (RFC 8259).
#[derive(Default)]
struct Json {
    out: String,
}

impl Json {
    fn begin(&mut self) {
        self.out.clear();
        self.out.push('{');
    }

    /// A comma unless this is the first of its object or list.
    fn separate(&mut self) {
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.string(key);
        self.out.push(':');
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars().take(TEXT_CHARACTERS_MAX) {
            match character {
                '"' | '\\' => self.out.extend(['\\', character]),
                '\u{0}'..='\u{1f}' => {
                    const HEX: [char; 16] =
                        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                    let code = character as usize;
                    self.out.push_str("\\u00");
                    self.out.extend([HEX[code >> 4], HEX[code & 15]]);
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }

    fn number(&mut self, number: f64) {
        let text = if number.is_finite() { number.to_string() } else { "null".to_owned() };
        self.out.push_str(&text);
    }

    fn tags(&mut self, tags: &Tags<'_>) {
        self.key("tags");
        self.out.push('{');
        for (key, value) in tags.iter().take(TAGS_MAX) {
            self.key(key);
            self.string(value);
        }
        self.out.push('}');
    }
}
