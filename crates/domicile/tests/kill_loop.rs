//! The center is killed with `kill -9` again and again under load from both protocols. After each kill its ledger must verify, and
//! what it acknowledged must be in SQL exactly once, in a batch that the ledger has an entry of. The loop itself is
//! `domicile bench kill-loop`; `cargo xtask show kill-loop` runs it three hundred times.
#![cfg(feature = "lake")]

use std::path::Path;
use std::process::Command;

/// Enough for a kill at the start and kills at many stages of a segment's life.
const ROUNDS: &str = "20";

#[test]
fn every_acknowledged_frame_is_in_sql_exactly_once_and_has_its_entry_after_twenty_kills() {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["bench", "kill-loop", "--rounds", ROUNDS, "--under", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .expect("the program runs");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(said.contains("20 rounds: "), "{said}");
    assert!(said.contains("The ledger verified after each kill"), "{said}");
}

#[test]
fn kills_during_compaction_expiry_and_erasure_lose_and_double_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let find = "import libfaketime, pathlib; print(next(pathlib.Path(libfaketime.__file__).parent.rglob('libfaketime.so.1')))";
    let found = Command::new(root.join(".venv/bin/python")).args(["-c", find]).output();
    let Some(faketime) = found.ok().filter(|found| found.status.success()) else {
        println!(
            "skipped: no Python with the packages of tests/python/requirements.txt (make test makes one)"
        );
        return;
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let clock = folder.path().join("clock");
    // The loop sets it; the program's first look comes before that.
    std::fs::write(&clock, "-300d\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["bench", "kill-loop", "--rounds", "10", "--housekeeping"])
        .arg(&clock)
        .arg("--under")
        .arg(folder.path())
        .env("LD_PRELOAD", String::from_utf8_lossy(&faketime.stdout).trim())
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .output()
        .expect("the program runs");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(said.contains("10 rounds: ") && said.contains("all of them done"), "{said}");
}
