//! Other engines read the tables, and copies of them, and find what our SQL finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Map, Value as Json, json};
use wire::tesla::payload::{Datum, Value, encode_vitals};
use wire::tesla::{Stream, encode_stream};
use wire::websocket::Opcode;

use crate::center::{Center, eventually};
use crate::postgres::{entries, said, token};
use crate::tricks::ask;
use crate::vehicles::{Said, Tesla};

const VINS: [&str; 2] = ["LRW3E7FA8MC000001", "LRW3E7FA8MC000002"];
const AT: i64 = 1_763_870_400;
const MESSAGES: i32 = 50;

/// Tables and the columns that are summed.
const TABLES: [(&str, &[&str]); 3] =
    [("signals", &["value"]), ("positions", &["latitude", "longitude", "heading"]), ("events", &["level"])];

/// A center with two cars that drove, whose rows are all in files.
fn driven() -> Center {
    let center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300")]);
    for (car, vin) in (0..).zip(VINS) {
        center.add(vin, "CN");
        let mut line =
            Tesla::connect(center.address("tesla"), vin, &center.papers(vin)).expect("it is let in");
        for message in 0..MESSAGES {
            let (latitude, longitude) = (31.2 + f64::from(message) * 0.001_3, 121.4 + f64::from(car) * 0.2);
            let data = [
                (4, Value::Double(f64::from(message) * 1.5)),
                (21, Value::Location { latitude, longitude }),
                (23, Value::Double(45.0)),
                (163, Value::Text("Secret Garden")),
            ];
            let data = data.into_iter().map(|(field, value)| Datum { field, value });
            let at = model::UtcMicros::from_seconds(AT + i64::from(message));
            let mut payload = Vec::new();
            encode_vitals(data, Some(at), "", false, &mut payload);
            let (txid, sender) = (message.to_string(), format!("vehicle_device.{vin}"));
            let stream = Stream { sender_id: sender.as_bytes(), payload: &payload, ..Stream::default() };
            let mut out = Vec::new();
            encode_stream(txid.as_bytes(), b"V", b"", &stream, &mut out);
            line.send(Opcode::Binary, &out);
            assert_eq!(line.hear(), Some(Said::Ack(txid.into_bytes())));
        }
    }
    eventually("all rows in files", || {
        let (_, lake) = center.call("GET", "/api/lake", None);
        let rows = |table: usize| lake["tables"][table]["rows"].as_u64().unwrap_or(0);
        let positions = u64::from(MESSAGES.unsigned_abs()) * 2;
        let is_all = rows(1) == positions
            && rows(0) == count(&center, "signals")
            && rows(2) == count(&center, "events");
        // Two cars came and went.
        (is_all && rows(2) >= 4).then_some(())
    });
    center
}

fn count(center: &Center, table: &str) -> u64 {
    let sql = json!({ "sql": format!("select count(*) as n from {table}") });
    let (_, rows) = center.ask_accepting("application/json", "POST", "/api/query", Some(&sql));
    let rows: Json = serde_json::from_slice(&rows).expect("JSON");
    rows[0]["n"].as_u64().expect("a count")
}

/// What SQL says of a table, in the order in which engines say it.
fn numbers(rows: &Json, columns: &[&str]) -> Json {
    let mut numbers = Map::new();
    for name in ["rows", "vehicles"] {
        numbers.insert(name.to_owned(), rows[0][name].clone());
    }
    for column in columns {
        numbers.insert(format!("sum({column})"), rows[0][column].clone());
    }
    Json::Object(numbers)
}

fn summed(table: &str, columns: &[&str]) -> Json {
    let sums: String = columns.iter().map(|column| format!(", sum({column}) as {column}")).collect();
    json!({ "sql": format!("select count(*) as rows, count(distinct vehicle) as vehicles{sums} from {table}") })
}

fn export(center: &Center, table: &str, role: &str, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["lake", "export-files", "--table", table, "--role", role, "--out"])
        .arg(out)
        .args(more)
        .arg("--dir")
        .arg(center.path())
        .output()
        .expect("the program runs")
}

