//! `domicile bench`: measures the server as a process of its own, and holds its promise of durability against `kill -9`.

mod bookkeeping;
mod chores;
mod connections;
mod disk;
mod ingest;
mod kill_loop;
mod load;
mod lose_center;
mod mirror;
mod namespaces;
mod placed;
mod process;
#[cfg(feature = "lake")]
mod query;
mod rows;
mod workshop;

use clap::{Args, Subcommand, ValueEnum};

use crate::world::World;

/// Measure this program on this machine, the server apart from its load
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Ingest(ingest::Ingest),
    Connections(connections::Connections),
    KillLoop(kill_loop::KillLoop),
    LoseCenter(lose_center::LoseCenter),
    Mirror(mirror::Mirror),
    Namespaces(namespaces::Namespaces),
    #[cfg(feature = "lake")]
    Query(query::Query),
    #[command(hide = true)]
    Load(load::Load),
}

/// How a measurement is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// What the load speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Tesla Fleet Telemetry over mTLS
    Tesla,
    /// GB/T 32960.3-2016 over TCP, as the standard has it
    Gbt32960,
}

impl Bench {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.what {
            What::Ingest(ingest) => ingest.run(world),
            What::Connections(connections) => connections.run(world),
            What::KillLoop(kill_loop) => kill_loop.run(world),
            What::LoseCenter(lose_center) => lose_center.run(world),
            What::Mirror(mirror) => mirror.run(world),
            What::Namespaces(namespaces) => namespaces.run(world),
            #[cfg(feature = "lake")]
            What::Query(query) => query.run(world),
            What::Load(load) => load.run(world),
        }
    }
}
