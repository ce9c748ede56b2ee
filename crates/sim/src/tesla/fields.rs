//! What a simulated vehicle says of each field: how often it may, and the value in the maker's own words and units.

use crate::vehicle::{Activity, Gear, Plug, Vehicle};

/// A value as a vehicle holds it before it is written; texts are its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// There is no valid value now.
    Invalid,
    /// A number with so many decimals.
    Number(f64, u8),
    /// A whole number.
    Whole(i32),
    /// Yes or no.
    Boolean(bool),
    /// A text.
    Text(String),
    /// Kind of the one-of, number, and the maker's name for it.
    Named(u32, i32, &'static str),
    /// Degrees north and east.
    Place(f64, f64),
    /// Open doors, a bit each.
    Doors(u16),
    /// Tyres with a warning, a bit each.
    Tires(u16),
}

/// A field that simulated vehicles are configured to stream.
pub(super) struct Field {
    /// The number in the maker's enumeration.
    pub(super) number: u32,
    /// It is sent at most this often, and only when it changed.
    pub(super) interval_s: u32,
    /// Its value.
    pub(super) value: fn(&Vehicle) -> Value,
}

const KM_A_MILE: f64 = 1.609_344;

/// Seconds after which an unchanged field is sent again.
pub(super) const RESEND_S: u32 = 300;

const fn field(number: u32, interval_s: u32, value: fn(&Vehicle) -> Value) -> Field {
    Field { number, interval_s, value }
}

