//! `cargo xtask sim`: the country in a simulation (crates/domicile/src/peer/simulation), for more seeds than the tests have time for.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Which seeds are simulated.
pub(crate) enum Seeds {
    /// From the first on, for so many minutes.
    Minutes { first: u64, minutes: u64 },
    /// `FROM..TO`, without the last; those of the tests where nobody says.
    Range(Option<String>),
    /// One, with all that happens in it.
    One(u64),
}

/// Simulates; fails where a seed violates what was promised.
pub(crate) fn run(repository: &Path, seeds: &Seeds) -> anyhow::Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository);
    cargo.args(["test", "--quiet", "--package", "domicile", "--bin", "domicile", "--"]);
    cargo.args(["--nocapture", "--include-ignored", "--exact"]);
    match seeds {
        Seeds::Minutes { first, minutes } => {
            cargo.env("DOMICILE_SIM_MINUTES", minutes.to_string());
            cargo.env("DOMICILE_SIM_SEEDS", format!("{first}..{first}"));
            cargo.arg("peer::simulation::what_was_promised_holds_for_minutes");
        }
        Seeds::Range(range) => {
            cargo.envs(range.iter().map(|range| ("DOMICILE_SIM_SEEDS", range)));
            cargo.arg("peer::simulation::what_was_promised_holds_in_every_seed");
        }
        Seeds::One(seed) => {
            cargo.env("DOMICILE_SIM_SEEDS", format!("{seed}..{}", seed + 1)).env("DOMICILE_SIM_LOG", "1");
            cargo.arg("peer::simulation::what_was_promised_holds_in_every_seed");
        }
    }
    let status = cargo.status().context("cargo can't be run")?;
    ensure!(status.success(), "the simulation does not hold: the seed and how to see it again stand above");
    Ok(())
}
