//! A simulated vehicle's side of GB/T 32960.3, in both editions: login, realtime data with every item that an electric car has,
//! heartbeat and logout. What is sent again after an outage is the same data under the command `supplementary`.

use model::{UtcMicros, Vin};
use wire::gbt32960::{
    self, AlarmLevel, Alarms, Command, DriveMotor, Edition, Encryption, Extremes, FaultCode, Flag, Header,
    Item, Items, List, Login, LoginPacks, Logout, Octets, PackTemperatures, PackVoltages, Place, Realtime,
    Signer, Unit, WireTime, Words, word,
};

use crate::client::{Body, Message, Source};
use crate::vehicle::{Activity, FaultKind, Gear, Vehicle};

/// A heartbeat is sent instead of nothing while a vehicle stands, so that the connection is known to be there.
const HEARTBEAT_AFTER_S: i64 = 20;
/// Realtime data of a vehicle that stands switched off.
const PARKED_INTERVAL_S: i64 = 60;
/// Fault codes of the maker, made from the number of the alarm's bit.
const FAULT_CODE_BASE: u32 = 0x0001_0000;
/// The pack's code at login: 24 characters (GB/T 34014).
const PACK_CODE: &[u8; gbt32960::PACK_CODE_BYTES] = b"0SIMPE0000A1B2C3D4E5F601";
const SERIAL_MAX: u32 = 65_531;

/// What a vehicle says when it logs in.
#[derive(Clone, Debug)]
pub struct LoginFacts {
    /// Which edition it speaks.
    pub edition: Edition,
    /// Its SIM card's number.
    pub iccid: [u8; 20],
    /// The login's number that day.
    pub serial: u16,
}

impl LoginFacts {
    /// The facts of vehicle `index` of a fleet: each has its own ICCID.
    pub fn of(edition: Edition, index: u32) -> Self {
        let serial = u16::try_from(index % SERIAL_MAX + 1).unwrap_or(1);
        Self { edition, iccid: iccid(index), serial }
    }
}

/// The ICCID of vehicle `index`: 20 digits under a country code of tests.
pub fn iccid(index: u32) -> [u8; 20] {
    let mut iccid = *b"89860000000000000000";
    let digits = format!("{index:010}");
    iccid[10..].copy_from_slice(digits.as_bytes());
    iccid
}

/// The login frame.
pub fn login(facts: &LoginFacts, vin: Vin, now: UtcMicros) -> Vec<u8> {
    let packs = match facts.edition {
        Edition::V2016 => LoginPacks::V2016 { count: 1, code_bytes: PACK_CODE.len() as u8, codes: PACK_CODE },
        Edition::V2025 => LoginPacks::V2025 { packs: Octets::of(&[1]), codes: PACK_CODE },
    };
    let login = Login { time: WireTime::from_utc(now), serial: facts.serial, iccid: facts.iccid, packs };
    frame(facts.edition, Command::LOGIN, vin, &Unit::Login(login))
}

/// The logout frame.
pub fn logout(facts: &LoginFacts, vin: Vin, now: UtcMicros) -> Vec<u8> {
    let logout = Logout { time: WireTime::from_utc(now), serial: facts.serial };
    frame(facts.edition, Command::LOGOUT, vin, &Unit::Logout(logout))
}

/// A heartbeat frame.
pub fn heartbeat(edition: Edition, vin: Vin) -> Vec<u8> {
    frame(edition, Command::HEARTBEAT, vin, &Unit::Empty)
}

/// Turns a frame of realtime data into one of supplementary data, as it is sent after an outage. A signature covers neither
/// command nor check code, so that it goes on holding. Other frames stay as they are.
pub fn mark_as_resent(frame: &mut [u8]) {
    const COMMAND: usize = 2;
    if frame[COMMAND] == Command::REALTIME.0
        && let Some(check) = frame.len().checked_sub(1)
    {
        frame[check] ^= Command::REALTIME.0 ^ Command::SUPPLEMENTARY.0;
        frame[COMMAND] = Command::SUPPLEMENTARY.0;
    }
}

/// A vehicle that sends realtime data.
pub struct GbtVehicle {
    vehicle: Vehicle,
    edition: Edition,
    signer: Option<Signer>,
    number: u64,
    said_at: Option<UtcMicros>,
    data_at: Option<UtcMicros>,
}

impl GbtVehicle {
    /// A vehicle that has sent nothing yet; with a signer (2025) it signs its data.
    pub fn new(vehicle: Vehicle, edition: Edition, signer: Option<Signer>) -> Self {
        Self { vehicle, edition, signer, number: 0, said_at: None, data_at: None }
    }
}

