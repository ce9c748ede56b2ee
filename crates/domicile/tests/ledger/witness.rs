//! A witness that is not ours (litewitness) holds the center to one history.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::center::{Center, eventually};
use crate::outside::{Said, auditor, copy, domicile, installed, root, run, verify};
use crate::traffic::{self, drive, enter, ledger, settle, store};

/// What the witness is called, as its own script has it.
const NAME: &str = "regulator.example/w1";

/// How long one watches that nothing happens: longer than a center waits before it asks a witness again.
const WATCH_TIME: Duration = Duration::from_secs(7);

/// A running litewitness; it ends when this goes.
struct Witness {
    folder: PathBuf,
    port: String,
    vkey: String,
}

impl Witness {
    fn script(what: &str, folder: &Path) -> Command {
        let mut command = Command::new(root().join("tests/tools/litewitness.sh"));
        command.arg(what).arg(folder);
        command
    }

    /// `None` where litewitness is not installed.
    fn start(folder: PathBuf, log_vkey: &Path, port: &str) -> Option<Self> {
        let mut command = Self::script("start", &folder);
        command.arg(log_vkey).arg(port);
        let Said { holds, text } = installed(command, "litewitness")?;
        assert!(holds, "{text}");
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect(name).to_owned();
        let (url, vkey) = (value("url="), value("vkey="));
        let port = url.rsplit_once(':').expect("a port").1.to_owned();
        Some(Self { folder, port, vkey })
    }

    fn stop(&self) -> Said {
        run(&mut Self::script("stop", &self.folder))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Declares the witness in the center's settings.
fn declare(center: &Path, witness: &Witness) {
    let path = center.join("domicile.toml");
    let mut text = std::fs::read_to_string(&path).expect("settings");
    let Witness { port, vkey, .. } = witness;
    let lines = [
        (
            "witnesses = []",
            format!(
                "witnesses = [{{ name = \"regulator\", vkey = \"{vkey}\", url = \"http://127.0.0.1:{port}\", country = \"CN\" }}]"
            ),
        ),
        ("quorum = 0", "quorum = 1".to_owned()),
        (
            "allow = []",
            format!("allow = [{{ to = \"127.0.0.1:{port}\", purpose = \"witness\", country = \"CN\" }}]"),
        ),
    ];
    for (is, becomes) in lines {
        assert_eq!(text.matches(&format!("\n{is}\n")).count(), 1, "the settings have one line {is}");
        text = text.replace(&format!("\n{is}\n"), &format!("\n{becomes}\n"));
    }
    std::fs::write(&path, text).expect("written");
}

fn checkpoint(center: &Path) -> String {
    std::fs::read_to_string(store(center).join("ledger/checkpoint")).expect("a checkpoint")
}

fn size_of(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).expect("a size")
}

fn log_of(center: &Center) -> String {
    std::fs::read_to_string(center.path().join("serve.log")).expect("a log")
}

/// Puts another folder in the place of the center's, as somebody does who restores a backup.
fn exchange(center: &Center, with: &Path, keep: &Path) {
    std::fs::rename(center.path(), keep).expect("moved away");
    copy(with, &center.path());
}

/// Watches that the center signs and publishes nothing, though there is something to be entered.
fn signs_nothing(center: &Center) {
    let head =
        |center: &Center| std::fs::read(store(&center.path()).join("ledger/head.json")).expect("a head");
    let (checkpoint_before, head_before) = (checkpoint(&center.path()), head(center));
    enter(center, "unheard", 1);
    std::thread::sleep(WATCH_TIME);
    assert_eq!(checkpoint(&center.path()), checkpoint_before, "nothing is published");
    let signed = |head: &[u8]| {
        let head: serde_json::Value = serde_json::from_slice(head).expect("JSON");
        head["checkpoint"].clone()
    };
    assert_eq!(signed(&head(center)), signed(&head_before), "nothing is signed");
}

/// A center with a witness, and what of it is kept beside it on the way.
struct Scene {
    center: Center,
    witness: Witness,
}

impl Scene {
    fn dir(&self) -> PathBuf {
        self.center.path()
    }

    fn vkey(&self) -> PathBuf {
        self.dir().join("keys/log.vkey")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.center.folder.path().join(name)
    }

    /// Ends the center, which may not be able to enter everything.
    fn end(&mut self) {
        self.center.signal("-TERM");
        self.center.end();
    }

