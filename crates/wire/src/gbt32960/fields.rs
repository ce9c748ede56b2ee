//! What each raw number of an information item means: its name, the standard's factor and offset, its
//! sentinels. Readings ([`super::decode()`]) and descriptions ([`super::describe()`]) both come from here,
//! through a [`Visitor`].

use super::Edition;
use super::items::{
    DriveMotor, Engine, Extremes, FuelCell, Hydrogen, PackTemperatures, PackVoltages, Stack, Supercapacitor,
    SupercapacitorExtremes, Vehicle,
};
use super::list::{Octets, Words};
use super::names::NAMES;

/// A field: where its name stands in [`NAMES`], and value = (raw − bias) / divisor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Index in [`NAMES`] of the name, of the first element's where the group has numbered elements.
    at: usize,
    /// How many names lie between those of one element and the next.
    stride: usize,
    /// What is taken off the raw number.
    pub(super) bias: i64,
    /// What the rest is divided by.
    pub(super) divisor: u32,
}

/// A raw number with its width, which says where its sentinels lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw {
    /// One byte: 0xFE abnormal, 0xFF invalid.
    Byte(u8),
    /// Two bytes.
    Word(u16),
    /// Four bytes.
    Long(u32),
    /// A number without sentinels.
    Plain(u8),
}

/// What a raw number says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    /// A number, before bias and divisor.
    Number(i64),
    /// The vehicle says: abnormal.
    Abnormal,
    /// The vehicle says: invalid.
    Invalid,
}

impl Raw {
    #[inline]
    pub(super) fn value(self) -> Value {
        let (number, invalid) = match self {
            Self::Byte(raw) => (u32::from(raw), 0xff),
            Self::Word(raw) => (u32::from(raw), 0xffff),
            Self::Long(raw) => (raw, u32::MAX),
            Self::Plain(raw) => return Value::Number(i64::from(raw)),
        };
        if number == invalid {
            Value::Invalid
        } else if number == invalid - 1 {
            Value::Abnormal
        } else {
            Value::Number(i64::from(number))
        }
    }
}

impl Field {
    /// The index in [`NAMES`] of an element's name; `element` counts from 0.
    #[inline]
    pub(super) fn index(&self, element: usize) -> usize {
        self.at + self.stride * element
    }

    /// The last part of the name, such as `speed`.
    pub(super) fn short_name(&self) -> &'static str {
        let name = NAMES[self.at].0;
        name.rsplit_once('.').map_or(name, |(_, short)| short)
    }

    /// The value in the unit that [`NAMES`] gives: the nearest double to the decimal that the standard means.
    #[inline]
    pub(super) fn scaled(&self, raw: i64) -> f64 {
        (raw - self.bias) as f64 / f64::from(self.divisor)
    }
}

