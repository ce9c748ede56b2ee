//! What comes out of SQL.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::reader::StreamReader;
use serde_json::json;

use crate::center::{Center, eventually};
use crate::vehicles::{Said, Terminal, Tesla, login, realtime, tcp};

const VIN: &str = "LRW3E7FA8MC000001";
const TERMINAL: &str = "LSVAU2180N2000002";
const AT: i64 = 1_763_870_400;

fn query(center: &Center, sql: &str) -> Vec<RecordBatch> {
    let (status, body) = center.ask("POST", "/api/query", Some(&json!({ "sql": sql })));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let reader = StreamReader::try_new(Cursor::new(body), None).expect("an Arrow stream");
    reader.map(|batch| batch.expect("rows")).collect()
}

fn number(center: &Center, sql: &str) -> i64 {
    let rows = query(center, sql);
    rows[0].column(0).as_any().downcast_ref::<Int64Array>().expect("a count").value(0)
}

fn texts(center: &Center, sql: &str) -> Vec<String> {
    let cast = format!("select cast(x as varchar) from ({sql}) as t(x)");
    let mut all = Vec::new();
    for batch in query(center, &cast) {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).expect("texts");
        let column = column.as_any().downcast_ref::<StringArray>().expect("texts").clone();
        all.extend((0..column.len()).map(|row| column.value(row).to_owned()));
    }
    all
}

#[test]
fn what_vehicles_send_comes_out_of_sql_once_also_after_a_crash() {
    let mut center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "700")]);
    center.add(VIN, "CN");
    center.add(TERMINAL, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for index in 0..20 {
        car.send_speed(&index.to_string(), AT + index, 10.0 + index as f64);
    }
    for index in 0..20 {
        assert_eq!(car.hear(), Some(Said::Ack(index.to_string().into_bytes())));
    }
    let mut terminal = Terminal::new(tcp(center.address("gbt32960")).expect("connected"));
    assert!(terminal.ask(&login(TERMINAL)).is_some());
    for second in 0..20 {
        assert!(terminal.ask(&realtime(TERMINAL, second, 100 + u16::from(second))).is_some());
    }
    let speeds = "select count(*) from signals where signal = 'Vehicle.Speed'";
    eventually("the rows", || (number(&center, speeds) == 40).then_some(()));
    let rows = query(
        &center,
        "select value from signals where signal = 'Vehicle.Speed' and source = 'tesla' order by time",
    );
    let first = rows[0].column(0).as_any().downcast_ref::<Float64Array>().expect("numbers").value(0);
    assert!((first - 16.09344).abs() < 1e-9, "10 mph in km/h, and not {first}");
    let connected = "select count(*) from events where kind = 'connected'";
    eventually("the diary", || (number(&center, connected) == 2).then_some(()));
    center.kill();
    center.serve_again();
    eventually("the rows again", || (number(&center, speeds) == 40).then_some(()));
    assert_eq!(number(&center, "select count(distinct vehicle) from signals"), 2);
    // Sent again after the crash, as a vehicle does that lost its connection: still once.
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for index in 0..20 {
        car.send_speed(&index.to_string(), AT + index, 10.0 + index as f64);
        assert_eq!(car.hear(), Some(Said::Ack(index.to_string().into_bytes())));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(number(&center, speeds), 40);
    center.signal("-TERM");
    assert!(center.end().success());
    center.serve_again();
    assert_eq!(number(&center, speeds), 40);
    // The raw layer keeps what came twice: 20 messages, and the same 20 again. The terminal logged in and sent 20.
    assert_eq!(number(&center, "select count(*) from frames where protocol = 'tesla'"), 40);
    assert_eq!(number(&center, "select count(*) from frames where protocol = 'gbt32960'"), 21);
    let kinds = texts(&center, "select distinct kind from events order by 1");
    for kind in ["connected", "disconnected", "login"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind} is missing in {kinds:?}");
    }
}

#[test]
fn rows_come_as_json_and_csv_where_that_is_accepted() {
    let center = Center::start(&[]);
    let sql = json!({ "sql": "select 1 as one, 'a,b' as text union all select 2, null order by 1" });
    let ask = |accept| {
        let (status, body) = center.ask_accepting(accept, "POST", "/api/query", Some(&sql));
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let (status, text) = ask("application/json");
    assert_eq!(status, 200, "{text}");
    let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(rows, json!([{ "one": 1, "text": "a,b" }, { "one": 2, "text": null }]));
    assert_eq!(ask("text/csv"), (200, "one,text\n1,\"a,b\"\n2,\n".to_owned()));
    let (status, text) = ask("text/html");
    assert!(status == 406 && text.contains("text/csv"), "{status} {text}");
}

#[test]
fn a_vehicle_written_in_python_gets_its_acks_and_its_values_come_out_of_sql() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(python) = python(&root) else {
        println!(
            "skipped: no Python with the packages of tests/python/requirements.txt (make test makes one)"
        );
        return;
    };
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let papers = center.papers(VIN);
    let file = |name: &str, text: &str| {
        let path = center.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (cert, key, ca) =
        (file("v.pem", &papers.certificate), file("v.key", &papers.key), file("ca.pem", &papers.server_ca));
    for strings in [false, true] {
        let mut command = Command::new(&python);
        command.arg(root.join("tests/python/tesla_client.py"));
        command.args([&center.address("tesla").to_string(), VIN, "--count", "10"]);
        command.arg("--cert").arg(&cert).arg("--key").arg(&key).arg("--ca").arg(&ca);
        if strings {
            command.arg("--strings");
        }
        let run = command.output().expect("Python runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    let names = "select count(*) from signals where text like 'car %'";
    eventually("the names", || (number(&center, names) == 20).then_some(()));
    assert_eq!(number(&center, "select count(*) from positions where valid"), 20);
}

/// The Python that has what the client needs.
fn python(root: &Path) -> Option<PathBuf> {
    let candidates = [root.join(".venv/bin/python"), PathBuf::from("python3")];
    candidates.into_iter().find(|python| {
        let imports = "import websockets, flatbuffers, google.protobuf";
        Command::new(python).args(["-c", imports]).output().is_ok_and(|run| run.status.success())
    })
}
