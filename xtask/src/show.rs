//! The demonstrations of docs/verify.md: each runs the real thing and fails when what it shows doesn't hold.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// A demonstration.
pub(crate) struct Demonstration {
    /// What `cargo xtask show` takes.
    pub(crate) name: &'static str,
    /// What it shows.
    about: &'static str,
    /// The shell commands, run from the root of the repository, each of which must succeed.
    commands: &'static [&'static str],
}

/// All of them, in the order of docs/verify.md.
pub(crate) const DEMONSTRATIONS: &[Demonstration] = &[];

/// Runs one.
pub(crate) fn run(root: &Path, name: &str) -> anyhow::Result<()> {
    let demonstration = DEMONSTRATIONS
        .iter()
        .find(|demonstration| demonstration.name == name)
        .with_context(|| format!("no demonstration is called {name}; `cargo xtask show` lists them"))?;
    println!("{}: {}", demonstration.name, demonstration.about);
    for command in demonstration.commands {
        println!("$ {command}");
        let status = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(root)
            .status()
            .with_context(|| format!("running {command}"))?;
        ensure!(status.success(), "{name} does not hold: {status}");
    }
    println!("{name}: holds");
    Ok(())
}

/// Lists them.
pub(crate) fn list() -> anyhow::Result<()> {
    for Demonstration { name, about, .. } in DEMONSTRATIONS {
        println!("{name:<16} {about}");
    }
    Ok(())
}
