//! The rules of the derived tables: pure functions of one vehicle's moments. `docs/formats/tables.md` states them.

use super::timeline::{Doing, MINUTE, Moment, SECOND, SILENCE_TIME};

/// A stop that is no longer than this does not end a trip: traffic lights, a barrier, a delivery.
const STOP_TIME: i64 = 5 * MINUTE;

/// Trips that are shorter, in km and in time, are moves in a car park.
const TRIP_KM_MIN: f64 = 0.1;
const TRIP_TIME_MIN: i64 = MINUTE;

/// Charging with more than this is with direct current, in kW: no charger aboard takes more.
const AC_KW_MAX: f64 = 22.5;

/// Points of a charge's curve.
const CURVE_POINTS_MAX: usize = 60;

/// The least rise of the state of charge, in percent, from which a capacity is worked out: below, its rounding weighs too much.
const CAPACITY_SOC_MIN: f64 = 10.0;

/// A trip: from the first moment at which it drove to the last, with stops of five minutes at most.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trip {
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    /// km: by the odometer, else by the speed.
    pub(super) distance: f64,
    /// kWh out of the battery, less what was gained by braking; `None` where voltage and current are not said.
    pub(super) energy: Option<f64>,
    pub(super) soc_start: Option<f64>,
    pub(super) soc_end: Option<f64>,
    /// km/h.
    pub(super) speed_max: f64,
}

/// A charge: from the first moment at which it charged to the last, with breaks of five minutes at most.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Charge {
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    /// kWh into the battery.
    pub(super) energy: Option<f64>,
    pub(super) soc_start: Option<f64>,
    pub(super) soc_end: Option<f64>,
    /// kW.
    pub(super) power_max: Option<f64>,
    /// `ac` or `dc`.
    pub(super) kind: Option<&'static str>,
    /// JSON: state of charge and kW, each a percent apart at least.
    pub(super) curve: Option<String>,
    /// km.
    pub(super) odometer: Option<f64>,
}

/// What a vehicle did for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) from: i64,
    pub(super) until: i64,
    /// `driving`, `charging`, `online`, `asleep`, `offline`.
    pub(super) state: &'static str,
}

/// What did not come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Silence {
    /// Seconds between two messages, in the middle.
    pub(super) cadence: Option<f64>,
    /// Silences in which something is missing.
    pub(super) count: i64,
    /// Seconds of them together, and of the longest.
    pub(super) seconds: f64,
    pub(super) longest: f64,
    /// km that were driven meanwhile, by the odometer.
    pub(super) distance: f64,
}

/// Runs of moments at which `is` is true, with breaks that are no longer than `pause` and in which it is not silent.
fn runs(moments: &[Moment], pause: i64, is: impl Fn(&Moment) -> bool) -> Vec<&[Moment]> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (place, moment) in moments.iter().enumerate() {
        if !is(moment) {
            continue;
        }
        match runs.last_mut() {
            Some((_, last)) if moment.time - moments[*last].time <= pause => *last = place,
            _ => runs.push((place, place)),
        }
    }
    runs.into_iter().map(|(first, last)| &moments[first..=last]).collect()
}

fn between(first: Option<f64>, last: Option<f64>) -> Option<f64> {
    Some(last? - first?)
}

pub(super) fn trips(moments: &[Moment]) -> Vec<Trip> {
    let driving = runs(moments, STOP_TIME, |moment| moment.doing() == Doing::Driving);
    let trip = |run: &[Moment]| {
        let (first, last) = (run.first()?, run.last()?);
        let by_speed = || -> f64 {
            let step = |pair: &[Moment]| {
                let hours = (pair[1].time - pair[0].time) as f64 / SECOND as f64 / 3_600.0;
                pair[0].speed.unwrap_or(0.0) * hours
            };
            run.windows(2).map(step).sum()
        };
        let odometer = between(first.odometer, last.odometer).filter(|km| *km >= 0.0);
        let distance = odometer.unwrap_or_else(by_speed);
        let has_power = run.iter().any(|moment| moment.power.is_some());
        let trip = Trip {
            started_at: first.time,
            ended_at: last.time,
            distance,
            energy: has_power.then(|| -run.iter().skip(1).map(|moment| moment.energy).sum::<f64>()),
            soc_start: first.soc,
            soc_end: last.soc,
            speed_max: run.iter().filter_map(|moment| moment.speed).fold(0.0, f64::max),
        };
        let is_one = trip.distance >= TRIP_KM_MIN && trip.ended_at - trip.started_at >= TRIP_TIME_MIN;
        is_one.then_some(trip)
    };
    driving.into_iter().filter_map(trip).collect()
}

