use std::io::{Read, Write};
use std::time::{Duration, Instant};

use wire::gbt32960::{Command, Flag};
use wire::websocket::Opcode;

use crate::center::{Center, PATIENCE, eventually};
use crate::vehicles::{
    Said, Terminal, Tesla, heartbeat, login, logout, platform_login, realtime, speed_message, tcp, tls,
};

const VIN: &str = "LRW3E7FA8MC000001";
const OTHER: &str = "LRW3E7FA8MC000002";
const FOREIGN: &str = "5YJ3E7FA8MC000003";
const STRANGER: &str = "LRW3E7FA8MC999999";
const AT: i64 = 1_790_000_000;

fn ack(txid: &str) -> Option<Said> {
    Some(Said::Ack(txid.as_bytes().to_vec()))
}

#[test]
fn a_tesla_message_is_acknowledged_and_counted() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for index in 0..200 {
        car.send_speed(&format!("message-{index}"), AT + index, 20.0);
    }
    for index in 0..200 {
        assert_eq!(car.hear(), ack(&format!("message-{index}")), "in order");
    }
    car.send(Opcode::Ping, b"there?");
    assert_eq!(car.hear(), Some(Said::Pong));
    assert_eq!(center.counter("domicile_acks_total{protocol=\"tesla\"}"), 200.0);
    let text = center.metrics();
    assert!(!text.contains(VIN) && !text.contains("LRW"), "no label names a vehicle");
    assert_eq!(center.status()["live"]["connections"], 1);
    let log = std::fs::read_to_string(center.path().join("serve.log")).expect("a log");
    assert!(!log.contains("LRW3E7FA"), "no log names a vehicle");
}

#[test]
fn wrong_messages_get_their_answers_and_the_connection_goes_on() {
    let center = Center::start(&[("DOMICILE_LIMITS_FRAME_BYTES_MAX", "10000")]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    car.send(Opcode::Binary, b"no envelope");
    assert_eq!(car.hear(), Some(Said::Error(Vec::new())));
    car.send(Opcode::Binary, &speed_message("forged", &format!("vehicle_device.{OTHER}"), AT, 1.0));
    assert_eq!(car.hear(), Some(Said::Error(b"forged".to_vec())));
    car.send(Opcode::Binary, &vec![0; 20_000]);
    assert_eq!(car.hear(), Some(Said::Error(Vec::new())), "too large");
    car.send_speed("good", AT, 10.0);
    assert_eq!(car.hear(), ack("good"));
    car.send(Opcode::Text, b"text");
    assert_eq!(car.hear(), Some(Said::Close(Some(1003))));
    assert_eq!(car.hear(), None, "and the connection ends");
    assert_eq!(center.counter("domicile_frames_total{protocol=\"tesla\"}"), 1.0);
}

#[test]
fn only_vehicles_of_this_country_that_are_registered_and_not_revoked_come_in() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    center.add(OTHER, "CN");
    let address = center.address("tesla");
    let papers = center.papers(VIN);
    // Papers of a vehicle that was registered here when they were made, and is revoked since.
    let revoked = center.papers(OTHER);
    center.revoke(OTHER);
    assert_eq!(Tesla::connect(address, OTHER, &revoked).err(), Some(403));
    // A certificate of an authority that nobody here trusts.
    let elsewhere = Center::start(&[]);
    elsewhere.add(FOREIGN, "CN");
    let mut foreign = elsewhere.papers(FOREIGN);
    foreign.server_ca = papers.server_ca.clone();
    assert_eq!(Tesla::connect(address, FOREIGN, &foreign).err(), Some(0));
    // No certificate at all.
    let mut anonymous = tls(address, None, &papers.server_ca).expect("TCP connects");
    let mut answer = Vec::new();
    let _refused = anonymous.write_all(b"GET / HTTP/1.1\r\n\r\n");
    assert!(anonymous.read_to_end(&mut answer).is_err() && answer.is_empty());
    // Revoked while it is connected: what it sends next is not stored.
    let mut car = Tesla::connect(address, VIN, &papers).expect("it is let in");
    car.send_speed("before", AT, 1.0);
    assert_eq!(car.hear(), ack("before"));
    let stored = center.counter("domicile_frames_total{protocol=\"tesla\"}");
    center.revoke(VIN);
    assert_eq!(car.hear(), Some(Said::Close(Some(1008))));
    assert_eq!(center.counter("domicile_frames_total{protocol=\"tesla\"}"), stored);
    let revoked = "domicile_refused_total{protocol=\"tesla\",reason=\"revoked\"}";
    eventually("both refusals", || (center.counter(revoked) == 2.0).then_some(()));
    let diary = center.show(FOREIGN).to_string();
    assert!(diary.contains("certificate_invalid"), "the diary says why: {diary}");
}

