//! A center of its own for one measurement, in a folder that goes when it is done, and the client process beside it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, ensure};
use model::Vin;
use sim::vehicle::vin;

use super::super::harness::{self, Ports, Server, ServerOptions};
use crate::center::{Center, NewCenter};
use crate::world::World;

/// A fresh center's folder; it is deleted when this goes.
pub(super) struct Workshop {
    pub(super) folder: PathBuf,
    pub(super) ports: Ports,
    keep: bool,
}

impl Workshop {
    /// Makes a center under `parent` with this many vehicles of the simulator, numbered from 0.
    pub(super) fn new(parent: &Path, vehicles: u32, world: &World) -> anyhow::Result<Self> {
        let mut name = [0; 4];
        world.entropy.fill(&mut name);
        let folder = parent.join(format!("domicile-bench-{:08x}", u32::from_be_bytes(name)));
        let new = NewCenter {
            country: "CN".parse().context("the benchmark's country")?,
            center: "bench-1".parse().context("the benchmark's center")?,
            site: String::new(),
            hosts: Vec::new(),
        };
        let workshop = Self { folder, ports: Ports::free()?, keep: false };
        Center::create(&workshop.folder, &new, world)?;
        let mut csv = String::from("vin,country\n");
        for index in 0..vehicles {
            writeln!(csv, "{},CN", vin(index))?;
        }
        harness::register(&workshop.folder, &csv)?;
        Ok(workshop)
    }

    /// A center that an earlier measurement has left.
    #[cfg(feature = "lake")]
    pub(super) fn at(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { folder: folder.to_owned(), ports: Ports::free()?, keep: true })
    }

    /// Leaves the folder where it is, to be looked at.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// The name that a vehicle has in the tables now.
    pub(super) fn pseudonym(&self, vin: &Vin) -> anyhow::Result<String> {
        pseudonym(&self.folder, vin)
    }

    /// Starts the center.
    pub(super) fn serve(&self, lake: Option<bool>) -> anyhow::Result<Server> {
        Server::start(&self.folder, ServerOptions { ports: self.ports, lake, unbounded: true, log: None })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if !self.keep {
            // A folder that can't be deleted is named by nobody: the measurement is over either way.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The name that a vehicle has in the tables of a center now.
pub(super) fn pseudonym(folder: &Path, vin: &Vin) -> anyhow::Result<String> {
    let shown = harness::run_program(&["vehicle", "show", vin.as_str(), "--format", "json"], folder)?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    Ok(shown["vehicle"]["id"].as_str().context("a registered vehicle has a name")?.to_owned())
}

/// The load's process. It goes from phase to phase as it is told, and says when each is done.
pub(super) struct Client {
    child: Child,
    commands: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Client {
    /// Starts `domicile bench load` with these arguments.
    pub(super) fn start(folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let mut child = harness::program()?
            .args(["bench", "load", "--dir"])
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the load")?;
        let commands = child.stdin.take().context("the load's input")?;
        let reports = BufReader::new(child.stdout.take().context("the load's output")?);
        Ok(Self { child, commands, reports })
    }

    /// The next line that the load prints.
    pub(super) fn report(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.reports.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the load ended early; what it complained of stands above");
        Ok(line.trim_end().to_owned())
    }

    /// Starts its next phase.
    pub(super) fn go(&mut self) -> anyhow::Result<()> {
        writeln!(self.commands, "go")?;
        self.commands.flush()?;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