/// The configuration of every simulated vehicle: what moves each second, what moves slowly, and what hardly ever does.
pub(super) const FIELDS: &[Field] =
    &[
        field(4, 1, |v| Value::Number(v.speed_kmh / KM_A_MILE, 2)),
        field(5, 10, |v| Value::Number(v.odometer_km / KM_A_MILE, 3)),
        field(6, 2, |v| Value::Number(v.battery.volts, 2)),
        field(7, 1, |v| Value::Number(-v.battery.amps, 1)),
        field(8, 30, |v| Value::Number(v.battery.soc_percent(), 2)),
        field(9, 60, |v| Value::Boolean(v.activity != Activity::Parked)),
        field(10, 1, gear),
        field(11, 60, |v| Value::Number(v.battery.insulation_kohm, 0)),
        field(12, 1, |v| Value::Number(v.pedal_percent, 1)),
        field(13, 1, |v| Value::Boolean(v.brake_percent > 0.0)),
        field(14, 5, inverter_state),
        field(15, 10, |v| Value::Number(v.inverter_c, 1)),
        field(16, 1, |v| Value::Number(v.motor_rpm.round(), 0)),
        field(17, 1, |v| Value::Number(v.motor_nm, 1)),
        field(18, 10, |v| Value::Number(v.motor_c, 1)),
        field(20, 2, |v| Value::Number(v.battery.amps * 1.02, 1)),
        field(21, 2, |v| {
            let (north, east) = v.position();
            if v.position_valid { Value::Place(north, east) } else { Value::Invalid }
        }),
        field(22, 60, |v| Value::Boolean(v.position_valid)),
        field(23, 2, |v| Value::Number(v.heading().round(), 0)),
        field(24, 30, |v| Value::Whole(v.battery.cell_max().0 as i32 + 1)),
        field(25, 10, |v| Value::Number(f64::from(v.battery.cell_max().1) / 1000.0, 3)),
        field(26, 30, |v| Value::Whole(v.battery.cell_min().0 as i32 + 1)),
        field(27, 10, |v| Value::Number(f64::from(v.battery.cell_min().1) / 1000.0, 3)),
        field(29, 30, |v| Value::Number(half(v.battery.probe_max().1), 1)),
        field(31, 30, |v| Value::Number(half(v.battery.probe_min().1), 1)),
        field(32, 60, |v| Value::Number(v.battery.energy_kwh * 5.6 / KM_A_MILE, 2)),
        field(33, 60, |_| Value::Named(23, 2, "HvilStatusOK")),
        field(35, 5, |v| charging(v, Plug::Dc, v.charging_kw())),
        field(37, 5, |v| charging(v, Plug::Ac, v.charging_kw())),
        field(34, 30, |v| charging(v, Plug::Dc, v.battery.session_kwh)),
        field(36, 30, |v| charging(v, Plug::Ac, v.battery.session_kwh)),
        field(38, 60, |v| Value::Whole(v.charge_limit_percent as i32)),
        field(39, 10, |v| Value::Boolean(matches!(v.activity, Activity::Charging(Plug::Dc)))),
        field(42, 60, |v| Value::Number(v.battery.soc_percent(), 1)),
        field(43, 60, time_to_full),
        field(49, 5, |v| charging(v, Plug::Ac, 16.0)),
        field(58, 1, |v| Value::Doors(bits(&v.body.doors))),
        field(59, 1, |v| Value::Boolean(v.body.locked)),
        field(64, 60, |v| Value::Text(format!("Sim {}", v.index))),
        field(65, 60, |_| Value::Named(13, 1, "SentryModeStateOff")),
        field(68, 60, |v| Value::Text(VERSIONS[v.index as usize % VERSIONS.len()].to_owned())),
        field(69, 60, |v| Value::Number(v.body.tyres_bar[0], 2)),
        field(70, 60, |v| Value::Number(v.body.tyres_bar[1], 2)),
        field(71, 60, |v| Value::Number(v.body.tyres_bar[2], 2)),
        field(72, 60, |v| Value::Number(v.body.tyres_bar[3], 2)),
        field(85, 30, |v| Value::Number(half(v.body.inside_c), 1)),
        field(86, 30, |v| Value::Number(half(v.body.outside_c), 1)),
        field(94, 5, |v| if v.body.belted { BELTED } else { UNBELTED }),
        field(96, 5, |v| Value::Boolean(v.body.belted)),
        field(98, 1, |v| Value::Number(v.lateral_ms2, 2)),
        field(99, 1, |v| Value::Number(v.forward_ms2, 2)),
        field(101, 5, |_| Value::Invalid),
        field(102, 60, |v| Value::Number(v.battery.lifetime_used_kwh, 2)),
        field(109, 30, |v| on_trip(v, v.to_destination_km() / KM_A_MILE)),
        field(110, 30, |v| on_trip(v, v.to_destination_km() / 0.9)),
        field(112, 30, |v| v.destination().map_or(Value::Invalid, |(north, east)| Value::Place(north, east))),
        field(113, 300, |v| if v.index.is_multiple_of(3) { MODEL_Y } else { MODEL_3 }),
        field(115, 300, |v| Value::Text(["PPSW", "SolidBlack", "DeepBlue"][v.index as usize % 3].to_owned())),
        field(134, 60, |v| Value::Number(v.battery.lifetime_regained_kwh, 2)),
        field(158, 30, |v| Value::Number(v.battery.energy_kwh, 2)),
        field(160, 5, bms_state),
        field(179, 5, charge_state),
        field(184, 5, |v| {
            if v.charging_kw() > 0.0 { Value::Number(charger_volts(v), 1) } else { Value::Invalid }
        }),
        field(196, 10, |v| Value::Boolean(v.body.climate_on)),
        field(201, 10, |v| if v.body.climate_on { CLIMATE_ON } else { CLIMATE_OFF }),
        field(200, 60, |_| Value::Number(21.5, 1)),
        field(224, 60, |v| Value::Tires(u16::from(v.body.tyres_bar[2] < 2.5) << 2)),
        field(240, 1, blinker),
        field(242, 2, |v| if v.body.title.is_some() { PLAYING } else { STOPPED }),
        field(244, 5, |v| Value::Number(v.body.volume, 2)),
        field(245, 5, |v| {
            v.body.title.map_or(Value::Invalid, |title| Value::Whole(title.duration_s as i32 * 1000))
        }),
        field(247, 2, |v| title(v, |title| title.artist)),
        field(248, 2, |v| title(v, |title| title.title)),
        field(249, 2, |v| title(v, |title| title.album)),
    ];

