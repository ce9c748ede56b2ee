//! `domicile bench query`: a month of a fleet goes in by the real protocols, housekeeping puts the tables in order, and ten questions are
//! asked of the running center and, where a peer is named, of it over the same files.

mod peer;
mod questions;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use model::UtcMicros;
use serde_json::{Value, json};
use sim::vehicle::vin;

use super::super::client::{Client as Center, Stream, converse};
use super::super::harness::{self, Server, ServerOptions};
use super::super::query::{Sink, receive};
use super::Format;
use super::ingest::{rest, rounded};
use super::process;
use super::workshop::{Client, Workshop};
use crate::api::query::Question as Asked;
use crate::api::{DoneView, LakeView, TableFilesView};
use crate::world::World;
use peer::{Peer, Task};
use questions::{About, QUESTIONS};

/// Days that are told of: as many as late data is worked into the derived tables for, with two to spare.
const DAYS: u32 = 28;
/// Between two messages of a vehicle.
const INTERVAL: Duration = Duration::from_secs(20);
/// Rows of `signals` that a message makes, about: it only chooses how long a day is told of.
const ROWS_A_MESSAGE: u64 = 26;
/// Messages in flight on each connection.
const WINDOW: usize = 4;
/// When the day's telling begins, in UTC: 8 in the morning in China.
const MORNING: i64 = 0;
/// The center seals a batch after 10 s and writes tables then.
const SEALING_TIME: Duration = Duration::from_secs(11);
/// The derived tables of a month are worked out within this time, or something is wrong.
const DERIVING_TIME_MAX: Duration = Duration::from_secs(3_600);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Places of sale.
const CITIES: u32 = 30;
/// A question may be slow on a build that is not optimised.
const QUESTION_SECONDS_MAX: u64 = 900;

/// Measure ten questions over a month of a fleet, beside another engine over the same files
#[derive(clap::Args)]
pub(super) struct Query {
    /// Rows of `signals`, about
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Vehicles; half speak Tesla's protocol, half GB/T 32960
    #[arg(long, default_value_t = 200)]
    vehicles: u32,
    /// How often each question is asked; the fastest counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// A command that answers the same questions, such as ".venv/bin/python bench/duckdb_peer.py"
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the center of the measurement is made (it is deleted afterwards): the disk that counts
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
    /// Leave the center's folder where it is
    #[arg(long)]
    keep: bool,
    /// Ask the center that an earlier run has left, with as many rows as it has
    #[arg(long, value_name = "DIR")]
    on: Option<PathBuf>,
}

