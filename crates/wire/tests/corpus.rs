//! Runs every fuzz target over its checked-in corpus, on the stable toolchain; and writes the corpus, with `-- --ignored`.

use std::fs;
use std::path::PathBuf;

use model::UtcMicros;
use wire::gbt32960::{
    Cipher, Command, Edition, Encryption, Flag, Header, Items, Login, LoginPacks, Logout, Realtime,
};
use wire::gbt32960::{Engine, Item, Place, PlatformLogin, Unit, Vehicle, WireTime, encode, encode_sealed};
use wire::gbt32960::{Mode, Octets, Padding};
use wire::tesla::payload::{Alert, Audience, Connectivity, ConnectivityStatus, Datum, Value};
use wire::tesla::payload::{
    encode_alerts, encode_connectivity, encode_errors, encode_metrics, encode_vitals,
};
use wire::tesla::{Stream, encode_ack, encode_stream};
use wire::websocket::{Opcode, UpgradeRequest, write_masked};

#[expect(unreachable_pub, reason = "the fuzz targets are a library of their own")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 6] = [
    ("websocket", targets::websocket),
    ("tesla_envelope", targets::tesla_envelope),
    ("tesla_payload", targets::tesla_payload),
    ("gbt32960_stream", targets::gbt32960_stream),
    ("gbt32960_frame", targets::gbt32960_frame),
    ("gbt32960_session", targets::gbt32960_session),
];

const VIN: &[u8; 17] = b"LTEST000000000001";
const TIME: UtcMicros = UtcMicros::from_seconds(1_767_225_000);

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_target_takes_its_corpus_and_every_prefix_of_it() {
    for (name, target) in TARGETS {
        let files = fs::read_dir(folder(name)).expect("the corpus is checked in");
        let mut count = 0;
        for file in files {
            let bytes = fs::read(file.expect("an entry").path()).expect("a file");
            for end in 0..=bytes.len() {
                target(&bytes[..end]);
            }
            // Each byte wrong in turn: lengths, counts and tags that lie.
            for at in 0..bytes.len() {
                for wrong in [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] = wrong;
                    target(&bytes);
                }
            }
            count += 1;
        }
        assert!(count >= 3, "{name} has {count} examples");
    }
}

#[test]
#[ignore = "writes the corpus"]
fn write_the_corpus() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(folder(target)).expect("a folder");
        fs::write(folder(target).join(name), bytes).expect("a file");
    };
    for (name, bytes) in websocket() {
        write("websocket", name, &bytes);
    }
    for (name, topic, payload) in payloads() {
        write("tesla_payload", name, &payload);
        let stream = Stream {
            created_at: 1_767_225_000,
            sender_id: b"vehicle_device.LTEST000000000001",
            payload: &payload,
            device_type: b"vehicle_device",
            device_id: VIN,
            delivered_at_epoch_ms: 1_767_225_000_500,
        };
        let mut envelope = Vec::new();
        encode_stream(b"txid-1", topic, b"id-1", &stream, &mut envelope);
        write("tesla_envelope", name, &envelope);
    }
    let mut ack = Vec::new();
    encode_ack(b"txid-1", b"V", &mut ack);
    write("tesla_envelope", "ack", &ack);
    let frames = frames();
    for (name, frame) in &frames {
        write("gbt32960_frame", name, frame);
    }
    let of = |names: &[&str]| -> Vec<u8> {
        let frame = |name: &&str| frames.iter().find(|(known, _)| known == name).expect("a frame").1.clone();
        names.iter().flat_map(frame).collect()
    };
    let day = of(&["login_2016", "realtime_2016", "heartbeat", "logout"]);
    write("gbt32960_session", "day_2016", &day);
    write("gbt32960_session", "day_2025", &of(&["login_2025", "realtime_2025", "logout"]));
    write("gbt32960_session", "platform", &of(&["platform_login", "realtime_2016", "realtime_2025"]));
    write("gbt32960_session", "without_login", &of(&["realtime_2016", "sealed"]));
    write("gbt32960_stream", "two_frames", &of(&["heartbeat", "logout"]));
    write("gbt32960_stream", "garbage_between", &[b"##\0$$garbage".to_vec(), of(&["heartbeat"])].concat());
    write("gbt32960_stream", "cut_frame", &day[..day.len() - 7]);
}

fn websocket() -> Vec<(&'static str, Vec<u8>)> {
    let mut request = Vec::new();
    UpgradeRequest { host: "center", path: "/", key: [7; 16], headers: &[("Version", "1")] }
        .write(&mut request);
    let masked = |opcode, payload: &[u8]| {
        let mut frame = Vec::new();
        write_masked(opcode, payload, [1, 2, 3, 4], &mut frame);
        frame
    };
    let mut parts = masked(Opcode::Binary, b"first");
    // Not final: a further part follows.
    parts[0] &= 0x7f;
    parts.extend(masked(Opcode::Continuation, b"second"));
    vec![
        ("request", request),
        ("message", masked(Opcode::Binary, &[9; 200])),
        ("parts", parts),
        ("too_large", [masked(Opcode::Binary, &[9; 1_100]), masked(Opcode::Ping, b"ping")].concat()),
        ("close", masked(Opcode::Close, &[0x03, 0xe8, b'b', b'y', b'e'])),
        ("text", masked(Opcode::Text, b"text")),
    ]
}

