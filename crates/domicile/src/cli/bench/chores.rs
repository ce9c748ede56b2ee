//! What the center is busy with when a kill comes: putting files together, taking out what is over its term, and erasing a vehicle. Days pass
//! from round to round, so that terms end: the clock is libfaketime's, and this is who sets it. A serving center is confined and can't
//! read the file that the clock stands in, so it is started with the days in its environment.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::{Class, UtcMicros};
use policy::Pack;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::client::{Driver, Endpoint, Pace, Report, Source, Speaks, Target};
use sim::gbt32960::{GbtVehicle, LoginFacts};
use sim::tesla::{Firmware, TeslaVehicle};
use sim::vehicle::{Vehicle, vin};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::gbt32960::Edition;

use super::super::harness::{loopback, program, run_program};
use super::super::sim::Wallet;
use super::bookkeeping::verify_ledger;
use super::workshop::Workshop;
use crate::world::World;

/// The country whose terms are over.
const COUNTRY: &str = "CN";
/// Vehicles beside the numbered ones, that drive and charge; they are erased in turn, and go on sending.
pub(super) const VEHICLES: u32 = 4;
/// The rounds are spread over so many days: longer than places are kept, shorter than anything that the numbered vehicles say.
const DAYS: u32 = 300;
const DAYS_A_ROUND_MAX: u32 = 30;
/// libfaketime looks into its file this often (FAKETIME_CACHE_DURATION=1), and a little.
const CLOCK_LOOK_TIME: Duration = Duration::from_millis(1_200);
/// Each of these vehicles sends so often.
const INTERVAL: Duration = Duration::from_millis(80);
/// Rows come for so long before a chore begins.
const COLLECT_TIME: Duration = Duration::from_millis(700);
/// How long a chore takes, until one has ended by itself.
const CHORE_TIME_FIRST: Duration = Duration::from_millis(800);
const CHORE_TIME_MAX: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Every open erasure ends within this time after the last start.
const ERASURE_TIME_MAX: Duration = Duration::from_secs(120);

/// Batches are sealed this soon: an erasure waits for the one that holds the vehicle's last frames.
const BATCH_AGE: Duration = Duration::from_millis(500);

/// A chore, by what it is called.
const CHORES: [&str; 3] = ["compaction", "expiry", "erasure"];
const ERASURE: usize = 2;

/// The chores of a loop.
pub(super) struct Chores {
    clock: PathBuf,
    /// Number of the first of the vehicles that are erased.
    first: u32,
    /// Days that the clock is behind now, and how many of them a round takes.
    behind: u32,
    step: u32,
    rounds: u32,
    pack: Pack,
    rng: StdRng,
    round: usize,
    /// How long each chore took when it last ended by itself.
    took: [Duration; CHORES.len()],
    running: Option<(usize, Child)>,
    /// Kills that came while each chore was under way, and chores that had ended before the kill.
    hit: [u32; CHORES.len()],
    ended: [u32; CHORES.len()],
    /// Names in the tables of vehicles whose erasure was asked for.
    erased: Vec<(u32, String)>,
}

impl Chores {
    /// Puts the clock back, so that it can go on for so many rounds.
    pub(super) fn new(clock: &Path, first: u32, rounds: u32, seed: u64) -> anyhow::Result<Self> {
        ensure!(rounds <= DAYS, "a round is a day at least: not more than {DAYS} rounds");
        let step = (DAYS / rounds.max(1)).clamp(1, DAYS_A_ROUND_MAX);
        let country = COUNTRY.parse().context("the loop's country")?;
        let mut chores = Self {
            clock: clock.to_owned(),
            first,
            behind: step * (rounds + 1),
            step,
            rounds,
            pack: Pack::parse(Pack::builtin(country))?,
            rng: StdRng::seed_from_u64(seed ^ 0x0C40_4E50),
            round: 0,
            took: [CHORE_TIME_FIRST; CHORES.len()],
            running: None,
            hit: [0; CHORES.len()],
            ended: [0; CHORES.len()],
            erased: Vec::new(),
        };
        chores.next_days()?;
        Ok(chores)
    }