impl Query {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        harness::raise_file_limit()?;
        let mut workshop = match &self.on {
            Some(folder) => Workshop::at(folder)?,
            None => Workshop::new(&self.under, self.vehicles, world)?,
        };
        if self.keep {
            workshop.keep();
            eprintln!("The center is kept in {}.", workshop.folder.display());
        }
        let mut figures = json!({ "vehicles": self.vehicles, "days": DAYS });
        if self.on.is_none() {
            self.make(&workshop, &mut figures, world)?;
        }
        // The questions meet a center that has just started, and derived tables without files that newer ones stand for.
        let mut server = serve(&workshop, world)?;
        figures["questions"] = self.ask(&workshop, server.pid(), world)?;
        server.stop(world)?;
        self.print(&figures);
        Ok(())
    }

    /// A month goes in and is put in order.
    fn make(&self, workshop: &Workshop, figures: &mut Value, world: &World) -> anyhow::Result<()> {
        self.sell(workshop)?;
        let mut server = serve(workshop, world)?;
        figures["fill"] = self.fill(workshop, server.pid(), world)?;
        figures["compact"] = compact(workshop, server.pid(), world)?;
        figures["derive"] = derive(workshop, world)?;
        server.stop(world)
    }

    /// Every vehicle was sold somewhere.
    fn sell(&self, workshop: &Workshop) -> anyhow::Result<()> {
        let mut csv = String::from("vin,sold_at,dealer,price,currency,city,contract_no,buyer_type\n");
        for index in 0..self.vehicles {
            let (month, city) = (index % 9 + 1, index % CITIES);
            writeln!(
                csv,
                "{},2025-0{month}-01,Dealer {city},200000,CNY,City {city:02},C-{index},person",
                vin(index)
            )?;
        }
        let file = workshop.folder.join("sales.csv");
        std::fs::write(&file, csv)?;
        let file = file.to_str().context("the folder's name is no UTF-8")?;
        harness::run_program(&["records", "import", "--kind", "sale", file], &workshop.folder)?;
        Ok(())
    }

    /// All vehicles tell of their month.
    fn fill(&self, workshop: &Workshop, pid: rustix::process::Pid, world: &World) -> anyhow::Result<Value> {
        let half = (self.vehicles / 2).max(1);
        let messages = self.rows / u64::from(2 * half) / ROWS_A_MESSAGE;
        let times_a_day = messages.div_ceil(u64::from(DAYS)).max(1);
        let sides = [("tesla", workshop.ports.tesla, 0), ("gbt32960", workshop.ports.gbt, half)];
        let began = world.clock.monotonic();
        let mut clients = Vec::new();
        for (protocol, port, first) in sides {
            let arguments = [
                ("--to", harness::loopback(port).to_string()),
                ("--protocol", protocol.to_owned()),
                ("--connections", half.to_string()),
                ("--first", first.to_string()),
                ("--warm-up", "0".to_owned()),
                ("--messages", u64::MAX.to_string()),
                ("--window", WINDOW.to_string()),
                ("--size", "0".to_owned()),
                ("--past-from", first_day(world).plus_micros(MORNING).0.to_string()),
                ("--days", DAYS.to_string()),
                ("--times-a-day", times_a_day.to_string()),
                ("--interval", format!("{}s", INTERVAL.as_secs())),
            ];
            let arguments: Vec<String> =
                arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            clients.push(Client::start(&workshop.folder, &arguments)?);
        }
        for client in &mut clients {
            client.report().context("connecting")?;
            client.go()?;
            client.report().context("warming up")?;
        }
        clients.iter_mut().try_for_each(Client::go)?;
        let mut acked = 0.0;
        for client in &mut clients {
            let load: Value = serde_json::from_str(&client.report()?)?;
            acked += load["acked"].as_f64().context("the load's report lacks acked")?;
        }
        let seconds = (world.clock.monotonic() - began).as_secs_f64();
        for client in &mut clients {
            client.go()?;
        }
        drop(clients);
        std::thread::sleep(SEALING_TIME);
        rest(pid, world)?;
        let signals = signals(&workshop.folder, world)?;
        Ok(json!({
            "messages": acked, "seconds": rounded(seconds), "rows": signals.rows, "files": signals.files,
            "rows_per_second": (signals.rows as f64 / seconds).round(),
            "bytes_a_row": rounded(signals.bytes as f64 / signals.rows as f64),
        }))
    }

    fn ask(&self, workshop: &Workshop, pid: rustix::process::Pid, world: &World) -> anyhow::Result<Value> {
        let folder = &workshop.folder;
        let day = first_day(world).plus_micros(i64::from(DAYS / 2) * UtcMicros::PER_DAY);
        let date = |days: i64| day.plus_micros(days * UtcMicros::PER_DAY).to_string()[..10].to_owned();
        let vehicles: Value = serde_json::from_str(&harness::run_program(
            &["query", "--format", "json", "SELECT min(vehicle) AS vehicle FROM signals"],
            folder,
        )?)?;
        let vehicle = vehicles[0]["vehicle"].as_str().context("a center without signals")?.to_owned();
        let about = About { day: date(0), next: date(1), week: date(7), vehicle };
        let mut ours = Vec::new();
        for question in &QUESTIONS {
            let sql = question.ours(&about);
            let seconds = (0..self.rounds.max(1))
                .map(|_| asked(folder, &sql, world))
                .collect::<anyhow::Result<Vec<_>>>()
                .with_context(|| question.name)?;
            ours.push(seconds.into_iter().min().unwrap_or_default().as_secs_f64());
        }
        let (_, peak_kib) = process::memory_kib(pid)?;
        let theirs = match &self.peer {
            Some(command) => Some(self.ask_peer(command, folder, &about)?),
            None => None,
        };
        let mut questions = Vec::new();
        for (place, (question, ours)) in QUESTIONS.iter().zip(&ours).enumerate() {
            let theirs = theirs.as_ref().map(|peer| &peer.questions[place]);
            if let Some(differs) = theirs.and_then(|answer| answer.differs.as_ref()) {
                anyhow::bail!("{}: the answers differ: {differs}", question.name);
            }
            let theirs = theirs.map(|answer| answer.seconds);
            questions.push(json!({
                "question": question.name, "ours_ms": millis(*ours), "peer_ms": theirs.map(millis),
                "ratio": theirs.map(|theirs| rounded(ours / theirs)),
            }));
        }
        let total: f64 = ours.iter().sum();
        let peer_total: Option<f64> =
            theirs.as_ref().map(|peer| peer.questions.iter().map(|answer| answer.seconds).sum());
        Ok(json!({
            "each": questions, "ours_ms": millis(total), "peer_ms": peer_total.map(millis),
            "ratio": peer_total.map(|theirs| rounded(total / theirs)),
            "peer": theirs.map(|peer| peer.version), "server_peak_rss_mib": peak_kib / 1024,
        }))
    }

    fn ask_peer(&self, command: &str, folder: &std::path::Path, about: &About) -> anyhow::Result<Peer> {
        let copies = folder.join("copies");
        let out = copies.join("sales");
        let out = out.to_str().context("the folder's name is no UTF-8")?;
        // An earlier run on this center has left its copies.
        if copies.exists() {
            std::fs::remove_dir_all(&copies)?;
        }
        std::fs::create_dir_all(&copies)?;
        harness::run_program(
            &["lake", "export-files", "--table", "sales", "--role", "officer", "--out", out],
            folder,
        )?;
        let mut questions = Vec::new();
        for question in &QUESTIONS {
            let rows = harness::run_program(&["query", "--format", "json", &question.ours(about)], folder)?;
            let rows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&rows)?;
            let rows: Vec<Vec<Value>> =
                rows.into_iter().map(|row| row.into_iter().map(|(_, cell)| cell).collect()).collect();
            questions.push(json!({ "name": question.name, "sql": question.duckdb(about), "rows": rows }));
        }
        let task = Task {
            lake: folder.join("store/bench-1/lake"),
            derived: folder.join("derived"),
            copies,
            threads: std::thread::available_parallelism()?.get(),
            rounds: self.rounds.max(1),
            questions,
        };
        peer::ask(command, &task)
    }

    fn print(&self, figures: &Value) {
        if self.format == Format::Json {
            println!("{figures}");
            return;
        }
        if self.on.is_none() {
            print_made(figures);
        }
        let asked = &figures["questions"];
        let peer = asked["peer"].as_str().map_or("peer", |_| "peer ms");
        println!("{:<34} {:>10} {:>10} {:>6}", "", "ours ms", peer, "ratio");
        for row in asked["each"].as_array().into_iter().flatten() {
            line(row["question"].as_str().unwrap_or_default(), row);
        }
        line("all", asked);
        println!("server peak RSS {} MiB; peer {}", asked["server_peak_rss_mib"], asked["peer"]);
    }
}

