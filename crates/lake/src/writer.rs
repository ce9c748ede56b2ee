//! The one writer of the three tables.
//!
//! The order of durable steps for a batch: for each table its data file, then its commit with the batch's
//! last sequence as `txn`; the tables one after the other. After a crash in between the batch comes again,
//! and each table takes what it does not have yet.

use std::sync::Arc;
use std::time::Duration;

use model::{CenterName, Event, Position, Protocol, Reading, ReadingSink, Sequence, UtcMicros, VehicleId};
use object_store::ObjectStore;
use parking_lot::{Mutex, MutexGuard};

use crate::Error;
use crate::columns::Names;
use crate::copies::Copies;
use crate::delta::{Changes, DeltaTable, FileStatistics, NewFile, Snapshot};
use crate::doubles::Examining;
use crate::encode::{FileEncoder, GROUP_ROWS_MAX, Layout};
use crate::erased::{Erased, ErasureSource};
use crate::recall::recall;
use crate::rows::{FrameRow, Slab, settled, settled_position};
use crate::schema::Table;
use crate::seen::{Digest, Key, Layer, LayerId, Seen};
use crate::tail::{Chunk, State, Tail};
use crate::threads::Threads;

/// How often rows taken are looked at for such as another center's tables show: a frame that came to both shows twice for no longer,
/// and the rows of a second are no crumbs.
const EXAMINE_INTERVAL: Duration = Duration::from_secs(1);

/// The frames of one sealed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// Its first frame.
    pub first: Sequence,
    /// Its last frame.
    pub last: Sequence,
    /// How many frames it has.
    pub frames: u64,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The batch's rows are in the tables now.
    Done {
        /// Rows written, all three tables together.
        rows: u64,
        /// Size of the files written.
        bytes: u64,
    },
    /// They were already there: a replay.
    AlreadyDone,
    /// The tail does not hold all frames of the batch: decode the batch into [`LakeWriter::decode_batch`].
    NeedsRows,
}

