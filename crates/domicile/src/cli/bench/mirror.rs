//! `domicile bench mirror`: what it costs to acknowledge from two centers and to hold a copy: acknowledgements beside those of one center, the
//! copying threads' CPU beside the source's, how far the copy is behind, and how fast a whole copy is made anew, beside `cp` of the same files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};
use sim::vehicle::vin;

use super::super::client::{Client as Asking, converse};
use super::super::country::{Country, Site};
use super::super::harness;
use super::ingest::{rest, rounded};
use super::workshop::{Client, Workshop};
use super::{Format, disk, process};
use crate::api::centers::CentersView;
use crate::world::World;

/// Centers seal a batch after at most 10 s, and the copy has it soon after.
const SEALING_TIME: Duration = Duration::from_secs(12);
/// How often it is looked how far both are.
const LOOK_TIME: Duration = Duration::from_millis(20);
/// A copy must be whole within this time.
const COPY_TIME_MAX: Duration = Duration::from_secs(600);
/// What the names of the copying threads begin with.
const MIRROR_THREADS: &str = "mirror-";

/// Measure two centers: acknowledgements from both, the CPU and the lag of the copy, and how fast a copy is made anew
#[derive(clap::Args)]
pub(super) struct Mirror {
    /// Connections, one vehicle each
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Messages that are measured, all connections together
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Messages in flight on each connection
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 576)]
    size: usize,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the centers are made (they are deleted afterwards): the disk that counts
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
}

/// A load's own figures, and the CPU of the center that it went to.
struct Loaded {
    acked: f64,
    seconds: f64,
    p50: f64,
    p99: f64,
    cpu: Duration,
}

impl Mirror {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        harness::raise_file_limit()?;
        let flushes = disk::measure(&self.under, world)?;
        let alone = self.alone(world)?;
        let mut figures = json!({});
        Country::on_loopback(&self.under, world)?.with(|country| {
            figures = self.two(country, &alone, world)?;
            Ok(())
        })?;
        let millis = |time: Duration| rounded(time.as_secs_f64() * 1_000.0);
        figures["disk_flush_ms_p50"] = millis(flushes.p50).into();
        figures["disk_flush_ms_p99"] = millis(flushes.p99).into();
        match self.format {
            Format::Json => println!("{figures}"),
            Format::Text => println!("{figures:#}"),
        }
        Ok(())
    }

    /// The same load at one center that nobody copies.
    fn alone(&self, world: &World) -> anyhow::Result<Loaded> {
        let workshop = Workshop::new(&self.under, self.connections, world)?;
        let mut server = workshop.serve(Some(true))?;
        server.wait_ready(world)?;
        let loaded = self.load(&workshop.folder, workshop.ports.tesla, server.pid(), world, || Ok(()))?;
        server.stop(world)?;
        Ok(loaded)
    }

    fn two(&self, country: &mut Country, alone: &Loaded, world: &World) -> anyhow::Result<Value> {
        let lines: String = (0..self.connections).map(|index| format!("{},CN\n", vin(index))).collect();
        country.begin(&format!("vin,country\n{lines}"), world)?;
        country.join(&[1], &vin(self.connections - 1), world)?;
        let pid = |site: &Site| site.server.as_ref().map(harness::Server::pid).context("it serves");
        let (first, second) = (pid(&country.sites[0])?, pid(&country.sites[1])?);
        let mut mirror = Duration::ZERO;
        let watch = Watch::begin(&country.sites, world)?;
        let folder = country.sites[0].folder.clone();
        let port = country.sites[0].ports.tesla;
        let loaded = self.load(&folder, port, first, world, || {
            mirror = process::cpu_of_threads(second, MIRROR_THREADS)?;
            Ok(())
        })?;
        let mirror = process::cpu_of_threads(second, MIRROR_THREADS)?.saturating_sub(mirror);
        let mut lags = watch.end()?;
        lags.sort_unstable();
        ensure!(!lags.is_empty(), "the source entered nothing");
        let lag = |part: usize| lags[(lags.len() * part / 100).min(lags.len() - 1)].as_secs_f64();
        let (bytes, anew, copied) = self.copy_anew(country, world)?;
        let each = |time: Duration, loaded: &Loaded| rounded(time.as_secs_f64() * 1e6 / loaded.acked);
        let mib = |time: Duration| rounded(bytes as f64 / f64::from(1 << 20) / time.as_secs_f64());
        Ok(json!({
            "acked": loaded.acked,
            "messages_per_second": (loaded.acked / loaded.seconds).round(),
            "messages_per_second_alone": (alone.acked / alone.seconds).round(),
            "ack_ms_p50": rounded(loaded.p50),
            "ack_ms_p99": rounded(loaded.p99),
            "ack_ms_p50_alone": rounded(alone.p50),
            "ack_ms_p99_alone": rounded(alone.p99),
            "source_cpu_us_per_message": each(loaded.cpu, &loaded),
            "source_cpu_us_per_message_alone": each(alone.cpu, alone),
            "mirror_cpu_us_per_message": each(mirror, &loaded),
            "mirror_cpu_percent_of_source_alone": rounded(
                mirror.as_secs_f64() / loaded.acked * 100.0 / (alone.cpu.as_secs_f64() / alone.acked)
            ),
            "lag_s_p50": rounded(lag(50)),
            "lag_s_p99": rounded(lag(99)),
            "lags": lags.len(),
            "copy_mib": rounded(bytes as f64 / f64::from(1 << 20)),
            "copy_anew_s": rounded(anew.as_secs_f64()),
            "copy_anew_mib_per_s": mib(anew),
            "cp_mib_per_s": mib(copied),
            "copy_anew_of_cp": rounded(copied.as_secs_f64() / anew.as_secs_f64()),
        }))
    }

    /// Lets a load go; `begins` is called once it is warm. CPU is counted until the center is at rest again.
    fn load(
        &self,
        folder: &Path,
        port: u16,
        pid: Pid,
        world: &World,
        begins: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Loaded> {
        let warm_up = (self.messages / 10).max(u64::from(self.connections));
        let arguments = [
            ("--to", harness::loopback(port).to_string()),
            ("--protocol", "tesla".to_owned()),
            ("--connections", self.connections.to_string()),
            ("--warm-up", warm_up.to_string()),
            ("--messages", self.messages.to_string()),
            ("--window", self.window.to_string()),
            ("--size", self.size.to_string()),
        ];
        let arguments: Vec<String> =
            arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let mut client = Client::start(folder, &arguments)?;
        client.report().context("connecting")?;
        client.go()?;
        client.report().context("warming up")?;
        std::thread::sleep(SEALING_TIME);
        rest(pid, world)?;
        begins()?;
        let before = process::cpu(pid)?;
        client.go()?;
        let report: Value = serde_json::from_str(&client.report()?)?;
        std::thread::sleep(SEALING_TIME);
        rest(pid, world)?;
        let cpu = process::cpu(pid)?.saturating_sub(before);
        let number =
            |name: &str| report[name].as_f64().with_context(|| format!("the load's report lacks {name}"));
        Ok(Loaded {
            acked: number("acked")?,
            seconds: number("seconds")?,
            p50: number("ack_ms_p50")?,
            p99: number("ack_ms_p99")?,
            cpu,
        })
    }

    /// The second center loses its copy of the first and makes it anew, as a center that joins does. Gives the bytes, the time that it
    /// took, and the time that `cp` and a flush take for the same files.
    fn copy_anew(&self, country: &mut Country, world: &World) -> anyhow::Result<(u64, Duration, Duration)> {
        let source = country.sites[0].name;
        let second = &mut country.sites[1];
        second.server.take().context("it serves")?.stop(world)?;
        let copy = second.folder.join("store").join(source);
        let peer = second.folder.join("copied-by-cp");
        let began = world.clock.monotonic();
        let copied = Command::new("cp").arg("-r").arg(&copy).arg(&peer).status()?;
        ensure!(
            copied.success() && Command::new("sync").arg("-f").arg(&peer).status()?.success(),
            "cp failed"
        );
        let by_cp = world.clock.monotonic().saturating_sub(began);
        let bytes = bytes_below(&peer)?;
        std::fs::remove_dir_all(&copy)?;
        std::fs::remove_dir_all(&peer)?;
        second.serve_again(world)?;
        let began = world.clock.monotonic();
        loop {
            let (entries, held) =
                (entries(&country.sites[0], world)?, held(&country.sites[1], source, world)?);
            let took = world.clock.monotonic().saturating_sub(began);
            if held >= entries {
                return Ok((bytes, took, by_cp));
            }
            ensure!(took < COPY_TIME_MAX, "the copy is not whole after {} s", took.as_secs());
            std::thread::sleep(LOOK_TIME);
        }
    }
}