pub(super) fn charges(moments: &[Moment]) -> Vec<Charge> {
    let charging = runs(moments, STOP_TIME, |moment| moment.doing() == Doing::Charging);
    let charge = |run: &[Moment]| {
        let (first, last) = (run.first()?, run.last()?);
        if first.time == last.time {
            return None;
        }
        let power_max = run.iter().filter_map(|moment| moment.power).reduce(f64::max);
        let is_fast = run.iter().any(|moment| moment.fast_charger == Some(true));
        let kind = match power_max {
            _ if is_fast => Some("dc"),
            Some(power) if power > AC_KW_MAX => Some("dc"),
            Some(_) => Some("ac"),
            None => None,
        };
        Some(Charge {
            started_at: first.time,
            ended_at: last.time,
            energy: power_max.map(|_| run.iter().skip(1).map(|moment| moment.energy).sum()),
            soc_start: first.soc,
            soc_end: last.soc,
            power_max,
            kind,
            curve: curve(run),
            odometer: last.odometer,
        })
    };
    charging.into_iter().filter_map(charge).collect()
}

fn curve(run: &[Moment]) -> Option<String> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for moment in run {
        let Some((soc, power)) = moment.soc.zip(moment.power) else { continue };
        if points.last().is_none_or(|(before, _)| (soc - before).abs() >= 1.0) {
            points.push((soc, power));
        }
    }
    let step = points.len().div_ceil(CURVE_POINTS_MAX).max(1);
    let points: Vec<[f64; 2]> =
        points.iter().step_by(step).map(|(soc, power)| [round(*soc), round(*power)]).collect();
    (!points.is_empty()).then(|| serde_json::to_string(&points).expect("numbers are JSON"))
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Charge {
    /// The usable capacity in kWh that a charge tells: energy by the rise of the state of charge.
    pub(super) fn capacity(&self) -> Option<f64> {
        let rise = between(self.soc_start, self.soc_end).filter(|rise| *rise >= CAPACITY_SOC_MIN)?;
        self.energy.filter(|energy| *energy > 0.0).map(|energy| energy / rise * 100.0)
    }
}

/// What a vehicle did from `from` until `until`, without a hole. A silence of more than five minutes is `asleep` where the vehicle stood
/// or charged before it and has not moved in it, and else `offline`.
pub(super) fn states(moments: &[Moment], from: i64, until: i64) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    let mut push = |begin: i64, end: i64, state: &'static str| {
        let (begin, end) = (begin.max(from), end.min(until));
        if begin >= end {
            return;
        }
        match states.last_mut() {
            Some(last) if last.state == state && last.until == begin => last.until = end,
            _ => states.push(State { from: begin, until: end, state }),
        }
    };
    for (place, moment) in moments.iter().enumerate() {
        let next = moments.get(place + 1);
        let end = next.map_or(until, |next| next.time);
        let word = match moment.doing() {
            Doing::Driving => "driving",
            Doing::Charging => "charging",
            Doing::Standing => "online",
        };
        if end - moment.time <= SILENCE_TIME {
            push(moment.time, end, word);
            continue;
        }
        let has_moved = next.is_some_and(|next| moved(moment, next) >= TRIP_KM_MIN);
        push(
            moment.time,
            end,
            if moment.doing() == Doing::Driving || has_moved { "offline" } else { "asleep" },
        );
    }
    states
}

fn moved(before: &Moment, after: &Moment) -> f64 {
    between(before.odometer, after.odometer).unwrap_or(0.0)
}

