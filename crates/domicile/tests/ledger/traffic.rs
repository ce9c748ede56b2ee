//! A center with a ledger worth looking at: vehicles that drove, batches, tables, and more entries than a bundle holds.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::center::{Center, eventually};
use crate::outside::{domicile, run};

pub const CENTER: &str = "shanghai-1";

/// Makes and serves a center that seals soon.
pub fn center() -> Center {
    Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "500")])
}

/// The center's folder in the store.
pub fn store(center: &Path) -> PathBuf {
    center.join("store").join(CENTER)
}

/// Lets five vehicles of all protocols drive for some seconds, and gives how many messages were acknowledged.
pub fn drive(center: &Center) -> u64 {
    let fleet = center.path().join("fleet.csv");
    let made =
        domicile(&["sim".as_ref(), "--vehicles".as_ref(), "5".as_ref(), "--csv".as_ref(), fleet.as_ref()]);
    assert!(made.holds, "{}", made.text);
    let dir = center.path();
    let import =
        domicile(&["vehicle".as_ref(), "import".as_ref(), fleet.as_ref(), "--dir".as_ref(), dir.as_ref()]);
    assert!(import.holds, "{}", import.text);
    let mut sim = Command::new(env!("CARGO_BIN_EXE_domicile"));
    sim.args(["sim", "--vehicles", "5", "--rate", "10", "--for", "3s", "--outages", "0s", "--to"]);
    sim.arg(center.address("tesla").to_string());
    sim.args(["--gbt-port", &center.address("gbt32960-tls").port().to_string(), "--dir"]).arg(&dir);
    let said = run(&mut sim);
    assert!(said.holds, "{}", said.text);
    let line = said.text.lines().rfind(|line| line.starts_with("sent ")).expect("a summary");
    let acked = line.split_once("acked ").and_then(|(_, rest)| rest.split_once(',')).expect("a count").0;
    acked.parse().expect("a number")
}

/// Has so many changes of the registry entered: tokens whose names begin with `series`.
pub fn enter(center: &Center, series: &str, count: usize) {
    const WORKERS: usize = 8;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                for number in (worker..count).step_by(WORKERS) {
                    let new = json!({ "name": format!("{series}-{number}"), "role": "analyst" });
                    let (status, answer) = center.call("POST", "/api/tokens", Some(&new));
                    assert_eq!(status, 201, "{answer}");
                }
            });
        }
    });
}

/// How the ledger is, as the status says.
pub fn ledger(center: &Center) -> Value {
    center.status()["live"]["ledger"].clone()
}

/// Waits until everything that was stored is entered and published, and nothing more comes.
pub fn settle(center: &Center) -> u64 {
    let mut before = None;
    eventually("a ledger at rest", || {
        std::thread::sleep(std::time::Duration::from_millis(1_200));
        let now = ledger(center);
        let is_whole = now["entries"] == now["published"] && now["waiting"] == 0;
        let is_still = is_whole && before.as_ref() == Some(&now);
        before = Some(now.clone());
        is_still.then(|| now["entries"].as_u64().expect("a count"))
    })
}

/// A token for an auditor, in a file.
pub fn auditors_token(center: &Center) -> PathBuf {
    let new = json!({ "name": "regulator", "role": "auditor" });
    let (status, answer) = center.call("POST", "/api/tokens", Some(&new));
    assert_eq!(status, 201, "{answer}");
    let path = center.folder.path().join("auditor.token");
    std::fs::write(&path, answer["secret"].as_str().expect("a secret")).expect("written");
    path
}

/// Ends the center in good order.
pub fn end(center: &mut Center) {
    center.signal("-TERM");
    assert!(center.end().success());
}
