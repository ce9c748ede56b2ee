//! GCJ-02, the obfuscated coordinates of maps in mainland China, and the way back to WGS-84.
//!
//! The forward formula is the one that is publicly known: a shift of some hundred metres, a sum of sines of
//! the place, on the Krasovsky 1940 ellipsoid. It has no closed inverse; the way back repeats `wgs = wgs +
//! (gcj - forward(wgs))`, which gains about two digits a round.

use std::f64::consts::PI;

/// Semi-major axis of the Krasovsky 1940 ellipsoid, metres.
const AXIS_METRES: f64 = 6_378_245.0;
/// Its first eccentricity, squared.
const ECCENTRICITY_SQUARED: f64 = 0.006_693_421_622_965_943;
/// Rounds of the way back; after eight of them nothing changes any more in double precision.
const ROUNDS_MAX: usize = 10;

/// Whether the shift applies: the box around China that implementations agree on. Outside GCJ-02 is WGS-84.
fn is_shifted(latitude: f64, longitude: f64) -> bool {
    (0.8293..=55.8271).contains(&latitude) && (72.004..=137.8347).contains(&longitude)
}

/// From WGS-84 to GCJ-02: (latitude, longitude) in degrees.
pub fn wgs84_to_gcj02(latitude: f64, longitude: f64) -> (f64, f64) {
    if !is_shifted(latitude, longitude) {
        return (latitude, longitude);
    }
    let (north, east) = shift(latitude, longitude);
    (latitude + north, longitude + east)
}

/// From GCJ-02 to WGS-84: (latitude, longitude) in degrees, within a millionth of a degree.
pub fn gcj02_to_wgs84(latitude: f64, longitude: f64) -> (f64, f64) {
    if !is_shifted(latitude, longitude) {
        return (latitude, longitude);
    }
    let (mut wgs_latitude, mut wgs_longitude) = (latitude, longitude);
    for _ in 0..ROUNDS_MAX {
        // The shift is taken as it is inside the box, also where a round steps over its edge, so that the
        // rounds settle.
        let (north, east) = shift(wgs_latitude, wgs_longitude);
        wgs_latitude = latitude - north;
        wgs_longitude = longitude - east;
    }
    (wgs_latitude, wgs_longitude)
}

/// The shift north and east in degrees.
fn shift(latitude: f64, longitude: f64) -> (f64, f64) {
    let (x, y) = (longitude - 105.0, latitude - 35.0);
    let common = wave(20.0, x * 6.0) + wave(20.0, x * 2.0);
    let north_metres = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + common
        + wave(20.0, y)
        + wave(40.0, y / 3.0)
        + wave(160.0, y / 12.0)
        + wave(320.0, y / 30.0);
    let east_metres = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + common
        + wave(20.0, x)
        + wave(40.0, x / 3.0)
        + wave(150.0, x / 12.0)
        + wave(300.0, x / 30.0);
    let radians = latitude.to_radians();
    let magic = 1.0 - ECCENTRICITY_SQUARED * radians.sin().powi(2);
    let meridian = AXIS_METRES * (1.0 - ECCENTRICITY_SQUARED) / (magic * magic.sqrt());
    let parallel = AXIS_METRES / magic.sqrt() * radians.cos();
    ((north_metres / meridian).to_degrees(), (east_metres / parallel).to_degrees())
}

fn wave(height_metres: f64, half_turns: f64) -> f64 {
    height_metres * (half_turns * PI).sin() * 2.0 / 3.0
}
