//! Frames that the independent Python package `rtm-con` builds decode to what was put in.

#[path = "rtm_con/mod.rs"]
mod rtm_con;

use std::path::PathBuf;
use std::process::Command;

use rtm_con::{assert_encodes_again, compare, unhex};
use serde_json::Value as Json;
use wire::gbt32960::{Keys, describe};

/// The Python that has the packages of `tests/python/requirements.txt`.
fn python() -> Option<PathBuf> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    #[expect(clippy::disallowed_methods, reason = "a test asks which Python to run")]
    let given = std::env::var_os("DOMICILE_PYTHON").map(PathBuf::from);
    given.or_else(|| Some(repository.join(".venv/bin/python")).filter(|python| python.exists()))
}

#[test]
fn frames_that_another_program_builds_decode_to_what_was_put_in() {
    let Some(python) = python() else {
        println!("skipped: neither DOMICILE_PYTHON nor .venv/bin/python");
        return;
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/rtm_con_frames.py");
    let imports = Command::new(&python).args(["-c", "import rtm_con"]).output().expect("Python runs");
    if !imports.status.success() {
        println!("skipped: that Python lacks rtm-con (pip install -r tests/python/requirements.txt)");
        return;
    }
    let output = Command::new(&python).arg(script).args(["7", "600"]).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let mut compared = 0;
    for line in lines.lines() {
        let line: Json = serde_json::from_str(line).expect("JSON");
        let frame = unhex(line["hex"].as_str().expect("hexadecimal"));
        compare(&line["values"], &describe(&frame, &Keys::none()).expect("a frame"));
        assert_encodes_again(&frame);
        compared += 1;
    }
    println!("{compared} frames compared");
    assert_eq!(compared, 600);
}