fn view(folder: &Path, world: &World) -> anyhow::Result<CentersView> {
    converse(async { Asking::open(folder, world).await?.get("/api/centers").await })
}

fn entries(site: &Site, world: &World) -> anyhow::Result<u64> {
    Ok(view(&site.folder, world)?.entries)
}

fn held(site: &Site, of: &str, world: &World) -> anyhow::Result<u64> {
    let view = view(&site.folder, world)?;
    Ok(view.copies.iter().find(|copy| copy.center == of).map_or(0, |copy| copy.held))
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Looks how far the source's log and the copy are, on a thread of its own.
struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Duration>>>,
}

impl Watch {
    fn begin(sites: &[Site], world: &World) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, world) = (is_over.clone(), world.clone());
        let (source, copy, name) = (sites[0].folder.clone(), sites[1].folder.clone(), sites[0].name);
        let watching = move || {
            let (mut waiting, mut lags, mut known) = (Vec::new(), Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                let entries = view(&source, &world)?.entries;
                if entries > known {
                    waiting.push((entries, world.clock.monotonic()));
                    known = entries;
                }
                let copies = view(&copy, &world)?.copies;
                let held = copies.iter().find(|copy| copy.center == name).map_or(0, |copy| copy.held);
                let now = world.clock.monotonic();
                lags.extend(
                    waiting
                        .iter()
                        .filter(|(entries, _)| *entries <= held)
                        .map(|(_, at)| now.saturating_sub(*at)),
                );
                waiting.retain(|(entries, _)| *entries > held);
                std::thread::sleep(LOOK_TIME);
            }
            Ok(lags)
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(watching)?;
        Ok(Self { is_over, thread })
    }

    fn end(self) -> anyhow::Result<Vec<Duration>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("looking at the centers failed"))?
    }
}
