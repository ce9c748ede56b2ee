//! Golden bytes, written by hand from the formats.

use super::super::envelope::{encode_ack, encode_error};
use super::super::payload::{
    Alerts, Audience, Datum, Errors, Metrics, Topic, Value, Vitals, encode_vitals, enumeration_name, validate,
};
use super::super::{Envelope, Message};
use super::NOON;

/// Nothing is aligned, and each table has its vtable elsewhere than ours.
#[test]
fn an_envelope_laid_out_by_hand_is_read() {
    let mut bytes = Vec::new();
    bytes.extend(16_u32.to_le_bytes()); // root table at 16
    bytes.extend([12, 0, 17, 0, 4, 0, 8, 0, 16, 0, 12, 0]); // vtable at 4: 12 bytes, table of 17, slots txid topic tag message
    bytes.extend(12_i32.to_le_bytes()); // table at 16: vtable 12 bytes before
    bytes.extend(13_u32.to_le_bytes()); // 20: txid at 33
    bytes.extend(14_u32.to_le_bytes()); // 24: topic at 38
    bytes.extend(27_u32.to_le_bytes()); // 28: message at 55
    bytes.push(4); // 32: tag, a stream
    bytes.extend([1, 0, 0, 0, b't']); // 33: txid "t"
    bytes.extend([1, 0, 0, 0, b'V']); // 38: topic "V"
    bytes.extend([12, 0, 16, 0, 4, 0, 8, 0, 12, 0, 0, 0]); // 43: vtable of the stream
    bytes.extend(12_i32.to_le_bytes()); // 55: table
    bytes.extend(1_772_366_400_u32.to_le_bytes()); // 59: created_at
    bytes.extend(8_u32.to_le_bytes()); // 63: sender at 71
    bytes.extend(11_u32.to_le_bytes()); // 67: payload at 78
    bytes.extend([3, 0, 0, 0, b's', b'i', b'd']); // 71
    bytes.extend([2, 0, 0, 0, 0x20, 1]); // 78: is_resend = true
    let envelope = Envelope::parse(&bytes).expect("a whole envelope");
    assert_eq!((envelope.txid, envelope.topic, envelope.message_id), (&b"t"[..], &b"V"[..], &b""[..]));
    let Message::Stream(Some(stream)) = envelope.message else { panic!("a stream") };
    assert_eq!((stream.created_at, stream.sender_id), (1_772_366_400, &b"sid"[..]));
    assert_eq!(stream.payload, [0x20, 1]);
    assert_eq!((stream.device_id, stream.delivered_at_epoch_ms), (&b""[..], 0));
    assert_eq!(validate(Topic::Vitals, stream.payload), Ok(true));
}

#[test]
fn an_ack_is_laid_out_as_the_schema_says() {
    let mut ack = vec![0xee]; // appended to what is there
    encode_ack(b"tx", b"V", &mut ack);
    let expected: Vec<u8> = [
        &[0xee][..],
        &20_u32.to_le_bytes(),
        &[14, 0, 24, 0, 4, 0, 8, 0, 20, 0, 12, 0, 0, 0, 0, 0], // vtable: txid 4, topic 8, tag 20, message 12, no message id
        &16_i32.to_le_bytes(),
        &20_u32.to_le_bytes(),           // txid at 44
        &24_u32.to_le_bytes(),           // topic at 52
        &32_u32.to_le_bytes(),           // the empty table at 64
        &[0, 0, 0, 0, 5, 0, 0, 0],       // no message id; tag 5
        &[2, 0, 0, 0, b't', b'x', 0, 0], // 44
        &[1, 0, 0, 0, b'V', 0, 0, 0],    // 52
        &[4, 0, 4, 0, 4, 0, 0, 0],       // its vtable at 60, the table at 64
    ]
    .concat();
    assert_eq!(ack, expected);
    let envelope = Envelope::parse(&ack[1..]).expect("an envelope");
    assert_eq!(envelope, Envelope { txid: b"tx", topic: b"V", message_id: b"", message: Message::Ack });
}

#[test]
fn the_reference_servers_ack_with_a_byte_vector_for_a_table_is_read() {
    let mut ack = Vec::new();
    encode_ack(b"tx", b"V", &mut ack);
    // The union's value becomes an empty byte vector: a length of zero where the table's offset was.
    let end = ack.len();
    ack[end - 4..].copy_from_slice(&[0; 4]);
    let envelope = Envelope::parse(&ack).expect("an envelope");
    assert_eq!(envelope.message, Message::Ack);
}

