//! `domicile bench connections`: what an idle mTLS connection takes of memory, and a handshake of CPU.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::super::harness;
use super::Format;
use super::ingest::{rest, rounded};
use super::process;
use super::workshop::{Client, Workshop};
use crate::world::World;

/// Measure idle mTLS connections: memory of each, CPU of a handshake with upgrade
#[derive(clap::Args)]
pub(super) struct Connections {
    /// How many
    #[arg(long, default_value_t = 3_000)]
    count: u32,
    /// Messages that each connection then sends, to see what is left of their memory
    #[arg(long, default_value_t = 3)]
    messages_each: u32,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the center of the measurement is made (it is deleted afterwards)
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
}

impl Connections {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        let files = harness::raise_file_limit()?;
        anyhow::ensure!(
            files > u64::from(self.count) + 1_000,
            "this system lets a process open {files} files; raise it (ulimit -Hn) for {} connections",
            self.count
        );
        let workshop = Workshop::new(&self.under, self.count, world)?;
        let mut server = workshop.serve(Some(false))?;
        server.wait_ready(world)?;
        let pid = server.pid();
        rest(pid, world)?;
        let (before_kib, _) = process::memory_kib(pid)?;
        let before_cpu = process::cpu(pid)?;
        let messages = u64::from(self.count) * u64::from(self.messages_each);
        let mut client = Client::start(&workshop.folder, &self.load(&workshop, messages))?;
        client.report().context("connecting")?;
        let handshakes = process::cpu(pid)?.saturating_sub(before_cpu);
        rest(pid, world)?;
        let (idle_kib, _) = process::memory_kib(pid)?;
        client.go()?;
        client.report().context("warming up")?;
        client.go()?;
        client.report().context("talking")?;
        std::thread::sleep(Duration::from_secs(1));
        let (after_kib, peak_kib) = process::memory_kib(pid)?;
        client.go()?;
        drop(client);
        server.stop(world)?;
        let count = f64::from(self.count);
        let kib_each = |kib: u64| rounded(kib.saturating_sub(before_kib) as f64 / count);
        let figures = json!({
            "connections": self.count,
            "kib_per_idle_connection": kib_each(idle_kib),
            "kib_per_connection_after_messages": kib_each(after_kib),
            "messages_each": self.messages_each,
            "cpu_ms_per_handshake": rounded(handshakes.as_secs_f64() * 1_000.0 / count),
            "server_rss_mib_before": before_kib / 1024,
            "server_peak_rss_mib": peak_kib / 1024,
        });
        match self.format {
            Format::Json => println!("{figures}"),
            Format::Text => {
                println!("{} mTLS connections, one vehicle each", self.count);
                println!("  KiB per idle connection          {}", figures["kib_per_idle_connection"]);
                println!(
                    "  KiB after {} messages each        {} (with what the journal and sealing took)",
                    self.messages_each, figures["kib_per_connection_after_messages"]
                );
                println!("  CPU ms per handshake + upgrade   {}", figures["cpu_ms_per_handshake"]);
                println!("  server peak RSS MiB              {}", figures["server_peak_rss_mib"]);
            }
        }
        Ok(())
    }

    fn load(&self, workshop: &Workshop, messages: u64) -> Vec<String> {
        let arguments = [
            ("--to", harness::loopback(workshop.ports.tesla).to_string()),
            ("--protocol", "tesla".to_owned()),
            ("--connections", self.count.to_string()),
            ("--warm-up", "0".to_owned()),
            ("--messages", messages.to_string()),
            ("--window", "1".to_owned()),
            ("--size", "576".to_owned()),
        ];
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}
