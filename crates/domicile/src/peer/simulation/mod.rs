//! The country in a simulation: three centers with the program's own store, journal, ledger, register, mirroring and admission, on
//! simulated disks, clocks and a network that follow from one seed. Power goes in the middle of any operation on a disk, what was not
//! flushed is lost sector by sector, flushes and writes fail, links are cut, questions and answers get lost, come late, twice or damaged,
//! clocks are off, a center burns down. At the end everything is mended, comes to rest, and is held against what was promised ([`check`]).
//!
//! One thread does everything, so that a seed is the same run each time. Not in it: the tables (a batch stands for its rows), TLS and
//! HTTP, and a center whose disk is set back to an earlier state.
//!
//! `DOMICILE_SIM_SEEDS=FROM..TO` chooses the seeds, `DOMICILE_SIM_LOG=1` prints what happens in them.

mod check;
mod country;
mod disk;
mod events;
mod machine;
mod network;
mod objects;
mod run;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use self::country::Country;
use self::run::{Bug, Outcome, Simulation};
use self::world::{Dice, SkewedClock};
use crate::settings::environment_variable;
use crate::world::World;

/// Seeds of a test run.
const SEEDS: std::ops::Range<u64> = 0..300;
/// Seeds in which a defect must be found.
const SEEDS_FOR_A_BUG: u64 = 1_000;
/// Threads that simulate side by side.
const THREADS: usize = 2;

/// How centers acknowledge, and in how many everything lies.
const SETTINGS: [(u32, &[(&str, &str)]); 4] = [
    (2, &[]),
    (2, &[("ack_centers = 1", "ack_centers = 2")]),
    (3, &[("ack_centers = 1", "ack_centers = 2")]),
    (2, &[("ack_centers = 1", "ack_centers = 2"), ("when_alone = \"wait\"", "when_alone = \"degrade\"")]),
];

/// The country that a seed's simulation takes place in, made once.
fn country(setting: usize) -> &'static Country {
    static COUNTRIES: [OnceLock<Country>; SETTINGS.len()] = [const { OnceLock::new() }; SETTINGS.len()];
    COUNTRIES[setting].get_or_init(|| found("CN", SETTINGS[setting]))
}

fn found(name: &str, (replication, settings): (u32, &[(&str, &str)])) -> Country {
    let clock = SkewedClock { time: Default::default(), skew: Default::default() };
    let world =
        World { clock: Arc::new(clock), entropy: Arc::new(Dice::new(0)), environment: Arc::new(|_| None) };
    Country::found(name, replication, settings, &world)
}

/// Another country, of which nothing is to come in.
fn abroad() -> &'static Country {
    static ABROAD: OnceLock<Country> = OnceLock::new();
    ABROAD.get_or_init(|| found("DE", SETTINGS[0]))
}

fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let setting = seed as usize % SETTINGS.len();
    // A center that acknowledges alone may lose what only it had.
    let loses_centers = setting > 0;
    Simulation::new(seed, country(setting), bug, loses_centers).run()
}

/// Simulates seeds on some threads until one violates something, there are no more, or `goes_on` says so. Gives the failing seed, and
/// what the others came to.
fn simulate_all(
    seeds: std::ops::Range<u64>,
    bug: Option<Bug>,
    goes_on: impl Fn() -> bool + Sync,
) -> (Option<(u64, Vec<String>)>, Vec<Outcome>) {
    let next = AtomicU64::new(seeds.start);
    let (failed, outcomes) = (Mutex::new(None), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while goes_on() && failed.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    // A panic is told by its own words; here it is told of which seed.
                    let outcome = std::panic::catch_unwind(|| simulate(seed, bug));
                    match outcome {
                        Ok(outcome) if outcome.violations.is_empty() => outcomes.lock().push(outcome),
                        Ok(outcome) => *failed.lock() = Some((seed, outcome.violations)),
                        Err(_) => *failed.lock() = Some((seed, vec!["the program panicked".to_owned()])),
                    }
                }
            });
        }
    });
    (failed.into_inner(), outcomes.into_inner())
}

fn must_hold(seeds: std::ops::Range<u64>, goes_on: impl Fn() -> bool + Sync) {
    let (failed, outcomes) = simulate_all(seeds, None, goes_on);
    if let Some((seed, violations)) = failed {
        panic!(
            "seed {seed} violates what was promised:\n  {}\nagain, with all that happens: cargo xtask sim --seed {seed}",
            violations.join("\n  ")
        );
    }
    let sum = |what: fn(&Outcome) -> u64| outcomes.iter().map(what).sum::<u64>();
    let hours = outcomes.iter().map(|outcome| outcome.simulated).sum::<Duration>().as_secs() / 3_600;
    println!(
        "{} seeds hold: {hours} simulated hours, {} frames acknowledged, {} power cuts, {} centers lost, {} frames taken over, \
         {} erasures, {} questions between centers",
        outcomes.len(),
        sum(|outcome| outcome.acknowledged as u64),
        sum(|outcome| outcome.power_cuts as u64),
        sum(|outcome| u64::from(outcome.has_lost_a_center)),
        sum(|outcome| outcome.taken_over),
        sum(|outcome| outcome.erasures as u64),
        sum(|outcome| outcome.questions),
    );
}

fn chosen_seeds() -> std::ops::Range<u64> {
    let Some(text) = environment_variable("DOMICILE_SIM_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("DOMICILE_SIM_SEEDS is FROM..TO");
    from.parse().expect("a seed")..to.parse().expect("a seed")
}

#[test]
fn what_was_promised_holds_in_every_seed() {
    must_hold(chosen_seeds(), || true);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..8 {
        assert_eq!(simulate(seed, None), simulate(seed, None), "seed {seed}");
    }
    assert_ne!(simulate(0, None).trace, simulate(4, None).trace);
}

#[test]
fn each_defect_that_is_put_in_is_found() {
    let bugs = [
        Bug::SkippedFlush,
        Bug::EarlyAnswer,
        Bug::EarlyCosignature,
        Bug::ForgottenErasure,
        Bug::ForeignVehicle,
    ];
    for bug in bugs {
        let (failed, _) = simulate_all(0..SEEDS_FOR_A_BUG, Some(bug), || true);
        let (seed, violations) =
            failed.unwrap_or_else(|| panic!("{bug:?} is not found in {SEEDS_FOR_A_BUG} seeds"));
        println!("{bug:?}: seed {seed}: {}", violations[0]);
    }
}

/// For `cargo xtask sim`: as many seeds as fit the time.
#[test]
#[ignore = "runs for as many minutes as DOMICILE_SIM_MINUTES says"]
fn what_was_promised_holds_for_minutes() {
    let minutes =
        environment_variable("DOMICILE_SIM_MINUTES").map_or(1, |text| text.parse().expect("minutes"));
    let clock = crate::world::SystemClock::new();
    let end = Duration::from_secs(60 * minutes);
    must_hold(chosen_seeds().start..u64::MAX, || model::Clock::monotonic(&clock) < end);
}
