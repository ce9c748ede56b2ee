//! `domicile bench kill-loop`: kills the center with `kill -9` at random moments under load from both protocols. After each kill the
//! ledger must verify; in the end SQL and the ledger are held against what was acknowledged: every acknowledged frame is there
//! exactly once, no frame is half there, and each lies in a batch that the ledger has an entry of.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::{Class, Event, Position, Protocol, Reading, ReadingSink, UtcMicros};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::client::{
    AckObserver, Body, Directory, Driver, Endpoint, Message, Pace, Report, Source, Speaks, Target,
};
use sim::gbt32960::LoginFacts;
use sim::load::{Numbered, NumberedKind, sent_bytes};
use sim::vehicle::vin;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::gbt32960::{CoordinateSystem, Edition, Keys};

use super::super::harness::{Ports, Server, ServerOptions, run_program};
use super::super::sim::{Wallet, summary};
use super::bookkeeping::{entered_frames, verify_ledger};
use super::chores::{self, Chores};
use super::workshop::{Workshop, pseudonym};
use crate::world::World;

/// Vehicles of each kind.
const VEHICLES_EACH: u32 = 2;
const KINDS: [NumberedKind; 3] =
    [NumberedKind::Tesla, NumberedKind::Gbt(Edition::V2016), NumberedKind::Gbt(Edition::V2025)];
/// Vehicles whose every frame is told apart.
pub(super) const NUMBERED: u32 = VEHICLES_EACH * KINDS.len() as u32;
/// Each vehicle sends so often.
const INTERVAL: Duration = Duration::from_millis(8);
/// Vehicles' counters lie so far apart that a counter names its vehicle.
const COUNTERS_EACH: u32 = 2_000_000;
/// Messages carry times of their own, one a second, from so long ago on: in the past, and younger than any term of retention.
pub(super) const HISTORY_MICROS: i64 = 5 * UtcMicros::PER_DAY;
/// The kill comes at most so long after the first ack of a round.
const KILL_AFTER_MAX: Duration = Duration::from_millis(1_500);
/// One round in so many is killed while it starts.
const KILL_AT_START_ONE_IN: u32 = 5;
const KILL_AT_START_AFTER_MAX: Duration = Duration::from_millis(400);
/// A round without an ack in this time has failed.
const ACK_TIME_MAX: Duration = Duration::from_secs(60);
/// Recovery decodes what batches hold; SQL sees it within this time.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Kill the center with kill -9 under load, again and again; hold SQL and the ledger against what was acknowledged
#[derive(clap::Args)]
pub(super) struct KillLoop {
    /// How often
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// The seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the center is made (it is deleted afterwards, unless something does not hold)
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
    /// Kill while tables are put together, rows expire and vehicles are erased: the file that libfaketime reads the clock from
    /// (FAKETIME_TIMESTAMP_FILE), which is moved on by days each round
    #[arg(long, value_name = "FILE")]
    housekeeping: Option<PathBuf>,
}

/// Every acknowledged message, by vehicle and number.
#[derive(Default)]
pub(super) struct Acked(pub(super) Mutex<HashSet<(u32, u64)>>);

impl AckObserver for Acked {
    fn acked(&self, vehicle: u32, number: u64) {
        self.0.lock().insert((vehicle, number));
    }
}

/// What SQL and the ledger say against what was acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) acked: usize,
    pub(super) present: usize,
    pub(super) missing: usize,
    pub(super) doubled: usize,
    pub(super) partial: usize,
    /// In no batch that the ledger has an entry of.
    unentered: usize,
}

/// What the kills left of the ledger.
#[derive(Debug, Default)]
struct Ledgers {
    entries: u64,
    /// Kills that left objects without their entries, which the next start enters.
    pending: u32,
}

