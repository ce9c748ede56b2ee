//! The center is killed with `kill -9` again and again under load from both protocols; what it acknowledged must be in SQL exactly
//! once. The loop itself is `domicile bench kill-loop`; `cargo xtask show kill-loop` runs it a hundred times.
#![cfg(feature = "lake")]

use std::process::Command;

/// Enough for a kill at the start and kills at many stages of a segment's life.
const ROUNDS: &str = "10";

#[test]
fn every_acknowledged_frame_is_in_sql_exactly_once_after_ten_kills() {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["bench", "kill-loop", "--rounds", ROUNDS, "--under", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .expect("the program runs");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(said.contains("10 rounds: "), "{said}");
}
