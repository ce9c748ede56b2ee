//! A batch: the frames of one closed segment as one immutable Parquet object.

use bytes::Bytes;
use model::{CenterName, ConnectionId, Frame, GatewayName, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId};

use crate::{Error, Keyring};

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

/// An opened batch.
pub struct Batch {
    header: BatchHeader,
}

impl Batch {
    /// What it says of itself.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Gives each frame, decrypted, in order of sequence; stops at the visitor's first error.
    pub fn for_each<E: From<Error>>(
        &self,
        keyring: &Keyring,
        visit: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let _ = (keyring, visit);
        unimplemented!()
    }
}

/// Writes frames, in order of sequence, as one batch.
pub fn write<'a>(
    header: &BatchHeader,
    frames: impl Iterator<Item = (Sequence, Frame<'a>)>,
    keyring: &Keyring,
) -> Result<Bytes, Error> {
    let _ = (header, frames, keyring);
    unimplemented!()
}

/// Opens the bytes of a batch of any version; `name` is for errors.
pub fn read(name: &str, bytes: Bytes) -> Result<Batch, Error> {
    let _ = (name, bytes);
    unimplemented!()
}
