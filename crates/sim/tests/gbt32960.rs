//! Frames of simulated vehicles are frames of the standard, and a vehicle sends again what was not acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Clock, UtcMicros};
use sim::client::{Body, Driver, Endpoint, Outages, Pace, Report, Source, Speaks, Target};
use sim::gbt32960::{GbtVehicle, LoginFacts};
use sim::load::{GbtLoad, Numbered, NumberedKind, TeslaLoad, envelope_bytes};
use sim::vehicle::{Vehicle, vin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::gbt32960::{Command, Edition, Envelope, Flag, Item, Unit};

const START: UtcMicros = UtcMicros::from_seconds(1_780_000_000);

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> UtcMicros {
        START.plus_micros(i64::try_from(self.0.elapsed().as_micros()).expect("a test is short"))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "this test talks over real sockets")]
fn clock() -> Arc<dyn Clock> {
    Arc::new(TestClock(Instant::now()))
}

fn frames(seed: u64, index: u32, edition: Edition) -> Vec<Vec<u8>> {
    let vehicle = Vehicle::new(seed, index, "CN".parse().expect("a country"), START);
    let mut source = GbtVehicle::new(vehicle, edition, None);
    (0..900)
        .filter_map(|second| source.next(START.plus_micros(second * UtcMicros::PER_SECOND)))
        .map(|message| match message.body {
            Body::Gbt { frame } => frame,
            Body::Tesla { .. } => panic!("another protocol"),
        })
        .collect()
}

#[test]
fn the_same_seed_sends_the_same_frames_and_another_does_not() {
    for edition in [Edition::V2016, Edition::V2025] {
        assert_eq!(frames(5, 1, edition), frames(5, 1, edition));
        assert_ne!(frames(5, 1, edition), frames(6, 1, edition));
    }
}

#[test]
fn every_frame_is_read_back_with_a_valid_check_code_and_alarms_occur() {
    for edition in [Edition::V2016, Edition::V2025] {
        let (mut items, mut alarms, mut heartbeats) = (0, 0, 0);
        for index in 0..20 {
            for frame in frames(2, index, edition) {
                let envelope = Envelope::read(&frame).expect("a frame");
                assert_eq!(envelope.check, envelope.check_computed);
                match envelope.plain_unit().expect("a data unit") {
                    Unit::Realtime(realtime) => {
                        for item in realtime.items.iter() {
                            items += 1;
                            alarms += usize::from(matches!(item, Item::Alarms(alarms) if alarms.level > 0));
                        }
                    }
                    Unit::Empty => heartbeats += 1,
                    unit => panic!("an unexpected data unit {unit:?}"),
                }
            }
        }
        assert!(items > 1_000 && alarms > 0 && heartbeats > 0, "{items} {alarms} {heartbeats}");
    }
}

#[test]
fn loads_have_the_size_that_was_asked_for() {
    for size in [520, 576, 900] {
        let mut load = TeslaLoad::new(1, vin(1), 3, size);
        while let Some(message) = load.next(START) {
            let Body::Tesla { payload, .. } = message.body else { panic!("another protocol") };
            let bytes = envelope_bytes(vin(1), &payload);
            assert!(bytes.abs_diff(size) <= 8, "{bytes} bytes instead of {size}");
            let data = wire::tesla::payload::Vitals::parse(&payload).expect("vitals").data().count();
            assert_eq!(data, 20);
        }
    }
    let mut load = GbtLoad::new(1, vin(1), 3, 500, Edition::V2016);
    while let Some(message) = load.next(START) {
        let Body::Gbt { frame } = message.body else { panic!("another protocol") };
        assert!(frame.len().abs_diff(500) <= 1, "{} bytes", frame.len());
        Envelope::read(&frame).expect("a frame").plain_unit().expect("a data unit");
    }
}

#[test]
fn numbered_messages_never_run_ahead_of_the_clock() {
    for kind in [NumberedKind::Tesla, NumberedKind::Gbt(Edition::V2025)] {
        let mut source = Numbered::new(vin(1), START.plus_micros(-3 * UtcMicros::PER_SECOND), 100, kind, 0);
        let numbers: Vec<u64> =
            std::iter::from_fn(|| source.next(START)).map(|message| message.number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}

/// A center of one test: takes logins, answers the first `answered` frames of each connection and then says nothing.
async fn serve(listener: TcpListener, answered: usize, seen: Arc<parking_lot::Mutex<Vec<Vec<u8>>>>) {
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let seen = seen.clone();
        tokio::spawn(async move { answer(socket, answered, &seen).await });
    }
}

async fn answer(mut socket: TcpStream, answered: usize, seen: &parking_lot::Mutex<Vec<Vec<u8>>>) {
    let mut left = answered + 1; // the login is answered too
    loop {
        let mut head = [0; 24];
        if socket.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[22], head[23]])) + 1];
        socket.read_exact(&mut rest).await.expect("the rest of a frame");
        let frame = [&head[..], &rest].concat();
        let envelope = Envelope::read(&frame).expect("a frame");
        if envelope.header.command != Command::LOGIN {
            seen.lock().push(frame.clone());
        }
        if left > 0 {
            left -= 1;
            let header = wire::gbt32960::Header { flag: Flag::SUCCESS, ..envelope.header };
            let time = envelope.plain_unit().expect("a data unit").time().map_or(Unit::Empty, Unit::Time);
            let mut out = Vec::new();
            wire::gbt32960::encode(&header, &time, &mut out).expect("an answer");
            socket.write_all(&out).await.expect("it is read");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_is_sent_again_as_supplementary_data() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let server = tokio::spawn(serve(listener, 3, seen.clone()));
    let report = Arc::new(Report::default());
    let driver = Driver {
        vehicle: 0,
        target: Target {
            endpoint: Endpoint::at(address),
            tls: None,
            source: None,
            vin: vin(0),
            speaks: Speaks::Gbt(LoginFacts::of(Edition::V2016, 0)),
        },
        pace: Pace::Every(Duration::from_millis(10)),
        directory: None,
        outages: Some(Outages { every: Duration::from_millis(150), longest: Duration::from_millis(20) }),
        report: report.clone(),
        observer: None,
        clock: clock(),
        seed: 4,
    };
    let source = Numbered::new(
        vin(0),
        START.plus_micros(-1_000 * UtcMicros::PER_SECOND),
        0,
        NumberedKind::Gbt(Edition::V2016),
        0,
    );
    let (stop, stopped) = watch::channel(false);
    let run = tokio::spawn(driver.run(Box::new(source), stopped));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stop.send(true).expect("the driver runs");
    run.abort();
    server.abort();
    let counts = report.counts();
    assert!(counts.connected >= 2 && counts.lost >= 2 && counts.resent > 0 && counts.acked > 3, "{counts:?}");
    let seen = seen.lock();
    let resent = seen.iter().filter(|frame| frame[2] == Command::SUPPLEMENTARY.0).count();
    let fresh = seen.iter().filter(|frame| frame[2] == Command::REALTIME.0).count();
    assert!(resent > 0 && fresh > 0, "{resent} resent, {fresh} fresh");
}
