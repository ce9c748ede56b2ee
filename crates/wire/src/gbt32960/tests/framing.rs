//! Cutting frames from a stream.

use super::super::cipher::{Cipher, Keys, Mode, Padding, encode_sealed};
use super::super::{
    Checksum, Command, Cut, CutRefusal, Edition, FRAME_BYTES_MAX, Item, Items, Realtime, Unit, WireTime, cut,
    xor,
};
use super::{ITEMS_2016, TIME, VIN, frame_by_hand, header, one_of_each, unit_of};

fn cut_plain(buffer: &[u8]) -> Cut {
    cut(buffer, FRAME_BYTES_MAX, &Keys::none())
}

fn whole(skipped: usize, length: usize) -> Cut {
    Cut::Frame { skipped, length, checksum: Checksum::AsSent }
}

/// Cuts as a server does and gives the frames and the count of bytes that were none.
fn cut_all(mut buffer: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut frames, mut garbage) = (Vec::new(), 0);
    loop {
        match cut_plain(buffer) {
            Cut::Frame { skipped, length, .. } => {
                garbage += skipped;
                frames.push(buffer[skipped..skipped + length].to_vec());
                buffer = &buffer[skipped + length..];
            }
            Cut::Refused { skipped, .. } => {
                garbage += skipped;
                buffer = &buffer[skipped..];
            }
            Cut::Wait { skipped, .. } => return (frames, garbage + skipped),
        }
    }
}

#[test]
fn a_frame_waits_until_its_last_byte_is_there() {
    for frame in one_of_each() {
        for length in 0..frame.len() {
            let wanted = (length >= 24).then_some(frame.len());
            assert_eq!(cut_plain(&frame[..length]), Cut::Wait { skipped: 0, wanted });
        }
        assert_eq!(cut_plain(&frame), whole(0, frame.len()));
    }
}

#[test]
fn frames_of_both_editions_follow_each_other_with_garbage_between() {
    let frames = one_of_each();
    let garbages: [&[u8]; 5] = [b"", b"\x00\x01garbage", b"#", b"$", b"##\x02\xfe"];
    let mut stream = Vec::new();
    let mut garbage_bytes = 0;
    for (index, frame) in frames.iter().enumerate() {
        let garbage = garbages[index % garbages.len()];
        stream.extend_from_slice(garbage);
        stream.extend_from_slice(frame);
        garbage_bytes += garbage.len();
    }
    assert_eq!(cut_all(&stream), (frames, garbage_bytes));
}

#[test]
fn a_stray_start_does_not_swallow_the_frame_behind_it() {
    let good = frame_by_hand(b"##", 7, &[]);
    // A header that promises four kilobytes and 17 printable characters, then the connection goes on with
    // good frames.
    let mut liar = frame_by_hand(b"##", 2, &unit_of(ITEMS_2016));
    liar[22..24].copy_from_slice(&200_u16.to_be_bytes());
    liar.truncate(40);
    let mut stream = liar.clone();
    (0..10).for_each(|_| stream.extend_from_slice(&good));
    let (frames, garbage) = cut_all(&stream);
    assert_eq!(frames, vec![good; 10]);
    assert_eq!(garbage, liar.len());
}

#[test]
fn a_wrong_check_code_and_a_length_beyond_the_limit_are_refused() {
    let mut frame = frame_by_hand(b"$$", 2, &unit_of("04 0bb8"));
    let last = frame.len() - 1;
    frame[last] ^= 1;
    assert_eq!(cut_plain(&frame), Cut::Refused { skipped: 2, why: CutRefusal::Checksum });
    let frame = frame_by_hand(b"$$", 2, &unit_of("04 0bb8"));
    let refused = Cut::Refused { skipped: 2, why: CutRefusal::TooLong };
    assert_eq!(cut(&frame, frame.len() - 1, &Keys::none()), refused);
    assert_eq!(cut(&frame, frame.len(), &Keys::none()), whole(0, frame.len()));
    let mut frame = frame;
    frame[22..24].copy_from_slice(&65_532_u16.to_be_bytes());
    assert_eq!(cut(&frame, usize::MAX, &Keys::none()), refused);
}

#[test]
fn garbage_alone_is_dropped_but_for_what_may_be_a_start() {
    assert_eq!(cut_plain(b""), Cut::Wait { skipped: 0, wanted: None });
    assert_eq!(cut_plain(b"garbage"), Cut::Wait { skipped: 7, wanted: None });
    assert_eq!(cut_plain(b"garbage#"), Cut::Wait { skipped: 7, wanted: None });
    assert_eq!(cut_plain(b"garbage#$"), Cut::Wait { skipped: 8, wanted: None });
}

#[test]
fn a_check_code_over_the_plain_data_unit_is_taken_and_told() {
    let cipher = Cipher { key: [9; 16], mode: Mode::Ecb, padding: Padding::Pkcs7 };
    let mut keys = Keys::none();
    keys.insert_vehicle(VIN, cipher);
    let items = [Item::Custom { kind: 0x90, bytes: b"abc" }];
    let realtime =
        Realtime { time: WireTime(TIME), items: Items::Given(&items), signature: None, signed: &[] };
    let (mut frame, mut plain) = (Vec::new(), Vec::new());
    let header = header(Edition::V2016, Command::REALTIME);
    encode_sealed(&header, &Unit::Realtime(realtime), &cipher, &mut frame).expect("short");
    Unit::Realtime(realtime).write(Edition::V2016, &mut plain).expect("short");
    assert_eq!(cut(&frame, FRAME_BYTES_MAX, &keys), whole(0, frame.len()));
    let last = frame.len() - 1;
    let expected = Cut::Frame { skipped: 0, length: frame.len(), checksum: Checksum::BeforeEncryption };
    for length in [frame.len() - 25, plain.len()] {
        let length_bytes = u16::try_from(length).expect("short").to_be_bytes();
        frame[last] = xor(&frame[2..22]) ^ xor(&length_bytes) ^ xor(&plain);
        assert_eq!(cut(&frame, FRAME_BYTES_MAX, &keys), expected);
        assert_eq!(cut_plain(&frame), Cut::Refused { skipped: 2, why: CutRefusal::Checksum });
    }
}