/// Takes rows, one writer a lake. Its methods block: call them on a thread of their own, outside the async
/// runtime.
pub struct LakeWriter {
    pub(crate) tail: Arc<Tail>,
    pub(crate) erasures: Arc<dyn ErasureSource>,
    /// Shared with maintenance: who commits holds a table's lock from the commit until queries see it.
    pub(crate) tables: Arc<[Mutex<DeltaTable>; 3]>,
    /// What each table holds of this gateway's frames.
    pub(crate) held: [Option<Sequence>; 3],
    pub(crate) seen: [Seen; 3],
    pub(crate) names: Arc<Names>,
    pub(crate) threads: Arc<Threads>,
    /// `<center>/<gateway>`: whose sequences the tables' `txn` count.
    pub(crate) app_id: String,
    /// The beginning of data files' names.
    pub(crate) gateway: String,
    pub(crate) tail_bytes_max: usize,
    pub(crate) copies: Copies,
    pub(crate) examining: Examining,
    pub(crate) examined_at: Duration,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl LakeWriter {
    /// The highest sequence whose rows all three tables hold in files; frames up to it need not be replayed.
    pub fn covered(&self) -> Option<Sequence> {
        self.held.into_iter().min().flatten()
    }

    /// The newest version of each table; they count up from 0 without a gap. After a step that failed they may
    /// be as of before it, until the step is repeated.
    pub fn versions(&self) -> [(&'static str, i64); 3] {
        Table::ALL.map(|table| (table.name(), self.tables[table.index()].lock().snapshot().version))
    }

    /// What a version of a table changed, read from its commit in the store. Version 0 is the table's creation,
    /// which adds no file. A commit that is gone or says too little is [`Error::Damaged`].
    pub fn changes(&self, table: &str, version: i64) -> Result<Changes, Error> {
        match Table::ALL.into_iter().find(|known| known.name() == table) {
            Some(known) => self.threads.block_on(self.tables[known.index()].lock().changes(version)),
            None => Err(Error::NoVersion { table: table.to_owned(), version }),
        }
    }

    /// Takes the rows of one frame of the journal; they show in queries once the sink is dropped. `segment`
    /// is the journal segment (any number that changes with it), sequences grow. A frame that a table holds
    /// already gives it no rows.
    pub fn begin_frame(
        &mut self,
        segment: u64,
        sequence: Sequence,
        vehicle: VehicleId,
        source: Protocol,
        received_at: UtcMicros,
    ) -> FrameSink<'_> {
        let held = self.holds(sequence);
        let mut state = self.tail.state.lock();
        match state.chunks.last_mut() {
            Some(chunk) if chunk.segment == segment => {
                chunk.last = sequence;
                chunk.frames += 1;
            }
            _ => {
                state.freeze();
                let layers = self.seen.each_mut().map(Seen::begin_layer);
                state.chunks.push(Chunk {
                    segment,
                    first: sequence,
                    last: sequence,
                    frames: 1,
                    committed: [false; 3],
                    layers,
                    slabs: Vec::new(),
                });
            }
        }
        state.open.begin_frame(FrameRow { sequence, vehicle, source, received_at });
        FrameSink {
            target: Target::Tail(state),
            seen: &mut self.seen,
            held,
            vehicle,
            signals: self.names.infos.len(),
        }
    }

    /// Does what [`crate::Lake::learn_copy`] asked for. Quick where nothing was asked. To be called now and then, between frames.
    pub fn learn(&mut self) {
        for (center, done) in self.copies.asked() {
            let learned = self.learn_of(&center);
            // Who asked may have ended.
            let _heard_or_not = done.send(learned);
        }
    }

    /// Looks for rows among those taken that another center's tables hold too, so that each shows once; not more often than each
    /// second, so it may be called at any time. Where somebody else is looking, this is left to the next time.
    pub fn examine(&mut self) {
        let now = self.tail.clock().monotonic();
        if now.saturating_sub(self.examined_at) >= EXAMINE_INTERVAL {
            self.threads.block_on(self.examining.examine_if_free());
            self.examined_at = now;
        }
    }

    fn learn_of(&mut self, center: &CenterName) -> Result<(), Error> {
        let all = self.copies.all();
        let Some(copy) = all.get(center) else { return Ok(()) };
        for (table, seen) in Table::ALL.into_iter().zip(&mut self.seen) {
            let (folder, snapshot) = (&copy.folders[table.index()], &copy.snapshots[table.index()]);
            let store = self.store.as_ref();
            self.threads.block_on(recall(table, folder, snapshot, store, self.names.infos, seen))?;
        }
        Ok(())
    }

    /// Whether the tail is full. Then commit what is sealed before the next frame; or leave the rest of the
    /// segment out, its batch is decoded again when it is committed.
    pub fn is_full(&self) -> bool {
        self.tail.state.lock().size().1 >= self.tail_bytes_max
    }

    /// Shows all rows taken so far to queries at once (a query does so by itself, but not more often than
    /// each 100 ms).
    pub fn publish(&mut self) {
        self.tail.state.lock().freeze();
    }

    /// Commits a sealed batch from the tail. Batches come in the order of their sequences; repeat the step
    /// after an error.
    pub fn commit(&mut self, batch: BatchRange) -> Result<Commit, Error> {
        if let Some(earlier) = self.waits_before(batch) {
            return Err(Error::OutOfOrder { last: batch.last.0, earlier: earlier.0 });
        }
        self.settle_tables()?;
        if self.covered() >= Some(batch.last) {
            self.close(batch);
            return Ok(Commit::AlreadyDone);
        }
        let slabs = {
            let mut state = self.tail.state.lock();
            state.freeze();
            match state.chunk_of(batch) {
                Some(chunk) => chunk.slabs.clone(),
                None => return Ok(Commit::NeedsRows),
            }
        };
        let (mut rows, mut bytes) = (0, 0);
        for table in Table::ALL {
            if self.held[table.index()] < Some(batch.last) {
                let file = self.encode(table, &slabs)?;
                let written = self.commit_table(table, batch, file)?;
                rows += written.0;
                bytes += written.1;
            }
        }
        self.close(batch);
        Ok(Commit::Done { rows, bytes })
    }

    /// Takes a sealed batch's rows afresh, for a batch whose rows the tail does not hold in full.
    pub fn decode_batch(&mut self, batch: BatchRange) -> BatchSink<'_> {
        // The chunk's rows stay visible until the batch's are in files, but they don't count as seen: the
        // same rows come now.
        let replaced: Vec<[LayerId; 3]> = {
            let state = self.tail.state.lock();
            state.chunks.iter().filter(|chunk| chunk.overlaps(batch)).map(|chunk| chunk.layers).collect()
        };
        let mut taken = Vec::new();
        for table in Table::ALL {
            let seen = &mut self.seen[table.index()];
            for layers in &replaced {
                let id = layers[table.index()];
                taken.extend(seen.take_layer(id).map(|(place, layer)| Taken { table, place, id, layer }));
            }
        }
        let layers = self.seen.each_mut().map(Seen::begin_layer);
        let erased = self.erasures.erased();
        BatchSink {
            writer: self,
            erased,
            batch,
            taken,
            layers,
            open: Slab::default(),
            full: Vec::new(),
            full_rows: 0,
            encoders: [const { None }; 3],
            files: [const { None }; 3],
            frames: 0,
            failed: None,
            duplicates: [0; 3],
            encoded: false,
        }
    }

