//! The tests of the auditor's script and of the tools of others, which are written in Python, with logs that Python makes.

use std::process::Command;

use crate::outside::{root, run, skipped};

fn passes(script: &str) {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped(&format!("{script}: python3 is missing"));
        return;
    }
    let said = run(Command::new("python3").arg(root().join("tests/python").join(script)));
    let tail: Vec<&str> = said.text.lines().rev().take(if said.holds { 3 } else { 60 }).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(said.holds, "{script}:\n{tail}");
    if said.text.contains("skipped") {
        skipped(&format!("{script}: {tail}"));
    }
    println!("{script}: {tail}");
}

#[test]
fn the_auditors_script_finds_every_damage_that_python_can_make() {
    passes("test_auditor.py");
}

#[test]
fn the_tools_of_others_judge_logs_that_python_makes() {
    passes("test_tools.py");
}
