//! The names of alarm flags.

use super::Edition;

/// Names of the bits of the alarm flags, bit 0 first (2016 table 18: bits 0 to 18; 2025 table 24: all).
pub const FLAGS: [&str; 28] = [
    "temperature_difference",
    "battery_high_temperature",
    "pack_over_voltage",
    "pack_under_voltage",
    "soc_low",
    "cell_over_voltage",
    "cell_under_voltage",
    "soc_high",
    "soc_jump",
    "pack_mismatch",
    "poor_cell_consistency",
    "insulation",
    "dcdc_temperature",
    "brake_system",
    "dcdc_state",
    "motor_controller_temperature",
    "high_voltage_interlock",
    "motor_temperature",
    "overcharge",
    "motor_over_speed",
    "motor_over_current",
    "supercapacitor_over_temperature",
    "supercapacitor_over_pressure",
    "battery_thermal_event",
    "hydrogen_leak",
    "hydrogen_pressure_abnormal",
    "hydrogen_temperature_abnormal",
    "fuel_cell_stack_over_temperature",
];

/// How many of them 2016 defines.
const FLAGS_2016: usize = 19;

/// The name of a flag's bit; `None` for a bit that the edition reserves.
pub fn flag_name(edition: Edition, bit: u8) -> Option<&'static str> {
    let defined = match edition {
        Edition::V2016 => &FLAGS[..FLAGS_2016],
        Edition::V2025 => &FLAGS[..],
    };
    defined.get(usize::from(bit)).copied()
}
