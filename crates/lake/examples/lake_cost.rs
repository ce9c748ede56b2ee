//! What housekeeping costs at scale: a month of rows goes in, each night files are put together and what is over its term leaves; then a
//! vehicle is erased. It prints what a commit, a night, an expiry and an erasure take as the table grows.
//!
//! `cargo run --release -p lake --example lake_cost -- FOLDER MILLIONS [DAYS] [VEHICLES]`, with a folder on the disk in question.

#[allow(dead_code, reason = "the tests' small center has more than is needed here")]
#[path = "../tests/lake/world.rs"]
mod world;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lake::{Books, Done, ErasedRows, ObjectPath, SourceError, Urgency, Work};
use model::{Clock, Position, Protocol, Quality, Reading, ReadingSink, Sequence, SignalId, UtcMicros};
use object_store::{ObjectStore, ObjectStoreExt};
use rustix::time::{ClockId, clock_gettime};
use world::{Center, SIGNALS, range, vehicle};

/// Commits a day, a tenth of what a busy center does: a file each.
const COMMITS_A_DAY: u64 = 96;
/// Signals of a frame.
const SIGNALS_A_FRAME: u64 = 60;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Books that agree to everything at once.
struct Agreeing(Arc<dyn ObjectStore>);

impl Agreeing {
    fn delete(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        for object in objects {
            match futures::executor::block_on(self.0.delete(object)) {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(SourceError(error.to_string())),
            }
        }
        Ok(())
    }
}

impl Books for Agreeing {
    fn finish(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn entered(&self, _table: &str, version: i64) -> Result<i64, SourceError> {
        Ok(version)
    }

    fn destroy(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        self.delete(objects)
    }

    fn discard(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        self.delete(objects)
    }
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Wall and processor seconds of a piece of work.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (wall, cpu) = (seconds(ClockId::Monotonic), seconds(ClockId::ProcessCPUTime));
    let done = work();
    (done, seconds(ClockId::Monotonic) - wall, seconds(ClockId::ProcessCPUTime) - cpu)
}

/// The most memory that this process has held, in MiB, where the system tells.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) / 1_024
}

/// A small generator of its own, so that the figures are of the same rows everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Most signals stand or move slowly in steps of 0.01, some are noisy, some count.
fn reading<'a>(time: UtcMicros, signal: u16, car: u64, step: u64, noise: &mut Noise) -> Reading<'a> {
    let slow = (step as f64 / 40.0 + f64::from(signal) + car as f64).sin() * 10.0 + f64::from(signal);
    let value = match signal {
        0..15 => f64::from(signal) * 7.5,
        15..40 => (slow * 100.0).round() / 100.0,
        40..45 => noise.next() * 100.0,
        45..50 => (car * 100_000 + step * 3 + u64::from(signal)) as f64,
        _ => ((step / 30 + car) % 2) as f64,
    };
    Reading { time, signal: SignalId(signal), value: Some(value), text: None, quality: Quality::Valid }
}

fn night(center: &Center, books: &Agreeing, work: Work) -> Outcome<Done> {
    Ok(center.maintenance.lock().run(work, Urgency::Due, books, &mut |_| true)?)
}

fn rows_of(done: &Done) -> u64 {
    done.steps.iter().map(|step| step.rows).sum()
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().map(PathBuf::from).ok_or("usage: lake_cost FOLDER MILLIONS [DAYS] [VEHICLES]")?;
    let mut number = |otherwise: u64| arguments.next().map_or(Ok(otherwise), |text| text.parse());
    let (millions, days, vehicles) = (number(10)?, number(30)?, number(200)?);
    let store = store::Objects::local(&folder)?.object_store();
    let mut center = Center::open(store.clone())?;
    let books = Agreeing(store);
    assert!(SIGNALS.len() as u64 >= SIGNALS_A_FRAME, "the center knows as many signals as are sent");

    let frames_a_commit = (millions * 1_000_000 / SIGNALS_A_FRAME / days / COMMITS_A_DAY).max(1);
    let apart = UtcMicros::PER_DAY / COMMITS_A_DAY as i64;
    let (mut sequence, mut noise) = (0, Noise(1));
    println!("{millions} million rows of {vehicles} vehicles in {days} days, {COMMITS_A_DAY} commits a day");
    println!("day | commit ms | night: put together s (CPU s), rows | expired s (CPU s), rows read | files");
    for day in 0..days {
        let mut committing = Duration::ZERO;
        for commit in 0..COMMITS_A_DAY {
            let first = sequence + 1;
            let began = center.clock.now();
            for frame in 0..frames_a_commit {
                sequence += 1;
                let car = sequence % vehicles;
                let at = began.plus_micros(apart * frame as i64 / frames_a_commit as i64);
                let mut sink = center.writer.begin_frame(
                    day * COMMITS_A_DAY + commit,
                    Sequence(sequence),
                    vehicle(car),
                    Protocol::Tesla,
                    at.plus_micros(80_000 + (noise.next() * 40_000.0) as i64),
                );
                for signal in 0..SIGNALS_A_FRAME as u16 {
                    sink.reading(reading(at, signal, car, sequence / vehicles, &mut noise));
                }
                sink.position(Position {
                    time: at,
                    latitude: Some(31.2 + noise.next()),
                    longitude: Some(121.5 + noise.next()),
                    heading: Some(90.0),
                    speed: None,
                    valid: true,
                });
            }
            center.clock.pass(apart);
            let (committed, wall, _) = timed(|| center.writer.commit(range(first, sequence)));
            committed?;
            committing += Duration::from_secs_f64(wall);
        }
        // Two hours into the next day the day before is over for housekeeping.
        center.clock.pass(2 * UtcMicros::PER_HOUR);
        let (expired, expiry, expiry_cpu) = timed(|| night(&center, &books, Work::Expire));
        let expired = expired?;
        let (compacted, compaction, compaction_cpu) = timed(|| night(&center, &books, Work::Compact));
        let compacted = compacted?;
        center.clock.pass(-2 * UtcMicros::PER_HOUR);
        println!(
            "{:>3} | {:.1} | {compaction:.1} ({compaction_cpu:.1}), {} | {expiry:.1} ({expiry_cpu:.1}), {} | {}",
            day + 1,
            committing.as_secs_f64() * 1_000.0 / COMMITS_A_DAY as f64,
            rows_of(&compacted),
            rows_of(&expired),
            center.lake.status()[0].files,
        );
    }
    let signals = &center.lake.status()[0];
    println!(
        "{} rows in {} files, {:.2} bytes a row; the process's peak is {} MiB",
        signals.rows,
        signals.files,
        signals.bytes as f64 / signals.rows as f64,
        memory_peak(),
    );
    let rows = ErasedRows {
        vehicle: vehicle(vehicles / 2),
        from: UtcMicros(i64::MIN),
        to: UtcMicros(i64::MAX),
        is_open: true,
    };
    center.erasures.set(&[rows]);
    let (erased, wall, cpu) = timed(|| night(&center, &books, Work::Erase));
    let erased = erased?;
    let files: u64 = erased.steps.iter().map(|step| step.files_removed).sum();
    let gone: u64 = erased.steps.iter().map(|step| step.erased).sum();
    println!(
        "a vehicle erased in {wall:.1} s ({cpu:.1} s of CPU): {files} files rewritten, {} rows read, {gone} erased",
        rows_of(&erased)
    );
    Ok(())
}