    fn holds(&self, sequence: Sequence) -> [bool; 3] {
        self.held.map(|held| held >= Some(sequence))
    }

    /// The oldest frame of the tail that belongs to an older batch.
    fn waits_before(&self, batch: BatchRange) -> Option<Sequence> {
        let covered = self.covered();
        let state = self.tail.state.lock();
        let mut older =
            state.chunks.iter().filter(|chunk| chunk.last < batch.first && Some(chunk.last) > covered);
        older.next().map(|chunk| chunk.first)
    }

    fn settle_tables(&mut self) -> Result<(), Error> {
        for (table, held) in self.tables.iter().zip(&mut self.held) {
            let mut table = table.lock();
            self.threads.block_on(table.settle())?;
            *held = held_by(&table, &self.app_id);
        }
        Ok(())
    }

    fn encode(&self, table: Table, slabs: &[Arc<Slab>]) -> Result<Option<EncodedFile>, Error> {
        let encoded =
            FileEncoder::new(table, self.names.clone(), Layout::AsTheyCame).and_then(|mut encoder| {
                encoder.push(slabs)?;
                encoder.finish()
            });
        encoded.map_err(|source| Error::Encode { table: table.name(), source })
    }

    /// Writes and commits a table's file of a batch, and lets queries take its rows from there; gives rows and bytes written. The
    /// table stays locked meanwhile: nobody else may show a snapshot with the file while the tail shows its rows.
    fn commit_table(
        &mut self,
        table: Table,
        batch: BatchRange,
        file: Option<EncodedFile>,
    ) -> Result<(u64, u64), Error> {
        let written =
            file.as_ref().map_or((0, 0), |(bytes, statistics)| (statistics.rows, bytes.len() as u64));
        let name = format!("{}-{:020}.parquet", self.gateway, batch.last.0);
        let file = file.map(|(bytes, statistics)| NewFile { name, bytes, statistics });
        let version = i64::try_from(batch.last.0).unwrap_or(i64::MAX);
        let tables = self.tables.clone();
        let mut delta = tables[table.index()].lock();
        let committed = self.threads.block_on(delta.commit(&self.app_id, version, file))?;
        self.held[table.index()] = held_by(&delta, &self.app_id);
        self.move_to_file(table, batch, delta.snapshot().clone());
        Ok(if committed { written } else { (0, 0) })
    }

    /// Lets queries take a table's rows of a batch from its file from now on.
    fn move_to_file(&mut self, table: Table, batch: BatchRange, snapshot: Arc<Snapshot>) {
        let mut state = self.tail.state.lock();
        state.swap(table, snapshot, batch);
        for chunk in state.chunks.iter().filter(|chunk| chunk.overlaps(batch)) {
            let (seen, layer) = (&mut self.seen[table.index()], chunk.layers[table.index()]);
            if chunk.lies_within(batch) {
                seen.settle_layer(layer);
            } else {
                // Its frames beyond the batch will come again with their own.
                seen.take_layer(layer);
            }
        }
    }

