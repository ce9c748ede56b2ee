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

/// Three centers of one country in one command, twice: the second time they go on.
#[test]
fn the_demonstration_of_three_centers_ends_with_one_answer_and_goes_on() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let demo = || {
        let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["demo", "--centers", "3", "--for", "6s", "--dir"])
            .arg(folder.path())
            .output()
            .expect("the program runs");
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{complaint}");
        assert!(said.contains("Each center answers the same for the country."), "{said}");
        let rows =
            said.lines().rev().find_map(|line| line.rsplit_once("country's rows ")).expect("a count").1;
        rows.parse::<u64>().expect("a number")
    };
    let first = demo();
    assert!(first > 1_000, "{first} rows");
    assert!(demo() > first);
}

/// The measurement of two centers, short: what it measures is there, and the copy that was made anew is whole.
#[test]
fn two_centers_are_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args([
            "bench",
            "mirror",
            "--messages",
            "3000",
            "--format",
            "json",
            "--under",
            env!("CARGO_TARGET_TMPDIR"),
        ])
        .output()
        .expect("the program runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(figures["acked"].as_f64(), Some(3_000.0), "{figures}");
    for figure in ["ack_ms_p99", "ack_ms_p99_alone", "lag_s_p99", "copy_mib", "copy_anew_s"] {
        assert!(figures[figure].as_f64().is_some_and(|number| number > 0.0), "{figure}: {figures}");
    }
}
