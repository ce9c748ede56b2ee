//! Data units: the same bytes again, counts that lie, sentinels.

use super::super::{
    Alarms, Command, DriveMotor, Edition, Envelope, FaultCode, Flag, Item, Items, List, LoginPacks,
    PackVoltages, Realtime, Unit, WireTime, Words, encode, word,
};
use super::{ITEMS_2016, ITEMS_2025, TIME, frame_by_hand, header, one_of_each, unhex, unit_of};

#[test]
fn every_message_encodes_to_the_bytes_that_it_was_read_from() {
    for frame in one_of_each() {
        let envelope = Envelope::read(&frame).expect("a frame");
        let unit = envelope.plain_unit().expect("a data unit");
        let mut again = Vec::new();
        encode(&envelope.header, &unit, &mut again).expect("it fitted before");
        assert_eq!(again, frame);
    }
}

#[test]
fn every_message_cut_short_anywhere_is_malformed_or_another_whole_message_never_a_panic() {
    for frame in one_of_each() {
        for length in 0..frame.len() {
            assert!(Envelope::read(&frame[..length]).is_err());
        }
        let envelope = Envelope::read(&frame).expect("a frame");
        let header = envelope.header;
        let is_open_ended = !matches!(
            header.command,
            Command::LOGIN
                | Command::LOGOUT
                | Command::PLATFORM_LOGIN
                | Command::ACTIVATION
                | Command::KEY_EXCHANGE
        );
        for length in 0..envelope.unit.len() {
            match Unit::read(header.edition, header.command, header.flag, &envelope.unit[..length]) {
                Ok(_) => assert!(is_open_ended, "{header:?} cut to {length}"),
                Err(error) => assert!(error.offset <= length),
            }
        }
    }
}

#[test]
fn items_cut_short_inside_one_are_malformed() {
    for (edition, items) in [(Edition::V2016, ITEMS_2016), (Edition::V2025, ITEMS_2025)] {
        let unit = unit_of(items);
        let read = |bytes| Unit::read(edition, Command::REALTIME, Flag::COMMAND, bytes);
        let Ok(Unit::Realtime(realtime)) = read(&unit) else { panic!("realtime data") };
        let mut boundaries = vec![6];
        for item in &realtime.items {
            let mut bytes = Vec::new();
            super::super::Element::write(&item, edition, &mut bytes).expect("it fitted before");
            boundaries.push(boundaries.last().expect("one") + bytes.len());
        }
        assert_eq!(boundaries.last(), Some(&unit.len()));
        for length in 0..unit.len() {
            assert_eq!(
                read(&unit[..length]).is_ok(),
                boundaries.contains(&length),
                "{edition:?} cut to {length}"
            );
        }
    }
}

#[test]
fn lying_counts_are_malformed_where_they_lie() {
    let read = |edition, unit: &[u8]| Unit::read(edition, Command::REALTIME, Flag::COMMAND, unit).map(drop);
    // 253 motors, and none is there.
    assert_eq!(read(Edition::V2016, &unit_of("02 fd")).expect_err("a lie").offset, 8);
    // A pack with 0xFFFD cells.
    assert_eq!(read(Edition::V2025, &unit_of("07 01 01 1be2 7546 fffd 0f75")).expect_err("a lie").offset, 15);
    // A maker's item longer than the frame.
    assert_eq!(read(Edition::V2016, &unit_of("80 ffff 00")).expect_err("a lie").offset, 9);
    // A type that neither edition has; a signature that goes on.
    assert_eq!(read(Edition::V2016, &unit_of("00")).expect_err("no type").offset, 6);
    assert_eq!(read(Edition::V2016, &unit_of("ff 01 0000 0000")).expect_err("no type").offset, 6);
    assert_eq!(read(Edition::V2025, &unit_of("ff 01 0000 0000 00")).expect_err("too long").offset, 12);
}

#[test]
fn a_count_that_is_a_sentinel_has_no_list() {
    let unit =
        unit_of("02 ff 02 fe 07 00 00000000 ff fe 00 ff 08 01 01 0000 0000 0000 0001 ff 09 01 01 ffff");
    let Ok(Unit::Realtime(realtime)) = Unit::read(Edition::V2016, Command::REALTIME, Flag::COMMAND, &unit)
    else {
        panic!("realtime data")
    };
    let items: Vec<Item<'_>> = realtime.items.iter().collect();
    let [
        Item::DriveMotors(invalid),
        Item::DriveMotors(abnormal),
        Item::Alarms(alarms),
        Item::CellVoltages(packs),
        ..,
    ] = items.as_slice()
    else {
        panic!("other items: {items:?}")
    };
    assert_eq!((invalid.count(), invalid.len()), (0xff, 0));
    assert_eq!((abnormal.count(), abnormal.iter().count()), (0xfe, 0));
    assert_eq!((alarms.battery.count(), alarms.battery.len(), alarms.engine.count()), (0xff, 0, 0));
    let pack = packs.iter().next().expect("a pack");
    assert_eq!((pack.cells.declared(), pack.cells.as_slice().len()), (0xff, 0));
    let mut again = Vec::new();
    Unit::Realtime(realtime).write(Edition::V2016, &mut again).expect("it fitted before");
    assert_eq!(again, unit);
}

