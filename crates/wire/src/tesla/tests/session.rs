//! What to do with each message.

use super::super::certificate::{DeviceType, Identity};
use super::super::envelope::{ERROR_TEXT, encode_ack};
use super::super::{Action, Envelope, Message, Outcome, Session, Stream, Topic, encode_stream};
use super::{SENDER, VIN, message, one_of_each};

fn session() -> Session {
    Session::new(&Identity { device_type: DeviceType::VehicleDevice, device_id: VIN.to_owned() })
}

#[test]
fn a_message_of_each_topic_is_stored() {
    for (topic, payload) in one_of_each() {
        let bytes = message(topic, &payload);
        let verdict = session().message(&bytes);
        assert_eq!(verdict.outcome, Outcome::Accepted, "{topic}");
        let kind = Topic::from_bytes(topic.as_bytes()).expect("a topic");
        let resend = topic == "V";
        let expected = Action::Store { txid: b"txid-1", topic: topic.as_bytes(), kind, resend };
        assert_eq!(verdict.action, expected);
    }
}

fn sent_by(sender_id: &[u8], topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_stream(b"t", topic, b"", &Stream { sender_id, payload, ..Stream::default() }, &mut out);
    out
}

#[test]
fn the_sender_is_the_certificates_or_the_message_is_refused() {
    let outcome = |sender: &str, topic: &str| {
        session().message(&sent_by(sender.as_bytes(), topic.as_bytes(), b"")).outcome
    };
    assert_eq!(outcome(SENDER, "V"), Outcome::Accepted);
    assert_eq!(outcome(VIN, "V"), Outcome::Accepted);
    for sender in
        ["", "vehicle_device.", "vehicle_device.LRW3E7FA8MC000002", "energy_device.LRW3E7FA8MC000001", "LRW"]
    {
        assert_eq!(outcome(sender, "V"), Outcome::SenderMismatch);
        assert_eq!(outcome(sender, "unheard-of"), Outcome::SenderMismatch, "before the topic is looked at");
    }
}

#[test]
fn a_refusal_is_answered_by_an_error_envelope_with_the_messages_txid() {
    let bytes = sent_by(SENDER.as_bytes(), b"V", &[0x0a]);
    let verdict = session().message(&bytes);
    assert_eq!((verdict.action, verdict.outcome), (Action::Reply { txid: b"t" }, Outcome::MalformedPayload));
    let mut answer = Vec::new();
    verdict.write_error(&mut answer);
    let envelope = Envelope::parse(&answer).expect("an envelope");
    assert_eq!((envelope.txid, envelope.topic), (&b"t"[..], &b""[..]));
    let Message::Stream(Some(stream)) = envelope.message else { panic!("a stream") };
    assert_eq!(stream.payload, ERROR_TEXT);
}

#[test]
fn what_is_no_stream_or_of_an_unknown_topic_is_acked_and_not_stored() {
    let mut ack = Vec::new();
    encode_ack(b"t", b"V", &mut ack);
    let verdict = session().message(&ack);
    assert_eq!(verdict.outcome, Outcome::OtherMessage);
    assert_eq!(verdict.action, Action::AckWithoutStoring { txid: b"t", topic: b"V" });
    let unknown = sent_by(SENDER.as_bytes(), b"unheard-of", b"\xff");
    let verdict = session().message(&unknown);
    assert_eq!(verdict.outcome, Outcome::UnknownTopic);
    assert_eq!(verdict.action, Action::AckWithoutStoring { txid: b"t", topic: b"unheard-of" });
    // Tag 4 without a value: the vtable's slot 3, at byte 14, is cleared.
    let mut empty = sent_by(SENDER.as_bytes(), b"V", b"");
    empty[14..16].copy_from_slice(&[0, 0]);
    assert_eq!(session().message(&empty).outcome, Outcome::NoStream);
}

#[test]
fn what_is_no_envelope_is_answered_by_an_error_without_txid() {
    for bytes in [&b""[..], b"hello", &[0; 64], &[0xff; 64]] {
        let verdict = session().message(bytes);
        assert_eq!(
            (verdict.action, verdict.outcome),
            (Action::Reply { txid: b"" }, Outcome::MalformedEnvelope)
        );
    }
}

#[test]
fn the_labels_of_outcomes_are_distinct() {
    let mut labels = Outcome::ALL.map(Outcome::as_str).to_vec();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Outcome::ALL.len());
}
