//! `domicile status`: how the center is.

use std::time::Duration;

use super::client::{Client, converse};
use super::{Folder, Format};
use crate::api::status::{LiveView, ProtocolView, StatusView};
use crate::world::World;

/// Rates are what came between two looks, so far apart.
const LOOK: Duration = Duration::from_secs(1);

/// Show what is connected, at what rates, and how the disk and the store are
#[derive(clap::Args)]
pub(crate) struct Status {
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    folder: Folder,
}

impl Status {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        converse(Client::with_tables(&folder, world, async |client| self.show(client, world).await))
    }

    async fn show(&self, client: &mut Client, world: &World) -> anyhow::Result<()> {
        let first: StatusView = client.get("/status").await?;
        if self.format == Format::Json {
            say!("{}", serde_json::to_string_pretty(&first)?);
            return Ok(());
        }
        print_center(&first);
        let Some(before) = &first.live else {
            say!("running     no; start it: domicile serve");
            print_tables(&first);
            return Ok(());
        };
        let started = world.clock.monotonic();
        tokio::time::sleep(LOOK).await;
        let now: StatusView = client.get("/status").await?;
        let seconds = world.clock.monotonic().saturating_sub(started).as_secs_f64();
        if let Some(live) = &now.live {
            print_live(before, live, seconds);
        }
        print_tables(&now);
        Ok(())
    }
}

fn print_center(view: &StatusView) {
    say!("{} of {} (Domicile {})  {}", view.center, view.country, view.version, view.time);
    say!("vehicles    {} registered, {} of them revoked", view.vehicles_registered, view.vehicles_revoked);
}

fn print_live(before: &LiveView, live: &LiveView, seconds: f64) {
    say!("running     since {}", live.started_at);
    say!("connected   {} vehicles over {} connections", live.vehicles, live.connections);
    say!("\nprotocol   connections   frames/s   acks/s   KiB/s   ack p50   p99      listening");
    for protocol in &live.protocols {
        let earlier = before.protocols.iter().find(|earlier| earlier.protocol == protocol.protocol);
        let rate = |count: fn(&ProtocolView) -> u64| {
            count(protocol).saturating_sub(earlier.map_or(0, count)) as f64 / seconds
        };
        say!(
            "{:<10} {:>11} {:>10.1} {:>8.1} {:>7.1} {:>6.1} ms {:>4.1} ms  {}",
            protocol.protocol,
            protocol.connections,
            rate(|view| view.frames),
            rate(|view| view.acks),
            rate(|view| view.frame_bytes) / 1024.0,
            protocol.ack_ms_p50,
            protocol.ack_ms_p99,
            protocol.listening.join(", "),
        );
    }
    let journal = &live.journal;
    say!(
        "\njournal     {}, {:.1} of {:.1} MiB, flush p50 {:.1} ms, p99 {:.1} ms",
        journal.state,
        journal.bytes as f64 / 1_048_576.0,
        journal.bytes_max as f64 / 1_048_576.0,
        journal.flush_ms_p50,
        journal.flush_ms_p99
    );
    say!(
        "store       {}, {} batches sealed, {} waiting",
        live.store.state,
        live.store.batches,
        live.store.waiting
    );
    say!(
        "ledger      {}, {} entries, {} of them under the published checkpoint, {} waiting",
        live.ledger.state,
        live.ledger.entries,
        live.ledger.published,
        live.ledger.waiting
    );
    for refused in live.refused.iter().filter(|refused| refused.count > 0) {
        say!("refused     {} × {}", refused.count, refused.code);
    }
}

fn print_tables(view: &StatusView) {
    if view.tables.is_empty() {
        return;
    }
    say!("\ntable        rows in files   files        MiB   newest rows   duplicates dropped");
    for table in &view.tables {
        say!(
            "{:<12} {:>13} {:>7} {:>10.1} {:>13} {:>20}",
            table.table,
            table.rows,
            table.files,
            table.bytes as f64 / 1_048_576.0,
            table.tail_rows,
            table.duplicates
        );
    }
}
