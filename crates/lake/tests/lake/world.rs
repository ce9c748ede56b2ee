//! A small center: a clock, a store that fails on demand, frames of which every row is known.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use lake::{
    Allowed, Answer, BatchRange, Commit, Deriver, Erased, ErasedRows, ErasureSource, Error, FrameBatch,
    FrameSource, Lake, LakeWriter, Maintenance, NoRecords, Parts, PrivateTime, QueryError, RecordSource,
    Settings, SourceError, StoredFrame, TermSource, Terms, VehicleRow, VehicleSource,
};
use model::{
    Class, Clock, ConnectionId, Datatype, Event, KeyPeriod, Position, Protocol, Quality, Reading,
    ReadingSink, Sequence, SignalId, SignalInfo, UtcMicros, VehicleId,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use parking_lot::Mutex;

/// 2026-11-23T10:00:00Z.
pub(crate) const START: UtcMicros = UtcMicros::from_seconds(1_795_428_000);

/// Sixty signals, as many as the simulated vehicles have.
pub(crate) static SIGNALS: LazyLock<Vec<SignalInfo>> = LazyLock::new(|| {
    (0..60)
        .map(|index| SignalInfo {
            path: Box::leak(format!("Vehicle.Powertrain.TractionBattery.Part{index:02}").into_boxed_str()),
            unit: "",
            datatype: Datatype::Number,
            class: match index {
                2 => Class::Location,
                4 => Class::Personal,
                _ => Class::Technical,
            },
        })
        .chain(INPUTS.into_iter().map(|path| SignalInfo {
            path,
            unit: "",
            datatype: Datatype::Number,
            class: Class::Technical,
        }))
        .collect()
});

/// The signals that derived tables are worked out from, and the number of the first of them.
const INPUTS: [&str; 6] = [
    "Vehicle.Speed",
    "Vehicle.TraveledDistance",
    "Vehicle.Powertrain.TractionBattery.CurrentVoltage",
    "Vehicle.Powertrain.TractionBattery.CurrentCurrent",
    "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
    "Vehicle.Powertrain.TractionBattery.Charging.IsCharging",
];
pub(crate) const INPUTS_FROM: u16 = 60;

/// A clock that moves when it is looked at, so that every query shows what came before it.
#[derive(Default)]
pub(crate) struct TestClock(AtomicI64, AtomicI64);

impl TestClock {
    /// Lets time pass.
    pub(crate) fn pass(&self, micros: i64) {
        self.1.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UtcMicros {
        let passed = self.1.load(Ordering::Relaxed);
        START.plus_micros(passed + self.0.fetch_add(1_000, Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1_000, Ordering::Relaxed) as u64)
    }
}

/// How a store's operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Before anything happened.
    Before,
    /// After it took effect: the caller can't know.
    After,
}

/// A store whose n-th operation fails, and all after it where `dies`.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    count: AtomicU64,
    at: u64,
    fault: Fault,
    dies: bool,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, at: u64, fault: Fault, dies: bool) -> Self {
        Self { inner, count: AtomicU64::new(0), at, fault, dies }
    }

    /// Operations so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Fault> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.at {
            Some(self.fault)
        } else {
            (self.dies && number > self.at).then_some(Fault::Before)
        }
    }

    fn error() -> object_store::Error {
        object_store::Error::Generic { store: "faulty", source: "as the test wants it".into() }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        match self.next() {
            None => self.inner.put_opts(path, payload, options).await,
            Some(Fault::Before) => Err(Self::error()),
            Some(Fault::After) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(Self::error())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        match self.next() {
            None => self.inner.get_opts(path, options).await,
            Some(_) => Err(Self::error()),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        match self.next() {
            None => self.inner.delete_stream(paths),
            Some(Fault::Before) => futures::stream::once(async { Err(Self::error()) }).boxed(),
            Some(Fault::After) => {
                let deleted = self.inner.delete_stream(paths);
                deleted.map(|deleted| deleted.and_then(|_| Err(Self::error()))).boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.next() {
            None => self.inner.list(prefix),
            Some(_) => futures::stream::once(async { Err(Self::error()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Raw frames: one batch an hour with three frames.
pub(crate) struct TestFrames {
    /// The batches read so far, and whether their bytes were asked for.
    pub(crate) read: Mutex<Vec<(String, bool)>>,
}

impl FrameSource for TestFrames {
    fn batches(
        &self,
        from: Option<UtcMicros>,
        until: Option<UtcMicros>,
    ) -> BoxFuture<'_, Result<Vec<FrameBatch>, SourceError>> {
        let hours = (0..4).map(|hour| START.plus_micros(hour * UtcMicros::PER_HOUR));
        let chosen = hours
            .filter(|hour| from.is_none_or(|from| *hour >= from) && until.is_none_or(|until| *hour <= until));
        let batches = chosen.map(|hour| FrameBatch { name: hour.to_string(), hour }).collect();
        Box::pin(async move { Ok(batches) })
    }

    fn read<'a>(
        &'a self,
        batch: &'a FrameBatch,
        with_bytes: bool,
        each: &'a mut (dyn FnMut(StoredFrame<'_>) + Send),
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.read.lock().push((batch.name.clone(), with_bytes));
        Box::pin(async move {
            for number in 0..3_u8 {
                each(StoredFrame {
                    sequence: Sequence(u64::from(number)),
                    received_at: batch.hour.plus_micros(i64::from(number)),
                    vehicle: vehicle(u64::from(number)),
                    key: KeyPeriod(0),
                    protocol: Protocol::Tesla,
                    connection: ConnectionId(7),
                    bytes: (with_bytes && number < 2).then_some(&[number, 1, 2]),
                });
            }
            Ok(())
        })
    }
}

/// The terms of mainland China's pack.
struct TestTerms;

impl TermSource for TestTerms {
    fn terms(&self) -> Terms {
        Terms::new("cn-test".to_owned(), |class| match class {
            Class::Technical => 5_475,
            Class::Personal => 365,
            Class::Location | Class::Sensitive | Class::Important => 14,
        })
    }
}

/// Erasures as a test sets them.
#[derive(Default)]
pub(crate) struct TestErasures(Mutex<Arc<Erased>>);

impl TestErasures {
    pub(crate) fn set(&self, rows: &[ErasedRows]) {
        *self.0.lock() = Arc::new(Erased::new(rows.iter().copied()));
    }
}

impl ErasureSource for TestErasures {
    fn erased(&self) -> Arc<Erased> {
        self.0.lock().clone()
    }
}

/// Five vehicles, and times of private use as a test sets them.
#[derive(Default)]
pub(crate) struct TestVehicles(pub(crate) Mutex<Vec<PrivateTime>>);

impl VehicleSource for TestVehicles {
    fn private(&self) -> Result<Vec<PrivateTime>, SourceError> {
        Ok(self.0.lock().clone())
    }

    fn vehicles(&self) -> Result<Vec<VehicleRow>, SourceError> {
        let row = |number| VehicleRow {
            vehicle: vehicle(number),
            country: "CN".parse().expect("a country"),
            maker: "Example".to_owned(),
            model: format!("M{number}"),
            state: "active".to_owned(),
            registered_at: START,
        };
        Ok((0..5).map(row).collect())
    }
}

/// The n-th vehicle's pseudonym.
pub(crate) fn vehicle(number: u64) -> VehicleId {
    VehicleId::from_bytes(format!("v{number:016}").as_bytes()).expect("a pseudonym")
}

/// A center's lake with its raw frames.
pub(crate) struct Center {
    pub(crate) lake: Lake,
    pub(crate) writer: LakeWriter,
    pub(crate) maintenance: Arc<Mutex<Maintenance>>,
    pub(crate) deriver: Deriver,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) frames: Arc<TestFrames>,
    pub(crate) erasures: Arc<TestErasures>,
    pub(crate) vehicles: Arc<TestVehicles>,
    runtime: tokio::runtime::Runtime,
}

impl Center {
    pub(crate) fn open(store: Arc<dyn ObjectStore>) -> Result<Self, Error> {
        Self::open_with(store, Settings::default())
    }

    pub(crate) fn open_with(store: Arc<dyn ObjectStore>, settings: Settings) -> Result<Self, Error> {
        Self::open_all(store, settings, Arc::new(NoRecords))
    }

    pub(crate) fn open_all(
        store: Arc<dyn ObjectStore>,
        settings: Settings,
        records: Arc<dyn RecordSource>,
    ) -> Result<Self, Error> {
        Self::open_as("shanghai-1", store, settings, records, Arc::new(InMemory::new()))
    }

    /// Another center on the same store.
    pub(crate) fn open_named(store: Arc<dyn ObjectStore>, center: &str) -> Result<Self, Error> {
        Self::open_again(store, center, Arc::new(InMemory::new()))
    }

    /// Another center on the same store, with the projections of an earlier run.
    pub(crate) fn open_again(
        store: Arc<dyn ObjectStore>,
        center: &str,
        derived: Arc<dyn ObjectStore>,
    ) -> Result<Self, Error> {
        Self::open_as(center, store, Settings::default(), Arc::new(NoRecords), derived)
    }

    fn open_as(
        center: &str,
        store: Arc<dyn ObjectStore>,
        settings: Settings,
        records: Arc<dyn RecordSource>,
        derived: Arc<dyn ObjectStore>,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let frames = Arc::new(TestFrames { read: Mutex::new(Vec::new()) });
        let clock = Arc::new(TestClock::default());
        let erasures = Arc::new(TestErasures::default());
        let vehicles = Arc::new(TestVehicles::default());
        let (lake, writer, maintenance, deriver) = runtime.block_on(Lake::open(Parts {
            settings,
            store,
            center: center.parse().expect("a name"),
            gateway: "gw".parse().expect("a name"),
            signals: SIGNALS.as_slice(),
            clock: clock.clone(),
            frames: frames.clone(),
            vehicles: vehicles.clone(),
            records,
            terms: Arc::new(TestTerms),
            erasures: erasures.clone(),
            derived,
        }))?;
        let maintenance = Arc::new(Mutex::new(maintenance));
        Ok(Self { lake, writer, maintenance, deriver, clock, frames, erasures, vehicles, runtime })
    }

    pub(crate) fn new() -> Self {
        Self::open(Arc::new(InMemory::new())).expect("a lake")
    }

    pub(crate) fn block_on<T>(&self, ask: impl AsyncFnOnce(&Lake) -> T) -> T {
        self.runtime.block_on(ask(&self.lake))
    }

    pub(crate) fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        self.runtime.block_on(ask(&self.lake, sql))
    }

    pub(crate) fn query_as(&self, sql: &str, allowed: &Allowed) -> Result<Vec<RecordBatch>, QueryError> {
        self.runtime.block_on(async { rows_of(self.lake.query_as(sql, allowed).await?).await })
    }

    /// The first row of a query of integers.
    pub(crate) fn numbers(&self, sql: &str) -> Vec<i64> {
        first_row(&self.query(sql).expect("an answer"))
    }

    /// Takes frames of one segment into the tail.
    pub(crate) fn take(&mut self, segment: u64, frames: impl Iterator<Item = u64>) {
        for sequence in frames {
            let mut sink = self.writer.begin_frame(
                segment,
                Sequence(sequence),
                vehicle(sequence % 3),
                Protocol::Tesla,
                received_at(sequence),
            );
            write_frame(&mut sink, sequence);
        }
    }

    /// Commits a batch, decoding it again where the tail lacks some of it.
    pub(crate) fn commit(&mut self, first: u64, last: u64) -> Result<Commit, Error> {
        let batch = range(first, last);
        match self.writer.commit(batch)? {
            Commit::NeedsRows => {
                let mut sink = self.writer.decode_batch(batch);
                for sequence in first..=last {
                    let vehicle = vehicle(sequence % 3);
                    let mut frame =
                        sink.begin_frame(Sequence(sequence), vehicle, Protocol::Tesla, received_at(sequence));
                    write_frame(&mut frame, sequence);
                }
                sink.finish()
            }
            done => Ok(done),
        }
    }
}

pub(crate) async fn ask(lake: &Lake, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    rows_of(lake.query(sql).await?).await
}

async fn rows_of(mut answer: Answer) -> Result<Vec<RecordBatch>, QueryError> {
    let mut batches = Vec::new();
    while let Some(batch) = answer.rows.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

pub(crate) fn first_row(batches: &[RecordBatch]) -> Vec<i64> {
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("a row");
    let number = |array: &Arc<dyn Array>| {
        array.as_primitive_opt::<Int64Type>().map_or(i64::MIN, |array| array.value(0))
    };
    batch.columns().iter().map(number).collect()
}

pub(crate) fn range(first: u64, last: u64) -> BatchRange {
    BatchRange { first: Sequence(first), last: Sequence(last), frames: last - first + 1 }
}

pub(crate) fn received_at(sequence: u64) -> UtcMicros {
    START.plus_micros(sequence as i64 * 100_000)
}

/// Rows that one frame adds to `signals`.
pub(crate) const SIGNALS_A_FRAME: u64 = 4;

/// The rows of one frame: four signals (one of them a text, one invalid), a position, for each second frame
/// an event. Each fourth frame then says again, all or in part, what the frame of the same vehicle three
/// before it said, which must not show.
pub(crate) fn write_frame(sink: &mut impl ReadingSink, sequence: u64) {
    if sequence > 3 && sequence.is_multiple_of(4) {
        write_own(sink, sequence - 3);
    }
    write_own(sink, sequence);
}

fn write_own(sink: &mut impl ReadingSink, sequence: u64) {
    let time = received_at(sequence);
    let reading = |signal: u16, value| Reading {
        time,
        signal: SignalId(signal),
        value,
        text: None,
        quality: Quality::Valid,
    };
    sink.reading(reading(1, Some(sequence as f64)));
    sink.reading(reading(2, Some(sequence as f64 / 100.0)));
    sink.reading(Reading { text: Some("Charging"), ..reading(3, Some(2.0)) });
    sink.reading(Reading { quality: Quality::Invalid, ..reading(4, None) });
    sink.position(Position {
        time,
        latitude: Some(31.2 + sequence as f64 * 1e-5),
        longitude: Some(121.5),
        heading: Some(90.0),
        speed: None,
        valid: true,
    });
    if sequence.is_multiple_of(2) {
        let code = sequence.to_string();
        sink.event(Event {
            time,
            kind: "alert",
            code: &code,
            level: Some(1),
            ended_at: None,
            detail: Some("{}"),
        });
    }
}

/// Holds that exactly the rows of the frames `1..=last` are there.
pub(crate) fn check_rows(center: &Center, last: u64, context: &str) {
    let counts = center.numbers(
        "select (select count(*) from signals) a,
                (select count(distinct value) from signals where signal like '%Part01') b,
                (select cast(sum(value) as bigint) from signals where signal like '%Part01') c,
                (select count(*) from positions) d, (select count(distinct time) from positions) e,
                (select count(*) from events) f, (select cast(sum(cast(code as bigint)) as bigint) from events) g",
    );
    let n = last as i64;
    let even = n / 2;
    let expected = vec![n * SIGNALS_A_FRAME as i64, n, n * (n + 1) / 2, n, n, even, even * (even + 1)];
    assert_eq!(counts, expected, "{context}");
}
