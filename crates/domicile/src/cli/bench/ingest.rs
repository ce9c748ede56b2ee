//! `domicile bench ingest`: messages a second, ack latency and what the server's process costs for each.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;
use serde_json::{Value, json};

use super::super::harness;
use super::disk::{self, Flushes};
use super::process;
use super::workshop::{Client, Workshop};
use super::{Format, Protocol};
use crate::world::World;

/// The center seals a batch after 10 s and writes tables then; what that costs belongs to the messages.
const SEALING_TIME: Duration = Duration::from_secs(11);
/// The server is at rest when it uses less than this in a second.
const REST_CPU: Duration = Duration::from_millis(20);
const REST_TIME_MAX: Duration = Duration::from_secs(60);
/// The journal's commit interval, a default that the benchmark leaves as it is.
const COMMIT_INTERVAL: Duration = Duration::from_millis(10);

/// Measure acknowledged messages: rate, ack latency, CPU of the server's process
#[derive(clap::Args)]
pub(super) struct Ingest {
    /// Connections, one vehicle each
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Messages that are measured, all connections together
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Messages in flight on each connection
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// What the load speaks
    #[arg(long, value_enum, default_value = "tesla")]
    protocol: Protocol,
    /// Bytes of a message [default: 576, and 500 with gbt32960]
    #[arg(long)]
    size: Option<usize>,
    /// Whether the server also writes tables
    #[arg(long, value_enum, default_value = "off")]
    lake: Switch,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the center of the measurement is made (it is deleted afterwards): the disk that counts
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    /// Tables are written
    On,
    /// A pure gateway
    Off,
}

/// What the names of the ledger's threads begin with.
const LEDGER_THREADS: &str = "ledger-";

