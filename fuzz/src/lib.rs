//! What each fuzz target does with its bytes: it drives a decoder as a listener does. A panic, an endless loop or unbounded memory
//! is a finding. The repository's own tests run these functions over the corpus.

use model::{Event, Position, Protocol, Reading, ReadingSink, UtcMicros};
use wire::gbt32960::{self, Action, CoordinateSystem, Cut, Data, Flag, Keys, Session, Unit};
use wire::tesla::payload::{Topic, validate};
use wire::tesla::{self, Envelope, Stream};
use wire::websocket::{Item, Receiver, Role, read_request};

/// Small, so that the path of a message that is too large is met.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// When every frame is received: 2026-01-01.
const NOW: UtcMicros = UtcMicros::from_seconds(1_767_225_600);

/// Takes everything and keeps nothing; a number that no table could take is a finding.
struct Nowhere;

impl ReadingSink for Nowhere {
    fn reading(&mut self, reading: Reading<'_>) {
        assert!(reading.value.is_none_or(f64::is_finite), "a reading that is no number");
    }

    fn position(&mut self, position: Position) {
        assert!(position.latitude.is_none_or(|degrees| degrees.abs() <= 90.0), "a latitude off the earth");
        assert!(position.longitude.is_none_or(|degrees| degrees.abs() <= 180.0), "a longitude off the earth");
    }

    fn event(&mut self, event: Event<'_>) {
        assert!(!event.kind.is_empty(), "an event without a kind");
    }
}

fn context() -> wire::Context {
    wire::Context::new(Keys::none(), CoordinateSystem::Gcj02)
}

/// WebSocket: a request head, then frames, on the server's side.
pub fn websocket(data: &[u8]) {
    let _ = read_request(data);
    let mut buffer = data.to_vec();
    let mut receiver = Receiver::new(Role::Server, MESSAGE_BYTES_MAX);
    let mut position = 0;
    while let Ok(step) = receiver.next(&mut buffer[position..]) {
        if matches!(step.item, Item::Incomplete { .. }) || step.consumed == 0 {
            break;
        }
        if let Item::Message(message) = step.item {
            assert!(message.len() <= MESSAGE_BYTES_MAX, "a message beyond the limit");
        }
        position += step.consumed;
    }
}

/// Tesla: an envelope, verified, described and decoded.
pub fn tesla_envelope(data: &[u8]) {
    let _ = Envelope::parse(data);
    let _ = tesla::describe(data);
    let _ = wire::decode(Protocol::Tesla, data, NOW, &mut context(), &mut Nowhere);
}

/// Tesla: a payload under each topic. What the session admits must decode.
pub fn tesla_payload(data: &[u8]) {
    for topic in Topic::ALL {
        let stream = Stream { payload: data, ..Stream::default() };
        let mut envelope = Vec::new();
        tesla::encode_stream(b"t", topic.as_str().as_bytes(), b"", &stream, &mut envelope);
        let decoded = wire::decode(Protocol::Tesla, &envelope, NOW, &mut context(), &mut Nowhere);
        assert_eq!(
            validate(topic, data).is_ok(),
            decoded.is_ok(),
            "admitted and not decoded, or the other way round"
        );
        assert_eq!(tesla::describe(&envelope).is_ok(), decoded.is_ok(), "decoded and not described");
    }
}

/// GB/T 32960: frames out of a stream.
pub fn gbt32960_stream(data: &[u8]) {
    frames(data, |_| {});
}

/// GB/T 32960: one frame, read, described, decoded, and written again as the same bytes.
pub fn gbt32960_frame(data: &[u8]) {
    let _ = gbt32960::describe(data, &Keys::none());
    let _ = wire::decode(Protocol::Gbt32960, data, NOW, &mut context(), &mut Nowhere);
    let Ok(envelope) = gbt32960::Envelope::read(data) else { return };
    let Ok(unit) = envelope.plain_unit() else { return };
    // A unit that isn't understood is bytes, and these are written as they came.
    if !matches!(unit, Unit::Opaque(_)) {
        let mut written = Vec::new();
        gbt32960::encode(&envelope.header, &unit, &mut written)
            .expect("what was read fits the standard's lengths");
        assert_eq!(
            written[..written.len() - 1],
            data[..data.len() - 1],
            "read and written again is another frame"
        );
    }
}

/// GB/T 32960: a whole connection that lets everybody in.
pub fn gbt32960_session(data: &[u8]) {
    let mut session = Session::new();
    let mut plain = Vec::new();
    frames(data, |frame| {
        let Ok(received) = session.receive(frame, &Keys::none(), &mut plain) else { return };
        let ticket = received.ticket;
        match received.action {
            Action::Login { vin, .. } | Action::Admit(Data { vin, .. }) => {
                let vin = *vin;
                session.accept_vehicle(&vin, ());
            }
            Action::PlatformLogin(_) => session.accept_platform(),
            _ => {}
        }
        let mut answer = Vec::new();
        ticket.answer(Flag::SUCCESS, NOW, &mut answer);
        assert!(gbt32960::Envelope::read(&answer).is_ok(), "an answer that is no frame");
    });
}

fn frames(data: &[u8], mut take: impl FnMut(&[u8])) {
    let mut position = 0;
    loop {
        let rest = &data[position..];
        position += match gbt32960::cut(rest, gbt32960::FRAME_BYTES_MAX, &Keys::none()) {
            Cut::Frame { skipped, length, .. } => {
                take(&rest[skipped..skipped + length]);
                skipped + length
            }
            Cut::Refused { skipped, .. } => skipped,
            Cut::Wait { .. } => return,
        };
    }
}
