//! A batch: the frames of one closed segment as one immutable Parquet object. `docs/formats/batch.md` describes it.

mod cell;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use model::{
    CenterName, ConnectionId, Frame, GatewayName, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId,
};

pub use reader::{Batch, read};
pub use writer::write;

/// The version that this program writes.
const FORMAT: &str = "1";

/// Keys of the file's metadata.
mod metadata {
    pub(super) const FORMAT: &str = "domicile.batch.format";
    pub(super) const CENTER: &str = "domicile.center";
    pub(super) const GATEWAY: &str = "domicile.gateway";
    pub(super) const FIRST: &str = "domicile.sequence.first";
    pub(super) const LAST: &str = "domicile.sequence.last";
}

/// What a batch says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The center that wrote it.
    pub center: CenterName,
    /// The gateway whose journal it came from.
    pub gateway: GatewayName,
    /// Its first sequence.
    pub first: Sequence,
    /// Its last sequence.
    pub last: Sequence,
}

/// One frame of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// Its number.
    pub sequence: Sequence,
    /// When the center read it.
    pub received_at: UtcMicros,
    /// Whose it is.
    pub vehicle: VehicleId,
    /// Which decoder reads it.
    pub protocol: Protocol,
    /// The connection that it came over.
    pub connection: ConnectionId,
    /// Which data key of the vehicle it is sealed under.
    pub key: KeyPeriod,
    /// The bytes as received; `None` where the key was destroyed.
    pub bytes: Option<&'a [u8]>,
}

impl<'a> Row<'a> {
    /// The row as a frame; `None` where the key was destroyed.
    pub fn frame(&self) -> Option<Frame<'a>> {
        Some(Frame {
            received_at: self.received_at,
            vehicle: self.vehicle,
            key: self.key,
            protocol: self.protocol,
            connection: self.connection,
            bytes: self.bytes?,
        })
    }
}