#[test]
fn a_gbt_terminal_logs_in_sends_and_logs_out() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let mut terminal = Terminal::new(tcp(center.address("gbt32960")).expect("connected"));
    assert_eq!(terminal.ask(&realtime(VIN, 0, 100)), Some(Flag::ERROR), "data before a login");
    assert_eq!(terminal.ask(&heartbeat(VIN)), Some(Flag::SUCCESS));
    assert_eq!(terminal.ask(&login(VIN)), Some(Flag::SUCCESS));
    // Several at once, garbage between, one cut in two.
    let mut bytes = realtime(VIN, 1, 500);
    bytes.extend_from_slice(b"garbage");
    bytes.extend_from_slice(&realtime(VIN, 2, 510));
    let last = realtime(VIN, 3, 520);
    bytes.extend_from_slice(&last[..10]);
    terminal.send(&bytes);
    assert_eq!(terminal.hear(), Some((Command::REALTIME, Flag::SUCCESS)));
    assert_eq!(terminal.hear(), Some((Command::REALTIME, Flag::SUCCESS)));
    assert_eq!(terminal.ask(&last[10..]), Some(Flag::SUCCESS));
    assert_eq!(terminal.ask(&realtime(OTHER, 4, 100)), Some(Flag::ERROR), "another vehicle's data");
    assert_eq!(terminal.ask(&logout(VIN)), Some(Flag::SUCCESS));
    assert_eq!(terminal.ask(&realtime(VIN, 5, 100)), Some(Flag::ERROR), "data after the logout");
    assert_eq!(center.counter("domicile_frames_total{protocol=\"gbt32960\"}"), 5.0);
    assert_eq!(center.counter("domicile_skipped_bytes_total{protocol=\"gbt32960\"}"), 7.0);
}

#[test]
fn gbt_strangers_foreigners_and_weaker_identities_are_refused() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    center.add(FOREIGN, "DE");
    let plain = center.address("gbt32960");
    let mut terminal = Terminal::new(tcp(plain).expect("connected"));
    assert_eq!(terminal.ask(&login(STRANGER)), Some(Flag::VIN_UNKNOWN));
    assert_eq!(terminal.ask(&login(FOREIGN)), Some(Flag::VIN_UNKNOWN));
    assert_eq!(center.counter("domicile_frames_total{protocol=\"gbt32960\"}"), 0.0, "nothing is stored");
    let diary = center.show(STRANGER).to_string();
    assert!(diary.contains("unknown_vehicle"), "{diary}");
    // Over TLS with a certificate: the strongest identity, which a claim doesn't replace.
    let papers = center.papers(VIN);
    let tls_address = center.address("gbt32960-tls");
    let certified = || tls(tls_address, Some(&papers), &papers.server_ca).expect("connected");
    let mut strong = Terminal::new(certified());
    assert_eq!(strong.ask(&login(VIN)), Some(Flag::SUCCESS));
    assert_eq!(terminal.ask(&login(VIN)), Some(Flag::VIN_DUPLICATE));
    assert_eq!(strong.ask(&realtime(VIN, 1, 100)), Some(Flag::SUCCESS));
    // As strong: the newer one wins, the older is closed.
    let mut newer = Terminal::new(certified());
    assert_eq!(newer.ask(&login(VIN)), Some(Flag::SUCCESS));
    assert_eq!(strong.hear(), None);
    assert_eq!(newer.ask(&realtime(VIN, 2, 100)), Some(Flag::SUCCESS));
    // A certificate speaks for its own vehicle alone.
    center.add(OTHER, "CN");
    let mut wrong = Terminal::new(certified());
    assert_eq!(wrong.ask(&login(OTHER)), Some(Flag::ERROR));
}

#[test]
fn a_platform_forwards_what_is_admitted_vehicle_by_vehicle() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    center.add(FOREIGN, "DE");
    let account = serde_json::json!({ "name": "fleet", "password": "a-good-password" });
    assert!(center.call("POST", "/api/platforms", Some(&account)).0 < 300);
    let address = center.address("gbt32960");
    let mut wrong = Terminal::new(tcp(address).expect("connected"));
    assert_eq!(wrong.ask(&platform_login("fleet", "a-bad-password")), Some(Flag::ERROR));
    assert_eq!(wrong.hear(), None, "and the connection ends");
    let mut platform = Terminal::new(tcp(address).expect("connected"));
    assert_eq!(platform.ask(&platform_login("fleet", "a-good-password")), Some(Flag::SUCCESS));
    assert_eq!(platform.ask(&realtime(VIN, 1, 100)), Some(Flag::SUCCESS));
    assert_eq!(platform.ask(&realtime(FOREIGN, 1, 100)), Some(Flag::VIN_UNKNOWN));
    assert_eq!(platform.ask(&realtime(STRANGER, 1, 100)), Some(Flag::VIN_UNKNOWN));
    assert_eq!(platform.ask(&realtime(VIN, 2, 100)), Some(Flag::SUCCESS));
    assert_eq!(center.counter("domicile_frames_total{protocol=\"gbt32960\"}"), 2.0);
}