fn print_made(figures: &Value) {
    let (fill, compact) = (&figures["fill"], &figures["compact"]);
    println!(
        "{} rows of {} vehicles in {DAYS} days, by {} messages: {} s, {} rows/s, {} files, {} bytes a row",
        fill["rows"],
        figures["vehicles"],
        fill["messages"],
        fill["seconds"],
        fill["rows_per_second"],
        fill["files"],
        fill["bytes_a_row"],
    );
    println!(
        "put in order in {} s ({} s of CPU, {} rows/s): {} files, {} bytes a row; server peak RSS {} MiB",
        compact["seconds"],
        compact["cpu_seconds"],
        compact["rows_per_second"],
        compact["files"],
        compact["bytes_a_row"],
        compact["server_peak_rss_mib"],
    );
    println!("the derived tables worked out in {} s", figures["derive"]["seconds"]);
}

fn line(name: &str, row: &Value) {
    println!(
        "{name:<34} {:>10} {:>10} {:>6}",
        row["ours_ms"].to_string(),
        row["peer_ms"].to_string(),
        row["ratio"].to_string()
    );
}

fn millis(seconds: f64) -> f64 {
    rounded(seconds * 1_000.0)
}

/// Midnight (UTC) of the first day that is told of; the last one is over.
fn first_day(world: &World) -> UtcMicros {
    let today = world.clock.now().0.div_euclid(UtcMicros::PER_DAY);
    UtcMicros((today - i64::from(DAYS)) * UtcMicros::PER_DAY)
}