#[test]
fn offsets_that_lead_outside_are_refused_one_by_one() {
    let mut whole = Vec::new();
    encode_error(b"tx", &mut whole);
    assert!(Envelope::parse(&whole).is_ok());
    // Root offset, vtable length, table length, the offset to the vtable, txid's offset, its length, the stream's offset.
    for (position, lie) in
        [(0, 0xff), (0, 0), (4, 3), (4, 0xff), (6, 0xff), (20, 0xff), (24, 0xff), (44, 0xff), (32, 0xff)]
    {
        let mut bytes = whole.clone();
        bytes[position] = lie;
        let error = Envelope::parse(&bytes).expect_err("a lie");
        assert_eq!(error.what, "envelope", "at {position}");
    }
}

#[test]
fn vitals_by_hand() {
    let bytes = [
        0x0a, 0x09, 0x08, 0x04, 0x12, 0x05, 0x25, 0x00, 0x00, 0x72, 0x42, // VehicleSpeed = float 60.5
        0x0a, 0x08, 0x12, 0x04, 0x48, 0x02, 0x48, 0x05, 0x08,
        0x0a, // the value before the key, and set twice
        0x12, 0x06, 0x08, 0xc0, 0xd4, 0x90, 0xcd, 0x06, // created_at
    ];
    let vitals = Vitals::parse(&bytes).expect("whole");
    assert_eq!(vitals.created_at, Some(NOON));
    let data: Vec<Datum<'_>> = vitals.data().collect();
    assert_eq!(data[0], Datum { field: 4, value: Value::Float(60.5) });
    assert_eq!(
        data[1],
        Datum { field: 10, value: Value::Enumeration { kind: 9, number: 5 } },
        "the last holds"
    );
    assert_eq!(data.len(), 2);
    let mut again = Vec::new();
    encode_vitals(data, Some(NOON), "", false, &mut again);
    assert_eq!(again[..11], bytes[..11]);
    assert_eq!(again[again.len() - 8..], bytes[bytes.len() - 8..]);
}

#[test]
fn every_type_of_value_comes_back() {
    let mut values = vec![
        Value::Absent,
        Value::Invalid,
        Value::Text("<invalid>"),
        Value::Text(""),
        Value::Int(i32::MIN),
        Value::Long(i64::MIN),
        Value::Float(-0.1),
        Value::Double(1e300),
        Value::Boolean(false),
        Value::Location { latitude: -33.9, longitude: 151.2 },
        Value::Doors(0b11_1111),
        Value::Tires(0b11_1111_1111),
        Value::Time { hour: 0, minute: 59, second: -1 },
    ];
    let enumerations = (0..100).filter(|kind| enumeration_name(*kind).is_some());
    values.extend(enumerations.map(|kind| Value::Enumeration { kind, number: 3 }));
    assert_eq!(values.len(), 53 + 2, "53 kinds, and a second text, and none");
    let data: Vec<Datum<'_>> = (0..).zip(values).map(|(field, value)| Datum { field, value }).collect();
    let mut payload = Vec::new();
    encode_vitals(data.iter().copied(), None, "", true, &mut payload);
    let vitals = Vitals::parse(&payload).expect("whole");
    assert!(vitals.is_resend);
    assert_eq!(vitals.data().collect::<Vec<_>>(), data);
}

#[test]
fn what_this_version_does_not_know_is_skipped_where_it_stands() {
    // Unknown fields of every wire type, in the payload, the datum, the value.
    let unknown = [
        0x98, 0x06, 0x01, 0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0x9a, 0x06, 0x01, 0x00, 0x9d, 0x06, 1, 2, 3, 4,
    ];
    let value = [&unknown[..], &[0x10, 0x07]].concat();
    let mut datum = [&unknown[..], &[0x08, 0x08, 0x12, value.len() as u8], &value].concat();
    datum.extend(unknown);
    let payload = [&unknown[..], &[0x0a, datum.len() as u8], &datum, &unknown].concat();
    let vitals = Vitals::parse(&payload).expect("whole");
    assert_eq!(vitals.data().collect::<Vec<_>>(), [Datum { field: 8, value: Value::Int(7) }]);
    let only_unknown = [0x0a, 0x07, 0x08, 0x08, 0x12, 0x03, 0x98, 0x06, 0x01];
    let vitals = Vitals::parse(&only_unknown).expect("whole");
    assert_eq!(vitals.data().next(), Some(Datum { field: 8, value: Value::Unknown { kind: 99 } }));
}

