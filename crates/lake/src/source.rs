//! What the lake asks of other rooms: the raw frames and the vehicles. The program wires them in.

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

/// Where the table `vehicles` comes from: the registry.
pub trait VehicleSource: Send + Sync {
    /// All vehicles, in any order.
    fn vehicles(&self) -> Result<Vec<VehicleRow>, SourceError>;
}