#[test]
fn duckdb_polars_and_delta_rs_read_what_our_sql_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".venv/bin/python");
    let has_them = Command::new(&python).args(["-c", "import duckdb, polars, deltalake"]).output();
    if !has_them.is_ok_and(|run| run.status.success()) {
        println!(
            "skipped: no Python with the packages of tests/python/requirements.txt (make test makes one)"
        );
        return;
    }
    let center = driven();
    let ca = center.papers(VINS[0]).server_ca;
    let copies = center.folder.path().join("copies");
    let (mut lake, mut views) = (Map::new(), BTreeMap::<&str, Map<String, Json>>::new());
    for role in ["officer", "analyst"] {
        let secret = token(&center, role, role);
        std::fs::create_dir_all(copies.join(role)).expect("a folder");
        for (table, columns) in TABLES {
            let question = summed(table, columns).to_string();
            let (status, rows) = ask(&center, &secret, &ca, "POST /api/query", "application/json", &question);
            assert_eq!(status, 200, "{rows}");
            let numbers = numbers(&serde_json::from_str(&rows).expect("JSON"), columns);
            if role == "officer" {
                lake.insert(table.to_owned(), numbers.clone());
            }
            views.entry(role).or_default().insert(table.to_owned(), numbers);
            let run = export(&center, table, role, &copies.join(role).join(table), &[]);
            assert!(run.status.success(), "{}", said(&run));
            print!("{}", said(&run));
        }
    }
    assert_ne!(
        views["officer"]["positions"]["sum(latitude)"],
        views["analyst"]["positions"]["sum(latitude)"]
    );
    assert_ne!(views["officer"]["signals"]["rows"], views["analyst"]["signals"]["rows"]);
    let expected = center.path().join("expected.json");
    std::fs::write(&expected, json!({ "lake": lake, "copies": views }).to_string()).expect("written");
    let run = Command::new(python)
        .arg(root.join("tests/python/engines.py"))
        .arg(center.path().join("store/shanghai-1/lake"))
        .args([&copies, &expected])
        .output()
        .expect("Python runs");
    println!("{}", said(&run));
    assert!(run.status.success(), "{}", said(&run));
    let spark = root.join("tests/python/spark.py");
    if let Some(python) = std::env::var_os("DOMICILE_SPARK_PYTHON") {
        let run = Command::new(python)
            .arg(spark)
            .arg(center.path().join("store/shanghai-1/lake"))
            .args([&copies, &expected])
            .output()
            .expect("Python runs");
        println!("{}", said(&run));
        assert!(run.status.success(), "{}", said(&run));
    }
}

#[test]
fn a_copy_is_entered_before_it_is_made_and_kept_to_its_role() {
    let center = driven();
    let out = center.folder.path().join("copy");
    let copy = |table: &str, role: &str, name: &str, more: &[&str]| {
        export(&center, table, role, &out.join(name), more)
    };
    std::fs::create_dir(&out).expect("a folder");
    for (table, role, word) in [
        ("frames", "analyst", "does not permit"),
        ("owners", "analyst", "does not permit"),
        ("signals", "auditor", "does not permit"),
        ("signals", "king", "role"),
        ("nothing", "officer", "no such table"),
    ] {
        let run = copy(table, role, "refused", &[]);
        assert!(!run.status.success() && said(&run).contains(word), "{table} {role}: {}", said(&run));
        assert_eq!(std::fs::read_dir(out.join("refused")).expect("a folder").count(), 0);
    }
    assert!(!entries(&center).contains("copy-"), "nothing was handed out");
    let run = copy("positions", "analyst", "all", &[]);
    assert!(run.status.success(), "{}", said(&run));
    eventually("the entry", || entries(&center).contains("\"what\":\"copy-positions\"").then_some(()));
    let again = copy("positions", "analyst", "all", &[]);
    assert!(!again.status.success() && said(&again).contains("not empty"), "{}", said(&again));
    let manifest = |name: &str| -> Json {
        let text = std::fs::read_to_string(out.join(name).join("manifest.json")).expect("a manifest");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(manifest("all")["rows"], MESSAGES * 2);
    assert!(manifest("all")["version"].as_i64().is_some_and(|version| version > 0), "{}", manifest("all"));
    let run = copy("positions", "officer", "later", &["--from", "2100-01-01T00:00:00Z"]);
    assert!(run.status.success(), "{}", said(&run));
    assert_eq!((&manifest("later")["rows"], &manifest("later")["places"]), (&json!(0), &json!("exact")));
    let run = copy("positions", "officer", "earlier", &["--until", "2100-01-01T00:00:00Z"]);
    assert!(run.status.success() && manifest("earlier")["rows"] == MESSAGES * 2, "{}", said(&run));
    for (table, from) in [("positions", "yesterday"), ("vehicles", "2026-01-01")] {
        let run = copy(table, "officer", "wrong", &["--from", from]);
        assert!(!run.status.success(), "{table} {from}: {}", said(&run));
    }
    let run = copy("frames", "officer", "frames", &[]);
    assert!(run.status.success() && manifest("frames")["rows"].as_u64() > Some(100), "{}", said(&run));
    // A token can't have a copy by the API.
    let (secret, ca) = (token(&center, "dpo", "officer"), center.papers(VINS[0]).server_ca);
    let body = json!({ "role": "officer", "from": null, "until": null }).to_string();
    let (status, why) = ask(&center, &secret, &ca, "POST /api/tables/signals/copy", "*/*", &body);
    assert!(status == 403 && why.contains("own machine"), "{status} {why}");
    let verified = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["ledger", "verify", "--dir"])
        .arg(center.path())
        .output()
        .expect("the program runs");
    assert!(verified.status.success(), "{}", said(&verified));
}
