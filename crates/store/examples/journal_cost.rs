//! What appending, committing and sealing cost, in processor time of the whole process: run it in a folder on the disk in question.
//!
//! `cargo run -p store --example journal_cost -- FOLDER`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, ConnectionId, Country, Entropy, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId};
use policy::{Facts, RegistryVersion, Rules, VehicleFacts, VehicleState};
use rustix::time::{ClockId, clock_gettime};
use store::{AppendRefused, CommitWaiter, Identity, JournalSettings, OsDisk, Settings, Store, World};

const CONNECTIONS: usize = 50;
const WINDOW: usize = 16;
const ROUNDS: usize = 250;
const FRAME_BYTES: usize = 576;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(clock_gettime(ClockId::Realtime).tv_sec)
    }

    fn monotonic(&self) -> Duration {
        read(ClockId::Monotonic)
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        SystemRandom::new().fill(buffer).expect("the system has randomness");
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("below a second"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: journal_cost FOLDER")?);
    let world =
        World { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), disk: Arc::new(OsDisk) };
    let settings = Settings::default();
    let store = Store::open(&settings, &folder, &"bench-1".parse()?, &Identity::generate(), world)?;
    let vehicles: Vec<_> = (0..CONNECTIONS).map(|_| VehicleId::draw(&SystemEntropy)).collect();
    let keys: Vec<_> = vehicles.iter().map(|vehicle| (*vehicle, KeyPeriod(0))).collect();
    store.keyring().create_many(&keys)?;
    let journal = store.open_journal(
        &JournalSettings::default(),
        &"gw".parse()?,
        Box::new(|_, release| release.release()),
    )?;
    let country: Country = "CN".parse()?;
    let pack = "cn-2026.1".parse()?;
    let vin = "LRW3E7FS2RC000001".parse()?;
    let permits: Vec<_> = vehicles
        .iter()
        .map(|&id| {
            let (state, key) = (VehicleState::Active, KeyPeriod(0));
            let facts =
                VehicleFacts { id, key, country, state, iccid: None, public_key: None, erased_until: None };
            policy::admit(&Facts {
                rules: &Rules { country, require_tls: false, require_signature: false, pack },
                version: RegistryVersion(1),
                vin: &vin,
                vehicle: Some(&facts),
                transport: policy::Transport::Tls,
                via: policy::Via::Direct,
                certificate: policy::Certificate::Names(&vin),
                iccid: None,
                signature: policy::Signature::NotApplicable,
                holder: None,
            })
            .map_err(|refusal| refusal.to_string())
        })
        .collect::<Result<_, _>>()?;
    let waiters: Vec<_> = (0..CONNECTIONS).map(|_| Arc::new(CommitWaiter::new())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut frame: Vec<u8> = (0..FRAME_BYTES).map(|i| (i * i / 37) as u8).collect();
    let (cpu, wall) = (read(ClockId::ProcessCPUTime), read(ClockId::Monotonic));
    let mut appending = Duration::ZERO;
    for round in 0..ROUNDS {
        let began = read(ClockId::ProcessCPUTime);
        let mut last = Sequence(0);
        for (index, waiter) in waiters.iter().enumerate() {
            for message in 0..WINDOW {
                frame[message * 8..message * 8 + 8]
                    .copy_from_slice(&(round as u64 * index as u64).to_le_bytes());
                let frame = permits[index].frame(SystemClock.now(), Protocol::Tesla, ConnectionId(1), &frame);
                last =
                    journal.append(frame, waiter).map_err(|refused: AppendRefused| format!("{refused:?}"))?;
            }
        }
        appending += read(ClockId::ProcessCPUTime).saturating_sub(began);
        runtime.block_on(waiters[CONNECTIONS - 1].wait_durable(Sequence(last.0 - 1)));
    }
    let frames = (CONNECTIONS * WINDOW * ROUNDS) as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / frames;
    let elapsed = read(ClockId::Monotonic).saturating_sub(wall);
    let flushes = journal.stats().flushes();
    journal.close(true, Duration::from_secs(60));
    let total = read(ClockId::ProcessCPUTime).saturating_sub(cpu);
    println!(
        "{frames} frames of {FRAME_BYTES} bytes in {elapsed:?}, {} flushes, p50 <= {:?}, p99 <= {:?}",
        flushes.count, flushes.p50, flushes.p99
    );
    println!(
        "processor time a frame: append {:.2} us (a commit may run beside it); with commit and sealing {:.2} us",
        each(appending),
        each(total)
    );
    Ok(())
}