    /// Forgets the tail's rows of a batch that all tables hold.
    fn close(&mut self, batch: BatchRange) {
        let tables = self.tables.clone();
        for table in Table::ALL {
            let delta = tables[table.index()].lock();
            self.move_to_file(table, batch, delta.snapshot().clone());
        }
        self.tail.state.lock().remove(batch);
    }
}

/// Who waits for it to learn is told that it won't.
impl Drop for LakeWriter {
    fn drop(&mut self) {
        self.copies.end_learning();
    }
}

/// What a table holds of a gateway's frames.
pub(crate) fn held_by(table: &DeltaTable, app_id: &str) -> Option<Sequence> {
    let version = table.transaction(app_id)?;
    u64::try_from(version).ok().map(Sequence)
}

type EncodedFile = (bytes::Bytes, FileStatistics);

/// Takes the rows of one frame.
pub struct FrameSink<'a> {
    target: Target<'a>,
    seen: &'a mut [Seen; 3],
    /// Tables that hold the frame already.
    held: [bool; 3],
    vehicle: VehicleId,
    /// How many signals the catalogue has.
    signals: usize,
}

enum Target<'a> {
    Tail(MutexGuard<'a, State>),
    Batch { slab: &'a mut Slab, duplicates: &'a mut [u64; 3] },
}

impl FrameSink<'_> {
    /// Whether the row goes in; it counts as seen from now on.
    fn admits(&mut self, table: Table, time: UtcMicros, digest: impl FnOnce() -> Digest) -> bool {
        if self.held[table.index()] {
            return false;
        }
        let new = self.seen[table.index()].is_new(Key::new(self.vehicle, time), digest());
        if !new {
            let duplicates = match &mut self.target {
                Target::Tail(state) => &mut state.duplicates,
                Target::Batch { duplicates, .. } => duplicates,
            };
            duplicates[table.index()] += 1;
        }
        new
    }

    fn slab(&mut self) -> &mut Slab {
        match &mut self.target {
            Target::Tail(state) => &mut state.open,
            Target::Batch { slab, .. } => slab,
        }
    }
}

impl ReadingSink for FrameSink<'_> {
    fn reading(&mut self, reading: Reading<'_>) {
        let reading = settled(reading);
        // A number beyond the catalogue has no path: a decoder's defect, which must not take the other rows
        // along.
        let known = usize::from(reading.signal.0) < self.signals;
        if known && self.admits(Table::Signals, reading.time, || Digest::of_reading(&reading)) {
            self.slab().push_reading(&reading);
        }
    }

    fn position(&mut self, position: Position) {
        let position = settled_position(position);
        if self.admits(Table::Positions, position.time, || Digest::of_position(&position)) {
            self.slab().push_position(position);
        }
    }

    fn event(&mut self, event: Event<'_>) {
        if self.admits(Table::Events, event.time, || Digest::of_event(&event)) {
            self.slab().push_event(&event);
        }
    }
}

impl Drop for FrameSink<'_> {
    fn drop(&mut self) {
        self.seen.iter_mut().for_each(Seen::end_run);
        if let Target::Tail(state) = &mut self.target
            && state.open.is_full()
        {
            state.freeze();
        }
    }
}

/// A layer that was taken out of the index, and where it belongs.
struct Taken {
    table: Table,
    place: usize,
    id: LayerId,
    layer: Layer,
}

/// Takes the rows of a whole batch. Dropped without [`BatchSink::finish`] it leaves everything as it was.
pub struct BatchSink<'a> {
    writer: &'a mut LakeWriter,
    /// What a batch still holds of an erased vehicle does not come back.
    erased: Arc<Erased>,
    batch: BatchRange,
    taken: Vec<Taken>,
    layers: [LayerId; 3],
    open: Slab,
    full: Vec<Arc<Slab>>,
    full_rows: usize,
    encoders: [Option<FileEncoder>; 3],
    files: [Option<EncodedFile>; 3],
    frames: u64,
    failed: Option<Error>,
    duplicates: [u64; 3],
    encoded: bool,
}

