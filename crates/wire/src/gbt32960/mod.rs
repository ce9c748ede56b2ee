//! GB/T 32960.3, editions of 2016 and 2025: frames, sessions, readings.
//!
//! How a server drives it (nothing here does IO, reads a clock or decides who comes in):
//!
//! ```text
//! socket ─bytes→ buffer ─cut(&buffer, limit, &keys)→ Frame { skipped, length } (or: wait, or drop and count)
//!                                   │ frame bytes, borrowed from the buffer
//!                                   ▼
//!                    session.receive(frame, &keys, &mut plain) → Received { ticket, action }
//!                                   │
//!      ┌──────────────┬─────────────┼────────────────┬──────────────────┬──────────────────┐
//!      ▼              ▼             ▼                ▼                  ▼                  ▼
//!   Login          Admit          Store       PlatformLogin     Answer(flag, why)     the others, as
//!   decide         decide       data.verify()  check password   ticket.answer(…)      [`Action`] says
//!      │              │             │                │
//!   accept_vehicle / ticket.answer(refusal's flag)  accept_platform / ticket.answer(ERROR), close
//!      └──────┬───────┴─────────────┘
//!             ▼
//!   journal.append(frame) ─durable→ ticket.answer(SUCCESS, now, &mut out) ─→ socket
//! ```
//!
//! Tickets are small copies and are kept in order until the frames before them are durable. After a stored
//! [`DataKind::Logout`] the caller calls [`Session::dismiss`].
//!
//! Decisions where the standard is silent or senders differ:
//! - **Impossible dates** (month 13, 31 February) are no reason to refuse a frame: it is stored and answered.
//!   Its readings take the time of reception and the quality `clock`, and an event `impossible_date` says so.
//! - A **check code** over the data unit before encryption is taken too ([`Checksum::BeforeEncryption`]).
//! - **Reserved item types** (2016: 0A..7F; 2025: 09..2F, 33..7F) have no length anyone outside knows:
//!   everything up to the signature or the end of the data unit is kept as one item. Type 00 exists in
//!   neither edition and is malformed.
//! - Bytes behind the last field of a command that is known are malformed, and so are counts that promise
//!   more than there is.

mod alarms;
mod answer;
mod cipher;
mod decode;
mod describe;
mod error;
mod fields;
mod frame;
mod items;
mod kinds;
mod layout;
mod list;
pub mod names;
mod session;
mod signature;
#[cfg(test)]
mod tests;
mod unit;

pub use crate::Malformed;
pub use alarms::{FLAGS, flag_name};
pub use answer::{Ticket, encode_downlink};
pub use cipher::{Cipher, Keys, Mode, Padding, encode_sealed, open, seal};
pub use decode::{Context, CoordinateSystem, Scratch, decode};
pub use describe::describe;
pub use error::{TooLong, Undecipherable, Unreadable};
pub use frame::{
    Checksum, Cut, CutRefusal, Envelope, FRAME_BYTES_MAX, HEADER_BYTES, Header, UNIT_BYTES_MAX, cut, encode,
    encode_with, read_unit, xor,
};
pub use items::{
    AlarmLevel, Alarms, DriveMotor, Engine, Extremes, FaultCode, FuelCell, Hydrogen, Item, PackTemperatures,
    PackVoltages, Place, Stack, Supercapacitor, SupercapacitorExtremes, Vehicle,
};
pub use kinds::{Command, Edition, Encryption, Flag, SignatureAlgorithm, WireTime};
pub use list::{Element, List, ListIter, Octets, Values, Words, number, word};
pub use session::{Action, Data, DataKind, FORWARDED_VEHICLES_MAX, Received, Session, Why};
pub use signature::{InvalidPublicKey, PublicKey, SM2_USER_ID, SignatureCheck, Signer, verify};
pub use unit::Signature;
pub use unit::{
    Activation, ActivationResponse, Items, ItemsIter, KeyExchange, Login, LoginPacks, Logout,
    PACK_CODE_BYTES, PlatformLogin, Realtime, Unit, without_padding,
};
