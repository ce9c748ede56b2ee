//! Encrypted data units.

use super::super::{
    Cipher, Command, Context, CoordinateSystem, Edition, Encryption, Envelope, Flag, Header, Item, Items,
    Keys, Mode, Padding, Realtime, Scratch, Undecipherable, Unit, Unreadable, WireTime, decode, encode,
    encode_sealed, open, seal,
};
use super::{Remembering, TIME, VIN, header, time, unhex};

fn ciphers() -> Vec<Cipher> {
    let modes = [Mode::Ecb, Mode::Cbc { iv: [3; 16] }];
    let paddings = [Padding::Pkcs7, Padding::Zero, Padding::None];
    let with = |mode| paddings.map(|padding| Cipher { key: *b"0123456789abcdef", mode, padding });
    modes.into_iter().flat_map(with).collect()
}

/// Realtime data of exactly this many bytes that end in zero bytes: 6 of time, 3 of a maker's item, its
/// content.
fn realtime_frame(cipher: &Cipher, length: usize) -> (Vec<u8>, Vec<u8>) {
    let content = vec![0; length - 9];
    let items = [Item::Custom { kind: 0x88, bytes: &content }];
    let realtime =
        Realtime { time: WireTime(TIME), items: Items::Given(&items), signature: None, signed: &[] };
    let unit = Unit::Realtime(realtime);
    let (mut frame, mut plain) = (Vec::new(), Vec::new());
    encode_sealed(&header(Edition::V2016, Command::REALTIME), &unit, cipher, &mut frame).expect("short");
    unit.write(Edition::V2016, &mut plain).expect("short");
    (frame, plain)
}

#[test]
fn every_mode_and_padding_opens_what_it_closed() {
    for cipher in ciphers() {
        let mut keys = Keys::none();
        keys.insert_vehicle(VIN, cipher);
        for length in 16..=64 {
            if cipher.padding == Padding::None && length % 16 != 0 {
                assert!(seal(&cipher, &vec![0; length]).is_err());
                continue;
            }
            let (frame, plain) = realtime_frame(&cipher, length);
            let envelope = Envelope::read(&frame).expect("a frame");
            assert_eq!(envelope.header.encryption, Encryption::AES128);
            assert_ne!(envelope.unit, plain);
            let mut buffer = Vec::new();
            let opened = open(&envelope.header, envelope.unit, &keys, &mut buffer).expect("the right key");
            assert_eq!(opened, plain, "{cipher:?} {length}");
        }
    }
}

#[test]
fn aes_128_ecb_is_that_of_the_standard() {
    // FIPS 197, appendix C.1.
    let key: [u8; 16] = unhex("000102030405060708090a0b0c0d0e0f").try_into().expect("16 bytes");
    let plain = unhex("00112233445566778899aabbccddeeff");
    let sealed = seal(&Cipher { key, mode: Mode::Ecb, padding: Padding::None }, &plain).expect("one block");
    assert_eq!(sealed, unhex("69c4e0d86a7b0430d8cdb78070b4c55a"));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let cipher = ciphers()[0];
    let (frame, _) = realtime_frame(&cipher, 40);
    let envelope = Envelope::read(&frame).expect("a frame");
    let mut buffer = Vec::new();
    let mut opened = |header: &Header, keys: &Keys| open(header, envelope.unit, keys, &mut buffer).map(drop);
    assert_eq!(opened(&envelope.header, &Keys::none()), Err(Undecipherable::NoKey));
    let mut wrong = Keys::none();
    wrong.insert_platform(Cipher { key: [1; 16], ..cipher });
    assert_eq!(opened(&envelope.header, &wrong), Err(Undecipherable::WrongKey));
    wrong.insert_platform(cipher);
    assert_eq!(opened(&envelope.header, &wrong), Ok(()));
    // A vehicle's own key goes before its platform's.
    wrong.insert_vehicle(VIN, Cipher { key: [2; 16], ..cipher });
    assert_eq!(opened(&envelope.header, &wrong), Err(Undecipherable::WrongKey));
    for kind in [2, 4, 5, 0, 0xfe, 0xff] {
        let header = Header { encryption: Encryption(kind), ..envelope.header };
        assert_eq!(opened(&header, &wrong), Err(Undecipherable::Kind(kind)));
    }
}

#[test]
fn a_sealed_frame_decodes_with_its_key_and_not_without() {
    let cipher = ciphers()[3];
    let (frame, _) = realtime_frame(&cipher, 50);
    let mut keys = Keys::none();
    let decoded = |keys: &Keys| {
        let context = Context { received_at: time(), position_2016: CoordinateSystem::Wgs84, keys };
        let mut sink = Remembering::default();
        decode(&frame, &context, &mut Scratch::default(), &mut sink).map(|()| sink.events)
    };
    assert_eq!(decoded(&keys), Err(Unreadable::Undecipherable(Undecipherable::NoKey)));
    keys.insert_platform(cipher);
    assert_eq!(decoded(&keys).expect("the right key")[0].1, "0x88");
    assert!(!format!("{keys:?} {cipher:?}").contains("48"), "a key is shown");
}

#[test]
fn an_empty_unit_needs_no_key() {
    let header = Header { encryption: Encryption::AES128, ..header(Edition::V2016, Command::HEARTBEAT) };
    let mut frame = Vec::new();
    encode(&header, &Unit::Empty, &mut frame).expect("short");
    let mut buffer = Vec::new();
    assert_eq!(open(&header, &[], &Keys::none(), &mut buffer), Ok(&[][..]));
    assert_eq!(header.flag, Flag::COMMAND);
}