/// Takes the fields of an item in their order. `element` counts numbered elements from 0.
pub(super) trait Visitor {
    fn value(&mut self, field: Field, element: usize, raw: Raw);
    fn octets(&mut self, field: Field, element: usize, values: &Octets<'_>);
    fn words(&mut self, field: Field, element: usize, values: &Words<'_>);
}

/// Looks a name up while compiling, so that a field without a name in [`NAMES`] does not build.
const fn index_of(name: &str) -> usize {
    let wanted = name.as_bytes();
    let mut at = 0;
    while at < NAMES.len() {
        let found = NAMES[at].0.as_bytes();
        let mut byte = 0;
        while byte < wanted.len() && byte < found.len() && found[byte] == wanted[byte] {
            byte += 1;
        }
        if byte == wanted.len() && byte == found.len() {
            return at;
        }
        at += 1;
    }
    panic!("a field names something that is not in NAMES");
}

const fn field(name: &str, bias: i64, divisor: u32) -> Field {
    Field { at: index_of(name), stride: 0, bias, divisor }
}

/// A field of a numbered element, by its name in the first one.
const fn numbered(name: &str, bias: i64, divisor: u32, stride: usize) -> Field {
    Field { at: index_of(name), stride, bias, divisor }
}

const MOTOR_STRIDE: usize = index_of("motor2.state") - index_of("motor1.state");
const PACK_STRIDE: usize = index_of("pack2.voltage") - index_of("pack1.voltage");
const STACK_STRIDE: usize = index_of("stack2.voltage") - index_of("stack1.voltage");

const fn motor(name: &str, bias: i64, divisor: u32) -> Field {
    numbered(name, bias, divisor, MOTOR_STRIDE)
}

const fn pack(name: &str, bias: i64, divisor: u32) -> Field {
    numbered(name, bias, divisor, PACK_STRIDE)
}

const fn stack(name: &str, bias: i64, divisor: u32) -> Field {
    numbered(name, bias, divisor, STACK_STRIDE)
}

/// Bias of a current in tenths of an ampere: −1000 A in 2016, −3000 A in 2025.
fn current_bias(edition: Edition) -> i64 {
    match edition {
        Edition::V2016 => 10_000,
        Edition::V2025 => 30_000,
    }
}

/// The field with the bias of its edition.
fn biased(field: Field, bias: i64) -> Field {
    Field { bias, ..field }
}

/// The highest alarm level.
pub(super) const ALARM_LEVEL: Field = field("alarm.level", 0, 1);

impl Vehicle {
    pub(super) const SPEED: Field = field("vehicle.speed", 0, 10);

    pub(super) fn visit(&self, edition: Edition, visitor: &mut impl Visitor) {
        const STATE: Field = field("vehicle.state", 0, 1);
        const CHARGING: Field = field("vehicle.charging_state", 0, 1);
        const MODE: Field = field("vehicle.running_mode", 0, 1);
        const ODOMETER: Field = field("vehicle.odometer", 0, 10);
        const VOLTAGE: Field = field("vehicle.voltage", 0, 10);
        const CURRENT: Field = field("vehicle.current", 0, 10);
        const SOC: Field = field("vehicle.soc", 0, 1);
        const DCDC: Field = field("vehicle.dcdc_state", 0, 1);
        const INSULATION: Field = field("vehicle.insulation_resistance", 0, 1);
        const ACCELERATOR: Field = field("vehicle.accelerator_pedal", 0, 1);
        const BRAKE: Field = field("vehicle.brake_pedal", 0, 1);
        visitor.value(STATE, 0, Raw::Byte(self.state));
        visitor.value(CHARGING, 0, Raw::Byte(self.charging));
        visitor.value(MODE, 0, Raw::Byte(self.mode));
        visitor.value(Self::SPEED, 0, Raw::Word(self.speed));
        visitor.value(ODOMETER, 0, Raw::Long(self.odometer));
        visitor.value(VOLTAGE, 0, Raw::Word(self.voltage));
        visitor.value(biased(CURRENT, current_bias(edition)), 0, Raw::Word(self.current));
        visitor.value(SOC, 0, Raw::Byte(self.soc));
        visitor.value(DCDC, 0, Raw::Byte(self.dcdc));
        self.visit_gear(edition, visitor);
        visitor.value(INSULATION, 0, Raw::Word(self.insulation));
        for (field, pedal) in [(ACCELERATOR, self.accelerator), (BRAKE, self.brake)] {
            if let Some(pedal) = pedal {
                visitor.value(field, 0, Raw::Byte(pedal));
            }
        }
    }

    /// The gear byte holds three values. Where all of it is a sentinel, so is each of them.
    fn visit_gear(&self, edition: Edition, visitor: &mut impl Visitor) {
        const GEAR: Field = field("vehicle.gear", 0, 1);
        const DRIVING: Field = field("vehicle.driving_force", 0, 1);
        const BRAKING: Field = field("vehicle.braking_force", 0, 1);
        let is_sentinel = self.gear >= 0xfe;
        let part = |bits: u8| if is_sentinel { Raw::Byte(self.gear) } else { Raw::Plain(bits) };
        let gear_is_invalid = edition == Edition::V2025 && self.gear & 0x80 != 0;
        let gear = if gear_is_invalid { Raw::Byte(0xff) } else { part(self.gear & 0x0f) };
        visitor.value(GEAR, 0, gear);
        visitor.value(DRIVING, 0, part(self.gear >> 5 & 1));
        visitor.value(BRAKING, 0, part(self.gear >> 4 & 1));
    }
}

impl DriveMotor {
    pub(super) fn visit(&self, edition: Edition, element: usize, visitor: &mut impl Visitor) {
        const STATE: Field = motor("motor1.state", 0, 1);
        const CONTROLLER_TEMPERATURE: Field = motor("motor1.controller_temperature", 40, 1);
        const SPEED: Field = motor("motor1.speed", 0, 1);
        const TORQUE: Field = motor("motor1.torque", 0, 10);
        const TEMPERATURE: Field = motor("motor1.temperature", 40, 1);
        const VOLTAGE: Field = motor("motor1.controller_voltage", 0, 10);
        const CURRENT: Field = motor("motor1.controller_current", 10_000, 10);
        let (speed_bias, torque_bias, torque) = match edition {
            Edition::V2016 => (20_000, 20_000, Raw::Word(u16::try_from(self.torque).unwrap_or(u16::MAX))),
            Edition::V2025 => (32_000, 200_000, Raw::Long(self.torque)),
        };
        visitor.value(STATE, element, Raw::Byte(self.state));
        visitor.value(CONTROLLER_TEMPERATURE, element, Raw::Byte(self.controller_temperature));
        visitor.value(biased(SPEED, speed_bias), element, Raw::Word(self.speed));
        visitor.value(biased(TORQUE, torque_bias), element, torque);
        visitor.value(TEMPERATURE, element, Raw::Byte(self.temperature));
        for (field, raw) in [(VOLTAGE, self.controller_voltage), (CURRENT, self.controller_current)] {
            if let Some(raw) = raw {
                visitor.value(field, element, Raw::Word(raw));
            }
        }
    }
}

const HYDROGEN_TEMPERATURE_PROBE: Field = field("hydrogen.max_temperature_probe", 0, 1);
const HYDROGEN_CONCENTRATION_SENSOR: Field = field("hydrogen.max_concentration_sensor", 0, 1);
const HYDROGEN_PRESSURE: Field = field("hydrogen.max_pressure", 0, 10);
const HYDROGEN_PRESSURE_SENSOR: Field = field("hydrogen.max_pressure_sensor", 0, 1);
const FUEL_CELL_DCDC: Field = field("fuel_cell.dcdc_state", 0, 1);

impl FuelCell<'_> {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const VOLTAGE: Field = field("fuel_cell.voltage", 0, 10);
        const CURRENT: Field = field("fuel_cell.current", 0, 10);
        const CONSUMPTION: Field = field("fuel_cell.fuel_consumption", 0, 100);
        const PROBES: Field = field("fuel_cell.probe_temperatures", 40, 1);
        const TEMPERATURE: Field = field("hydrogen.max_temperature", 400, 10);
        const CONCENTRATION: Field = field("hydrogen.max_concentration_mass", 0, 1);
        visitor.value(VOLTAGE, 0, Raw::Word(self.voltage));
        visitor.value(CURRENT, 0, Raw::Word(self.current));
        visitor.value(CONSUMPTION, 0, Raw::Word(self.consumption));
        visitor.octets(PROBES, 0, &self.probes);
        visitor.value(TEMPERATURE, 0, Raw::Word(self.temperature_max));
        visitor.value(HYDROGEN_TEMPERATURE_PROBE, 0, Raw::Byte(self.temperature_probe));
        visitor.value(CONCENTRATION, 0, Raw::Word(self.concentration_max));
        visitor.value(HYDROGEN_CONCENTRATION_SENSOR, 0, Raw::Byte(self.concentration_sensor));
        visitor.value(HYDROGEN_PRESSURE, 0, Raw::Word(self.pressure_max));
        visitor.value(HYDROGEN_PRESSURE_SENSOR, 0, Raw::Byte(self.pressure_sensor));
        visitor.value(FUEL_CELL_DCDC, 0, Raw::Byte(self.dcdc));
    }
}

