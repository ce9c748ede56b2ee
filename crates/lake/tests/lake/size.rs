//! Bytes a row at rest, on data that varies as real cars' does.

use std::sync::Arc;
use std::time::Duration;

use lake::{Urgency, Work};
use model::{Protocol, Quality, Reading, ReadingSink, Sequence, SignalId, UtcMicros};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::maintenance::Plain;
use crate::world::{Center, SIGNALS, START, range, vehicle};

/// A small generator of its own, so that the figure is the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A quarter constant, two fifths slow with two decimals, a twelfth noisy, the rest counters, booleans and
/// texts.
fn reading<'a>(time: UtcMicros, signal: u16, car: u64, step: u64, noise: &mut Noise) -> Reading<'a> {
    let slow = (step as f64 / 40.0 + f64::from(signal) + car as f64).sin() * 10.0 + f64::from(signal);
    let (value, text) = match signal {
        0..15 => (Some(f64::from(signal) * 7.5), None),
        15..40 => (Some((slow * 100.0).round() / 100.0), None),
        40..45 => (Some(noise.next() * 100.0), None),
        45..50 => (Some((car * 100_000 + step * 3 + u64::from(signal)) as f64), None),
        50..56 => (Some(((step / 30 + car) % 2) as f64), None),
        _ => (Some(2.0), Some(["DriveModeComfort", "DriveModeSport"][((step / 60 + car) % 2) as usize])),
    };
    Reading { time, signal: SignalId(signal), value, text, quality: Quality::Valid }
}

fn bytes_a_row(vehicles: u64, steps: u64, batches: u64) -> (f64, [Duration; 2], u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).expect("a store"));
    let mut center = Center::open(store).expect("a lake");
    let times = fill(&mut center, vehicles, steps, batches);
    let signals = &center.lake.status()[0];
    (signals.bytes as f64 / signals.rows as f64, times, signals.rows)
}

/// Gives the time that taking rows and writing files took.
fn fill(center: &mut Center, vehicles: u64, steps: u64, batches: u64) -> [Duration; 2] {
    let (mut sequence, mut noise) = (0, Noise(1));
    #[expect(clippy::disallowed_methods, reason = "a measurement, printed and not compared")]
    let now = std::time::Instant::now;
    let (mut taking, mut writing) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..batches {
        let first = sequence + 1;
        let began = now();
        for step in batch * steps..(batch + 1) * steps {
            for car in 0..vehicles {
                sequence += 1;
                // Each car has its own millisecond; all signals of a frame have one time.
                let time = START.plus_micros((step * 10_000 + car * 37 % 1_000) as i64 * 1_000);
                let received_at = time.plus_micros(80_000 + (noise.next() * 40_000.0) as i64);
                let mut sink = center.writer.begin_frame(
                    batch,
                    Sequence(sequence),
                    vehicle(car),
                    Protocol::Tesla,
                    received_at,
                );
                for signal in 0..SIGNALS.len() as u16 {
                    sink.reading(reading(time, signal, car, step, &mut noise));
                }
            }
        }
        let taken = now();
        center.writer.commit(range(first, sequence)).expect("a commit");
        taking += taken - began;
        writing += now() - taken;
    }
    let signals = &center.lake.status()[0];
    assert_eq!(signals.rows, sequence * SIGNALS.len() as u64);
    [taking, writing]
}

#[test]
fn a_row_takes_at_most_five_bytes_as_written() {
    for (what, vehicles, steps, batches) in [
        ("10 s of 200 cars", 200, 1, 20),
        ("1 min of 200 cars", 200, 6, 4),
        ("16 MiB of 2000 cars", 2_000, 10, 1),
    ] {
        let (bytes, times, rows) = bytes_a_row(vehicles, steps, batches);
        let [taking, writing] = times.map(|time| time.as_nanos() as f64 / rows as f64);
        println!(
            "{what}: {bytes:.2} bytes a row as written; {taking:.0} ns a row made and taken, {writing:.0} ns to commit"
        );
        assert!(bytes <= 5.0, "{what}: {bytes:.2} bytes a row");
    }
}

/// The most memory that this process has held, in MiB, where the system tells.
fn memory_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1_024)
}

#[test]
fn a_row_takes_at_most_two_and_a_half_bytes_once_put_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).expect("a store"));
    let mut center = Center::open(store.clone()).expect("a lake");
    // Half an hour of 200 cars, a file each 10 s.
    fill(&mut center, 200, 1, 170);
    let before = center.lake.status().remove(0);
    #[expect(clippy::disallowed_methods, reason = "a measurement, printed and not compared")]
    let began = std::time::Instant::now();
    let done = center.maintenance.lock().run(Work::Compact, Urgency::Now, &Plain(store), &mut |_| true);
    let took = began.elapsed().as_secs_f64();
    let done = done.expect("a run");
    let after = center.lake.status().remove(0);
    let rows: u64 = done.steps.iter().map(|step| step.rows).sum();
    let bytes = |status: &lake::TableStatus| status.bytes as f64 / status.rows as f64;
    println!(
        "{} files of {:.2} bytes a row became {} of {:.2}; {:.2} million rows a second; the process's peak is {:?} MiB",
        before.files,
        bytes(&before),
        after.files,
        bytes(&after),
        rows as f64 / took / 1e6,
        memory_peak(),
    );
    assert_eq!((after.rows, rows), (before.rows, before.rows));
    assert!(bytes(&after) <= 2.5, "{:.2} bytes a row", bytes(&after));
}
