//! Domicile: an in-country vehicle data center in one program.
//!
//! The program reads its settings, puts the rooms together ([`cli`] for a command, `assemble` for the serving center) and runs.
//! Not here: parsing of vehicles' bytes, decisions, object names.

mod api;
mod assemble;
mod bell;
mod bookkeeping;
mod center;
mod certificates;
mod charter;
mod cli;
mod cosigning;
#[cfg(feature = "lake")]
mod deriving;
mod drill;
mod egress;
mod erasure;
mod hooks;
#[cfg(feature = "lake")]
mod housekeeping;
mod ingress;
mod live;
mod observe;
mod peer;
#[cfg(feature = "lake")]
mod pipeline;
mod pki;
#[cfg(feature = "lake")]
mod postgres;
mod raw;
mod settings;
#[cfg(feature = "lake")]
mod sources;
#[cfg(feature = "lake")]
mod tables;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&world::World::real())
}
