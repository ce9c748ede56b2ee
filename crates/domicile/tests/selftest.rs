//! The self-test of leaks, run as an operator runs it.

use std::process::Command;

#[test]
fn no_by_path_leads_out_of_a_center() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["selftest", "leaks", "--under"])
        .arg(folder.path())
        .output()
        .expect("the program runs");
    let (printed, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{printed}");
    assert!(output.status.success(), "{printed}\n{complaint}");
    let passed = printed.lines().filter(|line| line.starts_with("pass  ")).count();
    assert!(passed >= 25 && !printed.contains("FAIL"), "{printed}");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "it leaves nothing behind");
}