#[test]
fn connections_that_say_nothing_disturb_nobody_and_end() {
    let center = Center::start(&[("DOMICILE_LIMITS_IDLE_TIMEOUT_S", "4")]);
    center.add(VIN, "CN");
    let silent: Vec<_> = (0..300).map(|_| tcp(center.address("tesla")).expect("connected")).collect();
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    let begun = Instant::now();
    car.send_speed("one", AT, 1.0);
    assert_eq!(car.hear(), ack("one"));
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Slow loris: a byte now and then is no request.
    let mut slow =
        tls(center.address("tesla"), Some(&center.papers(VIN)), &center.papers(VIN).server_ca).expect("TCP");
    let mut ended = false;
    for byte in b"GET / HTTP/1.1\r\nX-Slow: 12345678901234567890".iter().cycle().take(100) {
        if slow.write_all(&[*byte]).is_err() {
            ended = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(ended, "the head's deadline ends it");
    // The idle car is asked for life; it says nothing, and is closed.
    assert_eq!(car.hear(), Some(Said::Ping));
    assert_eq!(car.hear(), Some(Said::Close(Some(1000))));
    drop(silent);
    eventually("all connections end", || (center.status()["live"]["connections"] == 0).then_some(()));
}

#[test]
fn a_vehicle_that_sends_too_much_is_slowed_down_and_loses_nothing() {
    let center = Center::start(&[("DOMICILE_LIMITS_MESSAGES_PER_MINUTE_MAX", "60")]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    let begun = Instant::now();
    for index in 0..63 {
        car.send_speed(&index.to_string(), AT + index, 1.0);
    }
    for index in 0..63 {
        assert_eq!(car.hear(), ack(&index.to_string()));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "60 at once, then one a second");
    assert!(center.counter("domicile_rate_pauses_total") >= 1.0);
}

#[test]
fn changed_certificates_serve_new_connections_and_keep_the_old() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    center.add(OTHER, "CN");
    let papers = center.papers(VIN);
    let mut car = Tesla::connect(center.address("tesla"), VIN, &papers).expect("it is let in");
    // A certificate of another authority: the old papers' `ca` doesn't fit any more.
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(center.path().join("pki/server.key"), issued.signing_key.serialize_pem())
        .expect("written");
    std::fs::write(center.path().join("pki/server.pem"), issued.cert.pem()).expect("written");
    center.signal("-HUP");
    eventually("a reload", || (center.counter("domicile_tls_reloads_total") >= 1.0).then_some(()));
    let mut newer = center.papers(OTHER);
    assert_eq!(Tesla::connect(center.address("tesla"), OTHER, &newer).err(), Some(0));
    newer.server_ca = issued.cert.pem();
    let mut other =
        Tesla::connect(center.address("tesla"), OTHER, &newer).expect("the new certificate is served");
    other.send_speed("new", AT, 1.0);
    assert_eq!(other.hear(), ack("new"));
    car.send_speed("old", AT, 1.0);
    assert_eq!(car.hear(), ack("old"), "the old connection goes on");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let mut center = Center::start(&[]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for index in 0..50 {
        car.send_speed(&index.to_string(), AT + index, 1.0);
    }
    assert_eq!(car.hear(), ack("0"));
    center.signal("-TERM");
    car.set_patience(PATIENCE);
    let mut acked = 1;
    loop {
        match car.hear() {
            Some(Said::Ack(_)) => acked += 1,
            Some(Said::Close(code)) => {
                assert_eq!(code, Some(1012));
                break;
            }
            other => unreachable!("{other:?} after {acked} acks"),
        }
    }
    assert!(center.end().success());
    let sealed = walk(&center.path().join("store")).iter().filter(|name| name.contains("/batch/")).count();
    assert!(sealed >= 1, "what the journal held is sealed");
    center.serve_again();
    assert_eq!(center.status()["live"]["journal"]["state"], "healthy");
}

#[test]
fn the_status_page_wants_a_certificate_and_the_limit_of_connections_holds() {
    let center = Center::start(&[("DOMICILE_LIMITS_CONNECTIONS_MAX", "2")]);
    center.add(VIN, "CN");
    let papers = center.papers(VIN);
    let mut monitor = tls(center.address("tesla"), Some(&papers), &papers.server_ca).expect("connected");
    monitor.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
    let mut answer = Vec::new();
    let _closed = monitor.read_to_end(&mut answer);
    assert!(String::from_utf8_lossy(&answer).ends_with("mtls ok"), "{}", String::from_utf8_lossy(&answer));
    let address = center.address("gbt32960");
    eventually("room", || (center.status()["live"]["connections"] == 0).then_some(()));
    let mut first = Terminal::new(tcp(address).expect("connected"));
    let mut second = Terminal::new(tcp(address).expect("connected"));
    assert_eq!(first.ask(&heartbeat(VIN)), Some(Flag::SUCCESS));
    assert_eq!(second.ask(&heartbeat(VIN)), Some(Flag::SUCCESS));
    let mut third = tcp(address).expect("connected");
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0, "one too many");
    assert!(
        center.counter("domicile_refused_total{protocol=\"gbt32960\",reason=\"connections_max\"}") >= 1.0
    );
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            names.extend(walk(&entry.path()));
        } else {
            names.push(entry.path().display().to_string());
        }
    }
    names
}
