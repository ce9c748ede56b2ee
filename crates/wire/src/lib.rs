//! Bytes ⇄ model: the protocols of vehicles, sans-IO. Bytes, time and keys are arguments; nothing here opens a socket, reads a
//! clock or decides who is admitted.

pub mod catalogue;
pub mod center;
mod decode;
mod error;
pub mod gbt32960;
mod hexadecimal;
pub mod reader;
pub mod tesla;
pub mod websocket;

pub use decode::{Context, decode, newest};
pub use error::Malformed;
pub use gbt32960::Unreadable;
use hexadecimal::hex;
