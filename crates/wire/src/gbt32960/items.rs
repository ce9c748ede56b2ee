//! The information items of realtime and supplementary data. Numbers are raw, as they stand in the frame;
//! `fields.rs` knows their factors, offsets and sentinels. What only one edition has is `Option`: reading
//! fills it by edition, writing an item without what its edition needs writes the sentinel "invalid" in its
//! place.

use super::list::{List, Octets, Words};

/// One information item.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Item<'a> {
    /// 01: the whole vehicle.
    Vehicle(Vehicle),
    /// 02: drive motors.
    DriveMotors(List<'a, DriveMotor>),
    /// 03 of 2016: fuel cell.
    FuelCell(FuelCell<'a>),
    /// 03 of 2025: fuel-cell engine and hydrogen system.
    Hydrogen(Hydrogen),
    /// 04: combustion engine.
    Engine(Engine),
    /// 05: where the vehicle is.
    Place(Place),
    /// 06 of 2016: extreme values.
    Extremes(Extremes),
    /// 07 of 2016, 06 of 2025: alarms.
    Alarms(Alarms<'a>),
    /// 08 of 2016, 07 of 2025: voltages of cells or minimum parallel units.
    CellVoltages(List<'a, PackVoltages<'a>>),
    /// 09 of 2016, 08 of 2025: temperatures of a pack's probes.
    Temperatures(List<'a, PackTemperatures<'a>>),
    /// 30 of 2025: fuel-cell stacks.
    Stacks(List<'a, Stack<'a>>),
    /// 31 of 2025: supercapacitor.
    Supercapacitor(Supercapacitor<'a>),
    /// 32 of 2025: supercapacitor extremes.
    SupercapacitorExtremes(SupercapacitorExtremes),
    /// 80..FE: the maker's own, with a length.
    Custom {
        /// The item's type byte.
        kind: u8,
        /// What it carries.
        bytes: &'a [u8],
    },
    /// A reserved type, whose layout nobody outside knows: everything up to the signature or the end of the
    /// data unit.
    Unknown {
        /// The item's type byte.
        kind: u8,
        /// What it carries.
        bytes: &'a [u8],
    },
}

/// Item 01.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vehicle {
    /// 1 on, 2 off, 3 other.
    pub state: u8,
    /// 1 parked charging, 2 driving charging, 3 not charging, 4 finished.
    pub charging: u8,
    /// 1 electric, 2 hybrid, 3 fuel.
    pub mode: u8,
    /// 0.1 km/h.
    pub speed: u16,
    /// 0.1 km.
    pub odometer: u32,
    /// 0.1 V.
    pub voltage: u16,
    /// 0.1 A, from −1000 A (2016) or −3000 A (2025).
    pub current: u16,
    /// %.
    pub soc: u8,
    /// DC-DC converter: 1 on, 2 off.
    pub dcdc: u8,
    /// Bit 5 driving force, bit 4 braking force, low 4 bits the gear; 2025: bit 7 set where the gear is not
    /// valid.
    pub gear: u8,
    /// kΩ.
    pub insulation: u16,
    /// %, 2016 only.
    pub accelerator: Option<u8>,
    /// %, or 101 for pressed; 2016 only.
    pub brake: Option<u8>,
}

/// One of item 02.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DriveMotor {
    /// From 1.
    pub number: u8,
    /// 1 consuming, 2 generating, 3 off, 4 ready.
    pub state: u8,
    /// °C from −40.
    pub controller_temperature: u8,
    /// rpm from −20000 (2016) or −32000 (2025).
    pub speed: u16,
    /// 0.1 N·m: 2016 two bytes from −2000 N·m, 2025 four bytes from −20000 N·m.
    pub torque: u32,
    /// °C from −40.
    pub temperature: u8,
    /// 0.1 V, 2016 only.
    pub controller_voltage: Option<u16>,
    /// 0.1 A from −1000 A, 2016 only.
    pub controller_current: Option<u16>,
}

/// Item 03 of 2016.
#[derive(Clone, Copy, Debug)]
pub struct FuelCell<'a> {
    /// 0.1 V.
    pub voltage: u16,
    /// 0.1 A.
    pub current: u16,
    /// 0.01 kg/100 km.
    pub consumption: u16,
    /// °C from −40, one a probe.
    pub probes: Octets<'a>,
    /// Hydrogen system's highest temperature, 0.1 °C from −40 °C.
    pub temperature_max: u16,
    /// Its probe.
    pub temperature_probe: u8,
    /// Highest hydrogen concentration, mg/kg.
    pub concentration_max: u16,
    /// Its sensor.
    pub concentration_sensor: u8,
    /// Highest hydrogen pressure, 0.1 MPa.
    pub pressure_max: u16,
    /// Its sensor.
    pub pressure_sensor: u8,
    /// High-voltage DC-DC converter: 1 on, 2 off.
    pub dcdc: u8,
}

/// Item 03 of 2025.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hydrogen {
    /// Highest temperature, °C from −40.
    pub temperature_max: u16,
    /// Its probe.
    pub temperature_probe: u8,
    /// Highest hydrogen concentration, 1e-4.
    pub concentration_max: u16,
    /// Its sensor.
    pub concentration_sensor: u8,
    /// Highest hydrogen pressure, 0.1 MPa.
    pub pressure_max: u16,
    /// Its sensor.
    pub pressure_sensor: u8,
    /// High-voltage DC-DC converter: 1 on, 2 off.
    pub dcdc: u8,
    /// Hydrogen left, %.
    pub remaining_fuel: u8,
    /// DC-DC controller's temperature, °C from −40.
    pub dcdc_temperature: u8,
}

