//! What a connection's frames lead to.

use model::UtcMicros;

use super::super::{
    Action, ActivationResponse, Cipher, Command, DataKind, Edition, Encryption, Envelope,
    FORWARDED_VEHICLES_MAX, Flag, Header, Keys, Malformed, Mode, Padding, Received, Session, SignatureCheck,
    Ticket, Unit, Why, WireTime, encode, encode_downlink, encode_sealed,
};
use super::{TIME, VIN, frame_by_hand, header, one_of_each, time, unit_of};

fn now() -> UtcMicros {
    UtcMicros::from_civil(2025, 10, 28, 7, 0, 0).expect("a date")
}

/// What a session does with a frame, as text that tests can compare, and the answer at once where it gives
/// one.
fn receive(session: &mut Session<u32>, frame: &[u8]) -> (String, Ticket) {
    let mut plain = Vec::new();
    let received = session.receive(frame, &Keys::none(), &mut plain).expect("a frame");
    let name = match received.action {
        Action::Login { forwarded, .. } => format!("login forwarded={forwarded}"),
        Action::PlatformLogin(_) => "platform login".to_owned(),
        Action::Admit(data) => format!("admit {:?}", data.kind),
        Action::Store(data) => format!("store {:?}", data.kind),
        Action::PlatformLogout => "platform logout".to_owned(),
        Action::Activation(_) => "activation".to_owned(),
        Action::KeyExchange(_) => "key exchange".to_owned(),
        Action::Answer(flag, why) => format!("{} {}", flag.name().unwrap_or("?"), why.code()),
        Action::Acknowledged(_) => "acknowledged".to_owned(),
    };
    (name, received.ticket)
}

fn login() -> Vec<u8> {
    one_of_each().swap_remove(0)
}

fn realtime() -> Vec<u8> {
    frame_by_hand(b"##", 2, &unit_of("04 01 0bb8 ffff"))
}

fn of_other_vehicle(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let last = frame.len() - 1;
    frame[20] ^= 3;
    frame[last] ^= 3;
    frame
}

#[test]
fn a_vehicle_logs_in_sends_and_logs_out() {
    let mut session = Session::new();
    assert_eq!(receive(&mut session, &realtime()).0, "error not_logged_in");
    assert_eq!(receive(&mut session, &frame_by_hand(b"##", 4, &unit_of("0001"))).0, "error not_logged_in");
    assert_eq!(receive(&mut session, &login()).0, "login forwarded=false");
    assert_eq!(receive(&mut session, &realtime()).0, "error not_logged_in", "before the caller accepts");
    session.accept_vehicle(&VIN, 7);
    assert_eq!(session.admission(&VIN), Some(&mut 7));
    assert_eq!(receive(&mut session, &realtime()).0, "store Realtime");
    assert_eq!(receive(&mut session, &frame_by_hand(b"##", 3, &unit_of(""))).0, "store Supplementary");
    assert_eq!(receive(&mut session, &of_other_vehicle(&realtime())).0, "error other_vehicle");
    assert_eq!(receive(&mut session, &frame_by_hand(b"##", 4, &unit_of("0001"))).0, "store Logout");
    session.dismiss(&VIN);
    assert!(session.is_new());
    assert_eq!(receive(&mut session, &realtime()).0, "error not_logged_in");
}

#[test]
fn a_platform_logs_in_and_forwards_vehicles_one_by_one() {
    let platform_login =
        frame_by_hand(b"##", 5, &[&TIME[..], &[0, 1], b"platform-one", &[b'p'; 20], &[1]].concat());
    let platform_logout = frame_by_hand(b"##", 6, &unit_of("0001"));
    let mut session = Session::new();
    assert_eq!(receive(&mut session, &platform_logout).0, "error not_logged_in");
    assert_eq!(receive(&mut session, &platform_login).0, "platform login");
    session.accept_platform();
    assert_eq!(receive(&mut session, &realtime()).0, "admit Realtime");
    session.accept_vehicle(&VIN, 1);
    assert_eq!(receive(&mut session, &realtime()).0, "store Realtime");
    assert_eq!(receive(&mut session, &of_other_vehicle(&realtime())).0, "admit Realtime");
    assert_eq!(receive(&mut session, &login()).0, "login forwarded=true");
    session.dismiss(&VIN);
    assert_eq!(receive(&mut session, &realtime()).0, "admit Realtime");
    assert_eq!(receive(&mut session, &platform_logout).0, "platform logout");
    assert!(session.is_new());
    let mut vehicle = Session::new();
    vehicle.accept_vehicle(&VIN, 1);
    assert_eq!(receive(&mut vehicle, &platform_login).0, "error wrong_role");
}

#[test]
fn a_platform_with_many_vehicles_costs_bounded_memory() {
    let mut session = Session::new();
    session.accept_platform();
    let vin = |number: usize| {
        let mut vin = VIN;
        vin[10..].copy_from_slice(format!("{number:07}").as_bytes());
        vin
    };
    for number in 0..FORWARDED_VEHICLES_MAX + 100 {
        session.accept_vehicle(&vin(number), 0);
        session.accept_vehicle(&vin(number), number as u32);
    }
    assert_eq!(session.admitted(), FORWARDED_VEHICLES_MAX);
    assert!(session.admission(&vin(99)).is_none());
    assert_eq!(session.admission(&vin(100)), Some(&mut 100));
}