impl Source for GbtVehicle {
    fn next(&mut self, now: UtcMicros) -> Option<Message> {
        self.vehicle.advance(now);
        let age_s = |since: Option<UtcMicros>| {
            since.map_or(i64::MAX, |since| (now.0 - since.0) / UtcMicros::PER_SECOND)
        };
        let quiet = self.vehicle.activity == Activity::Parked;
        let frame = if !quiet || age_s(self.data_at) >= PARKED_INTERVAL_S {
            self.data_at = Some(now);
            realtime(&self.vehicle, self.edition, self.signer.as_ref(), now)
        } else if age_s(self.said_at) >= HEARTBEAT_AFTER_S {
            heartbeat(self.edition, self.vehicle.vin)
        } else {
            return None;
        };
        self.said_at = Some(now);
        self.number += 1;
        Some(Message { number: self.number, body: Body::Gbt { frame } })
    }
}

/// The realtime frame of a vehicle's state.
pub fn realtime(vehicle: &Vehicle, edition: Edition, signer: Option<&Signer>, now: UtcMicros) -> Vec<u8> {
    let battery = &vehicle.battery;
    let cells: Vec<[u8; 2]> = battery.cells_mv.iter().map(|mv| word(*mv)).collect();
    let probes: Vec<u8> = battery.probes_c.iter().map(|celsius| degrees(*celsius)).collect();
    let motors = [motor(vehicle, edition)];
    let voltages = [PackVoltages {
        pack: 1,
        voltage: tenths(battery.volts),
        current: amperes(battery.amps, edition),
        cells_total: Some(cells.len() as u16),
        first_cell: Some(1),
        cells: Words::of(&cells),
    }];
    let temperatures = [PackTemperatures { pack: 1, probes: Octets::of(&probes) }];
    let active: Vec<FaultKind> =
        vehicle.faults.iter().filter(|fault| fault.ended_at.is_none()).map(|fault| fault.kind).collect();
    let codes: Vec<FaultCode> =
        active.iter().map(|kind| FaultCode(FAULT_CODE_BASE + u32::from(kind.gbt_bit()))).collect();
    let levels: Vec<AlarmLevel> =
        active.iter().map(|kind| AlarmLevel { flag: kind.gbt_bit(), level: kind.level() }).collect();
    let mut items = vec![
        Item::Vehicle(whole_vehicle(vehicle, edition)),
        Item::DriveMotors(listed(&motors)),
        Item::Place(place(vehicle)),
    ];
    if edition == Edition::V2016 {
        items.push(Item::Extremes(extremes(vehicle)));
    }
    items.extend([
        Item::Alarms(alarms(edition, &active, &codes, &levels)),
        Item::CellVoltages(listed(&voltages)),
        Item::Temperatures(listed(&temperatures)),
    ]);
    data_frame(vehicle.vin, edition, &items, signer, now)
}

