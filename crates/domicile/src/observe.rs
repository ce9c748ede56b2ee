//! What can be seen from outside: logs and metrics. No VIN, coordinate or token in either: a label's value comes from a closed
//! set, and logs name connections.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Protocol;
use parking_lot::Mutex;
use policy::PackVersion;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line, for machines.
    Json,
}

/// Starts writing logs to standard error; `filter` as `tracing-subscriber` reads it (`info`, `domicile=debug,warn`).
/// Does nothing where logs are written already.
pub(crate) fn start_logs(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _already_started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// One label, whose values are fixed in this program's text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Labels<const N: usize>([(&'static str, &'static str); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// The counters of one protocol, resolved once so that a frame costs no lookup.
#[derive(Clone, Debug)]
pub(crate) struct ProtocolMetrics {
    /// Frames taken into the journal.
    pub(crate) frames: Counter,
    /// Their bytes.
    pub(crate) frame_bytes: Counter,
    /// Acknowledgements sent, each after its frame was durable.
    pub(crate) acks: Counter,
    /// Bytes skipped until the next frame began.
    pub(crate) skipped_bytes: Counter,
    /// Connections accepted.
    pub(crate) opened: Counter,
    /// From reading a frame's last byte to handing its acknowledgement to the socket.
    pub(crate) ack_seconds: Latency,
}

/// What was refused and is not in the ledger yet. At most as many kinds as there are packs, protocols and reasons in a minute.
#[derive(Default)]
struct Refusals {
    /// The pack in force; none before the center has opened its own, when nobody is refused yet.
    pack: Option<PackVersion>,
    counts: BTreeMap<(Option<PackVersion>, Protocol, &'static str), u64>,
}

/// All counters of the program.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    tesla: ProtocolMetrics,
    gbt32960: ProtocolMetrics,
    refused: Family<Labels<2>, Counter>,
    /// The same over all protocols, for the status.
    refused_by_code: Mutex<BTreeMap<&'static str, u64>>,
    refusals: Mutex<Refusals>,
    rejected: Family<Labels<2>, Counter>,
    closed: Family<Labels<2>, Counter>,
    handshake_failures: Family<Labels<2>, Counter>,
    #[cfg(feature = "lake")]
    decode_errors: Family<Labels<1>, Counter>,
    gbt32960_checksums: Family<Labels<1>, Counter>,
    /// Times that a connection stopped reading because the journal was full or failing.
    pub(crate) journal_pauses: Counter,
    /// Times that a connection stopped reading because it sent more than it may.
    pub(crate) rate_pauses: Counter,
    /// Certificates read anew from their files.
    pub(crate) tls_reloads: Counter,
    /// Changed certificate files that were of no use.
    pub(crate) tls_reload_failures: Counter,
    /// Connections that could not be accepted because the system gave no descriptor.
    pub(crate) accept_failures: Counter,
}

impl Metrics {
    /// All counters at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("domicile");
        let (tesla, gbt32960) = protocols(&mut registry);
        let mut family = |name, help| {
            let family = Family::<Labels<2>, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let refused = family("refused", "Connections, logins and frames refused, by reason");
        let rejected = family("frames_rejected", "Frames not taken, by reason");
        let closed = family("connections_closed", "Connections that ended, by reason");
        let handshake_failures = family("handshake_failures", "Connections that never identified themselves");
        let mut family = |name, help| {
            let family = Family::<Labels<1>, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        #[cfg(feature = "lake")]
        let decode_errors = family("decode_errors", "Stored frames that could not be decoded");
        let gbt32960_checksums =
            family("gbt32960_checksums", "Encrypted GB/T 32960 frames, by what their check code covers");
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            journal_pauses: counter("journal_pauses", "Reads paused because the journal takes nothing"),
            rate_pauses: counter("rate_pauses", "Reads paused because a vehicle sends more than it may"),
            tls_reloads: counter("tls_reloads", "Certificates read anew from their files"),
            tls_reload_failures: counter("tls_reload_failures", "Changed certificate files of no use"),
            accept_failures: counter("accept_failures", "Connections that the system could not accept"),
            registry: Mutex::new(registry),
            tesla,
            gbt32960,
            refused,
            refused_by_code: Mutex::default(),
            refusals: Mutex::default(),
            rejected,
            closed,
            handshake_failures,
            #[cfg(feature = "lake")]
            decode_errors,
            gbt32960_checksums,
        }
    }

    /// The counters of a protocol.
    pub(crate) fn of(&self, protocol: Protocol) -> &ProtocolMetrics {
        match protocol {
            Protocol::Gbt32960 => &self.gbt32960,
            _ => &self.tesla,
        }
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, protocol: Protocol, reason: &'static str) {
        self.refused.get_or_create(&two(protocol, reason)).inc();
        *self.refused_by_code.lock().entry(reason).or_default() += 1;
        let mut refusals = self.refusals.lock();
        let pack = refusals.pack;
        *refusals.counts.entry((pack, protocol, reason)).or_default() += 1;
    }

    /// From now on refusals are by this country pack.
    pub(crate) fn decide_by(&self, pack: PackVersion) {
        self.refusals.lock().pack = Some(pack);
    }

    /// The refusals since the last call, for the ledger: pack, protocol, reason, how many.
    pub(crate) fn take_refusals(&self) -> Vec<(PackVersion, Protocol, &'static str, u64)> {
        let taken = std::mem::take(&mut self.refusals.lock().counts);
        let entry = |((pack, protocol, reason), count): ((Option<PackVersion>, _, _), _)| {
            Some((pack?, protocol, reason, count))
        };
        taken.into_iter().filter_map(entry).collect()
    }

    /// Refusals since the start, by reason.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused_by_code.lock().iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Counts a frame that is not taken, whoever sent it.
    pub(crate) fn rejected(&self, protocol: Protocol, reason: &'static str) {
        self.rejected.get_or_create(&two(protocol, reason)).inc();
    }

    /// Counts the end of a connection.
    pub(crate) fn closed(&self, protocol: Protocol, reason: &'static str) {
        self.closed.get_or_create(&two(protocol, reason)).inc();
    }

    /// Counts a connection that ended before anybody had identified himself.
    pub(crate) fn handshake_failed(&self, protocol: Protocol, reason: &'static str) {
        self.handshake_failures.get_or_create(&two(protocol, reason)).inc();
    }

    /// Counts a stored frame that could not be decoded.
    #[cfg(feature = "lake")]
    pub(crate) fn decode_failed(&self, protocol: Protocol) {
        self.decode_errors.get_or_create(&Labels([("protocol", protocol.as_str())])).inc();
    }

    /// Counts what an encrypted frame's check code covers: `encrypted` or `plain` data.
    pub(crate) fn checksum(&self, variant: &'static str) {
        self.gbt32960_checksums.get_or_create(&Labels([("variant", variant)])).inc();
    }

    /// Adds figures that are asked for when somebody looks.
    pub(crate) fn add_gauges(
        &self,
        gauges: impl Fn(&mut Gauges<'_, '_>) -> fmt::Result + Send + Sync + 'static,
    ) {
        self.registry.lock().register_collector(Box::new(Scraped(Box::new(gauges))));
    }

    /// All of it in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock()).expect("writing to a string can't fail");
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn two(protocol: Protocol, reason: &'static str) -> Labels<2> {
    Labels([("protocol", protocol.as_str()), ("reason", reason)])
}

fn protocols(registry: &mut Registry) -> (ProtocolMetrics, ProtocolMetrics) {
    let of = |registry: &mut Registry| {
        let mut family = |name, help| {
            let family = Family::<Labels<1>, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        [
            family("frames", "Frames taken into the journal"),
            family("frame_bytes", "Bytes of the frames taken into the journal"),
            family("acks", "Acknowledgements sent, each after its frame was durable"),
            family("skipped_bytes", "Bytes skipped until the next frame began"),
            family("connections_opened", "Connections accepted"),
        ]
    };
    let counters = of(registry);
    let latency = Family::<Labels<1>, Latency, NewLatency>::new_with_constructor(NewLatency);
    registry.register_with_unit(
        "ack",
        "From reading a frame's last byte to handing its acknowledgement to the socket",
        Unit::Seconds,
        latency.clone(),
    );
    let resolve = |protocol: Protocol| {
        let labels = Labels([("protocol", protocol.as_str())]);
        let [frames, frame_bytes, acks, skipped_bytes, opened] =
            counters.each_ref().map(|family| family.get_or_create(&labels).clone());
        let ack_seconds = latency.get_or_create(&labels).clone();
        ProtocolMetrics { frames, frame_bytes, acks, skipped_bytes, opened, ack_seconds }
    };
    (resolve(Protocol::Tesla), resolve(Protocol::Gbt32960))
}

#[derive(Clone, Debug)]
struct NewLatency;

impl MetricConstructor<Latency> for NewLatency {
    fn new_metric(&self) -> Latency {
        Latency::default()
    }
}

/// Upper bounds of the latency buckets, in microseconds: fine around what a disk's flush takes.
const BOUNDS_US: [u64; 19] = [
    500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000, 100_000, 150_000,
    250_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];

/// A histogram of latencies that many threads add to without a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency(Arc<LatencyCells>);

#[derive(Debug, Default)]
struct LatencyCells {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Latency {
    /// Begins a series of observations that are added together at its end.
    pub(crate) fn series(&self) -> LatencySeries<'_> {
        LatencySeries { cells: &self.0, bucket: 0, count: 0, sum_us: 0 }
    }

    /// How many observations each bucket holds now.
    pub(crate) fn counts(&self) -> LatencyCounts {
        LatencyCounts(self.0.counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Observations that come together, mostly of one bucket.
pub(crate) struct LatencySeries<'a> {
    cells: &'a LatencyCells,
    bucket: usize,
    count: u64,
    sum_us: u64,
}

impl LatencySeries<'_> {
    /// Adds one.
    pub(crate) fn observe(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        if bucket != self.bucket {
            self.store();
            self.bucket = bucket;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    fn store(&mut self) {
        if self.count > 0 {
            self.cells.counts[self.bucket].fetch_add(self.count, Ordering::Relaxed);
            self.cells.sum_us.fetch_add(self.sum_us, Ordering::Relaxed);
            self.count = 0;
            self.sum_us = 0;
        }
    }
}

impl Drop for LatencySeries<'_> {
    fn drop(&mut self) {
        self.store();
    }
}

/// A histogram at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatencyCounts([u64; BOUNDS_US.len() + 1]);

impl LatencyCounts {
    /// How many observations there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The upper bound of the bucket in which the quantile `q` (0 to 1) lies; `None` without observations, the last bound where
    /// it lies above it.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = (q * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let index = bucket.unwrap_or(BOUNDS_US.len()).min(BOUNDS_US.len() - 1);
        Some(Duration::from_micros(BOUNDS_US[index]))
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.counts().0;
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl prometheus_client::metrics::TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

/// Writes figures that are read from elsewhere at the moment of a scrape.
pub(crate) struct Gauges<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Gauges<'_, '_> {
    /// One figure without labels.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        encoder.encode_gauge(&value)
    }

    /// One that only grows; its name is written with `_total` at its end.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// Several figures under one name.
    pub(crate) fn family<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: &[([(&str, &str); N], f64)],
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            encoder.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }
}

type Scrape = dyn Fn(&mut Gauges<'_, '_>) -> fmt::Result + Send + Sync;

struct Scraped(Box<Scrape>);

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scraped")
    }
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        (self.0)(&mut Gauges(&mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Protocol;

    use super::{Latency, Metrics};

    #[test]
    fn the_text_names_what_was_counted() {
        let metrics = Metrics::new();
        metrics.of(Protocol::Tesla).frames.inc_by(3);
        metrics.of(Protocol::Tesla).ack_seconds.series().observe(Duration::from_millis(8));
        metrics.refused(Protocol::Gbt32960, "unknown_vehicle");
        metrics.add_gauges(|gauges| {
            gauges.gauge("journal_bytes", "Bytes in the journal", 5.0)?;
            gauges.family("connections", "Live ones", &[([("protocol", "tesla")], 2.0)])
        });
        let text = metrics.text();
        for line in [
            "domicile_frames_total{protocol=\"tesla\"} 3",
            "domicile_frames_total{protocol=\"gbt32960\"} 0",
            "domicile_refused_total{protocol=\"gbt32960\",reason=\"unknown_vehicle\"} 1",
            "domicile_ack_seconds_count{protocol=\"tesla\"} 1",
            "domicile_ack_seconds_bucket{le=\"0.0075\",protocol=\"tesla\"} 0",
            "domicile_ack_seconds_bucket{le=\"0.01\",protocol=\"tesla\"} 1",
            "domicile_connections{protocol=\"tesla\"} 2.0",
            "domicile_journal_bytes 5.0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn quantiles_are_upper_bounds() {
        let latency = Latency::default();
        assert_eq!(latency.counts().quantile(0.5), None);
        for _ in 0..99 {
            latency.series().observe(Duration::from_micros(400));
        }
        latency.series().observe(Duration::from_secs(100));
        let counts = latency.counts();
        assert_eq!(counts.quantile(0.5), Some(Duration::from_micros(500)));
        assert_eq!(counts.quantile(1.0), Some(Duration::from_secs(30)));
        assert_eq!(counts.total(), 100);
    }
}
