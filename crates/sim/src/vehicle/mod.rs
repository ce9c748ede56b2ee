//! A simulated vehicle: it drives, parks, charges and has faults, all from one seed and the time it is given.

mod body;
mod energy;
mod track;

#[cfg(test)]
mod tests;

use model::{Country, UtcMicros, Vin};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use body::{Body, Fault, FaultKind, Title};
pub use energy::{Battery, Plug};
use track::{Motion, Track};

/// The longest step of the physics; a longer time is walked through in steps of this length.
const STEP_MICROS_MAX: i64 = UtcMicros::PER_SECOND;
/// A vehicle that was not asked for longer than this skips the rest: nobody sees it, and a step costs time.
const CATCH_UP_STEPS_MAX: i64 = 600;
/// Below it the wheels count as standing.
const STANDING_KMH: f64 = 0.3;

/// What a vehicle is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Standing, switched off.
    Parked,
    /// On a trip (perhaps standing at a light).
    Driving,
    /// Taking energy.
    Charging(Plug),
    /// Plugged in, and full to its limit.
    Charged(Plug),
}

/// The selector's position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gear {
    /// Park.
    P,
    /// Reverse.
    R,
    /// Neutral.
    N,
    /// Drive.
    D,
}

/// A vehicle's state at one instant.
#[derive(Debug)]
pub struct Vehicle {
    /// Its number in the fleet.
    pub index: u32,
    /// Its VIN, made from the index.
    pub vin: Vin,
    /// The instant that the state is of.
    pub now: UtcMicros,
    /// What it does.
    pub activity: Activity,
    /// The selector.
    pub gear: Gear,
    /// km/h.
    pub speed_kmh: f64,
    /// m/s², positive forward.
    pub forward_ms2: f64,
    /// m/s², positive to the left.
    pub lateral_ms2: f64,
    /// km since it was built.
    pub odometer_km: f64,
    /// kW at the motor, negative while braking wins energy back.
    pub motor_kw: f64,
    /// rpm.
    pub motor_rpm: f64,
    /// N·m.
    pub motor_nm: f64,
    /// °C.
    pub motor_c: f64,
    /// °C.
    pub inverter_c: f64,
    /// Accelerator, 0 to 100.
    pub pedal_percent: f64,
    /// Brake, 0 to 100.
    pub brake_percent: f64,
    /// The battery.
    pub battery: Battery,
    /// Cabin, tyres, doors, media.
    pub body: Body,
    /// Active faults, and those that ended lately.
    pub faults: Vec<Fault>,
    /// % at which charging ends.
    pub charge_limit_percent: f64,
    /// Whether the receiver sees satellites.
    pub position_valid: bool,
    track: Track,
    activity_left_s: f64,
    rng: StdRng,
}

/// How long an ended fault stays in the list, so that every protocol has told its end.
const FAULT_KEPT_MICROS: i64 = 120 * UtcMicros::PER_SECOND;

impl Vehicle {
    /// Vehicle `index` of the fleet of a seed, sold in `country`, at the instant `now`.
    pub fn new(seed: u64, index: u32, country: Country, now: UtcMicros) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ (u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let battery = Battery::new(&mut rng);
        let body = Body::new(&mut rng);
        let track = Track::new(country, &mut rng);
        let mut vehicle = Self {
            index,
            vin: vin(index),
            now,
            activity: Activity::Parked,
            gear: Gear::P,
            speed_kmh: 0.0,
            forward_ms2: 0.0,
            lateral_ms2: 0.0,
            odometer_km: rng.random_range(200.0..180_000.0),
            motor_kw: 0.0,
            motor_rpm: 0.0,
            motor_nm: 0.0,
            motor_c: body.outside_c + 5.0,
            inverter_c: body.outside_c + 4.0,
            pedal_percent: 0.0,
            brake_percent: 0.0,
            battery,
            body,
            faults: Vec::new(),
            charge_limit_percent: [80.0, 80.0, 90.0, 100.0][rng.random_range(0..4)],
            position_valid: true,
            track,
            activity_left_s: 0.0,
            rng,
        };
        // A fleet is met in the middle of its day: most drive, some charge, some stand.
        let draw: f64 = vehicle.rng.random();
        match draw {
            _ if draw < 0.55 => vehicle.depart(),
            _ if draw < 0.75 => vehicle.plug_in(),
            _ => vehicle.park(),
        }
        vehicle.activity_left_s *= vehicle.rng.random_range(0.05..1.0);
        vehicle
    }

