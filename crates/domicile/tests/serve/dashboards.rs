//! Grafana's dashboards and the example in Python, asked of a center with a vehicle that drove and charged.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use wire::websocket::Opcode;

use crate::center::{Center, eventually};
use crate::postgres::{authority, said, token};
use crate::vehicles::Tesla;

const VIN: &str = "LRW3E7FA8MC000001";
/// Tesla's fields: SoC, voltage, current, odometer, `DetailedChargeState`.
const SPEED: u32 = 4;
const ODOMETER: u32 = 5;
const VOLTAGE: u32 = 6;
const CURRENT: u32 = 7;
const SOC: u32 = 8;

/// A Python with the packages that the clients need; `None` where there is none.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let run = Command::new(&python).args(["-c", "import psycopg, polars, matplotlib"]).output();
    run.is_ok_and(|run| run.status.success()).then_some(python)
}

/// A center whose vehicle has driven for twenty minutes.
fn center() -> Center {
    let center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "500")]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let start = i64::try_from(now).expect("seconds") - 3_600;
    for step in 0..120_i64 {
        let driven = step as f64 * 0.08;
        let values = [
            (SPEED, 30.0),
            (ODOMETER, 5_000.0 + driven),
            (VOLTAGE, 400.0),
            (CURRENT, -40.0),
            (SOC, 80.0 - driven),
        ];
        for (field, value) in values {
            let txid = format!("{step}-{field}");
            car.send_number(&txid, start + step * 10, field, value);
            assert!(car.hear().is_some());
        }
    }
    // One that is not taken, so that its counter is there.
    car.send(Opcode::Binary, b"no envelope");
    assert!(car.hear().is_some());
    let ask = json!({ "sql": "select distance from trips where distance > 10" });
    let (status, _) = center.call("POST", "/api/lake/rebuild", Some(&json!({})));
    assert_eq!(status, 200);
    eventually("the trip", || {
        let (_, body) = center.ask_accepting("text/csv", "POST", "/api/query", Some(&ask));
        (String::from_utf8_lossy(&body).lines().count() == 2).then_some(())
    });
    center
}

#[test]
fn every_panel_of_every_dashboard_is_answered_and_so_is_the_example_in_python() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(python) = python() else {
        println!(
            "skipped: no Python with the packages of tests/python/requirements.txt (make test makes one)"
        );
        return;
    };
    let center = center();
    let (token, ca) = (token(&center, "grafana", "analyst"), authority(&center));
    let port = center.address("postgres").port().to_string();
    let metrics = center.path().join("../metrics");
    std::fs::write(&metrics, center.metrics()).expect("written");
    let asked = Command::new(&python)
        .arg(root.join("tests/python/dashboards.py"))
        .args(["--port", &port, "--token", &token, "--filled", "30", "--ca"])
        .arg(&ca)
        .arg("--metrics")
        .arg(&metrics)
        .output()
        .expect("Python runs");
    print!("{}", said(&asked));
    assert!(asked.status.success(), "{}", said(&asked));
    let plot = center.path().join("../fleet.png");
    let example = Command::new(&python)
        .arg(root.join("examples/fleet.py"))
        .arg(&plot)
        .env("DOMICILE_PORT", &port)
        .env("DOMICILE_TOKEN", &token)
        .env("DOMICILE_CA", &ca)
        .output()
        .expect("Python runs");
    print!("{}", said(&example));
    assert!(example.status.success(), "{}", said(&example));
    assert!(std::fs::metadata(&plot).expect("a picture").len() > 5_000);
}
