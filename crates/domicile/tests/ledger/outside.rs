//! Programs beside the center: the program's own commands, and what is not ours.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a program ended and what it said, both streams together.
#[derive(Debug)]
pub struct Said {
    pub holds: bool,
    pub text: String,
}

impl Said {
    #[track_caller]
    pub fn accepted(&self, needle: &str) {
        assert!(self.holds && self.text.contains(needle), "`{needle}` is expected:\n{}", self.text);
    }

    #[track_caller]
    pub fn rejected(&self, needle: &str) {
        assert!(
            !self.holds && self.text.contains(needle),
            "a refusal with `{needle}` is expected:\n{}",
            self.text
        );
    }
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let output = command.output().expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Said { holds: output.status.success(), text: format!("{out}{err}") }
}

/// Runs the program under test.
pub fn domicile(arguments: &[&OsStr]) -> Said {
    run(Command::new(env!("CARGO_BIN_EXE_domicile")).args(arguments))
}

/// `domicile ledger verify` beside a center, or after it.
pub fn verify(center: &Path) -> Said {
    domicile(&["ledger".as_ref(), "verify".as_ref(), "--dir".as_ref(), center.as_ref()])
}

/// `domicile ledger verify --offline`.
pub fn verify_copy(copy: &Path) -> Said {
    domicile(&["ledger".as_ref(), "verify".as_ref(), "--offline".as_ref(), copy.as_ref()])
}

/// Tells on the terminal, also where the test harness keeps what tests print, that something was not tested.
pub fn skipped(what: &str) {
    let _nobody_may_listen = writeln!(std::io::stderr(), "skipped: {what}");
}

/// The auditor's script; `None` where there is no Python or no openssl.
pub fn auditor(arguments: &[&OsStr], ca: Option<&Path>) -> Option<Said> {
    let is_there = |program: &str, flag: &str| Command::new(program).arg(flag).output().is_ok();
    if !is_there("python3", "--version") || !is_there("openssl", "version") {
        skipped("the auditor's script: python3 or openssl is missing");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(root().join("auditor/verify_log.py")).args(arguments);
    if let Some(ca) = ca {
        command.env("SSL_CERT_FILE", ca);
    }
    Some(run(&mut command))
}

/// Tessera's fsck; `None` where it is not installed.
pub fn fsck(log: &OsStr, vkey: &Path, token: Option<&Path>, ca: Option<&Path>) -> Option<Said> {
    let mut command = Command::new(root().join("tests/tools/fsck.sh"));
    command.arg(log).arg(vkey).args(token).env("FSCK_SECONDS", "20");
    if let Some(ca) = ca {
        command.env("SSL_CERT_FILE", ca);
    }
    installed(command, "Tessera's fsck")
}

/// Runs a script of tests/tools, which exits 3 where its tool is not installed.
pub fn installed(mut command: Command, what: &str) -> Option<Said> {
    let output = command.output().expect("a shell runs");
    if output.status.code() == Some(3) {
        skipped(&format!("{what} is not installed; tests/tools/install.sh does it, with Go"));
        return None;
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some(Said { holds: output.status.success(), text: format!("{out}{err}") })
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    assert!(run(Command::new("cp").arg("-a").arg(from).arg(to)).holds, "{} is copied", from.display());
}

/// Every file below a folder whose name a test wants, in order.
pub fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let found = run(Command::new("find").arg(folder).args(["-type", "f"]));
    assert!(found.holds, "{}", found.text);
    let mut files: Vec<PathBuf> = found.text.lines().filter(|line| wanted(line)).map(PathBuf::from).collect();
    files.sort();
    files
}