    /// Lets the vehicle live until `now`; does nothing when that is not later.
    pub fn advance(&mut self, now: UtcMicros) {
        let behind = now.0.saturating_sub(self.now.0);
        let skipped = behind - CATCH_UP_STEPS_MAX * STEP_MICROS_MAX;
        if skipped > 0 {
            self.now = self.now.plus_micros(skipped);
        }
        while self.now < now {
            let step = (now.0 - self.now.0).min(STEP_MICROS_MAX);
            self.now = self.now.plus_micros(step);
            self.step(step as f64 / UtcMicros::PER_SECOND as f64);
        }
    }

    /// Degrees north and east, as the receiver gives them (a few metres of noise are in the track already).
    pub fn position(&self) -> (f64, f64) {
        (self.track.latitude, self.track.longitude)
    }

    /// Degrees clockwise from north.
    pub fn heading(&self) -> f64 {
        self.track.heading
    }

    /// Where the trip leads, degrees north and east; `None` when it is not on one.
    pub fn destination(&self) -> Option<(f64, f64)> {
        (self.activity == Activity::Driving).then(|| self.track.destination())
    }

    /// Kilometres to the destination as the crow flies.
    pub fn to_destination_km(&self) -> f64 {
        self.track.to_destination_km()
    }

    /// kW from the plug; 0 unless charging.
    pub fn charging_kw(&self) -> f64 {
        match self.activity {
            Activity::Charging(plug) => self.battery.charge_kw(plug),
            _ => 0.0,
        }
    }

    /// Whether the wheels stand.
    pub fn is_standing(&self) -> bool {
        self.speed_kmh < STANDING_KMH
    }

    fn step(&mut self, seconds: f64) {
        self.activity_left_s -= seconds;
        match self.activity {
            Activity::Driving => self.drive(seconds),
            Activity::Charging(plug) => self.charge(plug, seconds),
            Activity::Parked | Activity::Charged(_) => self.stand(seconds),
        }
        self.body.settle(seconds, self.activity == Activity::Driving, &mut self.rng);
        self.position_valid = !self.rng.random_bool(0.002);
        self.age_faults();
    }

    fn drive(&mut self, seconds: f64) {
        let arriving = self.activity_left_s <= 0.0 || self.battery.soc_percent() < 6.0;
        let motion = self.track.drive(self.speed_kmh, seconds, arriving, &mut self.rng);
        self.take(motion, seconds);
        self.body.open_door(false);
        if arriving && self.is_standing() {
            if self.battery.soc_percent() < 35.0 { self.plug_in() } else { self.park() }
        }
    }

    /// Turns a motion into power: rolling and air resistance, inertia of 1.9 t, 500 W for the rest of the car.
    fn take(&mut self, motion: Motion, seconds: f64) {
        let metres_a_second = motion.speed_kmh / 3.6;
        let newton = 170.0 + 0.42 * metres_a_second * metres_a_second + 1_900.0 * motion.forward;
        let wheel_kw = if motion.speed_kmh < STANDING_KMH { 0.0 } else { newton * metres_a_second / 1000.0 };
        self.motor_kw = if wheel_kw > 0.0 { wheel_kw / 0.9 } else { (wheel_kw * 0.7).max(-65.0) };
        self.motor_rpm = motion.speed_kmh * 73.0;
        self.motor_nm = if wheel_kw == 0.0 { 0.0 } else { (newton * 0.34 / 9.0).clamp(-300.0, 420.0) };
        self.pedal_percent = (self.motor_kw / 1.6).clamp(0.0, 100.0);
        self.brake_percent = if motion.forward < -2.0 { (-motion.forward - 2.0) * 40.0 } else { 0.0 };
        self.speed_kmh = motion.speed_kmh;
        self.forward_ms2 = motion.forward;
        self.lateral_ms2 = motion.lateral;
        self.odometer_km += motion.distance_km;
        let kw = self.motor_kw + 0.5;
        self.battery.count(kw, seconds);
        self.battery.settle(kw, seconds, self.body.outside_c, &mut self.rng);
        let warm = self.body.outside_c + 12.0 + self.motor_kw.abs() * 0.6;
        self.motor_c += (warm - self.motor_c) / 180.0 * seconds;
        self.inverter_c += (warm - 3.0 - self.inverter_c) / 90.0 * seconds;
    }

