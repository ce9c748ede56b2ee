//! Words shared by two or more rooms of Domicile: ids, instants, readings and signals, and the two traits through which
//! time and randomness are passed in ([`Clock`], [`Entropy`]).
//!
//! Not here: IO, async code, third-party types, helpers. A word that only one room uses lives in that room.
//! Start at [`Frame`] (what a vehicle sent, as bytes) and [`ReadingSink`] (what those bytes say).

mod frame;
mod gcj02;
mod id;
mod reading;
mod signal;
mod time;
mod world;

pub use frame::{Assurance, Frame, KeyPeriod, Protocol};
pub use gcj02::{gcj02_to_wgs84, wgs84_to_gcj02};
pub use id::{CenterName, ConnectionId, Country, GatewayName, InvalidName, Sequence, VehicleId, Vin};
pub use reading::{Event, Position, Quality, Reading, ReadingSink};
pub use signal::{Class, Datatype, SignalId, SignalInfo};
pub use time::UtcMicros;
pub use world::{Clock, Entropy};
