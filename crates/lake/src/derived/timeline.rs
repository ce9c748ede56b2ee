//! What one vehicle said in a window of time, in order: what all derived tables are worked out from.

use super::{CURRENT, DISTANCE, FAST_CHARGER, INPUTS, IS_CHARGING, SOC, SPEED, VOLTAGE};

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;

/// Silence longer than this is silence: vehicles say something at least every half minute while they are awake (GB/T 32960 asks
/// for 30 s at most, fleet telemetry is set to seconds), so this is several of it.
pub(super) const SILENCE_TIME: i64 = 5 * MINUTE;

/// A signal that is said only when it changes holds for this long; then it is not known any more. The slowest of those that
/// matter here are set to minutes.
const HOLD_TIME: i64 = 15 * MINUTE;

/// Power is taken as going on between two samples that are no further apart: across a longer silence no energy is invented.
const POWER_HOLD_TIME: i64 = MINUTE;

/// Faster than this, in km/h, it drives: what sensors say of a parked vehicle stays below.
const DRIVING_SPEED_MIN: f64 = 1.0;

/// One value of one signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) time: i64,
    /// An index into [`super::INPUTS`].
    pub(super) signal: u8,
    pub(super) value: f64,
}

/// What is known of a vehicle at an instant at which it said something. What was not said for long is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Moment {
    /// Microseconds since 1970.
    pub(super) time: i64,
    /// km/h.
    pub(super) speed: Option<f64>,
    /// km on the odometer.
    pub(super) odometer: Option<f64>,
    /// Percent.
    pub(super) soc: Option<f64>,
    pub(super) charging: Option<bool>,
    pub(super) fast_charger: Option<bool>,
    /// kW into the battery; negative while it gives.
    pub(super) power: Option<f64>,
    /// kWh into the battery since the moment before; 0 across a silence.
    pub(super) energy: f64,
}

/// What a vehicle does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Driving,
    Charging,
    Standing,
}

impl Moment {
    pub(super) fn doing(&self) -> Doing {
        if self.speed.is_some_and(|speed| speed >= DRIVING_SPEED_MIN) {
            Doing::Driving
        } else if self.charging == Some(true) {
            Doing::Charging
        } else {
            Doing::Standing
        }
    }
}

/// The moments of samples in any order. The same samples give the same moments, in whatever pieces they came; a sample that is there
/// twice counts once.
pub(super) fn moments(mut samples: Vec<Sample>) -> Vec<Moment> {
    samples.sort_unstable_by(|a, b| {
        (a.time, a.signal).cmp(&(b.time, b.signal)).then(a.value.total_cmp(&b.value))
    });
    samples.dedup();
    let mut held = [None::<(i64, f64)>; INPUTS.len()];
    let mut moments: Vec<Moment> = Vec::new();
    for group in samples.chunk_by(|a, b| a.time == b.time) {
        let time = group[0].time;
        for sample in group {
            if let Some(place) = held.get_mut(usize::from(sample.signal)) {
                *place = Some((time, sample.value));
            }
        }
        let known = |signal: u8| {
            held[usize::from(signal)].filter(|(at, _)| time - at <= HOLD_TIME).map(|(_, value)| value)
        };
        let recent = |signal: u8| {
            held[usize::from(signal)].filter(|(at, _)| time - at <= POWER_HOLD_TIME).map(|(_, value)| value)
        };
        let power = recent(VOLTAGE).zip(recent(CURRENT)).map(|(volts, amperes)| volts * amperes / 1_000.0);
        let before = moments.last();
        let energy = before
            .and_then(|before| Some((time - before.time, before.power? + power?)))
            .filter(|(step, _)| *step <= POWER_HOLD_TIME)
            .map_or(0.0, |(step, both)| both / 2.0 * step as f64 / SECOND as f64 / 3_600.0);
        moments.push(Moment {
            time,
            speed: known(SPEED),
            odometer: known(DISTANCE).map(|metres| metres / 1_000.0),
            soc: known(SOC),
            charging: known(IS_CHARGING).map(|value| value != 0.0),
            fast_charger: known(FAST_CHARGER).map(|value| value != 0.0),
            power,
            energy,
        });
    }
    moments
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Doing, MINUTE, SECOND, Sample, moments};
    use crate::derived::{CURRENT, DISTANCE, IS_CHARGING, SOC, SPEED, VOLTAGE};

    /// A day in a vehicle's life, a sample each ten seconds: it stands, drives 30 minutes at 60 km/h and 20 kW, stands 10 minutes,
    /// charges 60 minutes with 50 kW, and sleeps.
    pub(in crate::derived) fn day(start: i64) -> Vec<Sample> {
        let mut samples = Vec::new();
        let (mut odometer, mut soc) = (10_000_000.0, 80.0);
        for step in 0..660_i64 {
            let time = start + step * 10 * SECOND;
            let minute = step / 6;
            let (speed, power, charging) = match minute {
                5..35 => (60.0, -20.0, 0.0),
                45..105 => (0.0, 50.0, 1.0),
                _ => (0.0, 0.0, 0.0),
            };
            odometer += speed * 1_000.0 / 360.0;
            soc += power / 360.0 / 75.0 * 100.0;
            let values = [
                (SPEED, speed),
                (DISTANCE, odometer),
                (VOLTAGE, 400.0),
                (CURRENT, power * 2.5),
                (SOC, soc),
                (IS_CHARGING, charging),
            ];
            samples.extend(values.map(|(signal, value)| Sample { time, signal, value }));
        }
        samples
    }

    #[test]
    fn samples_in_any_order_and_twice_give_the_same_moments() {
        let samples = day(0);
        let expected = moments(samples.clone());
        assert_eq!(expected.len(), 660);
        let mut shuffled: Vec<Sample> = samples.iter().rev().copied().collect();
        shuffled.extend(samples.iter().step_by(3));
        shuffled.swap(5, 3_000);
        assert_eq!(moments(shuffled), expected);
    }

    #[test]
    fn energy_is_not_invented_across_a_silence() {
        let at = |time, signal, value| Sample { time, signal, value };
        let samples = vec![
            at(0, VOLTAGE, 400.0),
            at(0, CURRENT, 100.0),
            at(30 * SECOND, VOLTAGE, 400.0),
            at(30 * SECOND, CURRENT, 100.0),
            at(30 * MINUTE, VOLTAGE, 400.0),
            at(30 * MINUTE, CURRENT, 100.0),
        ];
        let moments = moments(samples);
        let energy: f64 = moments.iter().map(|moment| moment.energy).sum();
        assert!((energy - 40.0 / 120.0).abs() < 1e-9, "{energy}");
        assert_eq!(moments[0].doing(), Doing::Standing);
    }
}
