//! Tesla Fleet Telemetry, the server's side and the vehicle's: binary WebSocket messages over TLS with client certificates.
//!
//! A vehicle sends [`Envelope`]s (FlatBuffers) whose payload is a protobuf message that the topic names. [`certificate`] says who it
//! is, [`Session`] says what to do with each message before anything is stored, [`decode`] turns a stored envelope into readings.
//! The formats are those of the public reference server (teslamotors/fleet-telemetry).

pub mod certificate;
mod decode;
mod describe;
pub mod envelope;
mod notice;
pub mod payload;
mod reading;
mod session;
mod text;

pub use certificate::{CertificateFacts, CertificateRefusal, DeviceType, Identity, Issuer};
pub use decode::{CLOCK_AHEAD_TOLERANCE, decode};
pub use describe::describe;
pub use envelope::{Envelope, Message, Stream, encode_ack, encode_error, encode_stream};
pub use payload::Topic;
pub use session::{Action, Outcome, Session, Verdict};

/// The largest message that a vehicle may send, in bytes: the reference server's limit.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests;