impl KillLoop {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        let chores =
            self.housekeeping.as_ref().map(|clock| Chores::new(clock, NUMBERED, self.rounds, self.seed));
        let mut chores = chores.transpose()?;
        let more = if chores.is_some() { chores::VEHICLES } else { 0 };
        let mut workshop = Workshop::new(&self.under, NUMBERED + more, world)?;
        let start = world.clock.now().plus_micros(-HISTORY_MICROS);
        let expected = expected(start, &|class| keeps(chores.as_ref(), class))?;
        let acked = Arc::new(Acked::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = Arc::new(Report::default());
        let (stop, stopped) = watch::channel(false);
        let mut drivers = {
            let _inside = runtime.enter();
            let mut drivers = self.drivers(&workshop, start, &acked, &report, &stopped, world)?;
            if chores.is_some() {
                chores::drive(&mut drivers, &workshop, &report, &stopped, NUMBERED, world)?;
            }
            drivers
        };
        let killed = self.rounds(&workshop, &report, &mut chores, world);
        // The vehicles end without waiting for acks: what is not acknowledged now may or may not be there.
        drivers.abort_all();
        runtime.block_on(async { while drivers.join_next().await.is_some() {} });
        drop(stop);
        println!("{}", summary(&report));
        if killed.is_err() {
            workshop.keep();
            println!("The center is kept in {}.", workshop.folder.display());
        }
        let ledgers = killed?;
        let verdict = self.verdict(&workshop, &acked, &expected, chores.as_ref(), world);
        let holds = verdict.as_ref().is_ok_and(Verdict::holds);
        if !holds {
            workshop.keep();
            println!("The center is kept in {}.", workshop.folder.display());
        }
        let verdict = verdict?;
        if let Some(chores) = &chores {
            chores.tell()?;
        }
        println!(
            "{} rounds: {} frames acknowledged, {} in SQL; {} missing, {} doubled, {} half there, {} without an entry",
            self.rounds,
            verdict.acked,
            verdict.present,
            verdict.missing,
            verdict.doubled,
            verdict.partial,
            verdict.unentered
        );
        println!(
            "The ledger verified after each kill; it had {} entries after the last, and {} kills came between an object and its entry.",
            ledgers.entries, ledgers.pending
        );
        ensure!(holds, "the promise does not hold");
        println!(
            "Every acknowledged frame is in SQL exactly once{}, and no frame is half there.",
            if chores.is_some() { "" } else { " and in an entered batch" }
        );
        Ok(())
    }

    fn drivers(
        &self,
        workshop: &Workshop,
        start: UtcMicros,
        acked: &Arc<Acked>,
        report: &Arc<Report>,
        stop: &watch::Receiver<bool>,
        world: &World,
    ) -> anyhow::Result<JoinSet<()>> {
        let wallet = Wallet::open(&workshop.folder, world)?;
        let load =
            NumberedLoad { wallet: &wallet, start, acked, report, stop, seed: self.seed, directory: None };
        let mut tasks = JoinSet::new();
        for index in 0..NUMBERED {
            load.drive(&mut tasks, index, workshop.ports, world)?;
        }
        Ok(tasks)
    }

    /// Starts and kills the center so many times; every round but those killed at start must bring acks, and after each kill the
    /// ledger must verify as the center lies there.
    fn rounds(
        &self,
        workshop: &Workshop,
        report: &Report,
        chores: &mut Option<Chores>,
        world: &World,
    ) -> anyhow::Result<Ledgers> {
        let mut ledgers = Ledgers::default();
        let mut rng = StdRng::seed_from_u64(self.seed);
        for round in 1..=self.rounds {
            if let Some(chores) = chores {
                chores.next_days()?;
            }
            let mut server = serve(workshop, chores.as_ref())?;
            let at_start = rng.random_ratio(1, KILL_AT_START_ONE_IN) && round < self.rounds;
            if at_start {
                std::thread::sleep(KILL_AT_START_AFTER_MAX.mul_f64(rng.random_range(0.0..1.0)));
            } else {
                server.wait_ready(world).with_context(|| format!("round {round}"))?;
                wait_for_ack(report, world).with_context(|| {
                    format!("round {round}; the center's last words:\n{}", server.last_words())
                })?;
                match chores {
                    None => std::thread::sleep(KILL_AFTER_MAX.mul_f64(rng.random_range(0.0..1.0))),
                    Some(chores) => chores.begin(workshop, world)?,
                }
            }
            server.kill()?;
            if let Some(chores) = chores {
                chores.end()?;
            }
            let verified =
                verify_ledger(workshop, world).with_context(|| format!("after the kill of round {round}"))?;
            ensure!(
                verified.entries >= ledgers.entries,
                "round {round}: the ledger has {} entries, it had {}",
                verified.entries,
                ledgers.entries
            );
            ledgers.entries = verified.entries;
            ledgers.pending += u32::from(verified.pending > 0);
            println!(
                "round {round}: {}, acked {} so far; the ledger verifies: {} entries, {} objects wait for theirs",
                if at_start { "killed at start" } else { "killed" },
                report.counts().acked,
                verified.entries,
                verified.pending
            );
        }
        Ok(ledgers)
    }

