//! Limits of answers over HTTPS, and what becomes of a question whose asker has left.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::center::Center;
use crate::postgres::token;
use crate::vehicles::{TlsStream, tls};

const VIN: &str = "LRW3E7FA8MC000001";

/// Takes minutes, and gives its one row at the end.
const ENDLESS: &str = "select sum(a.x * b.y % 7) as n from generate_series(1, 200000) a(x) cross join generate_series(1, 200000) b(y)";

/// Questions that the tables answer at once; more wait.
const PLACES: usize = 16;

/// Sends a question over HTTPS; the answer is still to be read.
fn ask(center: &Center, secret: &str, ca: &str, accept: &str, question: &Value) -> TlsStream {
    let mut stream = tls(center.address("http"), None, ca).expect("connected");
    let body = question.to_string();
    let head = format!(
        "POST /api/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\
         Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("asked");
    stream
}

/// The head in small letters, and the body as it stands on the wire.
fn answer(mut stream: TlsStream) -> (String, String) {
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn answers_are_cut_at_settings_and_at_lower_limits_of_a_question_and_say_so() {
    let center = Center::start(&[
        ("DOMICILE_HTTP_QUERY_ROWS_MAX", "300000"),
        ("DOMICILE_HTTP_QUERY_BYTES_MAX", "8000000"),
    ]);
    center.add(VIN, "CN");
    let (secret, ca) = (token(&center, "bi", "analyst"), center.papers(VIN).server_ca);
    let ask = |question: Value| answer(ask(&center, &secret, &ca, "text/csv", &question));
    let series = |last: u64| format!("select x from generate_series(1, {last}) t(x)");
    let (head, body) = ask(json!({ "sql": series(10) }));
    assert!(head.starts_with("http/1.1 200") && !head.contains("domicile-cut"), "{head}");
    assert_eq!(body.lines().count(), 11);
    let (head, body) = ask(json!({ "sql": series(10), "rows_max": 4 }));
    assert!(head.contains("domicile-cut: rows"), "{head}");
    assert_eq!(body, "x\n1\n2\n3\n4\n");
    let (head, body) = ask(json!({ "sql": series(100_000), "bytes_max": 10_000 }));
    assert!(head.contains("domicile-cut: bytes") && (5_000..=10_000).contains(&body.len()), "{head}");
    // A question can't raise what the settings allow; past the head the transfer breaks off, without the last chunk.
    for question in [
        json!({ "sql": series(400_000), "rows_max": 1_000_000 }),
        json!({ "sql": format!("select repeat('x', 100) as x from ({})", series(100_000)), "bytes_max": 1_u64 << 40 }),
    ] {
        let (head, body) = ask(question);
        assert!(head.contains("chunked") && !body.ends_with("0\r\n\r\n"), "{head}");
    }
    let (_, body) = ask(json!({ "sql": series(250_000) }));
    assert!(
        body.ends_with("0\r\n\r\n") && body.contains("\n250000\n"),
        "a whole answer ends with the last chunk"
    );
    let (head, body) = ask(json!({ "sql": ENDLESS, "seconds_max": 1 }));
    assert!(head.starts_with("http/1.1 400") && body.contains("seconds_max"), "{head} {body}");
    let (head, _) = ask(json!({ "sql": "select 1", "rows": 4 }));
    assert!(head.starts_with("http/1.1 422"), "{head}");
}

#[test]
fn rows_come_as_json_csv_and_arrow_with_the_same_limits() {
    let center = Center::start(&[("DOMICILE_HTTP_QUERY_ROWS_MAX", "5")]);
    center.add(VIN, "CN");
    let (secret, ca) = (token(&center, "bi", "analyst"), center.papers(VIN).server_ca);
    let question = json!({ "sql": "select x from generate_series(1, 9) t(x)", "rows_max": 2 });
    for accept in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"] {
        let (head, _) = answer(ask(&center, &secret, &ca, accept, &question));
        assert!(
            head.contains(&format!("content-type: {accept}")) && head.contains("domicile-cut: rows"),
            "{head}"
        );
    }
    let (status, body) = center.ask("POST", "/api/query", Some(&question));
    assert_eq!(status, 200);
    let reader =
        arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(body), None).expect("a stream");
    assert_eq!(reader.map(|batch| batch.expect("rows").num_rows()).sum::<usize>(), 2);
    let query = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(["query", "select x from generate_series(1, 9) t(x)", "--format", "csv", "--dir"])
        .arg(center.path())
        .output()
        .expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&query.stdout), "x\n1\n2\n3\n4\n5\n");
    let said = String::from_utf8_lossy(&query.stderr);
    assert!(!query.status.success() && said.contains("http.query_rows_max"), "{said}");
}

#[test]
fn a_question_ends_when_its_asker_leaves() {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let (secret, ca) = (token(&center, "bi", "analyst"), center.papers(VIN).server_ca);
    let all: Vec<TlsStream> =
        (0..PLACES).map(|_| ask(&center, &secret, &ca, "text/csv", &json!({ "sql": ENDLESS }))).collect();
    // With every place taken another question waits.
    std::thread::sleep(Duration::from_secs(2));
    let waits = json!({ "sql": "select 1 as one", "seconds_max": 2 });
    let (head, body) = answer(ask(&center, &secret, &ca, "text/csv", &waits));
    assert!(head.starts_with("http/1.1 400") && body.contains("seconds_max"), "{head} {body}");
    drop(all);
    let begun = Instant::now();
    let (head, body) = answer(ask(&center, &secret, &ca, "text/csv", &json!({ "sql": "select 1 as one" })));
    assert!(head.starts_with("http/1.1 200") && body == "one\n1\n", "{head} {body}");
    println!("a place came free {} ms after the askers left", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