fn payloads() -> Vec<(&'static str, &'static [u8], Vec<u8>)> {
    let vin = "LTEST000000000001";
    let made = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = Vec::new();
        write(&mut payload);
        payload
    };
    let typed = [
        Datum { field: 4, value: Value::Float(60.5) },
        Datum { field: 5, value: Value::Double(f64::NAN) },
        Datum { field: 10, value: Value::Enumeration { kind: 9, number: 5 } },
        Datum { field: 21, value: Value::Location { latitude: 31.2, longitude: 121.5 } },
        Datum { field: 58, value: Value::Doors(0b10_0001) },
        Datum { field: 224, value: Value::Tires(0b11) },
        Datum { field: 44, value: Value::Time { hour: 7, minute: 5, second: 0 } },
        Datum { field: 8, value: Value::Invalid },
        Datum { field: 9_999, value: Value::Long(-1) },
    ];
    let texts =
        ["60.5", "1e-3", "ShiftStateD", "<invalid>", "(37.412374 N, 122.145867 W)", "DriverFront|TrunkRear"];
    let texts = texts.into_iter().zip([4, 5, 10, 8, 21, 58]);
    let texts = texts.map(|(text, field)| Datum { field, value: Value::Text(text) });
    let alert = Alert::new("DI_a175", &[Audience::Customer, Audience::Service], Some(TIME), None);
    let connectivity = Connectivity {
        connection_id: "c1",
        status: ConnectivityStatus::Connected,
        created_at: Some(TIME),
        network_interface: "wifi",
    };
    let tags = [("key", "value")];
    vec![
        ("typed", b"V", made(&|out| encode_vitals(typed, Some(TIME), vin, false, out))),
        ("texts", b"V", made(&|out| encode_vitals(texts.clone(), Some(TIME), vin, true, out))),
        ("alerts", b"alerts", made(&|out| encode_alerts(&[alert], Some(TIME), vin, out))),
        ("errors", b"errors", made(&|out| encode_errors("name", &tags, "body", TIME, vin, out))),
        ("metrics", b"metrics", made(&|out| encode_metrics(&[("name", &tags, 1.5)], Some(TIME), vin, out))),
        ("connectivity", b"connectivity", made(&|out| encode_connectivity(&connectivity, vin, out))),
    ]
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let header = |edition, command| Header {
        edition,
        command,
        flag: Flag::COMMAND,
        vin: *VIN,
        encryption: Encryption::NONE,
    };
    let made = |edition, command, unit: &Unit<'_>| {
        let mut frame = Vec::new();
        encode(&header(edition, command), unit, &mut frame).expect("it fits");
        frame
    };
    let time = WireTime::from_utc(TIME);
    let (old, new) = (Edition::V2016, Edition::V2025);
    let vehicle = |is_old: bool| {
        Item::Vehicle(Vehicle {
            state: 1,
            charging: 3,
            mode: 1,
            speed: 645,
            odometer: 123_456,
            voltage: 3_850,
            current: 10_113,
            soc: 80,
            dcdc: 1,
            gear: 0x2e,
            insulation: 0xffff,
            accelerator: is_old.then_some(12),
            brake: is_old.then_some(101),
        })
    };
    let place =
        |system| Item::Place(Place { state: 0, system, longitude: 121_500_000, latitude: 31_200_000 });
    let engine = Item::Engine(Engine { state: Some(1), speed: 0xfffe, consumption: Some(650) });
    let items_old = [vehicle(true), engine, place(None)];
    let items_new = [vehicle(false), place(Some(2))];
    let realtime = |items| Unit::Realtime(Realtime { time, items, signature: None, signed: &[] });
    let login = |packs| Unit::Login(Login { time, serial: 7, iccid: *b"89860000000000000001", packs });
    let packs_old = LoginPacks::V2016 { count: 1, code_bytes: 4, codes: b"PACK" };
    let packs_new = LoginPacks::V2025 { packs: Octets::of(&[1]), codes: b"PACK00000000000000000001" };
    let platform = PlatformLogin {
        time,
        serial: 1,
        user: *b"platform\0\0\0\0",
        password: [b'x'; 20],
        encryption: Encryption::NONE,
    };
    let mut sealed = Vec::new();
    let cipher = Cipher { key: [7; 16], mode: Mode::Ecb, padding: Padding::Pkcs7 };
    encode_sealed(&header(old, Command::REALTIME), &realtime(Items::Given(&items_old)), &cipher, &mut sealed)
        .expect("it fits");
    vec![
        ("login_2016", made(old, Command::LOGIN, &login(packs_old))),
        ("login_2025", made(new, Command::LOGIN, &login(packs_new))),
        ("realtime_2016", made(old, Command::REALTIME, &realtime(Items::Given(&items_old)))),
        ("realtime_2025", made(new, Command::REALTIME, &realtime(Items::Given(&items_new)))),
        ("supplementary", made(old, Command::SUPPLEMENTARY, &realtime(Items::Given(&items_old[2..])))),
        ("logout", made(old, Command::LOGOUT, &Unit::Logout(Logout { time, serial: 7 }))),
        ("platform_login", made(old, Command::PLATFORM_LOGIN, &Unit::PlatformLogin(platform))),
        ("heartbeat", made(old, Command::HEARTBEAT, &Unit::Empty)),
        ("sealed", sealed),
    ]
}