    fn charge(&mut self, plug: Plug, seconds: f64) {
        let kw = self.battery.charge_kw(plug);
        self.battery.session_kwh += kw * seconds / 3600.0;
        self.battery.settle(-kw, seconds, self.body.outside_c, &mut self.rng);
        self.body.open_door(false);
        if self.battery.soc_percent() >= self.charge_limit_percent {
            self.activity = Activity::Charged(plug);
            self.activity_left_s = self.rng.random_range(60.0..1_800.0);
        }
    }

    fn stand(&mut self, seconds: f64) {
        self.battery.settle(0.12, seconds, self.body.outside_c, &mut self.rng);
        self.motor_c += (self.body.outside_c - self.motor_c) / 2_000.0 * seconds;
        self.inverter_c += (self.body.outside_c - self.inverter_c) / 1_500.0 * seconds;
        self.body.open_door(false);
        if self.activity_left_s <= 0.0 {
            self.depart();
        }
    }

    fn depart(&mut self) {
        self.track.plan(&mut self.rng);
        self.activity = Activity::Driving;
        self.activity_left_s = self.rng.random_range(240.0..5_400.0);
        self.gear = Gear::D;
        self.body.open_door(true);
    }

    fn park(&mut self) {
        self.activity = Activity::Parked;
        self.activity_left_s = self.rng.random_range(120.0..3_600.0);
        self.halt();
        self.body.open_door(true);
    }

    fn plug_in(&mut self) {
        let plug = if self.rng.random_bool(0.5) { Plug::Ac } else { Plug::Dc };
        self.activity = Activity::Charging(plug);
        self.battery.session_kwh = 0.0;
        self.halt();
    }

    fn halt(&mut self) {
        self.gear = Gear::P;
        self.speed_kmh = 0.0;
        self.forward_ms2 = 0.0;
        self.lateral_ms2 = 0.0;
        self.motor_kw = 0.0;
        self.motor_rpm = 0.0;
        self.motor_nm = 0.0;
        self.pedal_percent = 0.0;
        self.brake_percent = 0.0;
    }

    /// Ends some faults, begins others, and forgets those that everybody has heard of.
    fn age_faults(&mut self) {
        let now = self.now;
        for fault in &mut self.faults {
            if fault.ended_at.is_none() && self.rng.random_bool(0.02) {
                fault.ended_at = Some(now);
            }
        }
        self.faults.retain(|fault| fault.ended_at.is_none_or(|ended| now.0 - ended.0 < FAULT_KEPT_MICROS));
        let draw: f64 = self.rng.random();
        let kind = match draw {
            _ if self.battery.soc_percent() < 15.0 => FaultKind::SocLow,
            _ if draw < 0.000_4 => FaultKind::BatteryHot,
            _ if draw < 0.000_8 => FaultKind::InverterHot,
            _ if draw < 0.001_2 => FaultKind::InsulationLow,
            _ if draw < 0.001_23 => FaultKind::ThermalEvent,
            _ => return,
        };
        if !self.faults.iter().any(|fault| fault.kind == kind) {
            self.faults.push(Fault { kind, since: now, ended_at: None });
        }
    }
}

/// The VIN of vehicle `index`: a world maker code that nobody has (`LDM`, for tests) with a valid check digit
/// (ISO 3779, the digit as 49 CFR 565.15 counts it).
pub fn vin(index: u32) -> Vin {
    const DIGITS: &[u8; 10] = b"0123456789";
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut bytes = *b"LDMS1M0000T000000";
    let mut rest = index;
    for place in bytes[11..].iter_mut().rev() {
        *place = DIGITS[(rest % 10) as usize];
        rest /= 10;
    }
    for place in bytes[6..8].iter_mut().rev() {
        *place = DIGITS[(rest % 10) as usize];
        rest /= 10;
    }
    let sum: u32 = bytes.iter().zip(WEIGHTS).map(|(byte, weight)| transliterated(*byte) * weight).sum();
    bytes[8] = match sum % 11 {
        10 => b'X',
        digit => DIGITS[digit as usize],
    };
    Vin::from_bytes(&bytes).expect("made of upper-case letters and digits")
}

/// A character's number in the check digit's sum.
fn transliterated(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'H' => u32::from(byte - b'A') + 1,
        b'J'..=b'N' => u32::from(byte - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => u32::from(byte - b'S') + 2,
        _ => 0,
    }
}
