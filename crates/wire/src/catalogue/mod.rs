//! The signal catalogue: what each maker's value is called, in which unit it is kept, and how it is to be treated.
//!
//! The catalogue is data, not code: `signals.csv` maps each Tesla field and each GB/T 32960 item field to a signal, that is to
//! a path of the COVESA Vehicle Signal Specification (VSS) where one truly exists, and to `Vehicle.Tesla.…` or
//! `Vehicle.GBT32960.…` where none does; `enumerations.csv` names the values of enumerations. Both are compiled in and read
//! once, at the first use. `docs/formats/signals.md` says how a line is written.
//!
//! Start at [`tesla`] and [`gbt`] (a maker's value and what becomes of it) and [`signals`] (everything that can become a row).

mod enumeration;
mod load;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::sync::LazyLock;

use model::{Class, Datatype, SignalId, SignalInfo};

pub use enumeration::{Enumeration, EnumerationEntry};
pub use value::Resolved;

/// What becomes of one value of a maker: its signal, and how to reach the signal's unit.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The maker's name, such as `VehicleSpeed`, `DoorState.DriverFront`, `vehicle.speed` or `motor.1.speed`.
    pub name: &'static str,
    /// The signal that the value is a reading of.
    pub signal: SignalId,
    /// The maker's unit as the maker documents it; empty where it has none or none is documented.
    pub maker_unit: &'static str,
    /// Factor of the conversion to the signal's unit.
    pub scale: f64,
    /// What is added after the factor.
    pub offset: f64,
    /// Kind of value of the signal.
    pub datatype: Datatype,
    /// How the signal is to be treated.
    pub class: Class,
    /// The names of the maker's numbers, where the maker's value is an enumeration. The signal may still be a boolean: then
    /// the enumeration says which of its values are 1 and which are 0.
    pub enumeration: Option<&'static Enumeration>,
}

/// What becomes of a Tesla field.
#[derive(Clone, Debug)]
pub struct TeslaEntry {
    /// The field's number in the maker's protobuf enumeration `Field`.
    pub number: u32,
    /// The field itself.
    pub entry: Entry,
    /// Where the value is a message (doors, tyres, a place): what its members become, in the order of their numbers. The
    /// field's own signal then only takes a value that is marked invalid or that is none of the message's.
    pub parts: Vec<TeslaPart>,
}

impl TeslaEntry {
    /// The part of a member's number in the value's protobuf message.
    pub fn part(&self, member: u32) -> Option<&TeslaPart> {
        self.parts.iter().find(|part| part.member == member)
    }
}

/// What becomes of a member of a Tesla value that is a message.
#[derive(Clone, Debug)]
pub struct TeslaPart {
    /// The member's number in its protobuf message, from 1.
    pub member: u32,
    /// The member's name in its message, such as `DriverFront`, `front_left` or `latitude`.
    pub member_name: &'static str,
    /// What becomes of it; its name is `<field>.<member>`.
    pub entry: Entry,
}

/// What becomes of a field of a GB/T 32960 information item.
pub type GbtEntry = Entry;

/// Everything that can become a row; a [`SignalId`] is an index into it.
pub fn signals() -> &'static [SignalInfo] {
    &CATALOGUE.signals
}

/// What is known of a signal of this catalogue.
///
/// # Panics
/// When the id is not of this program's catalogue; ids are made nowhere else.
pub fn info(signal: SignalId) -> &'static SignalInfo {
    &CATALOGUE.signals[usize::from(signal.0)]
}

/// The signal of a path.
pub fn find(path: &str) -> Option<SignalId> {
    CATALOGUE.by_path.get(path).copied()
}

/// What becomes of the Tesla field of a number; `None` for a number that the catalogue doesn't know. An array look-up.
pub fn tesla(number: u32) -> Option<&'static TeslaEntry> {
    CATALOGUE.tesla.get(usize::try_from(number).ok()?)?.as_ref()
}

/// What becomes of the Tesla field of a name, such as `VehicleSpeed`.
pub fn tesla_by_name(name: &str) -> Option<&'static TeslaEntry> {
    tesla(*CATALOGUE.tesla_by_name.get(name)?)
}

/// What becomes of the GB/T 32960 item field of a name, such as `vehicle.speed` or `motor.1.speed`. A hash look-up: a codec
/// asks once, at start, and keeps what it got.
pub fn gbt(name: &str) -> Option<&'static GbtEntry> {
    CATALOGUE.gbt.get(name)
}

/// The enumeration of a name, such as `ShiftState`.
pub fn enumeration(name: &str) -> Option<&'static Enumeration> {
    CATALOGUE.enumerations.get(name).copied()
}

/// The catalogue as it is kept in memory.
#[derive(Debug)]
struct Catalogue {
    signals: Vec<SignalInfo>,
    by_path: HashMap<&'static str, SignalId>,
    tesla: Vec<Option<TeslaEntry>>,
    tesla_by_name: HashMap<&'static str, u32>,
    gbt: HashMap<&'static str, GbtEntry>,
    enumerations: HashMap<&'static str, &'static Enumeration>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    load::load(include_str!("signals.csv"), include_str!("enumerations.csv"))
        .expect("the catalogue's files are compiled in and every line of them is held valid by a test")
});
