//! What the log costs: entries a second without and with flushes, a proof from the disk, and the reading of a million entries.
//!
//! `cargo run --release -p ledger --example ledger_cost -- FOLDER`, with a folder on the disk in question.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::tree::verify_inclusion;
use ledger::{Ledger, LogReader, Parts, SignatureType, SigningKey, hash};
use model::{Clock, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use rustix::time::{ClockId, clock_gettime};
use store::Objects;

/// Entries whose reading is measured.
const ENTRIES: u64 = 1_000_000;
/// Entries that are appended to the disk.
const ENTRIES_ON_DISK: u64 = 200_000;
/// Proofs that are measured.
const PROOFS: u64 = 1_000;
/// As long as an entry of a batch.
const ENTRY_BYTES: usize = 320;
const LONG: Duration = Duration::from_secs(600);

type Outcome<T> = Result<T, Box<dyn Error>>;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(clock_gettime(ClockId::Realtime).tv_sec)
    }

    fn monotonic(&self) -> Duration {
        let time = clock_gettime(ClockId::Monotonic);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("below a second"))
    }
}

fn key() -> Outcome<SigningKey> {
    Ok(SigningKey::from_seed("bench", SignatureType::Ed25519, &[1; 32])?)
}

fn folder() -> Path {
    Path::from("bench-1/ledger")
}

fn entry(index: u64) -> Vec<u8> {
    let mut entry = format!("{index:0ENTRY_BYTES$}").into_bytes();
    entry.truncate(ENTRY_BYTES);
    entry
}

/// Appends entries from one thread, in groups of 256 because the queue is never shorter, and tells how many a second.
fn append(objects: &Objects, count: u64) -> Outcome<f64> {
    let parts = Parts {
        objects: objects.clone(),
        folder: folder(),
        key: key()?,
        clock: Arc::new(SystemClock),
        owner: "bench".to_owned(),
        publish_at_once: true,
    };
    let ledger = Ledger::open(parts)?;
    ledger.allow(None)?;
    let began = SystemClock.monotonic();
    let mut last = None;
    for index in 0..count {
        last = Some(ledger.append(entry(index))?);
    }
    let last = last.ok_or("there are entries")?;
    last.wait(LONG)?.ok_or("the entries are not committed in time")?;
    let seconds = (SystemClock.monotonic() - began).as_secs_f64();
    ledger.close(LONG);
    Ok(count as f64 / seconds)
}

fn prove(objects: &Objects) -> Outcome<Duration> {
    let reader = LogReader::new(objects.clone(), folder(), key()?.verifier());
    let checkpoint = reader.checkpoint()?.ok_or("there is a checkpoint")?;
    let mut spent = Duration::ZERO;
    for number in 0..PROOFS {
        let index = number * 7_919_317 % checkpoint.size();
        let began = SystemClock.monotonic();
        let proof = reader.inclusion_proof(&checkpoint, index)?;
        spent += SystemClock.monotonic() - began;
        verify_inclusion(index, checkpoint.size(), &hash::leaf(&entry(index)), &proof, &checkpoint.root())?;
    }
    Ok(spent / u32::try_from(PROOFS)?)
}

fn read(objects: &Objects) -> Outcome<(u64, Duration)> {
    let began = SystemClock.monotonic();
    let reader = LogReader::new(objects.clone(), folder(), key()?.verifier());
    let checkpoint = reader.checkpoint()?.ok_or("there is a checkpoint")?;
    let mut count = 0;
    for entry in reader.entries(reader.view(&checkpoint)?, 0) {
        entry?;
        count += 1;
    }
    Ok((count, SystemClock.monotonic() - began))
}

fn main() -> Outcome<()> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: ledger_cost FOLDER")?);
    let memory = Objects::new(Arc::new(InMemory::new()));
    println!("in memory:  {:>9.0} entries/s", append(&memory, ENTRIES)?);
    let (count, spent) = read(&memory)?;
    println!("verified:   {count:>9} entries in {:.2} s", spent.as_secs_f64());
    let disk = Objects::local(&folder)?;
    println!("on disk:    {:>9.0} entries/s, each commit of 256 flushed", append(&disk, ENTRIES_ON_DISK)?);
    println!("proof:      {:>9} us from the disk", prove(&disk)?.as_micros());
    let (count, spent) = read(&disk)?;
    println!("verified:   {count:>9} entries from the disk in {:.2} s", spent.as_secs_f64());
    Ok(())
}