impl Hydrogen {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const TEMPERATURE: Field = field("hydrogen.max_temperature", 40, 1);
        const CONCENTRATION: Field = field("hydrogen.max_concentration", 0, 10_000);
        const REMAINING: Field = field("hydrogen.remaining_fuel", 0, 1);
        const DCDC_TEMPERATURE: Field = field("fuel_cell.dcdc_temperature", 40, 1);
        visitor.value(TEMPERATURE, 0, Raw::Word(self.temperature_max));
        visitor.value(HYDROGEN_TEMPERATURE_PROBE, 0, Raw::Byte(self.temperature_probe));
        visitor.value(CONCENTRATION, 0, Raw::Word(self.concentration_max));
        visitor.value(HYDROGEN_CONCENTRATION_SENSOR, 0, Raw::Byte(self.concentration_sensor));
        visitor.value(HYDROGEN_PRESSURE, 0, Raw::Word(self.pressure_max));
        visitor.value(HYDROGEN_PRESSURE_SENSOR, 0, Raw::Byte(self.pressure_sensor));
        visitor.value(FUEL_CELL_DCDC, 0, Raw::Byte(self.dcdc));
        visitor.value(REMAINING, 0, Raw::Byte(self.remaining_fuel));
        visitor.value(DCDC_TEMPERATURE, 0, Raw::Byte(self.dcdc_temperature));
    }
}

