//! SQL at the centers of a country, held against what was acknowledged.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use model::Vin;
use sim::vehicle::vin;

use super::super::country::{Country, Site};
use super::kill_loop::{Acked, NUMBERED, Verdict, judge, rows_of};
use crate::world::World;

/// What a lost center leaves must be in SQL within this time.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(180);

/// The vehicles whose frames are told apart, as a CSV file, and the last of them.
pub(super) fn numbered() -> (String, Vin) {
    let lines: String = (0..NUMBERED).map(|index| format!("{},CN\n", vin(index))).collect();
    (format!("vin,country\n{lines}"), vin(NUMBERED - 1))
}

/// SQL at each center that is left is held against what was acknowledged, since `began`.
pub(super) fn check_rows(
    country: &Country,
    acked: &Acked,
    expected: &HashMap<&'static str, u64>,
    began: Duration,
    world: &World,
) -> anyhow::Result<()> {
    for site in country.left() {
        let verdict = verdict(site, acked, expected, world)?;
        println!(
            "{}: {} frames acknowledged by the three, {} in its SQL; {} missing, {} doubled, {} half there, after {:.1} s",
            site.name,
            verdict.acked,
            verdict.present,
            verdict.missing,
            verdict.doubled,
            verdict.partial,
            (world.clock.monotonic().saturating_sub(began)).as_secs_f64()
        );
        ensure!(verdict.holds(), "the promise does not hold at {}", site.name);
    }
    Ok(())
}

/// Asks a center until all that was acknowledged is there and stays so, or time is over.
fn verdict(
    site: &Site,
    acked: &Acked,
    expected: &HashMap<&'static str, u64>,
    world: &World,
) -> anyhow::Result<Verdict> {
    let deadline = world.clock.monotonic() + RECOVERY_TIME_MAX;
    let mut last = None;
    loop {
        let verdict = judge(&rows_of(&site.folder, None)?, &acked.0.lock(), expected)?;
        // What comes late must not come twice.
        let settled = verdict.missing == 0 && last.as_ref() == Some(&verdict);
        if settled || world.clock.monotonic() >= deadline {
            return Ok(verdict);
        }
        last = Some(verdict);
        std::thread::sleep(Duration::from_secs(3));
    }
}