    /// Starts the center once more, without vehicles, and asks until all that was acknowledged is there or time is over. Then it
    /// ends, and the ledger is held against what was acknowledged.
    fn verdict(
        &self,
        workshop: &Workshop,
        acked: &Acked,
        expected: &HashMap<&'static str, u64>,
        chores: Option<&Chores>,
        world: &World,
    ) -> anyhow::Result<Verdict> {
        let mut server = serve(workshop, chores)?;
        server.wait_ready(world)?;
        if let Some(chores) = chores {
            chores.finish(workshop, world)?;
        }
        let deadline = world.clock.monotonic() + RECOVERY_TIME_MAX;
        let mut last = None;
        loop {
            let csv = rows(workshop, chores)?;
            let mut verdict = judge(&csv, &acked.0.lock(), expected)?;
            // Once nothing is missing the answer must stay the same: what comes late must not come twice.
            let settled = verdict.missing == 0 && last.as_ref() == Some(&verdict);
            if settled || world.clock.monotonic() >= deadline {
                server.stop(world)?;
                verify_ledger(workshop, world).context("after the last start")?;
                // Of batches whose term is over the entries are there, and the frames are not.
                if chores.is_none() {
                    let entered = entered_frames(workshop, world)?;
                    verdict.unentered = acked.0.lock().difference(&entered).count();
                }
                return Ok(verdict);
            }
            last = Some(verdict);
            std::thread::sleep(Duration::from_secs(2));
        }
    }
}

/// Vehicles whose every frame is told apart.
pub(super) struct NumberedLoad<'a> {
    pub(super) wallet: &'a Wallet,
    /// The time of their first messages.
    pub(super) start: UtcMicros,
    pub(super) acked: &'a Arc<Acked>,
    pub(super) report: &'a Arc<Report>,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) seed: u64,
    /// Where else than to their first center they may be sent.
    pub(super) directory: Option<Arc<dyn Directory>>,
}

impl NumberedLoad<'_> {
    /// Lets a vehicle drive up to a center, again and again.
    pub(super) fn drive(
        &self,
        tasks: &mut JoinSet<()>,
        index: u32,
        ports: Ports,
        world: &World,
    ) -> anyhow::Result<()> {
        let kind = KINDS[index as usize % KINDS.len()];
        let speaks = match kind {
            NumberedKind::Tesla => Speaks::Tesla,
            NumberedKind::Gbt(edition) => Speaks::Gbt(LoginFacts::of(edition, index)),
        };
        let vin = vin(index);
        let tls = Some(self.wallet.trust()?.connector(Some(&self.wallet.credentials(&vin, world)?))?);
        let driver = Driver {
            vehicle: index,
            target: Target { endpoint: endpoint_of(index, &ports), tls, source: None, vin, speaks },
            pace: Pace::Every(INTERVAL),
            directory: self.directory.clone(),
            outages: None,
            report: self.report.clone(),
            observer: Some(self.acked.clone()),
            clock: world.clock.clone(),
            seed: self.seed ^ u64::from(index),
        };
        let source = Box::new(Numbered::new(vin, self.start, first_counter(index), kind, 0));
        let stop = self.stop.clone();
        tasks.spawn(async move {
            driver.run(source, stop).await;
        });
        Ok(())
    }
}

impl Verdict {
    pub(super) fn holds(&self) -> bool {
        self.acked > 0 && (self.missing, self.doubled, self.partial, self.unentered) == (0, 0, 0, 0)
    }
}

/// Where a vehicle connects to at a center.
pub(super) fn endpoint_of(index: u32, ports: &Ports) -> Endpoint {
    let port = match KINDS[index as usize % KINDS.len()] {
        NumberedKind::Tesla => ports.tesla,
        NumberedKind::Gbt(_) => ports.gbt_tls,
    };
    Endpoint::at(ports.at(port))
}

