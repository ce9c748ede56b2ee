//! `cargo xtask`: the checks and demonstrations of this repository.
//!
//! * `tidy` holds the tree against the rules that no compiler knows (rooms, file lengths, words);
//! * `show NAME` runs one of the demonstrations that docs/verify.md lists;
//! * `scan NEEDLE --dir DIR` looks for a text or bytes in everything that a center's folder holds;
//! * `count FILE` adds up what `cargo test` printed.

mod count;
mod exit;
mod scan;
mod show;
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
