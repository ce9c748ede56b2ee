//! What a million entries cost to learn from when the book is opened, and to verify.
//!
//! `cargo run --release -p ledger --example book_cost`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ledger::entry::{BatchFacts, Destroyed, Ground, Minute, ObjectName, Opening, Stored, Whole};
use ledger::{Book, Entry, Ledger, Options, Parts, SignatureType, SigningKey, proof_of, verify};
use model::{Clock, Entropy, Sequence, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use rustix::time::{ClockId, clock_gettime};
use store::{BatchName, Names, Objects};

const ENTRIES: u64 = 1_000_000;
/// Each so many batches are destroyed by one entry, so that the log names more than there is. With that entry they are 16, which
/// divides the million.
const BATCHES_A_DESTRUCTION: usize = 15;
const LONG: Duration = Duration::from_secs(600);

type Outcome<T> = Result<T, Box<dyn Error>>;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(clock_gettime(ClockId::Realtime).tv_sec)
    }

    fn monotonic(&self) -> Duration {
        read(ClockId::Monotonic)
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("below a second"))
}

/// Nothing is drawn here that anybody relies on.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn main() -> Outcome<()> {
    let objects = Objects::new(Arc::new(InMemory::new()));
    let names = Names::new("bench-1".parse()?);
    let key = SigningKey::from_seed("bench", SignatureType::Ed25519, &[1; 32])?;
    let parts = || Parts {
        objects: objects.clone(),
        folder: names.ledger(),
        key: key.clone(),
        clock: Arc::new(SystemClock),
        owner: "bench".to_owned(),
        publish_at_once: true,
    };
    let opening = Opening::new([1; 32]);
    put(&objects, &names.genesis(), "{}\n")?;
    put(&objects, &names.opening(&names.genesis()).ok_or("a name")?, &opening.to_text())?;
    let ledger = Ledger::open(parts())?;
    ledger.allow(None)?;
    let spent = timed(|| append(&ledger, &names))?;
    tell("append", &spent);
    assert!(ledger.close(LONG));
    let ledger = Ledger::open(parts())?;
    let spent = timed(|| {
        let clock = Arc::new(SystemClock);
        Book::open(ledger.clone(), objects.clone(), names.clone(), clock, Arc::new(Fixed))?;
        Ok(())
    })?;
    tell("open", &spent);
    let spent = timed(|| {
        let report = verify(&objects, &names, &key.verifier(), &Options::default())?;
        assert!(report.passed() && report.size == ENTRIES + 1, "{report:?}");
        Ok(())
    })?;
    tell("verify", &spent);
    let spent = timed(|| {
        let missing = names.control(1);
        assert!(proof_of(&objects, &names, &key.verifier(), &missing).is_err());
        Ok(())
    })?;
    tell("look through all for an object", &spent);
    Ok(())
}

/// How long it took, and how much of the processor: on a machine that others use too the second says more.
struct Spent {
    wall: f64,
    processor: f64,
}

fn tell(what: &str, spent: &Spent) {
    let Spent { wall, processor } = spent;
    println!("{what}: {wall:.2} s, {processor:.2} s of processor time, for {ENTRIES} entries in memory");
}

fn timed(run: impl FnOnce() -> Outcome<()>) -> Outcome<Spent> {
    let (wall, processor) = (read(ClockId::Monotonic), read(ClockId::ProcessCPUTime));
    run()?;
    let since = |clock: ClockId, began: Duration| (read(clock) - began).as_secs_f64();
    Ok(Spent { wall: since(ClockId::Monotonic, wall), processor: since(ClockId::ProcessCPUTime, processor) })
}

fn put(objects: &Objects, name: &Path, content: &str) -> Outcome<()> {
    let _ = objects.create(name, content.as_bytes().to_vec())?;
    Ok(())
}

fn append(ledger: &Ledger, names: &Names) -> Outcome<()> {
    let now = SystemClock.now();
    let commitment = Opening::new([1; 32]).commit("x", b"content");
    let mut destroyed = Vec::new();
    let mut sequence = 0;
    let object = ObjectName::try_from(&names.genesis())?;
    let charter =
        Whole { object, commitment: Opening::new([1; 32]).commit(names.genesis().as_ref(), b"{}\n") };
    let mut last = Some(ledger.append(Entry::Charter(charter).write(Minute::of(now))?)?);
    for _ in 0..ENTRIES {
        let entry = if destroyed.len() == BATCHES_A_DESTRUCTION {
            let objects = std::mem::take(&mut destroyed);
            Entry::Expired(Destroyed { ground: Ground::Term, objects, manifest: None })
        } else {
            let first = sequence + 1;
            sequence += 100;
            let (center, gateway) = (names.center().clone(), "gw".parse()?);
            let name = BatchName { center, gateway, hour: UtcMicros::default(), last: Sequence(sequence) };
            let object = ObjectName::try_from(&name.path())?;
            destroyed.push(object.clone());
            let (gateway, last, frames) = (name.gateway, sequence, 100);
            Entry::Stored(Stored::Batch(BatchFacts {
                object,
                commitment,
                bytes: 1,
                gateway,
                first,
                last,
                frames,
            }))
        };
        last = Some(ledger.append(entry.write(Minute::of(now))?)?);
    }
    last.ok_or("there are entries")?.wait(LONG)?.ok_or("committed in time")?;
    Ok(())
}