fn serve(workshop: &Workshop, chores: Option<&Chores>) -> anyhow::Result<Server> {
    let Some(chores) = chores else { return workshop.serve(Some(true)) };
    let options = ServerOptions { ports: workshop.ports, lake: Some(true), unbounded: true, log: None };
    Server::start_with(&workshop.folder, options, &chores.environment())
}

/// Whether readings of a class are there to the end: without chores nothing is over its term.
fn keeps(chores: Option<&Chores>, class: Class) -> bool {
    chores.is_none_or(|chores| chores.keeps(class))
}

fn first_counter(index: u32) -> u32 {
    (index + 1) * COUNTERS_EACH
}

/// The signals that carry the counter, with what makes a whole number of their value again.
pub(super) fn counters() -> [(&'static str, &'static str, f64); 2] {
    let tesla = wire::catalogue::tesla_by_name("LifetimeEnergyUsed")
        .map_or("", |entry| wire::catalogue::info(entry.entry.signal).path);
    // GB/T counts distance in tenths of a kilometre, VSS in metres.
    [("tesla", tesla, 100.0), ("gbt32960", "Vehicle.TraveledDistance", 0.01)]
}

/// A row a frame, as [`sql`] asks for them. Vehicle by vehicle, because counting different signals takes memory for each frame.
fn rows(workshop: &Workshop, chores: Option<&Chores>) -> anyhow::Result<String> {
    rows_of(&workshop.folder, chores)
}

/// As [`rows`], of a center in a folder.
pub(super) fn rows_of(folder: &Path, chores: Option<&Chores>) -> anyhow::Result<String> {
    let ask = |sql: &str| run_program(&["query", sql, "--format", "csv"], folder);
    let mut rows = String::new();
    for index in 0..NUMBERED {
        let csv = ask(&sql(&pseudonym(folder, &vin(index))?, chores))?;
        // One line of names is enough.
        let (names, some) = csv.split_once('\n').context("the answer has no line of names")?;
        if rows.is_empty() {
            rows = format!("{names}\n");
        }
        rows.push_str(some);
    }
    Ok(rows)
}

/// The frames of a vehicle: source, counter, rows, different signals; without what is over its term.
fn sql(vehicle: &str, chores: Option<&Chores>) -> String {
    let is_counter =
        counters().map(|(source, path, _)| format!("(source = '{source}' and signal = '{path}')"));
    let over = chores.map(|chores| chores::paths(|class| !chores.keeps(class)));
    let kept = over.map(|paths| format!(" and signal not in ({paths})")).unwrap_or_default();
    format!(
        "select source, max(case when {} then value end) as counter, count(*) as readings, \
         count(distinct signal) as signals from signals where vehicle = '{vehicle}'{kept} group by source, time",
        is_counter.join(" or ")
    )
}

/// How many rows that are kept a frame of each source becomes, as the decoder says: all frames of a source have the same.
pub(super) fn expected(
    start: UtcMicros,
    keeps: &dyn Fn(Class) -> bool,
) -> anyhow::Result<HashMap<&'static str, u64>> {
    struct Count<'a>(u64, &'a dyn Fn(Class) -> bool);
    impl ReadingSink for Count<'_> {
        fn reading(&mut self, reading: Reading<'_>) {
            self.0 += u64::from((self.1)(wire::catalogue::info(reading.signal).class));
        }
        fn position(&mut self, _: Position) {}
        fn event(&mut self, _: Event<'_>) {}
    }
    let mut expected = HashMap::new();
    for kind in KINDS {
        let now = start.plus_micros(UtcMicros::PER_DAY);
        let message: Message =
            Numbered::new(vin(0), start, first_counter(0), kind, 0).next(now).context("a first message")?;
        let protocol = match message.body {
            Body::Tesla { .. } => Protocol::Tesla,
            Body::Gbt { .. } => Protocol::Gbt32960,
        };
        let mut context = wire::Context::new(Keys::default(), CoordinateSystem::Wgs84);
        let mut count = Count(0, keeps);
        wire::decode(protocol, &sent_bytes(vin(0), &message), now, &mut context, &mut count)?;
        let known = expected.insert(protocol_and_edition(kind), count.0);
        ensure!(known.is_none(), "each kind is counted once");
    }
    Ok(expected)
}

