//! Bytes cut everywhere and bytes changed at random: refused or read, never a panic.

use proptest::prelude::*;

use super::super::certificate::{DeviceType, Identity};
use super::super::envelope::{encode_ack, encode_error};
use super::super::payload::{Topic, validate};
use super::super::{Action, Envelope, Outcome, Session, decode, describe};
use super::{Heard, NOON, VIN, message, one_of_each};

fn session() -> Session {
    Session::new(&Identity { device_type: DeviceType::VehicleDevice, device_id: VIN.to_owned() })
}

/// Reads bytes in every way that there is, and holds the promise between judging and decoding.
fn read_all(bytes: &[u8]) {
    let verdict = session().message(bytes);
    let mut answer = Vec::new();
    verdict.write_error(&mut answer);
    assert_eq!(answer.is_empty(), !matches!(verdict.action, Action::Reply { .. }));
    let decoded = decode(bytes, NOON, &mut Heard::default());
    if verdict.outcome == Outcome::Accepted {
        assert_eq!(decoded, Ok(()), "what was accepted can be decoded");
        describe(bytes).expect("and described");
    }
    if verdict.outcome == Outcome::MalformedEnvelope {
        assert!(decoded.is_err());
    }
}

#[test]
fn every_prefix_of_every_message_is_refused() {
    for (topic, payload) in one_of_each() {
        let whole = message(topic, &payload);
        read_all(&whole);
        for end in 0..whole.len() {
            assert!(Envelope::parse(&whole[..end]).is_err(), "{topic} cut at {end} of {}", whole.len());
            read_all(&whole[..end]);
        }
    }
    let (mut ack, mut error) = (Vec::new(), Vec::new());
    encode_ack(b"txid", b"V", &mut ack);
    encode_error(b"txid", &mut error);
    for end in 0..ack.len() {
        read_all(&ack[..end]);
    }
    for end in 0..error.len() {
        assert!(Envelope::parse(&error[..end]).is_err());
    }
}

/// A prefix of a protobuf message is whole exactly where a top-level field ends.
#[test]
fn every_prefix_of_every_payload_is_refused_unless_it_ends_with_a_field() {
    for (name, payload) in one_of_each() {
        let topic = Topic::from_bytes(name.as_bytes()).expect("a topic");
        let mut ends = vec![0];
        let mut position = 0;
        while position < payload.len() {
            // All top-level fields here are messages or texts, but `is_resend` and `status`: one byte of number.
            let (tag, length) = (payload[position], usize::from(payload[position + 1]));
            position += if tag & 7 == 2 {
                assert!(length < 0x80, "a length of one byte");
                2 + length
            } else {
                2
            };
            ends.push(position);
        }
        assert_eq!(position, payload.len());
        for end in 0..=payload.len() {
            let is_whole = validate(topic, &payload[..end]).is_ok();
            assert_eq!(is_whole, ends.contains(&end), "{name} cut at {end}");
        }
    }
}

/// SplitMix64, so that a failing round can be run again.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn changed_bytes_never_panic() {
    let messages: Vec<Vec<u8>> =
        one_of_each().into_iter().map(|(topic, payload)| message(topic, &payload)).collect();
    let mut state = 4;
    let mut accepted = 0;
    for round in 0..10_000 {
        let mut bytes = messages[round % messages.len()].clone();
        for _ in 0..=random(&mut state) % 4 {
            let position = random(&mut state) as usize % bytes.len();
            bytes[position] = match random(&mut state) % 4 {
                0 => 0,
                1 => 0xff,
                2 => bytes[position] ^ 1 << (random(&mut state) % 8),
                _ => random(&mut state) as u8,
            };
        }
        read_all(&bytes);
        accepted += u32::from(session().message(&bytes).outcome == Outcome::Accepted);
    }
    assert!(
        (1_000..9_000).contains(&accepted),
        "changes reach both what is refused and what is read: {accepted}"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        for topic in Topic::ALL {
            let _ = validate(topic, &bytes);
            read_all(&message(topic.as_str(), &bytes));
        }
    }
}
