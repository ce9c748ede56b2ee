//! The command line: a file a noun, each with its arguments and a `run`.

/// Prints a line for whoever called the command. When nobody reads any more (`| head`), the command is done.
macro_rules! say {
    () => { $crate::cli::say(format_args!("")) };
    ($($line:tt)*) => { $crate::cli::say(format_args!($($line)*)) };
}

mod bench;
mod center;
mod client;
#[cfg(feature = "lake")]
mod copies;
mod country;
mod decode;
mod demo;
mod dns;
mod doctor;
mod drill;
mod egress;
mod harness;
mod init;
mod lake;
mod ledger;
mod placement;
mod platform;
mod policy;
mod proof;
mod query;
mod records;
mod selftest;
mod serve;
mod sim;
mod status;
mod subject;
mod token;
mod vehicle;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::world::World;

/// An in-country vehicle data center in one program.
#[derive(Parser)]
#[command(name = "domicile", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Serve(serve::Serve),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Egress(egress::Egress),
    Center(center::Centers),
    Placement(placement::Placement),
    Vehicle(vehicle::Vehicles),
    Platform(platform::Platforms),
    Token(token::Tokens),
    Query(query::Query),
    Lake(lake::Lakes),
    Subject(subject::Subjects),
    Records(records::Records),
    Policy(policy::Policies),
    Ledger(ledger::Ledgers),
    Proof(proof::Proofs),
    Selftest(selftest::Selftest),
    Demo(demo::Demo),
    Sim(sim::Sim),
    Decode(decode::Decode),
    Bench(bench::Bench),
}

/// The center's folder.
#[derive(Args, Clone, Debug)]
pub(crate) struct Folder {
    /// The center's folder (or DOMICILE_DIR) [default: ./domicile-data]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Folder {
    /// The folder that is meant: the option, else `DOMICILE_DIR`, else `./domicile-data`.
    pub(crate) fn path(&self, world: &World) -> PathBuf {
        let from_environment = || (world.environment)("DOMICILE_DIR").map(PathBuf::from);
        self.dir.clone().or_else(from_environment).unwrap_or_else(|| Path::new("./domicile-data").to_owned())
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The command can't be run as it was typed: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A rule refuses what was asked for: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Runs the command line's command. Exit codes: 0 done, 1 failed, 2 usage, 3 refused by policy.
pub(crate) fn main(world: &World) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Clap's own code is 0 for --help and --version and 2 for what can't be parsed.
        Err(error) => error.exit(),
    };
    match run(cli.command, world) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domicile: {error:#}");
            exit_code(&error)
        }
    }
}

/// What `say!` does.
fn say(line: std::fmt::Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // There is nowhere left to complain to; the command's work is not undone by it.
        _ => {}
    }
}

fn run(command: Command, world: &World) -> anyhow::Result<()> {
    match command {
        Command::Init(init) => init.run(world),
        Command::Serve(serve) => serve.run(world),
        Command::Status(status) => status.run(world),
        Command::Doctor(doctor) => doctor.run(world),
        Command::Egress(egress) => egress.run(world),
        Command::Center(centers) => centers.run(world),
        Command::Placement(placement) => placement.run(world),
        Command::Vehicle(vehicles) => vehicles.run(world),
        Command::Platform(platforms) => platforms.run(world),
        Command::Token(tokens) => tokens.run(world),
        Command::Query(query) => query.run(world),
        Command::Lake(lakes) => lakes.run(world),
        Command::Subject(subjects) => subjects.run(world),
        Command::Records(records) => records.run(world),
        Command::Policy(policies) => policies.run(world),
        Command::Ledger(ledgers) => ledgers.run(world),
        Command::Proof(proofs) => proofs.run(world),
        Command::Selftest(selftest) => selftest.run(world),
        Command::Demo(demo) => demo.run(world),
        Command::Sim(sim) => sim.run(world),
        Command::Decode(decode) => decode.run(world),
        Command::Bench(bench) => bench.run(world),
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        ExitCode::from(2)
    } else if error.is::<Refused>() {
        ExitCode::from(3)
    } else {
        ExitCode::from(1)
    }
}