#[test]
fn every_answer_repeats_command_and_vin_and_carries_flag_and_time() {
    for frame in one_of_each() {
        let header = Envelope::read(&frame).expect("a frame").header;
        let (_, ticket) = receive(&mut Session::new(), &frame);
        for flag in 1..=7 {
            let mut out = Vec::new();
            ticket.answer(Flag(flag), now(), &mut out);
            let answer = Envelope::read(&out).expect("a frame");
            assert_eq!(answer.check, answer.check_computed);
            let expected_flag = if header.edition == Edition::V2016 && flag > 4 { 2 } else { flag };
            assert_eq!(answer.header, Header { flag: Flag(expected_flag), ..header });
            let at = WireTime::from_utc(now()).0;
            match header.command {
                Command::HEARTBEAT => assert!(answer.unit.is_empty()),
                Command::TIME_CALIBRATION => assert_eq!(answer.unit, at),
                _ => assert!(answer.unit == TIME || answer.unit == at, "{header:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_readable_gets_the_flag_of_its_edition() {
    let malformed = |start| frame_by_hand(start, 2, &unit_of("02 fd"));
    let answered = |frame: &[u8]| {
        let mut session: Session<u32> = Session::new();
        let mut plain = Vec::new();
        let received = session.receive(frame, &Keys::none(), &mut plain).expect("a frame");
        let Action::Answer(flag, why) = received.action else { panic!("no answer") };
        let mut out = Vec::new();
        received.ticket.answer(flag, now(), &mut out);
        (out[3], why.code())
    };
    assert_eq!(answered(&malformed(b"##")), (2, "malformed"));
    assert_eq!(answered(&malformed(b"$$")), (6, "malformed"));
    for (edition, flag) in [(Edition::V2016, 2), (Edition::V2025, 7)] {
        for kind in [2, 3, 4, 5, 0xfe, 0xff] {
            let header = Header { encryption: Encryption(kind), ..header(edition, Command::REALTIME) };
            let mut frame = Vec::new();
            encode(&header, &Unit::Opaque(&[1; 32]), &mut frame).expect("short");
            assert_eq!(answered(&frame), (flag, "undecipherable"), "{edition:?} {kind}");
        }
    }
    let fault = Malformed { what: "frame", rule: "rule", offset: 0 };
    assert_eq!(Why::Malformed(fault).code(), "malformed");
}

#[test]
fn an_encrypted_frame_is_opened_for_the_session() {
    let cipher = Cipher { key: [5; 16], mode: Mode::Ecb, padding: Padding::Pkcs7 };
    let mut keys = Keys::none();
    keys.insert_vehicle(VIN, cipher);
    let clear = realtime();
    let unit = Envelope::read(&clear).expect("a frame").plain_unit().expect("a data unit");
    let mut sealed = Vec::new();
    encode_sealed(&header(Edition::V2016, Command::REALTIME), &unit, &cipher, &mut sealed).expect("short");
    let mut session = Session::new();
    session.accept_vehicle(&VIN, 0);
    let mut plain = Vec::new();
    let Received { action, ticket } = session.receive(&sealed, &keys, &mut plain).expect("a frame");
    let Action::Store(data) = action else { panic!("{action:?}") };
    assert_eq!(
        (data.kind, data.time, data.verify(None)),
        (DataKind::Realtime, WireTime(TIME), SignatureCheck::Absent)
    );
    let mut out = Vec::new();
    ticket.answer(Flag::SUCCESS, now(), &mut out);
    assert_eq!(Envelope::read(&out).expect("a frame").header.encryption, Encryption::NONE);
}

#[test]
fn other_commands_have_their_answers() {
    let mut session = Session::new();
    let frames = one_of_each();
    let of = |session: &mut Session<u32>, edition, command: u8| {
        let wanted = |frame: &&Vec<u8>| {
            let header = Envelope::read(frame).expect("a frame").header;
            header.edition == edition && header.command == Command(command)
        };
        receive(session, frames.iter().find(wanted).expect("one of each")).0
    };
    assert_eq!(of(&mut session, Edition::V2016, 7), "success routine");
    assert_eq!(of(&mut session, Edition::V2025, 8), "success routine");
    assert_eq!(of(&mut session, Edition::V2025, 9), "activation");
    assert_eq!(of(&mut session, Edition::V2025, 0x0b), "error not_logged_in");
    session.accept_vehicle(&VIN, 0);
    assert_eq!(of(&mut session, Edition::V2025, 0x0b), "key exchange");
    for command in [0x80, 0x81, 0x82, 0xc0] {
        assert_eq!(of(&mut session, Edition::V2016, command), "error unexpected_command");
    }
    let mut downlink = Vec::new();
    encode_downlink(Edition::V2016, Command::QUERY, VIN, now(), &[1, 2], &mut downlink).expect("short");
    downlink[3] = 1;
    let last = downlink.len() - 1;
    downlink[last] ^= 0xff;
    assert_eq!(receive(&mut session, &downlink).0, "acknowledged");
}

#[test]
fn an_activation_is_responded_to_with_a_command_of_its_own() {
    let frames = one_of_each();
    let (_, ticket) = receive(&mut Session::new(), &frames[8]);
    let mut out = Vec::new();
    ticket.activation_response(ActivationResponse { result: 2, info: 2 }, &mut out);
    let response = Envelope::read(&out).expect("a frame");
    assert_eq!((response.header.command, response.unit), (Command::ACTIVATION_RESPONSE, &[2, 2][..]));
    assert_eq!(time(), WireTime(TIME).utc().expect("a date"));
}