const VERSIONS: [&str; 3] = ["2025.38.11 4c2e2a", "2025.44.3 8d1b0f", "2026.2.6 11aa3c"];
const BELTED: Value = Value::Named(16, 2, "BuckleStatusLatched");
const UNBELTED: Value = Value::Named(16, 1, "BuckleStatusUnlatched");
const MODEL_3: Value = Value::Named(17, 3, "CarTypeModel3");
const MODEL_Y: Value = Value::Named(17, 4, "CarTypeModelY");
const CLIMATE_ON: Value = Value::Named(38, 2, "HvacPowerStateOn");
const CLIMATE_OFF: Value = Value::Named(38, 1, "HvacPowerStateOff");
const PLAYING: Value = Value::Named(53, 2, "MediaStatusPlaying");
const STOPPED: Value = Value::Named(53, 1, "MediaStatusStopped");

fn gear(vehicle: &Vehicle) -> Value {
    match vehicle.gear {
        Gear::P => Value::Named(9, 2, "ShiftStateP"),
        Gear::R => Value::Named(9, 3, "ShiftStateR"),
        Gear::N => Value::Named(9, 4, "ShiftStateN"),
        Gear::D => Value::Named(9, 5, "ShiftStateD"),
    }
}

fn inverter_state(vehicle: &Vehicle) -> Value {
    match vehicle.activity {
        Activity::Driving => Value::Named(22, 5, "DriveInverterStateEnable"),
        _ => Value::Named(22, 2, "DriveInverterStateStandby"),
    }
}

fn bms_state(vehicle: &Vehicle) -> Value {
    match vehicle.activity {
        Activity::Driving => Value::Named(15, 2, "BMSStateDrive"),
        Activity::Charging(_) => Value::Named(15, 4, "BMSStateCharge"),
        Activity::Parked | Activity::Charged(_) => Value::Named(15, 1, "BMSStateStandby"),
    }
}

fn charge_state(vehicle: &Vehicle) -> Value {
    match vehicle.activity {
        Activity::Charging(_) => Value::Named(32, 4, "DetailedChargeStateCharging"),
        Activity::Charged(_) => Value::Named(32, 5, "DetailedChargeStateComplete"),
        Activity::Driving | Activity::Parked => Value::Named(32, 1, "DetailedChargeStateDisconnected"),
    }
}

fn blinker(vehicle: &Vehicle) -> Value {
    match vehicle.body.blinker {
        0 => Value::Named(52, 1, "TurnSignalStateOff"),
        -1 => Value::Named(52, 2, "TurnSignalStateLeft"),
        _ => Value::Named(52, 3, "TurnSignalStateRight"),
    }
}

/// A number while charging from that plug, else 0, as vehicles say it.
fn charging(vehicle: &Vehicle, plug: Plug, value: f64) -> Value {
    Value::Number(if vehicle.activity == Activity::Charging(plug) { value } else { 0.0 }, 2)
}

fn charger_volts(vehicle: &Vehicle) -> f64 {
    match vehicle.activity {
        Activity::Charging(Plug::Ac) => 231.0,
        _ => vehicle.battery.volts,
    }
}

fn time_to_full(vehicle: &Vehicle) -> Value {
    let kw = vehicle.charging_kw();
    if kw <= 0.0 {
        return Value::Invalid;
    }
    let missing = (vehicle.charge_limit_percent - vehicle.battery.soc_percent()).max(0.0);
    Value::Number(missing / 100.0 * vehicle.battery.capacity_kwh / kw, 2)
}

fn on_trip(vehicle: &Vehicle, value: f64) -> Value {
    if vehicle.destination().is_some() { Value::Number(value, 2) } else { Value::Invalid }
}

fn title(vehicle: &Vehicle, part: fn(crate::vehicle::Title) -> &'static str) -> Value {
    vehicle.body.title.map_or(Value::Text(String::new()), |title| Value::Text(part(title).to_owned()))
}

/// Rounded to halves, as temperatures are sent.
fn half(value: f64) -> f64 {
    (value * 2.0).round() / 2.0
}

fn bits(flags: &[bool]) -> u16 {
    flags.iter().enumerate().fold(0, |sum, (bit, set)| sum | u16::from(*set) << bit)
}