/// A realtime frame of these items, signed where there is a signer.
pub fn data_frame(
    vin: Vin,
    edition: Edition,
    items: &[Item<'_>],
    signer: Option<&Signer>,
    now: UtcMicros,
) -> Vec<u8> {
    let realtime =
        Realtime { time: WireTime::from_utc(now), items: Items::Given(items), signature: None, signed: &[] };
    match signer.filter(|_| edition == Edition::V2025) {
        None => frame(edition, Command::REALTIME, vin, &Unit::Realtime(realtime)),
        Some(signer) => {
            let mut out = Vec::new();
            signer
                .encode_signed(&header(edition, Command::REALTIME, vin), &realtime, &mut out)
                .expect(WITHIN_LENGTHS);
            out
        }
    }
}

const WITHIN_LENGTHS: &str = "a vehicle's frame is within the standard's lengths";

fn header(edition: Edition, command: Command, vin: Vin) -> Header {
    Header { edition, command, flag: Flag::COMMAND, vin: *vin.as_bytes(), encryption: Encryption::NONE }
}

fn frame(edition: Edition, command: Command, vin: Vin, unit: &Unit<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    gbt32960::encode(&header(edition, command, vin), unit, &mut out).expect(WITHIN_LENGTHS);
    out
}

fn listed<'a, T: gbt32960::Element<'a>>(values: &'a [T]) -> List<'a, T> {
    List::of(values).expect("a vehicle has fewer of anything than a count byte can say")
}

fn whole_vehicle(vehicle: &Vehicle, edition: Edition) -> gbt32960::Vehicle {
    let on = vehicle.activity == Activity::Driving;
    let force = u8::from(vehicle.motor_kw > 0.0) << 5 | u8::from(vehicle.brake_percent > 0.0) << 4;
    let gear = match vehicle.gear {
        Gear::N => 0,
        Gear::R => 13,
        Gear::D => 14,
        Gear::P => 15,
    };
    gbt32960::Vehicle {
        state: if on { 1 } else { 2 },
        charging: match vehicle.activity {
            Activity::Charging(_) => 1,
            Activity::Charged(_) => 4,
            Activity::Driving | Activity::Parked => 3,
        },
        mode: 1,
        speed: tenths(vehicle.speed_kmh),
        odometer: (vehicle.odometer_km * 10.0) as u32,
        voltage: tenths(vehicle.battery.volts),
        current: amperes(vehicle.battery.amps, edition),
        soc: vehicle.battery.soc_percent().round() as u8,
        dcdc: if on { 1 } else { 2 },
        gear: gear | force,
        insulation: vehicle.battery.insulation_kohm as u16,
        accelerator: Some(vehicle.pedal_percent as u8),
        brake: Some(vehicle.brake_percent as u8),
    }
}

fn motor(vehicle: &Vehicle, edition: Edition) -> DriveMotor {
    let (rpm_offset, nm_offset) = match edition {
        Edition::V2016 => (20_000.0, 2_000.0),
        Edition::V2025 => (32_000.0, 20_000.0),
    };
    DriveMotor {
        number: 1,
        state: match vehicle.motor_kw {
            kw if kw > 0.0 => 1,
            kw if kw < 0.0 => 2,
            _ if vehicle.activity == Activity::Driving => 4,
            _ => 3,
        },
        controller_temperature: degrees(vehicle.inverter_c),
        speed: (vehicle.motor_rpm + rpm_offset) as u16,
        torque: ((vehicle.motor_nm + nm_offset) * 10.0).round() as u32,
        temperature: degrees(vehicle.motor_c),
        controller_voltage: Some(tenths(vehicle.battery.volts)),
        controller_current: Some(amperes(vehicle.battery.amps, Edition::V2016)),
    }
}

fn place(vehicle: &Vehicle) -> Place {
    let (north, east) = vehicle.position();
    let state = u8::from(!vehicle.position_valid) | u8::from(north < 0.0) << 1 | u8::from(east < 0.0) << 2;
    Place {
        state,
        system: Some(1),
        longitude: (east.abs() * 1e6).round() as u32,
        latitude: (north.abs() * 1e6).round() as u32,
    }
}

fn extremes(vehicle: &Vehicle) -> Extremes {
    let battery = &vehicle.battery;
    let number = |index: usize| u8::try_from(index + 1).unwrap_or(u8::MAX);
    Extremes {
        voltage_max_pack: 1,
        voltage_max_cell: number(battery.cell_max().0),
        voltage_max: battery.cell_max().1,
        voltage_min_pack: 1,
        voltage_min_cell: number(battery.cell_min().0),
        voltage_min: battery.cell_min().1,
        temperature_max_pack: 1,
        temperature_max_probe: number(battery.probe_max().0),
        temperature_max: degrees(battery.probe_max().1),
        temperature_min_pack: 1,
        temperature_min_probe: number(battery.probe_min().0),
        temperature_min: degrees(battery.probe_min().1),
    }
}

fn alarms<'a>(
    edition: Edition,
    active: &[FaultKind],
    codes: &'a [FaultCode],
    levels: &'a [AlarmLevel],
) -> Alarms<'a> {
    // 2016 has no bits above 18: what it does not know is not sent.
    let known = |kind: &&FaultKind| edition == Edition::V2025 || kind.gbt_bit() <= 18;
    Alarms {
        level: active.iter().map(|kind| kind.level()).max().unwrap_or(0),
        flags: active.iter().filter(known).fold(0, |flags, kind| flags | 1 << kind.gbt_bit()),
        battery: listed(codes),
        motor: listed(&[]),
        engine: listed(&[]),
        other: listed(&[]),
        levels: (edition == Edition::V2025).then(|| listed(levels)),
    }
}

/// In tenths, as voltages and speeds are sent.
fn tenths(value: f64) -> u16 {
    (value * 10.0).round().clamp(0.0, 65_000.0) as u16
}

/// A current, positive while discharging, from the edition's offset.
fn amperes(amps: f64, edition: Edition) -> u16 {
    let offset = match edition {
        Edition::V2016 => 1_000.0,
        Edition::V2025 => 3_000.0,
    };
    tenths(amps + offset)
}

/// °C from −40.
fn degrees(celsius: f64) -> u8 {
    (celsius + 40.0).round().clamp(0.0, 250.0) as u8
}