/// Item 04.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Engine {
    /// 1 on, 2 off; 2016 only.
    pub state: Option<u8>,
    /// Crankshaft, rpm.
    pub speed: u16,
    /// 0.01 L/100 km; 2016 only.
    pub consumption: Option<u16>,
}

/// Item 05.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bit 0: 1 not valid; bit 1: 1 south; bit 2: 1 west.
    pub state: u8,
    /// 1 WGS-84, 2 GCJ-02, 3 other; 2025 only.
    pub system: Option<u8>,
    /// 1e-6 degrees.
    pub longitude: u32,
    /// 1e-6 degrees.
    pub latitude: u32,
}

/// Item 06 of 2016.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extremes {
    /// Battery subsystem with the highest cell voltage.
    pub voltage_max_pack: u8,
    /// That cell.
    pub voltage_max_cell: u8,
    /// mV.
    pub voltage_max: u16,
    /// Battery subsystem with the lowest cell voltage.
    pub voltage_min_pack: u8,
    /// That cell.
    pub voltage_min_cell: u8,
    /// mV.
    pub voltage_min: u16,
    /// Battery subsystem with the highest temperature.
    pub temperature_max_pack: u8,
    /// That probe.
    pub temperature_max_probe: u8,
    /// °C from −40.
    pub temperature_max: u8,
    /// Battery subsystem with the lowest temperature.
    pub temperature_min_pack: u8,
    /// That probe.
    pub temperature_min_probe: u8,
    /// °C from −40.
    pub temperature_min: u8,
}

/// Item 07 of 2016, 06 of 2025.
#[derive(Clone, Copy, Debug)]
pub struct Alarms<'a> {
    /// The highest level now, 0 to 3.
    pub level: u8,
    /// A bit an alarm; [`super::alarms::FLAGS`] names them.
    pub flags: u32,
    /// Fault codes of the battery.
    pub battery: List<'a, FaultCode>,
    /// Fault codes of drive motors.
    pub motor: List<'a, FaultCode>,
    /// Fault codes of the engine.
    pub engine: List<'a, FaultCode>,
    /// Other fault codes.
    pub other: List<'a, FaultCode>,
    /// Alarms with their levels, 2025 only.
    pub levels: Option<List<'a, AlarmLevel>>,
}

/// A maker's fault code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultCode(pub u32);

/// An alarm with its level (2025).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlarmLevel {
    /// The number of the alarm's bit.
    pub flag: u8,
    /// Its level.
    pub level: u8,
}

/// One of item 08 (2016) or 07 (2025).
#[derive(Clone, Copy, Debug)]
pub struct PackVoltages<'a> {
    /// From 1.
    pub pack: u8,
    /// 0.1 V.
    pub voltage: u16,
    /// 0.1 A from −1000 A (2016) or −3000 A (2025).
    pub current: u16,
    /// Cells of the pack; 2016 only.
    pub cells_total: Option<u16>,
    /// Number of the first cell below, from 1; 2016 only.
    pub first_cell: Option<u16>,
    /// mV.
    pub cells: Words<'a>,
}

/// One of item 09 (2016) or 08 (2025).
#[derive(Clone, Copy, Debug)]
pub struct PackTemperatures<'a> {
    /// From 1.
    pub pack: u8,
    /// °C from −40.
    pub probes: Octets<'a>,
}

/// One of item 30 (2025).
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// From 1.
    pub number: u8,
    /// 0.1 V.
    pub voltage: u16,
    /// 0.1 A.
    pub current: u16,
    /// 0.1 kPa from −100 kPa.
    pub hydrogen_pressure: u16,
    /// 0.1 kPa from −100 kPa.
    pub air_pressure: u16,
    /// °C from −40.
    pub air_temperature: u8,
    /// °C from −40.
    pub probes: Octets<'a>,
}

/// Item 31 (2025).
#[derive(Clone, Copy, Debug)]
pub struct Supercapacitor<'a> {
    /// Number of the system.
    pub system: u8,
    /// 0.1 V.
    pub voltage: u16,
    /// 0.1 A from −3000 A.
    pub current: u16,
    /// mV.
    pub cells: Words<'a>,
    /// °C from −40.
    pub probes: Octets<'a>,
}

/// Item 32 (2025).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SupercapacitorExtremes {
    /// System with the highest voltage.
    pub voltage_max_system: u8,
    /// That unit.
    pub voltage_max_unit: u16,
    /// mV.
    pub voltage_max: u16,
    /// System with the lowest voltage.
    pub voltage_min_system: u8,
    /// That unit.
    pub voltage_min_unit: u16,
    /// mV.
    pub voltage_min: u16,
    /// System with the highest temperature.
    pub temperature_max_system: u8,
    /// That probe.
    pub temperature_max_probe: u16,
    /// °C from −40.
    pub temperature_max: u8,
    /// System with the lowest temperature.
    pub temperature_min_system: u8,
    /// That probe.
    pub temperature_min_probe: u16,
    /// °C from −40.
    pub temperature_min: u8,
}
