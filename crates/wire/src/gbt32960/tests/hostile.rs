//! Bytes of any kind: nothing panics, nothing is read that is not there; and reading is fast.

use super::super::{
    Context, CoordinateSystem, Cut, Envelope, FRAME_BYTES_MAX, Item, Keys, Scratch, Session, Unit, cut,
    decode, describe, number, xor,
};
use super::{Numbers, Remembering, one_of_each, time};

/// Enough to meet each branch many times within a second of an unoptimised build.
const MUTATIONS: usize = 20_000;

fn take_everything(frame: &[u8], session: &mut Session<()>, scratch: &mut Scratch) {
    let keys = Keys::none();
    let context = Context { received_at: time(), position_2016: CoordinateSystem::Gcj02, keys: &keys };
    let mut sink = Remembering::default();
    let decoded = decode(frame, &context, scratch, &mut sink);
    assert_eq!(decoded.is_ok(), describe(frame, &keys).is_ok());
    for (_, value, text, _, _) in &sink.readings {
        assert!(value.is_none_or(f64::is_finite));
        assert!(text.as_deref().is_none_or(|text| {
            !text.starts_with('[') || serde_json::from_str::<serde_json::Value>(text).is_ok()
        }));
    }
    let _ = session.receive(frame, &keys, &mut Vec::new());
}

#[test]
fn mutated_frames_never_panic() {
    let frames = one_of_each();
    let mut numbers = Numbers(32_960);
    let mut session = Session::new();
    session.accept_platform();
    let mut scratch = Scratch::default();
    for _ in 0..MUTATIONS {
        let mut frame = frames[numbers.below(frames.len())].clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(frame.len());
            match numbers.below(5) {
                0 => frame[at] = numbers.next() as u8,
                1 => frame[at] = [0, 0xfd, 0xfe, 0xff][numbers.below(4)],
                2 => frame.truncate(at.max(1)),
                3 => frame.insert(at, numbers.next() as u8),
                _ => frame[at] ^= 1 << numbers.below(8),
            }
        }
        // Half of them with a length and a check code that fit, so that they come further.
        if numbers.below(2) == 0 && frame.len() > 25 {
            let unit = u16::try_from(frame.len() - 25).expect("short").to_be_bytes();
            frame[22..24].copy_from_slice(&unit);
            let last = frame.len() - 1;
            frame[last] = xor(&frame[2..last]);
        }
        take_everything(&frame, &mut session, &mut scratch);
        if let Cut::Frame { skipped, length, .. } = cut(&frame, FRAME_BYTES_MAX, &Keys::none()) {
            take_everything(&frame[skipped..skipped + length], &mut session, &mut scratch);
        }
    }
}

#[test]
fn cutting_random_bytes_always_goes_on() {
    let mut numbers = Numbers(1);
    for _ in 0..200 {
        let mut bytes: Vec<u8> = (0..4_000)
            .map(
                |_| if numbers.below(4) == 0 { [b'#', b'$'][numbers.below(2)] } else { numbers.next() as u8 },
            )
            .collect();
        // Printable garbage looks most like a header.
        if numbers.below(2) == 0 {
            bytes.iter_mut().for_each(|byte| *byte = *byte % 95 + 32);
        }
        let mut rest = bytes.as_slice();
        loop {
            match cut(rest, 1_000, &Keys::none()) {
                Cut::Frame { skipped, length, .. } => rest = &rest[skipped + length..],
                Cut::Refused { skipped, .. } => {
                    assert!(skipped >= 2);
                    rest = &rest[skipped..];
                }
                Cut::Wait { skipped, wanted } => {
                    assert!(skipped <= rest.len() && wanted.is_none_or(|wanted| wanted <= 1_000));
                    break;
                }
            }
        }
    }
}

#[test]
fn a_frame_of_five_hundred_bytes_is_read_and_walked_in_microseconds() {
    // A vehicle, a motor and 192 cells: 500 bytes, as production frames have them. An optimised build takes a
    // fraction of this limit, which leaves room for an unoptimised one on a busy machine; the best of many
    // rounds is what counts.
    let cells = "0f75".repeat(192);
    let items = format!(
        "01 01 03 01 0064 0000 1388 0f28 2781 32 01 2e 2000 14 65 02 01 01 02 5a 5014 4e84 4b 0f28 2774
         05 00 06f7c0c8 01df5d65 08 01 01 0f28 2781 00c0 0001 c0 {cells} 80 0019 {}",
        "00".repeat(25)
    );
    let frame = super::frame_by_hand(b"##", 2, &super::unit_of(&items));
    assert_eq!(frame.len(), 500);
    let walk = || {
        let envelope = Envelope::read(std::hint::black_box(&frame)).expect("a frame");
        let Ok(Unit::Realtime(realtime)) = envelope.plain_unit() else { panic!("realtime data") };
        let sum = |item: Item<'_>| match item {
            Item::CellVoltages(packs) => packs
                .iter()
                .map(|pack| pack.cells.as_slice().iter().map(|cell| u32::from(number(*cell))).sum::<u32>())
                .sum(),
            Item::Vehicle(vehicle) => u32::from(vehicle.speed),
            _ => 1,
        };
        std::hint::black_box(realtime.items.iter().map(sum).sum::<u32>());
    };
    #[expect(clippy::disallowed_methods, reason = "the time that reading takes is what is measured")]
    let now = std::time::Instant::now;
    let round = |_| {
        let start = now();
        (0..100).for_each(|_| walk());
        start.elapsed() / 100
    };
    let best = (0..100).map(round).min().expect("rounds");
    println!("a frame of {} bytes is read and walked in {best:?}", frame.len());
    assert!(best < std::time::Duration::from_micros(5), "{best:?}");
}
