//! The demonstrations of docs/verify.md: scripts that run the real thing and fail when what they show doesn't hold.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// A demonstration: a script of xtask/demonstrations/.
pub(crate) struct Demonstration {
    /// What `cargo xtask show` takes, and the script's name.
    pub(crate) name: &'static str,
    /// What it shows.
    about: &'static str,
}

/// All of them, in the order of docs/verify.md.
pub(crate) const DEMONSTRATIONS: &[Demonstration] = &[
    Demonstration {
        name: "demo",
        about: "in a fresh clone `make demo` runs, and what the query counts grows",
    },
    Demonstration { name: "test", about: "`make test` passes, and its last line counts the tests" },
    Demonstration {
        name: "frames",
        about: "frames of other implementations decode to the values beside them",
    },
    Demonstration {
        name: "kill-loop",
        about: "300 times kill -9 under load: the ledger verifies after each, every acked frame is in SQL once and entered",
    },
    Demonstration {
        name: "kill-housekeeping",
        about: "100 times kill -9 during compaction, expiry and erasure: nothing is lost or doubled, every erasure ends",
    },
    Demonstration {
        name: "lose-center",
        about: "three centers under load, killed and cut off, one lost with its disk: each acked frame is in SQL once at each that is left",
    },
    Demonstration {
        name: "namespaces",
        about: "root, Linux: three centers on machines of their own join, die, are cut off, drained and lost; a capture sees no other address",
    },
    Demonstration {
        name: "simulation",
        about: "10,000 simulated countries with power cuts, cut links and lost centers hold; each defect that is put in is found",
    },
    Demonstration {
        name: "centers",
        about: "a second center joins, each holds what the other has through kills and an erasure, and what is foreign is refused",
    },
    Demonstration {
        name: "auditor",
        about: "tools that are not ours accept the log and its proofs, and find one flipped bit",
    },
    Demonstration {
        name: "egress",
        about: "ten minutes of traffic send nothing to an undeclared address; a build that tries is blocked and seen",
    },
    Demonstration {
        name: "postgres",
        about: "psql and psycopg ask over the PostgreSQL protocol, and are kept to what their token may read",
    },
    Demonstration {
        name: "dashboards",
        about: "every query of every Grafana dashboard is answered on the PostgreSQL port, and so is the example in Python",
    },
    Demonstration {
        name: "erasure",
        about: "a vehicle is erased during ingest: found before, nowhere after, with a certificate that others verify",
    },
    Demonstration {
        name: "day-15",
        about: "on day 16 the positions of day 1 are gone by SQL, by time travel and on the disk, technical signals are not",
    },
    Demonstration {
        name: "derived",
        about: "trips, charges and gaps follow late data, owners and private use, and come back the same after a rebuild",
    },
    Demonstration {
        name: "tricks",
        about: "none of some eighty tricks gives an analyst a VIN or a place finer than the country pack's cell",
    },
    Demonstration {
        name: "engines",
        about: "DuckDB, Polars and delta-rs read the tables, and copies for a role, with the rows and sums of our SQL",
    },
    Demonstration {
        name: "query",
        about: "ten questions over a hundred million rows, beside DuckDB over the same files",
    },
    Demonstration {
        name: "bench",
        about: "what a message, a connection, a handshake and a second center cost",
    },
    Demonstration {
        name: "residency",
        about: "what is refused is nowhere on disk, what is admitted is found",
    },
    Demonstration {
        name: "leaks",
        about: "the self-test finds no leak, and finds the VIN that a patched build logs",
    },
    Demonstration {
        name: "records",
        about: "100,000 sales are imported in under 10 s; the registry comes back without its SQLite file",
    },
];

/// Runs one.
pub(crate) fn run(root: &Path, name: &str) -> anyhow::Result<()> {
    let demonstration = DEMONSTRATIONS
        .iter()
        .find(|demonstration| demonstration.name == name)
        .with_context(|| format!("no demonstration is called {name}; `cargo xtask show` lists them"))?;
    println!("{}: {}", demonstration.name, demonstration.about);
    let status = Command::new("bash")
        .arg(root.join("xtask/demonstrations").join(format!("{name}.sh")))
        .current_dir(root)
        .status()
        .with_context(|| format!("running xtask/demonstrations/{name}.sh"))?;
    ensure!(status.success(), "{name} does not hold: {status}");
    println!("{name}: holds");
    Ok(())
}

/// Lists them.
pub(crate) fn list() -> anyhow::Result<()> {
    for Demonstration { name, about, .. } in DEMONSTRATIONS {
        println!("{name:<12} {about}");
    }
    Ok(())
}
