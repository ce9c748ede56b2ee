//! Three centers that acknowledge from two are killed, cut off from each other, and one is lost with its disk. The loop itself is
//! `domicile bench lose-center`; `cargo xtask show lose-center` runs it longer and with several seeds.
#![cfg(feature = "lake")]

use std::process::Command;

#[test]
fn a_center_lost_with_its_disk_takes_no_acknowledged_frame_with_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args([
            "bench",
            "lose-center",
            "--rounds",
            "2",
            "--seed",
            "4",
            "--under",
            env!("CARGO_TARGET_TMPDIR"),
        ])
        .output()
        .expect("the program runs");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");
    assert_eq!(said.matches("0 missing, 0 doubled, 0 half there").count(), 2, "{said}");
    assert!(said.contains("exactly once at each center that is left"), "{said}");
}