impl Engine {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const STATE: Field = field("engine.state", 0, 1);
        const SPEED: Field = field("engine.speed", 0, 1);
        const CONSUMPTION: Field = field("engine.fuel_consumption", 0, 100);
        if let Some(state) = self.state {
            visitor.value(STATE, 0, Raw::Byte(state));
        }
        visitor.value(SPEED, 0, Raw::Word(self.speed));
        if let Some(consumption) = self.consumption {
            visitor.value(CONSUMPTION, 0, Raw::Word(consumption));
        }
    }
}

impl Extremes {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const FIELDS: [Field; 12] = [
            field("extremes.max_cell_voltage", 0, 1_000),
            field("extremes.max_cell_voltage_pack", 0, 1),
            field("extremes.max_cell_voltage_cell", 0, 1),
            field("extremes.min_cell_voltage", 0, 1_000),
            field("extremes.min_cell_voltage_pack", 0, 1),
            field("extremes.min_cell_voltage_cell", 0, 1),
            field("extremes.max_temperature", 40, 1),
            field("extremes.max_temperature_pack", 0, 1),
            field("extremes.max_temperature_probe", 0, 1),
            field("extremes.min_temperature", 40, 1),
            field("extremes.min_temperature_pack", 0, 1),
            field("extremes.min_temperature_probe", 0, 1),
        ];
        let raws = [
            Raw::Word(self.voltage_max),
            Raw::Byte(self.voltage_max_pack),
            Raw::Byte(self.voltage_max_cell),
            Raw::Word(self.voltage_min),
            Raw::Byte(self.voltage_min_pack),
            Raw::Byte(self.voltage_min_cell),
            Raw::Byte(self.temperature_max),
            Raw::Byte(self.temperature_max_pack),
            Raw::Byte(self.temperature_max_probe),
            Raw::Byte(self.temperature_min),
            Raw::Byte(self.temperature_min_pack),
            Raw::Byte(self.temperature_min_probe),
        ];
        FIELDS.into_iter().zip(raws).for_each(|(field, raw)| visitor.value(field, 0, raw));
    }
}

impl PackVoltages<'_> {
    pub(super) fn visit(&self, edition: Edition, element: usize, visitor: &mut impl Visitor) {
        const VOLTAGE: Field = pack("pack1.voltage", 0, 10);
        const CURRENT: Field = pack("pack1.current", 0, 10);
        const COUNT: Field = pack("pack1.cell_count", 0, 1);
        const FIRST: Field = pack("pack1.first_cell", 0, 1);
        const CELLS: Field = pack("pack1.cell_voltages", 0, 1_000);
        visitor.value(VOLTAGE, element, Raw::Word(self.voltage));
        visitor.value(biased(CURRENT, current_bias(edition)), element, Raw::Word(self.current));
        for (field, raw) in [(COUNT, self.cells_total), (FIRST, self.first_cell)] {
            if let Some(raw) = raw {
                visitor.value(field, element, Raw::Word(raw));
            }
        }
        visitor.words(CELLS, element, &self.cells);
    }
}

