//! Erasures in the real program: during ingest, through restarts and kills, and what comes back is kept out.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::center::{Center, eventually};
use crate::vehicles::{Said, Tesla};

const VIN: &str = "LRW3E7FA8MC000001";
const OTHER: &str = "LRW3E7FA8MC000002";
/// What only the erased vehicle said.
const PLANTED: &str = "Planted-Aurora";
/// `VehicleName`, a text.
const NAME_FIELD: u32 = 64;

/// Tells a thread to end.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds")
}

fn run(center: &Center, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(arguments)
        .arg("--dir")
        .arg(center.path())
        .output()
        .expect("the program runs")
}

fn domicile(center: &Center, arguments: &[&str]) -> String {
    let output = run(center, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The rows of a query, as JSON objects.
fn rows(center: &Center, sql: &str) -> Vec<Value> {
    let (status, body) =
        center.ask_accepting("application/json", "POST", "/api/query", Some(&json!({ "sql": sql })));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let rows = if answer.is_array() { &answer } else { &answer["rows"] };
    rows.as_array().unwrap_or_else(|| panic!("rows in {answer}")).clone()
}

fn count(center: &Center, from: &str) -> i64 {
    let rows = rows(center, &format!("select count(*) as n from {from}"));
    rows[0]["n"].as_i64().or_else(|| rows[0][0].as_i64()).unwrap_or_else(|| panic!("a count in {rows:?}"))
}

fn id(center: &Center, vin: &str) -> String {
    center.show(vin)["vehicle"]["id"].as_str().expect("a vehicle").to_owned()
}

/// Files of a folder in which a text stands as it is, and how often it stands in the tables' texts is another question.
fn naming(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            naming(&path, text, found);
        } else if path.is_file()
            && std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
}

fn drive(car: &mut Tesla, name: &str, at_s: i64, index: i64) {
    car.send_text(&format!("name-{index}"), at_s, NAME_FIELD, name);
    assert_eq!(car.hear(), Some(Said::Ack(format!("name-{index}").into_bytes())));
    car.send_speed(&format!("speed-{index}"), at_s, 10.0 + index as f64);
    assert_eq!(car.hear(), Some(Said::Ack(format!("speed-{index}").into_bytes())));
}

#[test]
fn a_vehicle_that_is_erased_during_ingest_is_seen_by_nobody_and_stays_gone() {
    let mut center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300")]);
    for vin in [VIN, OTHER] {
        center.add(vin, "CN");
    }
    let (papers, others) = (center.papers(VIN), center.papers(OTHER));
    let before = id(&center, VIN);
    let mut car = Tesla::connect(center.address("tesla"), VIN, &papers).expect("it is let in");
    let started_s = now_s();
    let is_over = AtomicBool::new(false);
    let sent = AtomicI64::new(0);
    std::thread::scope(|scope| {
        let driving = std::thread::Builder::new().name("other".to_owned());
        let other = driving.spawn_scoped(scope, || {
            let mut car = Tesla::connect(center.address("tesla"), OTHER, &others).expect("it is let in");
            while !is_over.load(Ordering::Relaxed) {
                let index = sent.fetch_add(1, Ordering::Relaxed);
                drive(&mut car, "Another", now_s(), index);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let _other = other.expect("a thread");
        // Also where an assertion fails.
        let _end = End(&is_over);
        for index in 0..10 {
            drive(&mut car, PLANTED, now_s(), index);
        }
        let mine = format!("signals where vehicle = '{before}'");
        let speeds = format!("{mine} and signal = 'Vehicle.Speed'");
        eventually("rows in a file", || (count(&center, &speeds) == 10).then_some(()));
        domicile(&center, &["lake", "compact"]);
        for index in 10..20 {
            drive(&mut car, PLANTED, now_s(), index);
        }
        eventually("more rows", || (count(&center, &speeds) == 20).then_some(()));
        assert!(count(&center, &format!("frames where vehicle = '{before}'")) > 0);

        let out = center.path().join("../certificates");
        let out_text = out.to_str().expect("a path").to_owned();
        let text = domicile(
            &center,
            &["subject", "erase", "--vin", VIN, "--why", "asked by letter", "--out", &out_text],
        );
        assert!(text.contains("is done"), "{text}");
        for from in [
            mine.clone(),
            format!("positions where vehicle = '{before}'"),
            format!("events where vehicle = '{before}'"),
            format!("frames where vehicle = '{before}'"),
            format!("vehicles where vehicle = '{before}'"),
            format!("signals where text = '{PLANTED}'"),
        ] {
            assert_eq!(count(&center, &from), 0, "{from}");
        }
        let after = id(&center, VIN);
        assert_ne!(after, before);

        // The connection goes on under the new pseudonym; what is sent again of before is acknowledged and not kept.
        drive(&mut car, PLANTED, started_s - 60, 30);
        let now = now_s() + 1;
        drive(&mut car, "Renamed", now, 31);
        let names = || {
            let sql =
                format!("select text from signals where vehicle = '{after}' and signal like '%VehicleName'");
            rows(&center, &sql)
        };
        let found = eventually("the new name", || Some(names()).filter(|rows| !rows.is_empty()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains("Renamed"), "{found:?}");
        assert!(
            center.counter("domicile_frames_rejected_total{protocol=\"tesla\",reason=\"erased\"}") >= 2.0
        );
    });
    let all = sent.load(Ordering::Relaxed);
    let others = format!("signals where vehicle = '{}' and signal = 'Vehicle.Speed'", id(&center, OTHER));
    eventually("all of the other's", || (count(&center, &others) == all).then_some(()));
    domicile(&center, &["ledger", "verify"]);

    // The certificate verifies without the center, for this vehicle and no other.
    let folder = center.path().join("../certificates");
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    let of = |ending: &str| files.iter().find(|path| path.extension().is_some_and(|known| known == ending));
    let (note, salt) = (of("note").expect("a certificate"), of("salt").expect("a salt"));
    let salt = std::fs::read_to_string(salt).expect("a salt");
    let (note, salt) = (note.to_str().expect("a path"), salt.trim());
    let text = domicile(&center, &["subject", "verify", note, "--vin", VIN, "--salt", salt]);
    assert!(text.contains("it is about this vehicle") && text.contains("10 working-days"), "{text}");
    assert!(!run(&center, &["subject", "verify", note, "--vin", OTHER, "--salt", salt]).status.success());
    let changed = std::fs::read_to_string(note).expect("a certificate").replace("\"request\"", "\"order\"");
    let forged = folder.join("forged");
    std::fs::write(&forged, changed).expect("written");
    assert!(!run(&center, &["subject", "verify", forged.to_str().expect("a path")]).status.success());
    for name in [VIN, PLANTED] {
        let text = std::fs::read_to_string(note).expect("a certificate");
        assert!(!text.contains(name), "the certificate names nobody");
    }

    // From the store alone it is the same.
    center.kill();
    std::fs::remove_file(center.path().join("registry/registry.sqlite")).expect("a projection");
    center.serve_again();
    assert_ne!(id(&center, VIN), before);
    assert_eq!(count(&center, &format!("signals where vehicle = '{before}'")), 0);
    let (_, list) = center.call("GET", "/api/subjects/erasures", None);
    assert_eq!((list[0]["state"].as_str(), list[0]["why"].as_str()), (Some("done"), Some("asked by letter")));
    let mut found = Vec::new();
    naming(&center.path(), PLANTED, &mut found);
    assert_eq!(found, [""; 0], "neither journal nor logs nor projections have what it said");
    domicile(&center, &["ledger", "verify"]);
}

#[test]
fn an_erasure_goes_on_after_a_kill_at_any_time() {
    let mut center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "200")]);
    center.add(VIN, "CN");
    center.add(OTHER, "CN");
    for round in 0..10 {
        let before = id(&center, VIN);
        let others = id(&center, OTHER);
        for (vin, name) in [(VIN, PLANTED), (OTHER, "Another")] {
            let mut car =
                Tesla::connect(center.address("tesla"), vin, &center.papers(vin)).expect("it is let in");
            for index in 0..5 {
                drive(&mut car, name, now_s() + 1, round * 5 + index);
            }
        }
        let theirs = format!("signals where vehicle = '{others}' and signal = 'Vehicle.Speed'");
        eventually("the rows", || (count(&center, &theirs) == (round + 1) * 5).then_some(()));
        domicile(&center, &["subject", "erase", "--vin", VIN, "--why", "a test", "--no-wait"]);
        // An erasure takes a second or so: a kill at another time of it in each round.
        std::thread::sleep(std::time::Duration::from_millis(120 * round as u64));
        center.kill();
        center.serve_again();
        eventually("the erasure is done", || {
            let (_, list) = center.call("GET", "/api/subjects/erasures", None);
            (list[0]["state"] == "done").then_some(())
        });
        assert_eq!(count(&center, &format!("signals where vehicle = '{before}'")), 0, "round {round}");
        assert_eq!(count(&center, &format!("events where vehicle = '{before}'")), 0, "round {round}");
        assert_eq!(count(&center, &theirs), (round + 1) * 5, "round {round}: no row is lost or doubled");
    }
    domicile(&center, &["ledger", "verify"]);
    assert_eq!(count(&center, &format!("signals where text = '{PLANTED}'")), 0);
}

#[test]
fn an_owners_period_is_erased_with_its_record() {
    let center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300")]);
    center.add(VIN, "CN");
    let vehicle = id(&center, VIN);
    let csv = center.path().join("../owners.csv");
    let lines = format!(
        "vin,valid_from,valid_to,owner_id,name\n{VIN},2024-01-01,2025-01-01,first,First Owner\n{VIN},2025-01-01,,second,Second Owner\n"
    );
    std::fs::write(&csv, lines).expect("written");
    domicile(&center, &["records", "import", "--kind", "owner", csv.to_str().expect("a path")]);
    let owners = format!("owners where vehicle = '{vehicle}'");
    assert_eq!(count(&center, &owners), 2);
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    drive(&mut car, PLANTED, now_s(), 1);
    let mine = format!("signals where vehicle = '{vehicle}'");
    eventually("the rows", || (count(&center, &mine) > 0).then_some(()));
    let frames = format!("frames where vehicle = '{vehicle}'");
    eventually("the frames in a batch", || (count(&center, &frames) >= 2).then_some(()));
    let shown = center.path().join("../shown");
    let out = shown.to_str().expect("a path").to_owned();
    let text = domicile(&center, &["subject", "show", "--vin", VIN, "--out", &out]);
    assert!(text.contains("2 records") && text.contains("15 working-days"), "{text}");
    let read = |name: &str| std::fs::read_to_string(shown.join(name)).expect("a file");
    let subject: Value = serde_json::from_str(&read("subject.json")).expect("JSON");
    assert_eq!(
        (subject["vehicle"]["vin"].as_str(), subject["vehicle"]["id"].as_str()),
        (Some(VIN), Some(&*vehicle))
    );
    assert!(subject["records"].to_string().contains("First Owner"), "{subject}");
    let manifest: Value = serde_json::from_str(&read("manifest.json")).expect("JSON");
    assert_eq!(manifest["tables"]["signals"].as_i64(), Some(count(&center, &mine)));
    assert!(manifest["tables"]["frames"].as_i64() >= Some(2), "{manifest}");
    assert!(read("checkpoint").contains(".domicile/shanghai-1"));
    assert!(read("signals/manifest.json").contains("signals-00001.parquet"));
    let wrong =
        run(&center, &["subject", "erase", "--vin", VIN, "--why", "x", "--owner-period", "2024-02-01"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no owner's period"), "{wrong:?}");
    // The first owner's period holds nothing that was received; his record goes, the second's data stays.
    let erase = ["subject", "erase", "--vin", VIN, "--why", "sold", "--owner-period", "2024-01-01"];
    assert!(domicile(&center, &erase).contains("owner-period"));
    assert_eq!(count(&center, &owners), 1);
    assert!(count(&center, &mine) > 0);
    let erase = ["subject", "erase", "--vin", VIN, "--why", "asked", "--owner-period", "2025-01-01"];
    domicile(&center, &erase);
    assert_eq!((count(&center, &owners), count(&center, &mine)), (0, 0));
    assert_eq!(id(&center, VIN), vehicle, "the vehicle keeps its pseudonym");
    drive(&mut car, "Later", now_s() + 1, 2);
    eventually("what came later", || (count(&center, &mine) > 0).then_some(()));
    domicile(&center, &["ledger", "verify"]);
}