/// What did not come from `from` until `until`: silences in which the vehicle drove or charged before, or has moved meanwhile. A silence of
/// a standing vehicle is sleep and misses nothing.
pub(super) fn silence(moments: &[Moment], from: i64, until: i64) -> Silence {
    let inside: Vec<&[Moment]> =
        moments.windows(2).filter(|pair| pair[0].time >= from && pair[0].time < until).collect();
    let mut steps: Vec<i64> = inside.iter().map(|pair| pair[1].time - pair[0].time).collect();
    steps.sort_unstable();
    let cadence = steps.get(steps.len() / 2).copied();
    // Five times the vehicle's own cadence, a minute at least.
    let patience = cadence.unwrap_or(0).saturating_mul(5).clamp(MINUTE, SILENCE_TIME);
    let mut silence = Silence { cadence: cadence.map(seconds), ..Silence::default() };
    for pair in inside {
        let (before, after) = (&pair[0], &pair[1]);
        let time = after.time - before.time;
        let distance = moved(before, after);
        let is_missing = before.doing() != Doing::Standing || distance >= TRIP_KM_MIN;
        if time > patience && is_missing {
            silence.count += 1;
            silence.seconds += seconds(time);
            silence.longest = silence.longest.max(seconds(time));
            silence.distance += distance.max(0.0);
        }
    }
    silence
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::{charges, silence, states, trips};
    use crate::derived::timeline::tests::day;
    use crate::derived::timeline::{MINUTE, Sample, moments};

    fn close(value: f64, expected: f64, by: f64) {
        assert!((value - expected).abs() <= by, "{value} is not {expected}");
    }

    #[test]
    fn a_drive_and_a_charge_are_found_with_what_they_took() {
        let moments = moments(day(0));
        let trips = trips(&moments);
        assert_eq!(trips.len(), 1, "{trips:?}");
        assert_eq!((trips[0].started_at, trips[0].ended_at), (5 * MINUTE, 35 * MINUTE - 10_000_000));
        close(trips[0].distance, 29.8, 0.1);
        close(trips[0].energy.expect("power is said"), 9.94, 0.05);
        close(trips[0].speed_max, 60.0, 0.0);
        let charges = charges(&moments);
        assert_eq!(charges.len(), 1, "{charges:?}");
        close(charges[0].energy.expect("power is said"), 49.86, 0.1);
        assert_eq!(charges[0].kind, Some("dc"));
        close(charges[0].capacity().expect("a rise of 66 percent"), 75.0, 1.0);
        let curve = charges[0].curve.as_deref().expect("a curve");
        assert!(curve.starts_with("[[") && curve.matches("],[").count() < 60, "{curve}");
    }

    #[test]
    fn a_stop_at_a_traffic_light_does_not_end_a_trip() {
        let mut samples = day(0);
        let stop = |sample: &mut Sample| {
            if sample.signal == crate::derived::SPEED && (15 * MINUTE..19 * MINUTE).contains(&sample.time) {
                sample.value = 0.0;
            }
        };
        samples.iter_mut().for_each(stop);
        assert_eq!(trips(&moments(samples.clone())).len(), 1);
        let long = |sample: &mut Sample| {
            if sample.signal == crate::derived::SPEED && (15 * MINUTE..21 * MINUTE).contains(&sample.time) {
                sample.value = 0.0;
            }
        };
        samples.iter_mut().for_each(long);
        assert_eq!(trips(&moments(samples)).len(), 2);
    }

    #[test]
    fn states_leave_no_hole_and_tell_sleep_from_loss() {
        let all = moments(day(0));
        let found = states(&all, 0, 240 * MINUTE);
        let words: Vec<&str> = found.iter().map(|state| state.state).collect();
        assert_eq!(words, ["online", "driving", "online", "charging", "online", "asleep"]);
        assert!(found.windows(2).all(|pair| pair[0].until == pair[1].from));
        assert_eq!((found[0].from, found[5].until), (0, 240 * MINUTE));
        // The same without what it said from minute 10 to minute 20, while it drove.
        let kept = day(0).into_iter().filter(|sample| !(10 * MINUTE..20 * MINUTE).contains(&sample.time));
        let lossy = moments(kept.collect());
        let words: Vec<&str> = states(&lossy, 0, 240 * MINUTE).iter().map(|state| state.state).collect();
        assert_eq!(
            words,
            ["online", "driving", "offline", "driving", "online", "charging", "online", "asleep"]
        );
        let missing = silence(&lossy, 0, 240 * MINUTE);
        assert_eq!((missing.count, missing.cadence), (1, Some(10.0)));
        close(missing.seconds, 610.0, 0.0);
        close(missing.distance, 10.2, 0.1);
        assert_eq!(silence(&all, 0, 240 * MINUTE).count, 0, "sleep misses nothing");
    }
}
