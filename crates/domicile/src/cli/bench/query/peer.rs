//! Another engine, as a program that reads the task from its input and prints what it measured.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the peer is to do.
#[derive(Serialize)]
pub(super) struct Task {
    /// The folder of the Delta tables.
    pub(super) lake: PathBuf,
    /// The folder of the derived tables: a folder a table, with its Parquet files.
    pub(super) derived: PathBuf,
    /// The same of tables that were exported.
    pub(super) copies: PathBuf,
    /// Threads that it may use.
    pub(super) threads: usize,
    /// How often it asks each question.
    pub(super) rounds: u32,
    /// Objects with `name`, `sql` and our `rows`.
    pub(super) questions: Vec<Value>,
}

/// What it measured.
#[derive(Deserialize)]
pub(super) struct Peer {
    /// Its version.
    pub(super) version: String,
    /// By question.
    pub(super) questions: Vec<Measured>,
}

/// One question.
#[derive(Deserialize)]
pub(super) struct Measured {
    /// The fastest answer.
    pub(super) seconds: f64,
    /// In what its answer differs from ours.
    pub(super) differs: Option<String>,
}

/// Runs it to its end.
pub(super) fn ask(command: &str, task: &Task) -> anyhow::Result<Peer> {
    let mut words = command.split_whitespace();
    let program = words.next().context("--peer is empty")?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let input = child.stdin.take().context("the peer's input")?;
    serde_json::to_writer(input, task)?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{program} ended with {}; what it complained of stands above",
        output.status
    );
    let peer: Peer = serde_json::from_slice(&output.stdout).context("what the peer printed")?;
    ensure!(peer.questions.len() == task.questions.len(), "the peer left out questions");
    Ok(peer)
}