#[test]
fn items_that_the_caller_gives_are_what_comes_back() {
    let motor = DriveMotor {
        number: 1,
        state: 1,
        controller_temperature: 90,
        speed: 20_500,
        torque: 20_100,
        temperature: 80,
        controller_voltage: Some(3_800),
        controller_current: Some(10_100),
    };
    let cells: Vec<[u8; 2]> = (3_600..3_700).map(word).collect();
    let pack = PackVoltages {
        pack: 1,
        voltage: 3_600,
        current: 10_000,
        cells_total: Some(100),
        first_cell: Some(1),
        cells: Words::of(&cells),
    };
    let (motors, packs, codes) = ([motor], [pack], [FaultCode(7)]);
    let alarms = Alarms {
        level: 1,
        flags: 4,
        battery: List::of(&codes).expect("short"),
        motor: List::of(&[]).expect("short"),
        engine: List::absent(0xff),
        other: List::of(&[]).expect("short"),
        levels: None,
    };
    let items = [
        Item::DriveMotors(List::of(&motors).expect("short")),
        Item::CellVoltages(List::of(&packs).expect("short")),
        Item::Alarms(alarms),
    ];
    let realtime =
        Realtime { time: WireTime(TIME), items: Items::Given(&items), signature: None, signed: &[] };
    for edition in [Edition::V2016, Edition::V2025] {
        let mut frame = Vec::new();
        let header = header(edition, Command::REALTIME);
        encode(&header, &Unit::Realtime(realtime), &mut frame).expect("short");
        let Ok(Unit::Realtime(read)) = Envelope::read(&frame).expect("a frame").plain_unit() else {
            panic!("realtime data")
        };
        let read: Vec<Item<'_>> = read.items.iter().collect();
        let [Item::DriveMotors(motors), Item::CellVoltages(packs), Item::Alarms(alarms)] = read.as_slice()
        else {
            panic!("other items: {read:?}")
        };
        let read_motor = motors.iter().next().expect("a motor");
        match edition {
            Edition::V2016 => assert_eq!(read_motor, motor),
            Edition::V2025 => assert_eq!((read_motor.torque, read_motor.controller_voltage), (20_100, None)),
        }
        assert_eq!(packs.iter().next().expect("a pack").cells.as_slice(), cells);
        assert_eq!(alarms.battery.iter().collect::<Vec<_>>(), codes);
        assert_eq!(alarms.engine.count(), 0xff);
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let codes = vec![FaultCode(0); 254];
    assert!(List::of(&codes).is_err());
    assert!(List::of(&codes[..253]).is_ok());
    let bytes = vec![0; 65_526];
    let mut out = b"before".to_vec();
    let header = header(Edition::V2016, Command(0xc0));
    assert!(encode(&header, &Unit::Opaque(&[0; 65_532]), &mut out).is_err());
    assert_eq!(out, b"before");
    let items = [Item::Custom { kind: 0x80, bytes: &bytes }];
    let realtime =
        Realtime { time: WireTime(TIME), items: Items::Given(&items), signature: None, signed: &[] };
    assert!(encode(&header, &Unit::Realtime(realtime), &mut out).is_err());
}

#[test]
fn logins_tell_their_packs() {
    let frames = one_of_each();
    let login = |frame: &[u8]| -> (Vec<Vec<u8>>, bool) {
        match Envelope::read(frame).expect("a frame").plain_unit().expect("a data unit") {
            Unit::Login(login) => {
                assert_eq!(login.iccid, *b"89860000000000000001");
                let codes = login.codes().map(<[u8]>::to_vec).collect();
                (codes, matches!(login.packs, LoginPacks::V2016 { .. }))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(login(&frames[0]), (vec![b"ABC".to_vec(), b"DEF".to_vec()], true));
    assert_eq!(login(&frames[1]), (vec![], true));
    assert_eq!(login(&frames[2]), (vec![vec![b'A'; 24]], false));
}

#[test]
fn a_platform_name_in_gb_18030_keeps_its_bytes() {
    let name = unhex("cdfe baa3 b9e3 cca9 bfd5 b8db");
    let unit = [&TIME[..], &[0, 1], &name, b"secret", &[0; 14], &[1]].concat();
    let frame = frame_by_hand(b"##", 5, &unit);
    let Ok(Unit::PlatformLogin(login)) = Envelope::read(&frame).expect("a frame").plain_unit() else {
        panic!("a platform login")
    };
    assert_eq!(login.user(), name);
    assert_eq!(login.password(), b"secret");
    assert!(!format!("{login:?}").contains("secret"));
}

#[test]
fn an_unknown_item_of_2025_ends_where_a_signature_begins() {
    let signature = "ff 01 0002 0102 0002 0304";
    let unit = unit_of(&format!("04 0bb8 33 01ff020304 {signature}"));
    let Ok(Unit::Realtime(realtime)) = Unit::read(Edition::V2025, Command::REALTIME, Flag::COMMAND, &unit)
    else {
        panic!("realtime data")
    };
    let last = realtime.items.iter().last().expect("items");
    assert!(matches!(last, Item::Unknown { kind: 0x33, bytes: [1, 0xff, 2, 3, 4] }), "{last:?}");
    let block = realtime.signature.expect("a signature");
    assert_eq!((block.algorithm.0, block.r, block.s), (1, &[1, 2][..], &[3, 4][..]));
    assert_eq!(realtime.signed.len(), unit.len() - unhex(signature).len());
}

#[test]
fn times_are_of_china_and_impossible_ones_are_none() {
    assert_eq!(WireTime(TIME).utc(), Some(super::time()));
    assert_eq!(WireTime::from_utc(super::time()), WireTime(TIME));
    // The first hours of a day in China belong to the day before in UTC.
    let night = WireTime([24, 3, 1, 7, 59, 59]).utc().expect("a date");
    assert_eq!(night.to_string(), "2024-02-29T23:59:59Z");
    for impossible in [[25, 2, 29, 0, 0, 0], [25, 13, 1, 0, 0, 0], [25, 1, 1, 24, 0, 0], [0; 6], [255; 6]] {
        assert_eq!(WireTime(impossible).utc(), None);
    }
}
