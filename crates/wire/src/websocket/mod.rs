//! WebSocket (RFC 6455), sans-IO: the server's side for vehicles, the client's side for the simulator and the benchmark.
//!
//! The caller owns the buffers. [`read_request`] reads the HTTP/1.1 upgrade; [`Receiver`] takes messages out of a buffer in place;
//! the `write_…` functions append frames to an output buffer. No extensions, no subprotocols. Time-outs are the caller's.

mod client;
mod frame;
mod handshake;
mod receiver;

pub use client::{Response, UpgradeRequest, read_response, write_masked};
pub use frame::{CloseCode, Opcode, binary, write_binary, write_close, write_ping, write_pong};
pub use handshake::{Decision, HEAD_BYTES_MAX, HEADERS_MAX, Handshake, Upgrade, read_request};
pub use receiver::{Item, Receiver, Role, Step, Violation};

#[cfg(test)]
mod tests;