    fn cosigns(&mut self) {
        self.center.serve_again();
        enter(&self.center, "first", 20);
        settle(&self.center);
        let (dir, vkey) = (self.dir(), self.vkey());
        let published = checkpoint(&dir);
        assert!(published.lines().any(|line| line.starts_with(&format!("— {NAME} "))), "{published}");
        verify(&dir).accepted("verified");
        let log = store(&dir).join("ledger");
        let asked: &[&OsStr] = &[
            "--log".as_ref(),
            log.as_ref(),
            "--vkey".as_ref(),
            vkey.as_ref(),
            "--witness".as_ref(),
            self.witness.vkey.as_ref(),
        ];
        if let Some(said) = auditor(asked, None) {
            said.accepted(&format!("cosigned    by {NAME} at "));
            said.accepted("OK: all of it holds");
        }
        self.end();
    }

    /// The witness has seen more than the backup, so nothing is signed, and the center says why.
    fn refuses_a_rollback(&mut self) {
        exchange(&self.center, &self.beside("backup"), &self.beside("newest"));
        self.center.serve_again();
        let center = &self.center;
        eventually("the rollback is seen", || (ledger(center)["state"] == "failing").then_some(()));
        signs_nothing(center);
        assert!(log_of(center).contains("rolled back"), "the log says why");
        assert_eq!(ledger(center)["state"], "failing");
        self.end();
    }

    /// The backup, signed on elsewhere without a witness until it is longer than what the witness has seen.
    fn refuses_a_fork(&mut self, seen: &str) {
        exchange(&self.center, &self.beside("backup"), &self.beside("rolled-back"));
        let dir = self.dir();
        let declared = std::fs::read(dir.join("domicile.toml")).expect("settings");
        copy(&self.beside("undeclared.toml"), &dir.join("domicile.toml"));
        self.center.serve_again();
        enter(&self.center, "elsewhere", 40);
        assert!(settle(&self.center) > size_of(seen), "the fork is longer");
        self.end();
        verify(&dir).accepted("verified");
        let kept = self.beside("seen");
        std::fs::write(&kept, seen).expect("written");
        let against_kept: &[&OsStr] = &[
            "ledger".as_ref(),
            "verify".as_ref(),
            "--seen".as_ref(),
            kept.as_ref(),
            "--dir".as_ref(),
            dir.as_ref(),
        ];
        domicile(against_kept).rejected("NOT VERIFIED");

        std::fs::write(dir.join("domicile.toml"), declared).expect("written");
        let unpublished = checkpoint(&dir);
        self.center.serve_again();
        let center = &self.center;
        eventually("the fork is refused", || (ledger(center)["state"] == "disputed").then_some(()));
        eventually("the log says why", || {
            log_of(center).contains("this log is not the one that it has cosigned").then_some(())
        });
        enter(center, "on-the-fork", 1);
        std::thread::sleep(WATCH_TIME);
        assert_eq!(checkpoint(&dir), unpublished, "the fork is not published");
        self.end();
    }

    /// The newest store comes back while the witness is away.
    fn waits_for_it(&mut self, seen: &str) {
        exchange(&self.center, &self.beside("newest"), &self.beside("forked"));
        self.witness.stop();
        self.center.serve_again();
        let center = &self.center;
        eventually("the ledger is held", || (ledger(center)["state"] == "held").then_some(()));
        assert!(drive(center) > 0, "vehicles are acknowledged");
        signs_nothing(center);
        assert_eq!(ledger(center)["state"], "held");
        assert_eq!(checkpoint(&self.dir()), seen);
        let again = Witness::start(self.witness.folder.clone(), &self.vkey(), &self.witness.port);
        eventually("the ledger goes on", || (ledger(center)["state"] == "healthy").then_some(()));
        assert!(settle(center) > size_of(seen));
        verify(&self.dir()).accepted("verified");
        drop(again);
        self.end();
    }
}

#[test]
fn a_witness_cosigns_and_refuses_a_rollback_and_a_fork_and_is_waited_for() {
    let mut center = traffic::center();
    traffic::end(&mut center);
    let (dir, around) = (center.path(), center.folder.path().to_owned());
    let Some(witness) = Witness::start(around.join("witness"), &dir.join("keys/log.vkey"), "0") else {
        return;
    };
    copy(&dir.join("domicile.toml"), &around.join("undeclared.toml"));
    declare(&dir, &witness);
    let mut scene = Scene { center, witness };
    scene.cosigns();
    // A backup is taken, and the center goes on.
    copy(&dir, &around.join("backup"));
    scene.center.serve_again();
    enter(&scene.center, "second", 20);
    settle(&scene.center);
    scene.end();
    verify(&dir).accepted("verified");
    let seen = checkpoint(&dir);
    assert!(size_of(&checkpoint(&around.join("backup"))) < size_of(&seen));
    scene.refuses_a_rollback();
    scene.refuses_a_fork(&seen);
    scene.waits_for_it(&seen);
}