/// A center whose housekeeping waits until it is told.
fn serve(workshop: &Workshop, world: &World) -> anyhow::Result<Server> {
    let options = ServerOptions { ports: workshop.ports, lake: Some(true), unbounded: true, log: None };
    let environment = [
        ("DOMICILE_LAKE_MAINTAIN_INTERVAL_S", "0".to_owned()),
        ("DOMICILE_LAKE_QUERY_SECONDS_MAX", QUESTION_SECONDS_MAX.to_string()),
    ];
    let mut server = Server::start_with(&workshop.folder, options, &environment)?;
    server.wait_ready(world)?;
    Ok(server)
}

fn compact(workshop: &Workshop, pid: rustix::process::Pid, world: &World) -> anyhow::Result<Value> {
    let before = signals(&workshop.folder, world)?;
    let cpu = process::cpu(pid)?;
    let began = world.clock.monotonic();
    converse(async {
        let mut center = Center::open(&workshop.folder, world).await?;
        center.post::<DoneView>("/api/lake/compact", &json!({})).await
    })?;
    let seconds = (world.clock.monotonic() - began).as_secs_f64();
    let cpu = process::cpu(pid)?.saturating_sub(cpu);
    let after = signals(&workshop.folder, world)?;
    ensure!(after.rows <= before.rows, "putting files together made rows");
    let (_, peak_kib) = process::memory_kib(pid)?;
    Ok(json!({
        "seconds": rounded(seconds), "cpu_seconds": rounded(cpu.as_secs_f64()),
        "rows_per_second": (before.rows as f64 / seconds).round(), "files": after.files,
        "bytes_a_row": rounded(after.bytes as f64 / after.rows as f64), "server_peak_rss_mib": peak_kib / 1024,
    }))
}

/// Has the derived tables made anew, and waits until they are.
fn derive(workshop: &Workshop, world: &World) -> anyhow::Result<Value> {
    let began = world.clock.monotonic();
    harness::run_program(&["lake", "rebuild"], &workshop.folder)?;
    loop {
        let behind = lake(&workshop.folder, world)?.derived.behind;
        let seconds = world.clock.monotonic() - began;
        if behind == 0 {
            return Ok(json!({ "seconds": rounded(seconds.as_secs_f64()) }));
        }
        ensure!(seconds < DERIVING_TIME_MAX, "the derived tables are not worked out");
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn lake(folder: &std::path::Path, world: &World) -> anyhow::Result<LakeView> {
    converse(async { Center::open(folder, world).await?.get::<LakeView>("/api/lake").await })
}

fn signals(folder: &std::path::Path, world: &World) -> anyhow::Result<TableFilesView> {
    let lake = lake(folder, world)?;
    lake.tables.into_iter().find(|table| table.table == "signals").context("a lake without signals")
}

/// Rows are read to their end, and forgotten.
struct Forgotten;

impl Sink for Forgotten {
    fn begin(&mut self, _schema: SchemaRef) -> anyhow::Result<()> {
        Ok(())
    }

    fn rows(&mut self, _batch: RecordBatch) -> anyhow::Result<()> {
        Ok(())
    }
}

/// How long the answer to a question takes, from its sending to its last row, on a connection that is there.
fn asked(folder: &std::path::Path, sql: &str, world: &World) -> anyhow::Result<Duration> {
    converse(async {
        let mut center = Center::open(folder, world).await?;
        let began = world.clock.monotonic();
        let Stream { body, cut, .. } = center.stream("/api/query", &Asked::new(sql.to_owned())).await?;
        ensure!(cut.is_none(), "the answer was cut");
        receive(body, &mut Forgotten).await?;
        Ok(world.clock.monotonic() - began)
    })
}
