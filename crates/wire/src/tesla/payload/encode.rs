//! Payloads as a vehicle writes them.

use model::UtcMicros;

use super::notice::{Alert, Connectivity, ConnectivityStatus};
use super::proto::{put_double, put_message, put_number, put_text_unless_empty, put_timestamp};
use super::value::Datum;

/// Appends a payload of topic `V`.
pub fn encode_vitals<'a>(
    data: impl IntoIterator<Item = Datum<'a>>,
    created_at: Option<UtcMicros>,
    vin: &str,
    is_resend: bool,
    out: &mut Vec<u8>,
) {
    for datum in data {
        put_message(out, 1, |out| datum.write(out));
    }
    put_ending(created_at, vin, out);
    if is_resend {
        put_number(out, 4, 1);
    }
}

/// Appends a payload of topic `alerts`.
pub fn encode_alerts(alerts: &[Alert<'_>], created_at: Option<UtcMicros>, vin: &str, out: &mut Vec<u8>) {
    for alert in alerts {
        put_message(out, 1, |out| {
            put_text_unless_empty(out, 1, alert.name);
            if alert.audiences().next().is_some() {
                // Audience numbers take one byte each, packed.
                put_message(out, 2, |out| out.extend(alert.audiences().map(|audience| audience as u8)));
            }
            for (field, time) in [(3, alert.started_at), (4, alert.ended_at)] {
                if let Some(time) = time {
                    put_timestamp(out, field, time);
                }
            }
        });
    }
    put_ending(created_at, vin, out);
}

/// Appends a payload of topic `errors` with one error: its name, its tags and its text.
pub fn encode_errors(
    name: &str,
    tags: &[Tag<'_>],
    body: &str,
    created_at: UtcMicros,
    vin: &str,
    out: &mut Vec<u8>,
) {
    put_message(out, 1, |out| {
        put_timestamp(out, 1, created_at);
        put_text_unless_empty(out, 2, name);
        put_tags(out, 3, tags);
        put_text_unless_empty(out, 4, body);
    });
    put_ending(Some(created_at), vin, out);
}

/// A tag of an error or a metric to write: key and value.
pub type Tag<'a> = (&'a str, &'a str);

/// Appends a payload of topic `metrics`; a metric is its name, its tags and its value.
pub fn encode_metrics(
    metrics: &[(&str, &[Tag<'_>], f64)],
    created_at: Option<UtcMicros>,
    vin: &str,
    out: &mut Vec<u8>,
) {
    for (name, tags, value) in metrics {
        put_message(out, 1, |out| {
            put_text_unless_empty(out, 1, name);
            put_tags(out, 2, tags);
            put_double(out, 3, *value);
        });
    }
    put_ending(created_at, vin, out);
}

/// Appends a payload of topic `connectivity`.
pub fn encode_connectivity(connectivity: &Connectivity<'_>, vin: &str, out: &mut Vec<u8>) {
    put_text_unless_empty(out, 1, vin);
    put_text_unless_empty(out, 2, connectivity.connection_id);
    match connectivity.status {
        ConnectivityStatus::Unknown => {}
        ConnectivityStatus::Connected => put_number(out, 3, 1),
        ConnectivityStatus::Disconnected => put_number(out, 3, 2),
    }
    if let Some(time) = connectivity.created_at {
        put_timestamp(out, 4, time);
    }
    put_text_unless_empty(out, 5, connectivity.network_interface);
}

fn put_ending(created_at: Option<UtcMicros>, vin: &str, out: &mut Vec<u8>) {
    if let Some(time) = created_at {
        put_timestamp(out, 2, time);
    }
    put_text_unless_empty(out, 3, vin);
}

fn put_tags(out: &mut Vec<u8>, field: u32, tags: &[Tag<'_>]) {
    for (key, value) in tags {
        put_message(out, field, |out| {
            put_text_unless_empty(out, 1, key);
            put_text_unless_empty(out, 2, value);
        });
    }
}