#[test]
fn wrong_wire_types_groups_numbers_and_texts_are_malformed() {
    let cases: [(Topic, &[u8]); 13] = [
        (Topic::Vitals, &[0x08, 0x01]),             // data as a number
        (Topic::Vitals, &[0x12, 0x02, 0x0a, 0x00]), // seconds as bytes
        (Topic::Vitals, &[0x1a, 0x01, 0xff]),       // a VIN that is no text
        (Topic::Vitals, &[0x22, 0x00]),             // is_resend as bytes
        (Topic::Vitals, &[0x0b, 0x0c]),             // a group
        (Topic::Vitals, &[0x00, 0x01]),             // field 0
        (Topic::Vitals, &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), // 11 bytes
        (Topic::Vitals, &[0xf8, 0xff, 0xff, 0xff, 0x7f, 0x00]), // a number beyond 2^29
        (Topic::Alerts, &[0x0a, 0x02, 0x15, 0x00]),             // audiences as a cut fixed number
        (Topic::Errors, &[0x0a, 0x04, 0x1a, 0x02, 0x08, 0x01]), // a tag's key as a number
        (Topic::Metrics, &[0x0a, 0x02, 0x18, 0x01]),            // a value as a varint
        (Topic::Connectivity, &[0x1a, 0x01, b'x']),             // a status as text
        (Topic::Connectivity, &[0x12, 0x02, 0xc3, 0x28]),       // an id that is no text
    ];
    for (topic, bytes) in cases {
        let error = validate(topic, bytes).expect_err("malformed");
        assert_eq!(error.what, "payload");
        assert!(error.offset < bytes.len());
    }
}

#[test]
fn audiences_come_packed_or_one_by_one() {
    let payload = [
        &[0x0a, 0x07, 0x0a, 0x01, b'a', 0x12, 0x02, 0x01, 0x02][..],
        &[0x0a, 0x07, 0x0a, 0x01, b'b', 0x10, 0x03, 0x10, 0x63],
    ]
    .concat();
    let alerts = Alerts::parse(&payload).expect("whole");
    let audiences: Vec<Vec<Audience>> = alerts.iter().map(|alert| alert.audiences().collect()).collect();
    assert_eq!(audiences[0], [Audience::Customer, Audience::Service]);
    assert_eq!(audiences[1], [Audience::Unknown, Audience::ServiceFix]);
}

#[test]
fn milliseconds_in_the_seconds_are_put_right_and_impossible_times_left_out() {
    let time = |seconds: i64| {
        let mut stamp = vec![0x08];
        let mut rest = seconds as u64;
        while rest >= 0x80 {
            stamp.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        stamp.push(rest as u8);
        let payload = [&[0x12, stamp.len() as u8], &stamp[..]].concat();
        Vitals::parse(&payload).expect("whole").created_at
    };
    assert_eq!(time(1_772_366_400), Some(NOON));
    assert_eq!(time(1_772_366_400_000), Some(NOON));
    for impossible in [0, -1, i64::MIN, i64::MAX, 315_575_999_999, 253_402_300_800_000] {
        assert_eq!(time(impossible), None, "{impossible}");
    }
}

#[test]
fn tags_come_back_in_their_order() {
    let mut payload = Vec::new();
    super::encode_errors("e", &[("b", "1"), ("a", "")], &"x".repeat(300), NOON, "", &mut payload);
    let errors = Errors::parse(&payload).expect("whole");
    let error = errors.iter().next().expect("one");
    assert_eq!(error.tags.iter().collect::<Vec<_>>(), [("b", "1"), ("a", "")]);
    assert_eq!((error.name, error.body.len(), error.created_at), ("e", 300, Some(NOON)));
    let mut payload = Vec::new();
    super::encode_metrics(&[("m", &[("k", "v")], -1.5)], None, "", &mut payload);
    let metric = Metrics::parse(&payload).expect("whole").iter().next().expect("one");
    assert_eq!((metric.name, metric.value), ("m", -1.5));
    assert_eq!(metric.tags.iter().collect::<Vec<_>>(), [("k", "v")]);
}
