//! `cargo xtask`: the checks and demonstrations of this repository.
//!
//! * `tidy` holds the tree against the rules that no compiler knows (rooms, file lengths, words);
//! * `show NAME` runs one of the demonstrations that docs/verify.md lists;
//! * `scan NEEDLE --dir DIR` looks for a text or bytes in everything that a center's folder holds;
//! * `sim` runs the centers of a country in a deterministic simulation, seed after seed;
//! * `count FILE` adds up what `cargo test` printed.

mod count;
mod exit;
mod scan;
mod show;
mod sim;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks and demonstrations of Domicile's repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Hold the tree against the rules of ARCHITECTURE.md and CONTRIBUTING.md.
    Tidy,
    /// Run a demonstration of docs/verify.md; without a name, list them.
    Show {
        /// Its name.
        name: Option<String>,
    },
    /// Look for a text, or bytes as hex:…, in all that a center's folder holds; fails where it is nowhere.
    Scan {
        /// The text, or hex: and digits.
        needle: String,
        /// The center's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Simulate a country's centers, with power cuts, lost links and lost centers; without options the seeds of the tests.
    Sim {
        /// Seeds from --seed (or 0) on, for so many minutes.
        #[arg(long, conflicts_with = "seeds")]
        minutes: Option<u64>,
        /// These seeds: FROM..TO, without the last.
        #[arg(long, value_name = "FROM..TO")]
        seeds: Option<String>,
        /// One seed, and all that happens in it.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Add up the results in a log of `cargo test` and print one closing line.
    Count {
        /// The log.
        log: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Tidy => tidy::run(repository()),
        Task::Show { name: Some(name) } => show::run(repository(), &name),
        Task::Show { name: None } => show::list(),
        Task::Scan { needle, dir } => scan::run(&needle, &dir),
        Task::Sim { minutes: Some(minutes), seed, .. } => {
            sim::run(repository(), &sim::Seeds::Minutes { first: seed.unwrap_or(0), minutes })
        }
        Task::Sim { seed: Some(seed), .. } => sim::run(repository(), &sim::Seeds::One(seed)),
        Task::Sim { seeds, .. } => sim::run(repository(), &sim::Seeds::Range(seeds)),
        Task::Count { log } => count::run(&log),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: the folder above this crate.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}
