use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, ConnectionId, Sequence, UtcMicros};
use store::{BatchName, CommitWaiter};

use super::{RawFrames, RawKeeper, expired};
use crate::api::Rooms;
use crate::assemble::Flow;
use crate::center::{Center, NewCenter};
use crate::world::World;

const VIN: &str = "LRW3E7FA8MC000001";

/// The system's clock, put ahead.
struct AheadClock {
    by_micros: AtomicI64,
    real: Arc<dyn Clock>,
}

impl Clock for AheadClock {
    fn now(&self) -> UtcMicros {
        self.real.now().plus_micros(self.by_micros.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }
}

#[test]
fn batches_go_when_the_term_of_their_last_frame_is_over() {
    let start = UtcMicros::from_seconds(1_795_428_000);
    let hour = |number: i64| start.plus_micros(number * UtcMicros::PER_HOUR);
    let batch = |gateway: &str, number: i64| BatchName {
        center: "shanghai-1".parse().expect("a name"),
        gateway: gateway.parse().expect("a name"),
        hour: hour(number),
        last: Sequence(number.unsigned_abs() + 1),
    };
    let batches = [batch("a", 0), batch("a", 1), batch("a", 2), batch("b", 0)];
    let gone = |now, tabled| {
        let gone = expired(&batches, now, 14, Sequence(tabled));
        gone.iter().map(|gone| batches.iter().position(|batch| batch == *gone)).collect::<Vec<_>>()
    };
    let later = |hours: i64| hour(14 * 24 + hours);
    assert_eq!(gone(later(1).plus_micros(-1), 9), [], "its last frame may be a moment younger");
    assert_eq!(gone(later(1), 9), [Some(0)]);
    assert_eq!(gone(later(1), 0), [], "not in the tables yet");
    assert_eq!(gone(later(100), 9), [Some(0), Some(1)], "the newest of each gateway stays");
}

fn gateway(folder: &Path, clock: &Arc<AheadClock>) -> (Rooms, World) {
    let environment = |name: &str| match name {
        "DOMICILE_LAKE_ENABLED" => Some("false".to_owned()),
        "DOMICILE_STORE_BATCH_AGE_MS_MAX" => Some("100".to_owned()),
        _ => None,
    };
    let world = World { clock: clock.clone(), environment: Arc::new(environment), ..World::real() };
    if !folder.exists() {
        let new = NewCenter {
            country: "CN".parse().expect("a country"),
            center: "shanghai-1".parse().expect("a name"),
            site: String::new(),
            hosts: Vec::new(),
        };
        Center::create(folder, &new, &world).expect("made");
    }
    (Rooms::open(folder, &world).expect("opened"), world)
}

/// Has one frame sealed into a batch of its own.
fn seal_one(rooms: &Rooms, flow: &Flow, clock: &AheadClock) {
    let before = rooms.store.batches().expect("batches").len();
    let vin = VIN.parse().expect("a VIN");
    let (version, facts) = rooms.registry.look(&vin);
    let witness = policy::observe(&facts.expect("registered"), version);
    let frame = witness.frame(clock.now(), ConnectionId(1), b"what it says");
    flow.journal.append(frame, &Arc::new(CommitWaiter::new())).expect("appended");
    for _ in 0..400 {
        if rooms.store.batches().expect("batches").len() > before {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no batch within 20 s");
}

#[test]
fn a_pure_gateway_destroys_raw_frames_whose_term_is_over_and_says_so_in_its_ledger() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("center");
    let clock = Arc::new(AheadClock { by_micros: AtomicI64::new(0), real: World::real().clock });
    let (rooms, world) = gateway(&folder, &clock);
    let new = registry::NewVehicle::new(VIN.parse().expect("a VIN"), "CN".parse().expect("a country"));
    rooms.registry.add(&new).expect("registered");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let flow = runtime.block_on(Flow::open(&rooms, &world)).expect("opened");
    for _ in 0..3 {
        seal_one(&rooms, &flow, &clock);
    }
    let raw = || {
        let book = rooms.books.book().clone();
        RawFrames::new(rooms.store.clone(), rooms.packs.clone(), book, world.clock.clone())
    };
    let early = raw();
    assert_eq!(early.expire(Sequence(u64::MAX)).expect("a look"), 0, "the term is not over");
    clock.by_micros.store(15 * UtcMicros::PER_DAY, Ordering::Relaxed);
    assert!(early.has_clock_jumped());
    let left = || rooms.store.batches().expect("batches").len();
    // A thread that saw the clock jump destroys nothing; one that was started later does.
    let jumped = RawKeeper::start(early, Some(Duration::from_millis(10))).expect("a thread");
    std::thread::sleep(Duration::from_millis(200));
    jumped.finish();
    assert_eq!(left(), 3);
    let keeper = RawKeeper::start(raw(), Some(Duration::from_millis(10))).expect("a thread");
    for _ in 0..400 {
        if left() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    keeper.finish();
    assert_eq!(left(), 1, "the journal goes on counting from the newest");
    assert!(flow.close());
    assert!(rooms.books.close());
    let (objects, names) = (rooms.store.objects().clone(), rooms.store.names().clone());
    let report =
        ledger::verify(&objects, &names, &rooms.center.genesis.log_key(), &ledger::Options::default());
    let report = report.expect("read");
    assert!(report.passed(), "{:?}", report.findings);
    assert_eq!(report.kinds.get("expired").copied(), Some(1), "{:?}", report.kinds);
}
