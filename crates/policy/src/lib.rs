//! Decisions: facts in, a permit or a [`Refusal`] out.
//!
//! This room decides whether a vehicle's data may be taken in ([`admit`]). What it permits it hands out as a value that nobody
//! else can make: the journal takes nothing but [`Admitted`] frames, and only an [`Admission`] (or, for what the center itself
//! observes of a registered vehicle, a [`Witness`]) makes those.
//!
//! It reads the country's rules ([`Pack`]): classes, retention, deadlines, thresholds, and the fields of records of sale,
//! ownership and service. And it decides what people and programs may do at a center ([`Access`]).
//!
//! Not here: IO, async code, clocks, the registry's data (it is handed in as [`VehicleFacts`]). Start at [`admit`], [`Pack::parse`]
//! and [`Access::decide`].

mod access;
mod admit;
mod error;
mod pack;
mod permit;
mod refusal;
#[cfg(test)]
mod tests;
mod vehicle;

pub use access::{Access, Action, DEFAULT_ACCESS, Decision, Principal, Resource, Role, Roles};
pub use admit::{Certificate, Facts, Rules, Signature, Transport, Via, admit, observe, take_over};
pub use error::{AccessError, FieldError, HeaderError, InvalidPackVersion, PackError};
pub use pack::{
    Calendar, Cameras, ClassRule, Consent, Counter, Counts, Datum, Day, Deadlines, Export, ExportPath,
    FieldSchema, FieldType, Keep, Ownership, Pack, PackVersion, Per, Positions, RecordKind, RecordSchema,
    RecordValue, Residency, ResidencyMode, Sourced, Status, Step, Term, Thresholds, Unit, Window, YearDay,
    ZoneEffect, ZoneRule,
};
pub use permit::{Admission, Admitted, RegistryVersion, Witness};
pub use refusal::Refusal;
pub use vehicle::{Iccid, InvalidIccid, VehicleFacts, VehicleState};
