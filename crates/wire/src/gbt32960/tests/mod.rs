//! Tests by topic; here what they share: frames built by hand and a sink that remembers.

mod codec;
mod framing;
mod hostile;
mod readings;
mod sealed;
mod sessions;
mod signed;

use model::{Event, Position, Quality, Reading, ReadingSink, UtcMicros};

use super::{Command, Context, CoordinateSystem, Edition, Encryption, Flag, Header, Keys, Scratch, xor};
use crate::catalogue;

/// A VIN of the tests' own.
pub(super) const VIN: [u8; 17] = *b"LDMCTEST000000001";
/// 2025-10-28 14:45:47 in China, as it stands in a frame.
pub(super) const TIME: [u8; 6] = [25, 10, 28, 14, 45, 47];

/// The same instant in UTC.
pub(super) fn time() -> UtcMicros {
    UtcMicros::from_civil(2025, 10, 28, 6, 45, 47).expect("a date")
}

pub(super) fn header(edition: Edition, command: Command) -> Header {
    Header { edition, command, flag: Flag::COMMAND, vin: VIN, encryption: Encryption::NONE }
}

/// A frame put together byte by byte, without the code under test.
pub(super) fn frame_by_hand(start: &[u8; 2], command: u8, unit: &[u8]) -> Vec<u8> {
    let mut frame = start.to_vec();
    frame.extend_from_slice(&[command, 0xfe]);
    frame.extend_from_slice(&VIN);
    frame.push(1);
    frame.extend_from_slice(&u16::try_from(unit.len()).expect("short").to_be_bytes());
    frame.extend_from_slice(unit);
    let check = frame[2..].iter().fold(0, |sum, byte| sum ^ byte);
    assert_eq!(check, xor(&frame[2..]));
    frame.push(check);
    frame
}

/// Bytes of a hexadecimal text; spaces and line ends are passed over.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("hexadecimal") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Items behind the tests' time.
pub(super) fn unit_of(items: &str) -> Vec<u8> {
    [TIME.to_vec(), unhex(items)].concat()
}

/// Every item of 2016 with values that can be checked by eye.
pub(super) const ITEMS_2016: &str = "
    01 01 03 01 0064 0000 1388 0f28 2781 32 01 2e 2000 14 65
    02 01 01 02 5a 5014 4e84 4b 0f28 2774
    03 0bb8 0064 0096 0002 46 ff 02bc 03 0032 04 015e 05 01
    04 01 0bb8 02bc
    05 00 06f7c0c8 01df5d65
    06 01 09 0e1b 01 37 0e14 01 01 45 01 04 44
    07 02 00040001 01 00080002 00 ff fe
    08 01 01 0f28 2781 0003 0001 03 0e18 fffe ffff
    09 01 01 0003 45 fe ff
    80 0003 010203
";

/// Every item of 2025.
pub(super) const ITEMS_2025: &str = "
    01 01 03 01 0064 00001388 1be2 7546 4b 01 8f 1999
    02 02 01 03 47 7d64 00030d4a 4a 02 03 49 7d00 fffffffe 45
    03 006e 03 0032 04 015e 05 01 32 5a
    04 0bb8
    05 06 02 06f7c0c8 01df5d65
    06 01 00800000 00 00 00 01 00090025 02 17 03 1b 01
    07 01 01 1be2 7546 0002 0f75 ffff
    08 01 01 0002 46 fe
    30 01 01 0bb8 0064 07d0 0802 55 0001 5a
    31 01 0bb8 7594 0002 0a8c 0a8d 0001 41
    32 01 0002 0a8d 01 0001 0a8c 01 0001 41 01 0002 40
    82 0002 aabb
";

/// A reading's path, value, text, quality and time.
type Seen = (String, Option<f64>, Option<String>, Quality, UtcMicros);

/// What a sink was given, as text, in order.
#[derive(Debug, Default)]
pub(super) struct Remembering {
    pub(super) readings: Vec<Seen>,
    pub(super) positions: Vec<Position>,
    pub(super) events: Vec<(String, String, Option<i32>, Option<String>)>,
}