impl Ingest {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        harness::raise_file_limit()?;
        let lake = self.lake == Switch::On;
        let size = self.size.unwrap_or(match self.protocol {
            Protocol::Tesla => 576,
            Protocol::Gbt32960 => 500,
        });
        let workshop = Workshop::new(&self.under, self.connections, world)?;
        let flushes = disk::measure(&workshop.folder, world)?;
        let mut server = workshop.serve(Some(lake))?;
        server.wait_ready(world)?;
        let mut client = Client::start(&workshop.folder, &self.load(&workshop, size))?;
        let pid = server.pid();
        client.report().context("connecting")?;
        client.go()?;
        client.report().context("warming up")?;
        std::thread::sleep(SEALING_TIME);
        rest(pid, world)?;
        let before = process::cpu(pid)?;
        let ledger_before = process::cpu_of_threads(pid, LEDGER_THREADS)?;
        client.go()?;
        let load: Value = serde_json::from_str(&client.report()?)?;
        let until_last_ack = process::cpu(pid)?.saturating_sub(before);
        std::thread::sleep(SEALING_TIME);
        rest(pid, world)?;
        let with_sealing = process::cpu(pid)?.saturating_sub(before);
        let ledger = process::cpu_of_threads(pid, LEDGER_THREADS)?.saturating_sub(ledger_before);
        let (_, peak_kib) = process::memory_kib(pid)?;
        client.go()?;
        drop(client);
        server.stop(world)?;
        self.print(&self.figures(&load, size, flushes, [until_last_ack, with_sealing, ledger], peak_kib)?)
    }

    fn load(&self, workshop: &Workshop, size: usize) -> Vec<String> {
        let (port, protocol) = match self.protocol {
            Protocol::Tesla => (workshop.ports.tesla, "tesla"),
            Protocol::Gbt32960 => (workshop.ports.gbt, "gbt32960"),
        };
        let warm_up = (self.messages / 10).max(u64::from(self.connections));
        let arguments = [
            ("--to", harness::loopback(port).to_string()),
            ("--protocol", protocol.to_owned()),
            ("--connections", self.connections.to_string()),
            ("--warm-up", warm_up.to_string()),
            ("--messages", self.messages.to_string()),
            ("--window", self.window.to_string()),
            ("--size", size.to_string()),
        ];
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    fn figures(
        &self,
        load: &Value,
        size: usize,
        flushes: Flushes,
        cpu: [Duration; 3],
        peak_kib: u64,
    ) -> anyhow::Result<Value> {
        let number =
            |name: &str| load[name].as_f64().with_context(|| format!("the load's report lacks {name}"));
        let (seconds, acked) = (number("seconds")?, number("acked")?);
        let (p50, p99) = (number("ack_ms_p50")?, number("ack_ms_p99")?);
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let micros_each = |time: Duration| rounded(time.as_secs_f64() * 1e6 / acked);
        let p50_limit = (5.0 * millis(flushes.p50)).max(millis(COMMIT_INTERVAL) + 3.0 * millis(flushes.p50));
        let p99_limit = 8.0 * millis(flushes.p99);
        Ok(json!({
            "connections": self.connections,
            "window": self.window,
            "protocol": if self.protocol == Protocol::Tesla { "tesla" } else { "gbt32960" },
            "message_bytes": size,
            "lake": self.lake == Switch::On,
            "acked": acked as u64,
            "seconds": rounded(seconds),
            "messages_per_second": (acked / seconds).round(),
            "ack_ms_p50": rounded(p50),
            "ack_ms_p99": rounded(p99),
            "server_cpu_us_per_message_until_last_ack": micros_each(cpu[0]),
            "server_cpu_us_per_message": micros_each(cpu[1]),
            "ledger_cpu_percent": rounded(cpu[2].as_secs_f64() * 100.0 / cpu[1].as_secs_f64().max(f64::EPSILON)),
            "server_peak_rss_mib": peak_kib / 1024,
            "disk_flush_ms_p50": rounded(millis(flushes.p50)),
            "disk_flush_ms_p99": rounded(millis(flushes.p99)),
            "ack_p50_limit_ms": rounded(p50_limit),
            "ack_p99_limit_ms": rounded(p99_limit),
            "ack_p50_of_limit": rounded(p50 / p50_limit),
            "ack_p99_of_limit": rounded(p99 / p99_limit),
        }))
    }

    fn print(&self, figures: &Value) -> anyhow::Result<()> {
        if self.format == Format::Json {
            println!("{figures}");
            return Ok(());
        }
        let figure = |name: &str| figures[name].to_string();
        println!(
            "{} connections × window {}, {} messages of {} bytes ({}), lake {}",
            figure("connections"),
            figure("window"),
            figure("acked"),
            figure("message_bytes"),
            figures["protocol"].as_str().unwrap_or_default(),
            if self.lake == Switch::On { "on" } else { "off" },
        );
        println!("  messages/s                       {}", figure("messages_per_second"));
        println!(
            "  server CPU µs per acked message  {} (until the last ack {}; the rest is sealing and tables)",
            figure("server_cpu_us_per_message"),
            figure("server_cpu_us_per_message_until_last_ack")
        );
        println!("  ledger's threads, % of that      {}", figure("ledger_cpu_percent"));
        println!(
            "  ack ms p50                       {} (limit {}: {} of it)",
            figure("ack_ms_p50"),
            figure("ack_p50_limit_ms"),
            figure("ack_p50_of_limit")
        );
        println!(
            "  ack ms p99                       {} (limit {}: {} of it)",
            figure("ack_ms_p99"),
            figure("ack_p99_limit_ms"),
            figure("ack_p99_of_limit")
        );
        println!(
            "  disk flush ms p50 / p99          {} / {} (64 KiB append + fdatasync, preallocated)",
            figure("disk_flush_ms_p50"),
            figure("disk_flush_ms_p99")
        );
        println!("  server peak RSS MiB              {}", figure("server_peak_rss_mib"));
        Ok(())
    }
}

/// Waits until the server is at rest, so that one phase does not pay for another.
pub(super) fn rest(pid: Pid, world: &World) -> anyhow::Result<()> {
    let deadline = world.clock.monotonic() + REST_TIME_MAX;
    let mut before = process::cpu(pid)?;
    while world.clock.monotonic() < deadline {
        std::thread::sleep(Duration::from_secs(1));
        let now = process::cpu(pid)?;
        if now.saturating_sub(before) <= REST_CPU {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Two decimals.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
