//! What the center itself observes of a vehicle (connected, refused, disconnected), as a frame: one JSON object
//! `{"kind":…,"code":…,"detail":{…}}`. It is stored and tabled like a vehicle's own frames.

use std::net::IpAddr;

use model::{Event, Protocol, ReadingSink, UtcMicros};
use serde_json::{Map, Value, json};

use crate::Malformed;

/// Something that the center observed of a vehicle.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Observation<'a> {
    /// What: `connected`, `disconnected`, `refused`, `login`, `logout`.
    pub kind: &'a str,
    /// Why (a refusal's or an ending's code); empty where there is no why.
    pub code: &'a str,
    /// Over which protocol.
    pub protocol: Protocol,
    /// The peer's address.
    pub from: Option<IpAddr>,
    /// What the identity rests on.
    pub assurance: Option<&'a str>,
    /// Further details: name and value.
    pub more: &'a [(&'a str, &'a str)],
}

impl Observation<'_> {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut detail = Map::new();
        detail.insert("protocol".into(), self.protocol.as_str().into());
        if let Some(from) = self.from {
            detail.insert("from".into(), from.to_string().into());
        }
        if let Some(assurance) = self.assurance {
            detail.insert("assurance".into(), assurance.into());
        }
        for (name, value) in self.more {
            detail.insert((*name).into(), (*value).into());
        }
        json!({ "kind": self.kind, "code": self.code, "detail": detail }).to_string().into_bytes()
    }
}

/// Decodes a frame that [`Observation::encode`] made into one event at `received_at`.
///
/// # Errors
/// [`Malformed`] where it is not such a frame.
pub fn decode(
    bytes: &[u8],
    received_at: UtcMicros,
    sink: &mut (impl ReadingSink + ?Sized),
) -> Result<(), Malformed> {
    const MALFORMED: Malformed = Malformed {
        what: "observation of the center",
        rule: "a JSON object with the texts kind and code and the object detail",
        offset: 0,
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|_| MALFORMED)?;
    let object = value.as_object().filter(|object| object.len() == 3).ok_or(MALFORMED)?;
    let text = |name| object.get(name).and_then(Value::as_str).ok_or(MALFORMED);
    let (kind, code) = (text("kind")?, text("code")?);
    let detail = object.get("detail").filter(|detail| detail.is_object()).ok_or(MALFORMED)?.to_string();
    sink.event(Event { time: received_at, kind, code, level: None, ended_at: None, detail: Some(&detail) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{Event, Position, Protocol, Reading, ReadingSink, UtcMicros};

    use super::{Observation, decode};

    #[derive(Default)]
    struct Events(Vec<(UtcMicros, String, String, String)>);

    impl ReadingSink for Events {
        fn reading(&mut self, _: Reading<'_>) {
            unreachable!("an observation holds no reading")
        }

        fn position(&mut self, _: Position) {
            unreachable!("an observation holds no position")
        }

        fn event(&mut self, event: Event<'_>) {
            let detail = event.detail.unwrap_or_default().to_owned();
            self.0.push((event.time, event.kind.to_owned(), event.code.to_owned(), detail));
        }
    }

    fn observation() -> Vec<u8> {
        Observation {
            kind: "refused",
            code: "foreign_country",
            protocol: Protocol::Tesla,
            from: Some("192.0.2.7".parse().expect("an address")),
            assurance: Some("certificate"),
            more: &[("version", "1.2 \"beta\"")],
        }
        .encode()
    }

    #[test]
    fn an_observation_becomes_one_event() {
        let mut events = Events::default();
        decode(&observation(), UtcMicros(5), &mut events).expect("decodes");
        let detail = concat!(
            r#"{"protocol":"tesla","from":"192.0.2.7","#,
            r#""assurance":"certificate","version":"1.2 \"beta\""}"#
        );
        assert_eq!(events.0, [(UtcMicros(5), "refused".into(), "foreign_country".into(), detail.into())]);
    }

    #[test]
    fn every_truncation_is_malformed_and_gives_nothing() {
        let whole = observation();
        for end in 0..whole.len() {
            let mut events = Events::default();
            decode(&whole[..end], UtcMicros(5), &mut events).expect_err("cut short");
            assert!(events.0.is_empty());
        }
        let mut events = Events::default();
        assert!(
            decode(br#"{"kind":"x","code":"","detail":{},"more":1}"#, UtcMicros(5), &mut events).is_err()
        );
    }
}