impl ReadingSink for Remembering {
    fn reading(&mut self, reading: Reading<'_>) {
        let path = catalogue::info(reading.signal).path.to_owned();
        let text = reading.text.map(str::to_owned);
        self.readings.push((path, reading.value, text, reading.quality, reading.time));
    }

    fn position(&mut self, position: Position) {
        self.positions.push(position);
    }

    fn event(&mut self, event: Event<'_>) {
        let detail = event.detail.map(str::to_owned);
        self.events.push((event.kind.to_owned(), event.code.to_owned(), event.level, detail));
    }
}

impl Remembering {
    /// The one reading of the GB/T name.
    pub(super) fn of(&self, name: &str) -> (Option<f64>, Option<&str>, Quality) {
        let path = catalogue::info(catalogue::gbt(name).expect("a name").signal).path;
        let mut found = self.readings.iter().filter(|reading| reading.0 == path);
        let (_, value, text, quality, _) = found.next().unwrap_or_else(|| panic!("no reading of {name}"));
        assert!(found.next().is_none(), "{name} stands twice");
        (*value, text.as_deref(), *quality)
    }

    pub(super) fn codes(&self, kind: &str) -> Vec<&str> {
        self.events.iter().filter(|event| event.0 == kind).map(|event| event.1.as_str()).collect()
    }
}

pub(super) fn decode_at(
    frame: &[u8],
    received_at: UtcMicros,
    position_2016: CoordinateSystem,
) -> Remembering {
    let mut sink = Remembering::default();
    let keys = Keys::none();
    let context = Context { received_at, position_2016, keys: &keys };
    super::decode(frame, &context, &mut Scratch::default(), &mut sink).expect("readable");
    sink
}

/// Numbers without order from a seed (SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One frame of each command and edition, with every item.
pub(super) fn one_of_each() -> Vec<Vec<u8>> {
    let time = TIME.to_vec();
    let iccid = b"89860000000000000001";
    let signature = unhex("ff 01 0002 0102 0002 0304");
    let both = |command: u8, unit: Vec<u8>| {
        [frame_by_hand(b"##", command, &unit), frame_by_hand(b"$$", command, &unit)]
    };
    let mut frames = vec![
        frame_by_hand(b"##", 1, &[&time, &unhex("0001")[..], iccid, &unhex("02 03 414243 444546")].concat()),
        frame_by_hand(b"##", 1, &[&time, &unhex("0001")[..], iccid, &unhex("ff 03")].concat()),
        frame_by_hand(
            b"$$",
            1,
            &[&time, &unhex("0001")[..], iccid, &unhex("02 01 fe"), &[b'A'; 24]].concat(),
        ),
        frame_by_hand(b"##", 2, &unit_of(ITEMS_2016)),
        frame_by_hand(b"$$", 2, &[unit_of(ITEMS_2025), signature.clone()].concat()),
        frame_by_hand(b"$$", 3, &unit_of(ITEMS_2025)),
        frame_by_hand(b"##", 3, &unit_of("0a 01020304")),
        frame_by_hand(b"$$", 3, &[unit_of("33 01ff020304"), signature].concat()),
        frame_by_hand(
            b"$$",
            9,
            &[&time[..], &[b'C'; 16], &unhex("0003 040506"), &VIN, &unhex("03 0001 01 0001 02")].concat(),
        ),
        frame_by_hand(b"$$", 0x0a, &unhex("0203")),
        frame_by_hand(b"$$", 0x0b, &[&unhex("03 0010")[..], &[7; 16], &time, &time].concat()),
    ];
    frames.extend(both(4, [time.clone(), unhex("0001")].concat()));
    frames.extend(both(5, [&time[..], &unhex("0001"), b"platform-one", &[b'p'; 20], &[1]].concat()));
    frames.extend(both(6, [time.clone(), unhex("0001")].concat()));
    frames.extend(both(7, Vec::new()));
    frames.extend(both(8, Vec::new()));
    for command in [0x80, 0x81, 0x82] {
        frames.extend(both(command, [time.clone(), unhex("02 01 02")].concat()));
    }
    frames.extend(both(0xc0, unhex("0102030405")));
    frames
}
