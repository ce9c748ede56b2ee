//! What queries see: the tables' snapshots and the rows that are not yet in a file, behind one lock, so that
//! a row moves from one to the other in one step.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Sequence};
use parking_lot::Mutex;

use crate::delta::Snapshot;
use crate::rows::Slab;
use crate::schema::Table;
use crate::seen::LayerId;
use crate::writer::BatchRange;

/// Rows and snapshots, shared between the writer and all queries. The lock is held for the time of one
/// frame's decoding at most.
pub(crate) struct Tail {
    pub(crate) state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

pub(crate) struct State {
    pub(crate) snapshots: [Arc<Snapshot>; 3],
    pub(crate) chunks: Vec<Chunk>,
    /// The rows that are being taken; they belong to the last chunk.
    pub(crate) open: Slab,
    pub(crate) duplicates: [u64; 3],
    spare: Vec<Slab>,
    frozen_at: Duration,
    /// Rows and memory of the chunks' slabs.
    rows: usize,
    bytes: usize,
}

/// The rows of one journal segment.
pub(crate) struct Chunk {
    pub(crate) segment: u64,
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
    pub(crate) frames: u64,
    /// Tables whose rows of this chunk are in a file already.
    pub(crate) committed: [bool; 3],
    /// Where its rows stand among those seen, for each table.
    pub(crate) layers: [LayerId; 3],
    pub(crate) slabs: Vec<Arc<Slab>>,
}

/// One consistent view of a table: each row is in the snapshot's files or in a slab, never in both.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) slabs: Vec<Arc<Slab>>,
}

impl Tail {
    /// Queries freeze the rows taken so far not more often than this, so that many queries don't cut them
    /// into crumbs.
    const FREEZE_INTERVAL: Duration = Duration::from_millis(100);

    pub(crate) fn new(snapshots: [Arc<Snapshot>; 3], clock: Arc<dyn Clock>) -> Self {
        let state = State {
            snapshots,
            chunks: Vec::new(),
            open: Slab::default(),
            duplicates: [0; 3],
            spare: Vec::new(),
            frozen_at: Duration::ZERO,
            rows: 0,
            bytes: 0,
        };
        Self { state: Mutex::new(state), clock }
    }

    /// Shows a table's newer snapshot; `false`, and nothing is changed, where it holds a batch whose rows are still shown from here.
    pub(crate) fn show(&self, table: Table, snapshot: &Arc<Snapshot>) -> bool {
        let mut state = self.state.lock();
        let shown = &mut state.snapshots[table.index()];
        if shown.transactions != snapshot.transactions {
            return false;
        }
        *shown = snapshot.clone();
        true
    }

    /// The clock that queries and terms run by.
    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The view of all three tables at one instant.
    pub(crate) fn views(&self) -> [View; 3] {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        if now.saturating_sub(state.frozen_at) >= Self::FREEZE_INTERVAL || state.frozen_at.is_zero() {
            state.freeze();
            state.frozen_at = now;
        }
        Table::ALL.map(|table| View {
            snapshot: state.snapshots[table.index()].clone(),
            slabs: state.slabs(table).cloned().collect(),
        })
    }
}

impl State {
    /// Emptied slabs kept for the next rows: what a segment of ten seconds commonly needs.
    const SPARE_COUNT_MAX: usize = 8;

    /// Makes the open rows a slab of the last chunk.
    pub(crate) fn freeze(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let next = self.spare.pop().unwrap_or_default();
        let slab = std::mem::replace(&mut self.open, next);
        let chunk = self.chunks.last_mut().expect("rows are taken only into a chunk");
        self.rows += slab.rows();
        self.bytes += slab.bytes();
        chunk.slabs.push(Arc::new(slab));
    }

    /// Rows of the tail, and the memory that they hold.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rows + self.open.rows(), self.bytes + self.open.bytes())
    }

    /// The chunk that holds exactly the batch's frames.
    pub(crate) fn chunk_of(&self, batch: BatchRange) -> Option<&Chunk> {
        self.chunks
            .iter()
            .find(|chunk| (chunk.first, chunk.last, chunk.frames) == (batch.first, batch.last, batch.frames))
    }

    /// The slabs with rows of a table that are not yet in a file.
    pub(crate) fn slabs(&self, table: Table) -> impl Iterator<Item = &Arc<Slab>> {
        self.chunks.iter().filter(move |chunk| !chunk.committed[table.index()]).flat_map(|chunk| &chunk.slabs)
    }

    /// Puts a table's new snapshot in place of the old one and the chunks' rows that it holds now.
    pub(crate) fn swap(&mut self, table: Table, snapshot: Arc<Snapshot>, batch: BatchRange) {
        self.freeze();
        self.snapshots[table.index()] = snapshot;
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.overlaps(batch)) {
            chunk.committed[table.index()] = true;
        }
    }

    /// Removes the chunks that a batch holds now.
    pub(crate) fn remove(&mut self, batch: BatchRange) {
        self.freeze();
        let (removed, kept) =
            std::mem::take(&mut self.chunks).into_iter().partition(|chunk: &Chunk| chunk.overlaps(batch));
        self.chunks = kept;
        for slab in Vec::into_iter(removed).flat_map(|chunk| chunk.slabs) {
            self.rows -= slab.rows();
            self.bytes -= slab.bytes();
            // A slab that a query still reads is freed by the query.
            if let Ok(mut slab) = Arc::try_unwrap(slab)
                && self.spare.len() < Self::SPARE_COUNT_MAX
            {
                slab.clear();
                self.spare.push(slab);
            }
        }
    }
}

impl Chunk {
    pub(crate) fn overlaps(&self, batch: BatchRange) -> bool {
        self.first <= batch.last && batch.first <= self.last
    }

    pub(crate) fn lies_within(&self, batch: BatchRange) -> bool {
        batch.first <= self.first && self.last <= batch.last
    }
}