impl PackTemperatures<'_> {
    pub(super) fn visit(&self, element: usize, visitor: &mut impl Visitor) {
        const PROBES: Field = pack("pack1.probe_temperatures", 40, 1);
        visitor.octets(PROBES, element, &self.probes);
    }
}

impl Stack<'_> {
    pub(super) fn visit(&self, element: usize, visitor: &mut impl Visitor) {
        const VOLTAGE: Field = stack("stack1.voltage", 0, 10);
        const CURRENT: Field = stack("stack1.current", 0, 10);
        const HYDROGEN_PRESSURE: Field = stack("stack1.hydrogen_inlet_pressure", 1_000, 10);
        const AIR_PRESSURE: Field = stack("stack1.air_inlet_pressure", 1_000, 10);
        const AIR_TEMPERATURE: Field = stack("stack1.air_inlet_temperature", 40, 1);
        const PROBES: Field = stack("stack1.probe_temperatures", 40, 1);
        visitor.value(VOLTAGE, element, Raw::Word(self.voltage));
        visitor.value(CURRENT, element, Raw::Word(self.current));
        visitor.value(HYDROGEN_PRESSURE, element, Raw::Word(self.hydrogen_pressure));
        visitor.value(AIR_PRESSURE, element, Raw::Word(self.air_pressure));
        visitor.value(AIR_TEMPERATURE, element, Raw::Byte(self.air_temperature));
        visitor.octets(PROBES, element, &self.probes);
    }
}

impl Supercapacitor<'_> {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const VOLTAGE: Field = field("supercapacitor.voltage", 0, 10);
        const CURRENT: Field = field("supercapacitor.current", 30_000, 10);
        const CELLS: Field = field("supercapacitor.cell_voltages", 0, 1_000);
        const PROBES: Field = field("supercapacitor.probe_temperatures", 40, 1);
        visitor.value(VOLTAGE, 0, Raw::Word(self.voltage));
        visitor.value(CURRENT, 0, Raw::Word(self.current));
        visitor.words(CELLS, 0, &self.cells);
        visitor.octets(PROBES, 0, &self.probes);
    }
}

impl SupercapacitorExtremes {
    pub(super) fn visit(&self, visitor: &mut impl Visitor) {
        const FIELDS: [Field; 12] = [
            field("supercapacitor.max_cell_voltage", 0, 1_000),
            field("supercapacitor.max_cell_voltage_system", 0, 1),
            field("supercapacitor.max_cell_voltage_cell", 0, 1),
            field("supercapacitor.min_cell_voltage", 0, 1_000),
            field("supercapacitor.min_cell_voltage_system", 0, 1),
            field("supercapacitor.min_cell_voltage_cell", 0, 1),
            field("supercapacitor.max_temperature", 40, 1),
            field("supercapacitor.max_temperature_system", 0, 1),
            field("supercapacitor.max_temperature_probe", 0, 1),
            field("supercapacitor.min_temperature", 40, 1),
            field("supercapacitor.min_temperature_system", 0, 1),
            field("supercapacitor.min_temperature_probe", 0, 1),
        ];
        let raws = [
            Raw::Word(self.voltage_max),
            Raw::Byte(self.voltage_max_system),
            Raw::Word(self.voltage_max_unit),
            Raw::Word(self.voltage_min),
            Raw::Byte(self.voltage_min_system),
            Raw::Word(self.voltage_min_unit),
            Raw::Byte(self.temperature_max),
            Raw::Byte(self.temperature_max_system),
            Raw::Word(self.temperature_max_probe),
            Raw::Byte(self.temperature_min),
            Raw::Byte(self.temperature_min_system),
            Raw::Word(self.temperature_min_probe),
        ];
        FIELDS.into_iter().zip(raws).for_each(|(field, raw)| visitor.value(field, 0, raw));
    }
}
