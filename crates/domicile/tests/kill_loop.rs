//! The center is killed with `kill -9` again and again under load from both protocols. After each kill its ledger must verify, and
//! what it acknowledged must be in SQL exactly once, in a batch that the ledger has an entry of. The loop itself is
//! `domicile bench kill-loop`; `cargo xtask show kill-loop` runs it three hundred times.
#![cfg(feature = "lake")]

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