/// The source as tables name it, and for GB/T the edition too, because the editions' frames become different numbers of rows.
fn protocol_and_edition(kind: NumberedKind) -> &'static str {
    match kind {
        NumberedKind::Tesla => "tesla",
        NumberedKind::Gbt(Edition::V2016) => "gbt32960-2016",
        NumberedKind::Gbt(Edition::V2025) => "gbt32960-2025",
    }
}

/// Judges the rows of [`sql`].
pub(super) fn judge(
    csv: &str,
    acked: &HashSet<(u32, u64)>,
    expected: &HashMap<&'static str, u64>,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict { acked: acked.len(), ..Verdict::default() };
    let mut present = HashSet::new();
    for line in csv.lines().skip(1).filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let [source, counter, readings, signals] = fields[..] else {
            anyhow::bail!("`domicile query` answers another row than was asked for: {line}");
        };
        let (readings, signals): (u64, u64) = (readings.parse()?, signals.parse()?);
        let Some((vehicle, number, kind)) = frame_of(source, counter)? else {
            verdict.partial += 1;
            continue;
        };
        let whole = expected.get(protocol_and_edition(kind)).copied().unwrap_or_default();
        if signals < whole {
            verdict.partial += 1;
        } else if readings > whole || !present.insert((vehicle, number)) {
            verdict.doubled += 1;
        }
        present.insert((vehicle, number));
    }
    verdict.present = present.len();
    verdict.missing = acked.iter().filter(|frame| !present.contains(*frame)).count();
    Ok(verdict)
}

/// The vehicle, number and kind of the frame that a counter belongs to; `None` where the rows have no counter.
pub(super) fn frame_of(source: &str, counter: &str) -> anyhow::Result<Option<(u32, u64, NumberedKind)>> {
    let Some((_, _, scale)) = counters().into_iter().find(|(name, _, _)| *name == source) else {
        return Ok(None);
    };
    if counter.is_empty() {
        return Ok(None);
    }
    let counter = (counter.parse::<f64>()? * scale).round() as u64;
    let each = u64::from(COUNTERS_EACH);
    let vehicle = u32::try_from((counter / each).saturating_sub(1))?;
    Ok(Some((vehicle, counter % each, KINDS[vehicle as usize % KINDS.len()])))
}

/// Waits until one more message is acknowledged.
pub(super) fn wait_for_ack(report: &Report, world: &World) -> anyhow::Result<()> {
    let before = report.counts().acked;
    let deadline = world.clock.monotonic() + ACK_TIME_MAX;
    while report.counts().acked == before {
        ensure!(world.clock.monotonic() < deadline, "no ack in {} s", ACK_TIME_MAX.as_secs());
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{Verdict, judge};

    const HEAD: &str = "source,counter,readings,signals\n";

    fn verdict(rows: &str) -> Verdict {
        let acked = HashSet::from([(0, 1), (0, 2)]);
        let expected = HashMap::from([("tesla", 20)]);
        judge(&format!("{HEAD}{rows}"), &acked, &expected).expect("rows of the right form")
    }

    #[test]
    fn what_is_missing_doubled_or_half_there_is_found() {
        let whole = "tesla,20000.01,20,20\ntesla,20000.02,20,20\n";
        assert!(verdict(whole).holds());
        assert!(
            verdict(&format!("{whole}tesla,20000.03,20,20\n")).holds(),
            "what was not acknowledged may be there"
        );
        assert_eq!(verdict("tesla,20000.01,20,20\n").missing, 1);
        assert_eq!(verdict("tesla,20000.01,40,20\ntesla,20000.02,20,20\n").doubled, 1);
        assert_eq!(verdict(&format!("{whole}tesla,20000.02,20,20\n")).doubled, 1);
        assert_eq!(verdict(&format!("{whole}tesla,20000.03,19,19\n")).partial, 1);
        assert_eq!(verdict(&format!("{whole}tesla,,3,3\n")).partial, 1);
        assert!(!Verdict { unentered: 1, ..verdict(whole) }.holds(), "each has its entry");
    }
}
