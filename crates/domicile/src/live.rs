//! What the running center says of itself: the interface's view of connections, journal and store, and the gauges of `/metrics`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "lake")]
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Clock, Protocol, UtcMicros, VehicleId, Vin};
use policy::{RegistryVersion, Rules};
use store::{Health, Journal};

use crate::api::centers::{CopyView, DrillView, MissingView, ReceiptView};
use crate::api::status::{CountView, JournalView, LedgerView, LiveView, ProtocolView, StoreView};
use crate::api::vehicles::{ConnectionView, DiaryLine};
use crate::api::{Live, Problem};
use crate::bookkeeping::Bookkeeper;
use crate::charter::{Charters, State};
#[cfg(feature = "lake")]
use crate::deriving::Derivers;
use crate::drill::Drill;
use crate::erasure::Eraser;
#[cfg(feature = "lake")]
use crate::housekeeping::Chores;
use crate::ingress::connections::Nudge;
use crate::ingress::gate::Gate;
use crate::observe::{Gauges, Metrics};
use crate::peer::Others;
#[cfg(feature = "lake")]
use crate::pipeline::Progress;

/// What the interface shows of the serving center.
pub(crate) struct View {
    pub(crate) gate: Arc<Gate>,
    pub(crate) journal: Journal,
    pub(crate) metrics: Arc<Metrics>,
    /// What admission is decided by, as it stands now.
    pub(crate) rules: Box<dyn Fn() -> Rules + Send + Sync>,
    pub(crate) books: Arc<Bookkeeper>,
    pub(crate) listening: Vec<(&'static str, SocketAddr)>,
    pub(crate) started_at: UtcMicros,
    pub(crate) bytes_max: u64,
    pub(crate) others: Others,
    pub(crate) drill: Arc<Drill>,
    pub(crate) own: model::CenterName,
    pub(crate) charters: Arc<Charters>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A copy that was not known to be whole for so long is told: a center that says nothing new is asked each 10 s.
const COPY_LATE_TIME: Duration = Duration::from_secs(15);

impl Live for View {
    fn registry_changed(&self, version: RegistryVersion) {
        self.journal.raise_barrier(version);
        self.gate.connections.nudge_all(Nudge::Recheck);
    }

    fn pack_changed(&self) {
        let rules = (self.rules)();
        self.metrics.decide_by(rules.pack);
        self.gate.decide_by(rules);
        self.gate.connections.nudge_all(Nudge::Recheck);
    }

    fn copies(&self) -> (Vec<CopyView>, Vec<ReceiptView>) {
        let text = |at: UtcMicros| at.to_string();
        let copies = self.others.mirrors.views().into_iter().map(|(center, view)| CopyView {
            center: center.to_string(),
            held: view.held,
            held_at: view.held_at.map(text),
            head: view.head,
            objects: view.objects,
            bytes: view.bytes,
            problem: view.problem,
        });
        let receipts = self.others.receipts.all().into_iter().map(|(center, receipt)| ReceiptView {
            held_at: self.others.receipts.held_at(&center, &receipt).map(text),
            center: center.to_string(),
            held: receipt.size(),
        });
        (copies.collect(), receipts.collect())
    }

    fn begin_drill(&self, seconds: u32) -> Result<DrillView, Problem> {
        self.drill.begin(seconds)
    }

    fn drill(&self) -> Option<DrillView> {
        self.drill.view()
    }

    fn missing(&self) -> Vec<MissingView> {
        let (own, now) = (&self.own, self.clock.now());
        let Some(in_force) = self.charters.in_force() else { return Vec::new() };
        let views = self.others.mirrors.views();
        let others = in_force.charter.centers.iter().filter(|member| member.name != *own);
        let mut missing = Vec::new();
        for member in others.filter(|member| member.state != State::Retired) {
            let whole_at = views.get(&member.name).and_then(|view| view.whole_at);
            let is_late = |at: UtcMicros| now.since(at) > COPY_LATE_TIME && member.state.is_here();
            if whole_at.is_none_or(is_late) {
                let from = whole_at.map(|at| at.to_string());
                missing.push(MissingView { center: member.name.to_string(), from });
            }
        }
        missing
    }

    fn forget(&self, vin: &Vin) {
        self.gate.diary.forget(vin);
    }

    fn diary(&self, vin: &Vin) -> Vec<DiaryLine> {
        let line = |entry: crate::ingress::diary::Entry| {
            let mut detail = serde_json::json!({ "protocol": entry.protocol.as_str() });
            if let Some(peer) = entry.peer {
                detail["from"] = peer.to_string().into();
            }
            if let Some(connection) = entry.connection {
                detail["connection"] = connection.to_string().into();
            }
            DiaryLine {
                time: entry.time.to_string(),
                kind: entry.kind.to_owned(),
                code: entry.code.to_owned(),
                detail: detail.to_string(),
            }
        };
        self.gate.diary.of(vin).into_iter().map(line).collect()
    }

    fn connection(&self, vehicle: VehicleId) -> Option<ConnectionView> {
        let (connection, assurance) = self.gate.connections.of_vehicle(vehicle)?;
        Some(ConnectionView {
            connection: connection.id.to_string(),
            protocol: connection.protocol.as_str().to_owned(),
            assurance: assurance.as_str().to_owned(),
            peer: connection.peer.to_string(),
            since: connection.since.to_string(),
        })
    }

    fn status(&self) -> LiveView {
        let stats = self.journal.stats();
        let flushes = stats.flushes();
        let sealing = self.journal.sealing();
        let refused = self.metrics.refusals();
        LiveView {
            started_at: self.started_at.to_string(),
            connections: self.gate.connections.count() as u64,
            vehicles: self.gate.connections.vehicle_count() as u64,
            protocols: [Protocol::Tesla, Protocol::Gbt32960].map(|protocol| self.protocol(protocol)).to_vec(),
            refused: refused
                .into_iter()
                .map(|(code, count)| CountView { code: code.to_owned(), count })
                .collect(),
            journal: JournalView {
                state: health_word(&self.journal.health()).to_owned(),
                durable: self.journal.committed().borrow().0,
                bytes: stats.bytes(),
                bytes_max: self.bytes_max,
                flush_ms_p50: millis(flushes.p50),
                flush_ms_p99: millis(flushes.p99),
            },
            ledger: self.ledger(),
            store: StoreView {
                state: if sealing.failing.is_some() { "failing" } else { "healthy" }.to_owned(),
                batches: sealing.sealed,
                waiting: sealing.waiting as u64,
            },
        }
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }
}

impl View {
    fn ledger(&self) -> LedgerView {
        let status = self.books.book().ledger().status();
        let is_failing = status.failed.is_some() || self.books.failing().is_some();
        let state = match (is_failing, status.held) {
            (true, _) => "failing",
            (false, true) => "held",
            _ if self.books.is_disputed() => "disputed",
            _ => "healthy",
        };
        LedgerView {
            state: state.to_owned(),
            entries: status.size,
            published: status.published_size.unwrap_or(0),
            waiting: status.waiting as u64,
        }
    }

    fn protocol(&self, protocol: Protocol) -> ProtocolView {
        let metrics = self.metrics.of(protocol);
        let mut connections = 0;
        self.gate
            .connections
            .for_each(|connection| connections += u64::from(connection.protocol == protocol));
        let latency = metrics.ack_seconds.counts();
        let quantile = |q| latency.quantile(q).map_or(0.0, millis);
        let is_its = |name: &str| name.starts_with(protocol.as_str());
        let listening = self.listening.iter().filter(|(name, _)| is_its(name));
        ProtocolView {
            protocol: protocol.as_str().to_owned(),
            listening: listening.map(|(name, address)| format!("{name} {address}")).collect(),
            connections,
            frames: metrics.frames.get(),
            frame_bytes: metrics.frame_bytes.get(),
            acks: metrics.acks.get(),
            ack_ms_p50: quantile(0.5),
            ack_ms_p99: quantile(0.99),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How the ledger is, for `/metrics`.
pub(crate) fn ledger_gauges(books: &Bookkeeper, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let status = books.book().ledger().status();
    let is_failing = status.failed.is_some() || books.failing().is_some();
    gauges.gauge("ledger_entries", "Entries in the transparency log", status.size as f64)?;
    gauges.gauge(
        "ledger_published",
        "Entries under the published checkpoint",
        status.published_size.unwrap_or(0) as f64,
    )?;
    gauges.gauge("ledger_waiting", "Entries that wait to be committed", status.waiting as f64)?;
    gauges.gauge(
        "ledger_held",
        "1 while the log waits for a cosigner before it signs",
        f64::from(u8::from(status.held)),
    )?;
    gauges.gauge(
        "ledger_disputed",
        "1 while a witness says that it has cosigned another history of this log",
        f64::from(u8::from(books.is_disputed())),
    )?;
    gauges.gauge("ledger_failing", "1 while the log takes no entries", f64::from(u8::from(is_failing)))
}

/// How acknowledgements from two centers stand, and what was taken over from lost ones.
fn second_gauges(others: &Others, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    if let Some(second) = &others.second {
        let view = second.view();
        gauges.gauge(
            "second_center_held_sequence",
            "The frame of the journal up to which a second center has everything (ack_centers = 2)",
            view.held as f64,
        )?;
        gauges.gauge(
            "second_center_bytes_at_risk",
            "Bytes of the journal that lie in this center alone (ack_centers = 2)",
            view.bytes_at_risk as f64,
        )?;
        gauges.gauge(
            "second_center_degraded",
            "1 while frames are acknowledged from this center alone, although ack_centers is 2",
            f64::from(u8::from(view.is_degraded)),
        )?;
        gauges.gauge(
            "second_center_failing",
            "1 while no second center takes frames (ack_centers = 2)",
            f64::from(u8::from(!view.problem.is_empty())),
        )?;
    }
    gauges.counter(
        "frames_taken_over",
        "Frames that a lost center left and this one took",
        others.taken_over(),
    )
}

/// Adds gauges to `/metrics`.
pub(crate) fn copy_gauges(others: &Others, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    second_gauges(others, gauges)?;
    let views = others.mirrors.views();
    let label = |center: &model::CenterName| center.to_string();
    let rows = |value: &dyn Fn(&crate::peer::mirror::CopyView) -> f64| -> Vec<(String, f64)> {
        views.iter().map(|(center, view)| (label(center), value(view))).collect()
    };
    let mut family = |name: &str, help: &str, rows: Vec<(String, f64)>| {
        let values: Vec<_> =
            rows.iter().map(|(center, value)| ([("center", center.as_str())], *value)).collect();
        gauges.family(name, help, &values)
    };
    family(
        "mirror_held_entries",
        "Entries of another center's log up to which everything is held here",
        rows(&|view| view.held as f64),
    )?;
    family(
        "mirror_head_entries",
        "Entries of another center's log as it has shown them",
        rows(&|view| view.head as f64),
    )?;
    family(
        "mirror_fetched_bytes",
        "Bytes of objects fetched from another center since the start",
        rows(&|view| view.bytes as f64),
    )?;
    family(
        "mirror_failing",
        "1 while the copy of another center does not go on",
        rows(&|view| f64::from(u8::from(!view.problem.is_empty()))),
    )?;
    let held = others
        .receipts
        .all()
        .iter()
        .map(|(center, receipt)| (label(center), receipt.size() as f64))
        .collect();
    family(
        "mirror_receipt_entries",
        "Entries of this center's log up to which another center says that it holds everything",
        held,
    )
}

fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Failing { .. } => "failing",
        Health::Full { .. } => "full",
    }
}

/// Adds gauges to `/metrics`.
pub(crate) fn connection_gauges(gate: &Gate, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    const ASSURANCES: [&str; 5] = ["none", "claim", "platform", "signature", "certificate"];
    let mut counts = [[0_u64; ASSURANCES.len()]; 2];
    gate.connections.for_each(|connection| {
        let assurance = connection.assurance().map_or(0, |assurance| assurance as usize + 1);
        counts[usize::from(connection.protocol == Protocol::Gbt32960)][assurance] += 1;
    });
    let mut values = Vec::new();
    for (protocol, counts) in ["tesla", "gbt32960"].into_iter().zip(counts) {
        for (assurance, count) in ASSURANCES.into_iter().zip(counts) {
            values.push(([("protocol", protocol), ("assurance", assurance)], count as f64));
        }
    }
    gauges.family("connections", "Live connections, by what their identity rests on", &values)?;
    gauges.gauge(
        "vehicles_connected",
        "Vehicles that a connection holds",
        gate.connections.vehicle_count() as f64,
    )?;
    gauges.gauge(
        "connection_buffer_bytes",
        "Bytes in the buffers of all connections",
        gate.connections.held_bytes() as f64,
    )
}

/// Adds gauges to `/metrics`.
pub(crate) fn journal_gauges(journal: &Journal, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let health = journal.health();
    let states = ["healthy", "failing", "full"];
    let values = states.map(|state| ([("state", state)], f64::from(u8::from(state == health_word(&health)))));
    gauges.family("journal_state", "1 for the state that the journal is in", &values)?;
    let stats = journal.stats();
    gauges.counter("journal_frames", "Frames made durable", stats.frames())?;
    gauges.counter("journal_groups", "Groups of frames made durable", stats.groups())?;
    gauges.counter("journal_bytes", "Bytes made durable", stats.bytes())?;
    gauges.counter(
        "journal_failures",
        "Failed writes and flushes of the journal's disk",
        stats.failures(),
    )?;
    gauges.counter(
        "journal_segments_abandoned",
        "Segments left because a flush failed",
        stats.abandoned(),
    )?;
    gauges.gauge(
        "journal_frames_recovered",
        "Frames that the start found in the journal",
        stats.recovered() as f64,
    )?;
    let flushes = stats.flushes();
    let values = [([("quantile", "0.5")], flushes.p50), ([("quantile", "0.99")], flushes.p99)]
        .map(|(labels, time)| (labels, time.as_secs_f64()));
    gauges.family(
        "journal_flush_seconds",
        "How long flushes took since the start, as upper bounds",
        &values,
    )?;
    let sealing = journal.sealing();
    gauges.counter("batches_sealed", "Batches sealed", sealing.sealed)?;
    gauges.gauge("segments_waiting", "Closed segments that wait for their batch", sealing.waiting as f64)?;
    gauges.gauge(
        "store_failing",
        "1 while the store takes no batch",
        f64::from(u8::from(sealing.failing.is_some())),
    )
}

/// Adds what housekeeping did to `/metrics`.
#[cfg(feature = "lake")]
pub(crate) fn chores_gauges(chores: &Chores, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    gauges.counter("lake_maintenance_runs", "Runs of housekeeping that ended well", load(&chores.runs))?;
    gauges.counter(
        "lake_maintenance_failures",
        "Runs that failed and go on later",
        load(&chores.failures),
    )?;
    gauges.gauge(
        "lake_maintenance_failing",
        "1 while the last run failed",
        f64::from(u8::from(chores.is_failing.load(Ordering::Relaxed))),
    )?;
    gauges.gauge(
        "lake_maintenance_last_seconds",
        "When the last run ended well, in seconds since 1970; 0 for none since the start",
        chores.last_run().map_or(0.0, |at| at.0 as f64 / 1e6),
    )?;
    gauges.counter("lake_files_compacted", "Files that left a table", load(&chores.files_compacted))?;
    gauges.counter("lake_rows_compacted", "Rows read for it", load(&chores.rows_compacted))?;
    gauges.counter("lake_rows_doubled", "Rows found twice", load(&chores.rows_doubled))?;
    gauges.counter("lake_rows_expired", "Rows whose term was over", load(&chores.rows_expired))?;
    gauges.counter("lake_objects_deleted", "Objects deleted for good", load(&chores.objects_deleted))
}

/// Adds gauges to `/metrics`.
pub(crate) fn erasure_gauges(eraser: &Eraser, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let (open, overdue) = eraser.open();
    gauges.gauge("erasures_open", "Erasures that are not done", open as f64)?;
    gauges.gauge("erasures_overdue", "Open erasures whose deadline is over", overdue as f64)?;
    gauges.counter("erasure_failures", "Tries to erase that failed and are repeated", eraser.failures())
}

/// Adds gauges to `/metrics`.
#[cfg(feature = "lake")]
pub(crate) fn derived_gauges(derivers: &Derivers, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let (days, failures, is_failing) = derivers.work();
    gauges.counter("derived_days", "Days of the derived tables that were worked out", days)?;
    gauges.counter("derived_failures", "Days that could not be worked out and are tried again", failures)?;
    gauges.gauge("derived_failing", "1 while the last day failed", f64::from(u8::from(is_failing)))?;
    let behind = derivers.status().behind;
    gauges.gauge("derived_days_behind", "Days whose signals have changed since", behind as f64)
}

/// Adds gauges to `/metrics`.
#[cfg(feature = "lake")]
pub(crate) fn table_gauges(
    tables: &lake::Lake,
    progress: &Progress,
    gauges: &mut Gauges<'_, '_>,
) -> fmt::Result {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    gauges.gauge(
        "lake_running",
        "1 while the tables follow",
        f64::from(u8::from(progress.is_running.load(Ordering::Relaxed))),
    )?;
    gauges.gauge(
        "lake_failing",
        "1 while the tables can't be written",
        f64::from(u8::from(progress.is_failing.load(Ordering::Relaxed))),
    )?;
    gauges.counter("lake_failures", "Commits that failed and were repeated", load(&progress.failures))?;
    gauges.counter("rows_decoded", "Readings, positions and events decoded", load(&progress.rows))?;
    gauges.counter(
        "unknown_signals",
        "Signals and items that the catalogue doesn't know",
        load(&progress.unknown),
    )?;
    gauges.gauge("decoded_sequence", "The last frame that is decoded", load(&progress.decoded) as f64)?;
    gauges.gauge(
        "committed_sequence",
        "The last frame that is in the tables' files",
        load(&progress.committed) as f64,
    )?;
    let status = tables.status();
    let each = |value: fn(&lake::TableStatus) -> u64| {
        status.iter().map(|table| ([("table", table.table)], value(table) as f64)).collect::<Vec<_>>()
    };
    gauges.family("table_rows", "Rows in files", &each(|table| table.rows))?;
    gauges.family("table_files", "Files", &each(|table| table.files))?;
    gauges.family("table_bytes", "Bytes in files", &each(|table| table.bytes))?;
    gauges.family(
        "table_files_waiting",
        "Files that wait to be put together",
        &each(|table| table.waiting),
    )?;
    gauges.family("table_tail_rows", "Rows in no file yet", &each(|table| table.tail_rows))?;
    gauges.family(
        "table_duplicates",
        "Rows dropped since the start because they had been seen",
        &each(|table| table.duplicates),
    )
}
