//! What the lake asks of other rooms: the raw frames, the vehicles and the records. The program wires them in.

use futures::future::BoxFuture;
use model::{ConnectionId, Country, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId};

/// Why a source has no answer; the text may be shown to whoever asked and holds nothing personal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A sealed batch as the table `frames` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameBatch {
    /// The object's name.
    pub name: String,
    /// The start of the UTC hour of `received_at` in which all its frames lie.
    pub hour: UtcMicros,
}

/// A frame as a batch keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFrame<'a> {
    /// Its number in its gateway's journal.
    pub sequence: Sequence,
    /// When the center read its last byte.
    pub received_at: UtcMicros,
    /// Whose it is.
    pub vehicle: VehicleId,
    /// Which data key of the vehicle it is sealed under.
    pub key: KeyPeriod,
    /// Which decoder reads it.
    pub protocol: Protocol,
    /// The connection that it came over.
    pub connection: ConnectionId,
    /// The bytes as received; `None` where they were not asked for or the key is gone.
    pub bytes: Option<&'a [u8]>,
}

/// Where the table `frames` comes from: the sealed batches.
pub trait FrameSource: Send + Sync {
    /// The batches whose hour lies in `from..=until` (no bound where `None`), oldest first.
    fn batches(
        &self,
        from: Option<UtcMicros>,
        until: Option<UtcMicros>,
    ) -> BoxFuture<'_, Result<Vec<FrameBatch>, SourceError>>;

    /// Hands each frame of a batch to `each`, in the batch's order. Without `with_bytes` nothing need be
    /// decrypted.
    fn read<'a>(
        &'a self,
        batch: &'a FrameBatch,
        with_bytes: bool,
        each: &'a mut (dyn FnMut(StoredFrame<'_>) + Send),
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// A vehicle as the table `vehicles` shows it: no VIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VehicleRow {
    /// The pseudonym.
    pub vehicle: VehicleId,
    /// Country of sale.
    pub country: Country,
    /// Maker, empty where unknown.
    pub maker: String,
    /// Model, empty where unknown.
    pub model: String,
    /// The registry's word for its state.
    pub state: String,
    /// When it was registered.
    pub registered_at: UtcMicros,
}

/// What a column of records holds. Any may be without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A text.
    Text,
    /// A number with a fraction.
    Number,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
    /// An instant, UTC with microseconds.
    Time,
}

/// A column of a table of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordColumn {
    /// Its name: small letters, digits and underscores.
    pub name: String,
    /// What it holds.
    pub kind: RecordKind,
}

/// A table of records as SQL shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTable {
    /// Its name: small letters, digits and underscores, and none of the lake's own tables.
    pub name: String,
    /// Its columns, in the order of a row's values.
    pub columns: Vec<RecordColumn>,
}

/// One value of a record, of its column's kind.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordValue {
    /// None.
    Null,
    /// A text.
    Text(String),
    /// A number with a fraction.
    Number(f64),
    /// A whole number.
    Whole(i64),
    /// True or false.
    Flag(bool),
    /// An instant.
    Time(UtcMicros),
}

/// A vehicle's time with an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerTime {
    /// The pseudonym.
    pub vehicle: VehicleId,
    /// Its first instant.
    pub from: UtcMicros,
    /// The first instant after it; `None` while it lasts.
    pub to: Option<UtcMicros>,
    /// The owner: a number that says nothing but that it is the same one.
    pub owner: u32,
}

/// Where tables such as `sales`, `owners` and `services` come from: the registry. Its methods may wait for a
/// disk; they are called on threads that may wait.
pub trait RecordSource: Send + Sync {
    /// The tables, the same as long as the lake is open. Asked once, when it is opened.
    fn tables(&self) -> Vec<RecordTable>;

    /// Hands each row of a table to `each`, in any order. `each` never waits, so a lock may be held meanwhile.
    fn rows(&self, table: &str, each: &mut dyn FnMut(Vec<RecordValue>)) -> Result<(), SourceError>;

    /// Who owned a vehicle when, as far as that is recorded, in any order.
    fn owners(&self) -> Result<Vec<OwnerTime>, SourceError> {
        Ok(Vec::new())
    }

    /// The state of the rows and owners: it is another one after they have changed. Never waits.
    fn version(&self) -> u64 {
        0
    }

    /// About how many rows a table has, where that is known without reading them. It decides which side of a
    /// join is held in memory, and nothing else.
    fn count(&self, _table: &str) -> Option<u64> {
        None
    }
}

/// No records, for a center that keeps none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecords;

impl RecordSource for NoRecords {
    fn tables(&self) -> Vec<RecordTable> {
        Vec::new()
    }

    fn rows(&self, _table: &str, _each: &mut dyn FnMut(Vec<RecordValue>)) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A time in which a vehicle is used privately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateTime {
    /// The pseudonym.
    pub vehicle: VehicleId,
    /// Its first instant.
    pub from: UtcMicros,
    /// The first instant after it; `None` where it goes on.
    pub until: Option<UtcMicros>,
}

/// Where the table `vehicles` comes from: the registry.
pub trait VehicleSource: Send + Sync {
    /// All vehicles, in any order.
    fn vehicles(&self) -> Result<Vec<VehicleRow>, SourceError>;

    /// All times of private use, in any order.
    fn private(&self) -> Result<Vec<PrivateTime>, SourceError> {
        Ok(Vec::new())
    }
}