impl BatchSink<'_> {
    /// Takes the rows of one frame of the batch, in the batch's order.
    pub fn begin_frame(
        &mut self,
        sequence: Sequence,
        vehicle: VehicleId,
        source: Protocol,
        received_at: UtcMicros,
    ) -> FrameSink<'_> {
        if self.open.is_full() {
            self.full_rows += self.open.rows();
            self.full.push(Arc::new(std::mem::take(&mut self.open)));
        }
        if self.full_rows >= GROUP_ROWS_MAX {
            self.encode_full();
        }
        self.frames += 1;
        self.open.begin_frame(FrameRow { sequence, vehicle, source, received_at });
        let held =
            if self.erased.takes(vehicle, received_at.0) { [true; 3] } else { self.writer.holds(sequence) };
        let signals = self.writer.names.infos.len();
        let target = Target::Batch { slab: &mut self.open, duplicates: &mut self.duplicates };
        FrameSink { target, seen: &mut self.writer.seen, held, vehicle, signals }
    }

    /// Commits what came. After an error of the object store it may be called again; the rows are kept.
    pub fn finish(&mut self) -> Result<Commit, Error> {
        if self.frames != self.batch.frames {
            return Err(Error::Incomplete { frames: self.frames, expected: self.batch.frames });
        }
        if let Some(earlier) = self.writer.waits_before(self.batch) {
            return Err(Error::OutOfOrder { last: self.batch.last.0, earlier: earlier.0 });
        }
        self.encode_rest()?;
        self.writer.settle_tables()?;
        let already = self.writer.covered() >= Some(self.batch.last);
        let (mut rows, mut bytes) = (0, 0);
        for table in Table::ALL {
            if self.writer.held[table.index()] < Some(self.batch.last) {
                let file = self.files[table.index()].clone();
                let written = self.writer.commit_table(table, self.batch, file)?;
                rows += written.0;
                bytes += written.1;
            }
            // From here on the table's rows are in a file, whatever becomes of the next table.
            self.taken.retain(|taken| taken.table != table);
            self.writer.seen[table.index()].settle_layer(self.layers[table.index()]);
        }
        self.writer.close(self.batch);
        let mut state = self.writer.tail.state.lock();
        for (sum, more) in state.duplicates.iter_mut().zip(std::mem::take(&mut self.duplicates)) {
            *sum += more;
        }
        Ok(if already { Commit::AlreadyDone } else { Commit::Done { rows, bytes } })
    }

    fn encode_rest(&mut self) -> Result<(), Error> {
        if !self.encoded {
            self.full.push(Arc::new(std::mem::take(&mut self.open)));
            self.encode_full();
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        for table in Table::ALL {
            if let Some(encoder) = self.encoders[table.index()].take() {
                let file =
                    encoder.finish().map_err(|source| Error::Encode { table: table.name(), source })?;
                self.files[table.index()] = file;
            }
        }
        self.encoded = true;
        Ok(())
    }

    /// Encodes the full slabs, so that a batch of any size takes bounded memory.
    fn encode_full(&mut self) {
        let slabs = std::mem::take(&mut self.full);
        self.full_rows = 0;
        for table in Table::ALL {
            let encoder = &mut self.encoders[table.index()];
            let pushed = match encoder.take() {
                Some(encoder) => Ok(encoder),
                None => FileEncoder::new(table, self.writer.names.clone(), Layout::AsTheyCame),
            }
            .and_then(|mut taken| {
                taken.push(&slabs)?;
                *encoder = Some(taken);
                Ok(())
            });
            if let Err(source) = pushed {
                self.failed.get_or_insert(Error::Encode { table: table.name(), source });
            }
        }
    }
}

impl Drop for BatchSink<'_> {
    fn drop(&mut self) {
        for table in Table::ALL {
            // Gone already where the table was committed.
            self.writer.seen[table.index()].take_layer(self.layers[table.index()]);
        }
        for taken in self.taken.drain(..).rev() {
            self.writer.seen[taken.table.index()].restore_layer(taken.place, taken.id, taken.layer);
        }
    }
}