    /// Lets some days pass. No center is running: for one that is, it would be a clock that jumps.
    pub(super) fn next_days(&mut self) -> anyhow::Result<()> {
        self.behind = self.behind.saturating_sub(self.step);
        std::fs::write(&self.clock, format!("-{}d\n", self.behind))
            .with_context(|| self.clock.display().to_string())?;
        std::thread::sleep(CLOCK_LOOK_TIME);
        Ok(())
    }

    /// What the environment of a center is that is started now: its clock, and what its settings differ in. Rows expire only when a chore asks.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("FAKETIME", format!("-{}d", self.behind)),
            ("DOMICILE_STORE_BATCH_AGE_MS_MAX", BATCH_AGE.as_millis().to_string()),
            ("DOMICILE_LAKE_MAINTAIN_INTERVAL_S", "0".to_owned()),
        ]
    }

    /// Whether what is of a class outlives the rounds.
    pub(super) fn keeps(&self, class: Class) -> bool {
        self.pack.retention_days(class) > DAYS
    }

    /// Begins a chore of the running center, and comes back somewhere in it.
    pub(super) fn begin(&mut self, workshop: &Workshop, world: &World) -> anyhow::Result<()> {
        std::thread::sleep(COLLECT_TIME);
        let chore = self.round % CHORES.len();
        self.round += 1;
        let mut command = program()?;
        match CHORES[chore] {
            "compaction" => command.args(["lake", "compact"]),
            "expiry" => command.args(["lake", "expire"]),
            _ => {
                let index = self.first + (self.round as u32 / CHORES.len() as u32) % VEHICLES;
                self.erased.push((index, workshop.pseudonym(&vin(index))?));
                command.args(["subject", "erase", "--vin", vin(index).as_str(), "--why", "the kill loop"])
            }
        };
        let mut child = command
            .arg("--dir")
            .arg(&workshop.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a chore")?;
        let began = world.clock.monotonic();
        let kill_at = self.took[chore].mul_f64(self.rng.random_range(0.0..1.1));
        while world.clock.monotonic() - began < kill_at {
            if child.try_wait()?.is_some() {
                self.took[chore] = (world.clock.monotonic() - began).min(CHORE_TIME_MAX);
                break;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.running = Some((chore, child));
        Ok(())
    }

    /// The center was killed; a chore that had not ended was cut.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        let Some((chore, mut child)) = self.running.take() else { return Ok(()) };
        let ended = child.wait()?.success();
        let count = if ended { &mut self.ended[chore] } else { &mut self.hit[chore] };
        *count += 1;
        Ok(())
    }

    /// All chores once more, to their ends: nothing of what was erased may be there, and nothing that is over its term.
    pub(super) fn finish(&self, workshop: &Workshop, world: &World) -> anyhow::Result<()> {
        let folder = &workshop.folder;
        let deadline = world.clock.monotonic() + ERASURE_TIME_MAX;
        loop {
            let erasures = run_program(&["subject", "list", "--format", "json"], folder)?;
            let erasures: Vec<serde_json::Value> = serde_json::from_str(&erasures)?;
            if erasures.iter().all(|erasure| erasure["state"] == "done") {
                println!("{} erasures, all of them done", erasures.len());
                break;
            }
            ensure!(world.clock.monotonic() < deadline, "an erasure does not end");
            std::thread::sleep(Duration::from_millis(500));
        }
        run_program(&["lake", "expire"], folder)?;
        run_program(&["lake", "compact"], folder)?;
        for (index, name) in &self.erased {
            // Where the center was killed before it had taken the request the vehicle has kept its name.
            if workshop.pseudonym(&vin(*index))? == *name {
                continue;
            }
            for table in ["signals", "positions", "events", "frames", "trips", "gaps"] {
                let sql = format!("select count(*) as n from {table} where vehicle = '{name}'");
                let rows = run_program(&["query", &sql, "--format", "csv"], folder)?;
                ensure!(rows.lines().nth(1) == Some("0"), "{table} has rows of an erased vehicle: {rows}");
            }
        }
        self.check_days(workshop, world)
    }

    /// Days passed for the center, rows of long terms of all of them are there, and none of the short terms that are over.
    fn check_days(&self, workshop: &Workshop, world: &World) -> anyhow::Result<()> {
        let one = |sql: &str| -> anyhow::Result<u64> {
            let csv = run_program(&["query", sql, "--format", "csv"], &workshop.folder)?;
            Ok(csv.lines().nth(1).context("an answer without a row")?.parse()?)
        };
        let days = one("select count(distinct date_trunc('day', received_at)) as n from signals")?;
        let expired = verify_ledger(workshop, world)?.expired;
        println!(
            "rows were received on {days} different days; {expired} entries say what was destroyed when its term was over"
        );
        // Rounds that are killed while they start have no rows.
        ensure!(days * 2 > u64::from(self.rounds), "the center's clock did not move on");
        ensure!(expired > 0, "nothing was over its term");
        let today = world.clock.now();
        for class in [Class::Location, Class::Sensitive, Class::Important] {
            let term = i64::from(self.pack.retention_days(class)) * UtcMicros::PER_DAY;
            let over = format!("received_at < timestamp '{}'", today.plus_micros(-term));
            let mut old = 0;
            let paths = paths(|of| of == class);
            if !paths.is_empty() {
                old +=
                    one(&format!("select count(*) as n from signals where {over} and signal in ({paths})"))?;
            }
            if class == Class::Location {
                old += one(&format!("select count(*) as n from positions where {over}"))?;
            }
            ensure!(old == 0, "{old} rows are older than their term");
        }
        Ok(())
    }

    /// What the kills met.
    pub(super) fn tell(&self) -> anyhow::Result<()> {
        for (chore, name) in CHORES.iter().enumerate() {
            println!(
                "{name}: {} kills came while it was under way, {} after its end",
                self.hit[chore], self.ended[chore]
            );
        }
        let is_long = self.round >= 10 * CHORES.len();
        ensure!(!is_long || self.hit.iter().all(|hit| *hit > 0), "a chore was never cut");
        ensure!(self.hit.iter().sum::<u32>() > 0, "no kill came in a chore");
        ensure!(self.hit[ERASURE] + self.ended[ERASURE] > 0, "no erasure was asked for");
        Ok(())
    }
}

impl Drop for Chores {
    fn drop(&mut self) {
        if let Some((_, child)) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The signals of some classes, as a list in SQL.
pub(super) fn paths(is_meant: impl Fn(Class) -> bool) -> String {
    let meant = wire::catalogue::signals().iter().filter(|signal| is_meant(signal.class));
    let quoted: Vec<String> = meant.map(|signal| format!("'{}'", signal.path)).collect();
    quoted.join(", ")
}

/// Starts the vehicles that say where they are.
pub(super) fn drive(
    tasks: &mut JoinSet<()>,
    workshop: &Workshop,
    report: &Arc<Report>,
    stop: &watch::Receiver<bool>,
    first: u32,
    world: &World,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(&workshop.folder, world)?;
    let trust = wallet.trust()?;
    let country = COUNTRY.parse().context("the loop's country")?;
    for index in first..first + VEHICLES {
        let vin = vin(index);
        let vehicle = Vehicle::new(u64::from(index), index, country, world.clock.now());
        let (port, speaks, source): (_, _, Box<dyn Source>) = if index % 2 == 0 {
            (workshop.ports.tesla, Speaks::Tesla, Box::new(TeslaVehicle::new(vehicle, Firmware::Typed)))
        } else {
            let facts = LoginFacts::of(Edition::V2016, index);
            let source = GbtVehicle::new(vehicle, Edition::V2016, None);
            (workshop.ports.gbt_tls, Speaks::Gbt(facts), Box::new(source))
        };
        let driver = Driver {
            vehicle: index,
            target: Target {
                endpoint: Endpoint::at(loopback(port)),
                tls: Some(trust.connector(Some(&wallet.credentials(&vin, world)?))?),
                source: None,
                vin,
                speaks,
            },
            pace: Pace::Every(INTERVAL),
            directory: None,
            outages: None,
            report: report.clone(),
            observer: None,
            clock: world.clock.clone(),
            seed: u64::from(index),
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            driver.run(source, stop).await;
        });
    }
    Ok(())
}
