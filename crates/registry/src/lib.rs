//! Who is who: the vehicles that may connect, the platforms that forward for them, the tokens of those who ask, and the records
//! of what was sold to whom.
//!
//! The truth are the control objects `<center>/control/<sequence>.json` and the records `<center>/records/<number>.parquet` in the
//! store. Two projections of them serve the program:
//! a map in memory, which admission asks for every connection ([`Registry::lookup`]), and an SQLite file for people's
//! questions, which may be deleted at any time and is rebuilt at the next start. Personal fields stand in control objects only
//! encrypted under the vehicle's data key, so that erasing the key erases them there.
//!
//! Deliberately not here: sockets, decisions (they are `policy`'s), object names (they are `store`'s). Start at [`Registry`].

mod adopt;
#[cfg(test)]
mod adopt_tests;
mod control;
mod erasure;
mod error;
mod fast;
mod import;
mod password;
mod private;
mod projection;
mod records;
mod registry;
#[cfg(test)]
mod tests;
mod token;
mod vehicle;

pub use adopt::Adopted;
pub use control::{ControlKeys, keys_of_control};
pub use erasure::{ErasedRows, Erasure, ErasureGround, NewErasure};
pub use error::{Error, LineProblem};
pub use import::{IMPORT_LINES_MAX, parse_csv};
pub use password::{PASSWORD_LENGTH_MAX, PLATFORM_NAME_LENGTH_MAX};
pub use policy::{Iccid, RecordKind, RegistryVersion, Role, VehicleFacts, VehicleState};
pub use private::PrivateTimes;
pub use records::{
    Column, Field, FieldKind, FieldValue, OwnerPeriod, OwnerTime, RECORD_ROWS_MAX, RECORDS_BYTES_MAX,
    RecordInput, RecordPlace, RecordRow, RecordSchema, RecordTable, RecordsImported, records_of,
};
pub use registry::{Added, Imported, OnRecorded, Registry, World};
pub use token::{Holder, Token, TokenSecret};
pub use vehicle::{NewVehicle, Platform, Revocation, Stated, Vehicle, date};
