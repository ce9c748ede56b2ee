//! Where a vehicle goes: road segments that wander from one city to the next, and the speed it is driven at.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use model::Country;

/// A city that trips lead to: country, degrees north, degrees east.
struct City {
    country: &'static str,
    latitude: f64,
    longitude: f64,
}

const fn city(country: &'static str, latitude: f64, longitude: f64) -> City {
    City { country, latitude, longitude }
}

/// Centres of large cities, rounded to about a kilometre. A country that is not here drives around its first entry's country.
const CITIES: [City; 30] = [
    city("CN", 31.23, 121.47),
    city("CN", 30.27, 120.15),
    city("CN", 32.06, 118.79),
    city("CN", 31.30, 120.58),
    city("CN", 39.90, 116.40),
    city("CN", 39.13, 117.20),
    city("CN", 23.13, 113.26),
    city("CN", 22.54, 114.06),
    city("CN", 30.57, 104.07),
    city("CN", 29.56, 106.55),
    city("CN", 30.59, 114.30),
    city("CN", 34.34, 108.94),
    city("DE", 52.52, 13.40),
    city("DE", 48.14, 11.58),
    city("DE", 50.11, 8.68),
    city("DE", 53.55, 9.99),
    city("FR", 48.86, 2.35),
    city("FR", 45.76, 4.84),
    city("IN", 19.08, 72.88),
    city("IN", 18.52, 73.86),
    city("IN", 28.61, 77.21),
    city("KR", 37.57, 126.98),
    city("KR", 35.18, 129.08),
    city("SA", 24.71, 46.68),
    city("SA", 21.49, 39.19),
    city("VN", 21.03, 105.85),
    city("VN", 10.82, 106.63),
    city("US", 37.77, -122.42),
    city("US", 34.05, -118.24),
    city("BR", -23.55, -46.63),
];

/// Metres in a degree of latitude.
const METRES_PER_DEGREE: f64 = 111_195.0;

/// A vehicle's way through its country.
#[derive(Clone, Debug)]
pub(super) struct Track {
    country: Country,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    /// Degrees clockwise from north.
    pub(super) heading: f64,
    destination: (f64, f64),
    segment_left_m: f64,
    limit_kmh: f64,
    standing_left_s: f64,
}

/// How a second of driving went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Motion {
    /// km/h at the end of the step.
    pub(super) speed_kmh: f64,
    /// m/s², positive forward.
    pub(super) forward: f64,
    /// m/s², positive to the left.
    pub(super) lateral: f64,
    /// km travelled in the step.
    pub(super) distance_km: f64,
}

impl Track {
    /// Starts somewhere in or around a city of the country.
    pub(super) fn new(country: Country, rng: &mut StdRng) -> Self {
        let start = near_city(country, rng);
        let destination = near_city(country, rng);
        Self {
            country,
            latitude: start.0,
            longitude: start.1,
            heading: rng.random_range(0.0..360.0),
            destination,
            segment_left_m: 0.0,
            limit_kmh: 50.0,
            standing_left_s: 0.0,
        }
    }

    /// Chooses where the next trip leads.
    pub(super) fn plan(&mut self, rng: &mut StdRng) {
        self.destination = near_city(self.country, rng);
        self.segment_left_m = 0.0;
    }

    /// Kilometres to the destination as the crow flies.
    pub(super) fn to_destination_km(&self) -> f64 {
        let (north, east) = self.towards();
        north.hypot(east) / 1000.0
    }

    /// The destination: degrees north and east.
    pub(super) fn destination(&self) -> (f64, f64) {
        self.destination
    }

    /// Drives for `seconds` from a speed; stops at some crossings, keeps to the segment's limit, and brakes to a halt when
    /// `stopping`.
    pub(super) fn drive(&mut self, speed_kmh: f64, seconds: f64, stopping: bool, rng: &mut StdRng) -> Motion {
        if self.segment_left_m <= 0.0 {
            self.next_segment(rng);
        }
        let target = if stopping || self.standing_left_s > 0.0 {
            self.standing_left_s = (self.standing_left_s - seconds).max(0.0);
            0.0
        } else {
            (self.limit_kmh + rng.random_range(-4.0..3.0)).max(5.0)
        };
        let wanted = (target - speed_kmh) / 3.6 / 3.0;
        let forward = wanted.clamp(-3.2, 2.4);
        let end_kmh = (speed_kmh + forward * 3.6 * seconds).max(0.0);
        let distance_m = (speed_kmh + end_kmh) / 2.0 / 3.6 * seconds;
        let turn = self.turn(distance_m, rng);
        let radians = self.heading.to_radians();
        self.latitude += radians.cos() * distance_m / METRES_PER_DEGREE;
        self.longitude += radians.sin() * distance_m / (METRES_PER_DEGREE * self.latitude.to_radians().cos());
        self.segment_left_m -= distance_m;
        let lateral = (end_kmh / 3.6 * turn.to_radians() / seconds.max(0.1)).clamp(-4.0, 4.0);
        Motion { speed_kmh: end_kmh, forward, lateral, distance_km: distance_m / 1000.0 }
    }

    /// Turns towards the segment's direction as far as the distance allows; gives the change in degrees.
    fn turn(&mut self, distance_m: f64, rng: &mut StdRng) -> f64 {
        let wish = if distance_m > 0.5 { rng.random_range(-1.2..1.2) } else { 0.0 };
        self.heading = (self.heading + wish).rem_euclid(360.0);
        wish
    }

    fn next_segment(&mut self, rng: &mut StdRng) {
        let (north, east) = self.towards();
        let bearing = east.atan2(north).to_degrees();
        let in_town = north.hypot(east) < 15_000.0;
        let (spread, limits, length): (f64, &[f64], _) = if in_town {
            (70.0, &[30.0, 40.0, 50.0, 60.0], 120.0..900.0)
        } else {
            (25.0, &[60.0, 80.0, 100.0, 115.0], 800.0..6_000.0)
        };
        self.heading = (bearing + rng.random_range(-spread..spread)).rem_euclid(360.0);
        self.limit_kmh = limits[(rng.next_u32() as usize) % limits.len()];
        self.segment_left_m = rng.random_range(length);
        if in_town && rng.random_bool(0.35) {
            self.standing_left_s = rng.random_range(4.0..45.0);
        }
    }

    /// Metres north and east to the destination.
    fn towards(&self) -> (f64, f64) {
        let north = (self.destination.0 - self.latitude) * METRES_PER_DEGREE;
        let east =
            (self.destination.1 - self.longitude) * METRES_PER_DEGREE * self.latitude.to_radians().cos();
        (north, east)
    }
}

/// A place within some kilometres of one of the country's cities.
fn near_city(country: Country, rng: &mut StdRng) -> (f64, f64) {
    let count = CITIES.iter().filter(|city| city.country == country.as_str()).count();
    let pool = if count == 0 { CITIES[0].country } else { country.as_str() };
    let candidates = CITIES.iter().filter(|city| city.country == pool);
    let index = rng.random_range(0..candidates.clone().count());
    let city = candidates.skip(index).take(1).next().unwrap_or(&CITIES[0]);
    (city.latitude + rng.random_range(-0.12..0.12), city.longitude + rng.random_range(-0.12..0.12))
}
