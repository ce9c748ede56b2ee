//! The PostgreSQL port, asked by clients of others.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::center::{Center, eventually};
use crate::vehicles::{Said, Tesla};

const VIN: &str = "LRW3E7FA8MC000001";
const AT: i64 = 1_763_870_400;
const ROWS: usize = 20;

/// A center with some rows.
fn center() -> Center {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for index in 0..ROWS {
        car.send_speed(&index.to_string(), AT + index as i64, 10.0 + index as f64);
        assert_eq!(car.hear(), Some(Said::Ack(index.to_string().into_bytes())));
    }
    let ask = json!({ "sql": "select * from signals where signal = 'Vehicle.Speed'" });
    eventually("the rows", || (center.ask("POST", "/api/query", Some(&ask)).1.len() > 2_000).then_some(()));
    center
}

pub(crate) fn token(center: &Center, name: &str, role: &str) -> String {
    let (status, made) = center.call("POST", "/api/tokens", Some(&json!({ "name": name, "role": role })));
    assert!(status < 300, "{status} {made}");
    made["secret"].as_str().expect("a secret").to_owned()
}

/// The file of the authority that vouches for the center.
pub(crate) fn authority(center: &Center) -> PathBuf {
    let path = center.path().join("authority.pem");
    std::fs::write(&path, center.papers(VIN).server_ca).expect("written");
    path
}

/// The entries of the log, as they lie in the store.
pub(crate) fn entries(center: &Center) -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                collect(&entry, text);
            } else if entry.components().any(|part| part.as_os_str() == "entries") {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(entry).unwrap_or_default()));
            }
        }
    }
    let mut text = String::new();
    collect(&center.path().join("store"), &mut text);
    text
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn psycopg_asks_with_parameters_in_binary_and_is_kept_to_its_role() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".venv/bin/python");
    let has_it = Command::new(&python).args(["-c", "import psycopg"]).output();
    if !has_it.is_ok_and(|run| run.status.success()) {
        println!(
            "skipped: no Python with the packages of tests/python/requirements.txt (make test makes one)"
        );
        return;
    }
    let center = center();
    let address = center.address("postgres");
    let run = Command::new(python)
        .arg(root.join("tests/python/postgres_client.py"))
        .args(["--host", "localhost", "--port", &address.port().to_string()])
        .args(["--token", &token(&center, "notebook", "analyst"), "--rows", &ROWS.to_string()])
        .arg("--ca")
        .arg(authority(&center))
        .output()
        .expect("Python runs");
    println!("{}", said(&run));
    assert!(run.status.success(), "{}", said(&run));
}

/// What `psql` makes of some commands.
pub(crate) fn psql(center: &Center, secret: &str, authority: &Path, commands: &[&str]) -> Output {
    let target = format!(
        "host=localhost port={} user=me dbname=domicile sslmode=verify-full sslrootcert={}",
        center.address("postgres").port(),
        authority.display()
    );
    let mut command = Command::new("psql");
    command.env("PGPASSWORD", secret).args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", &target]);
    for text in commands {
        command.args(["-c", text]);
    }
    command.output().expect("psql runs")
}

#[test]
fn psql_lists_describes_and_asks_until_its_token_is_revoked() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("skipped: psql is missing (Debian's postgresql-client)");
        return;
    }
    let center = center();
    let secret = token(&center, "shell", "officer");
    let authority = authority(&center);
    let psql = |commands: &[&str]| psql(&center, &secret, &authority, commands);
    let listed = psql(&["\\dt", "\\d signals", "\\l", "\\dn", "\\conninfo"]);
    assert!(listed.status.success(), "{}", said(&listed));
    for word in ["signals", "positions", "owners", "received_at", "domicile"] {
        assert!(said(&listed).contains(word), "{word}: {}", said(&listed));
    }
    let counted =
        psql(&["select signal, count(*) as n from signals where signal = 'Vehicle.Speed' group by 1"]);
    assert!(said(&counted).contains("Vehicle.Speed |"), "{}", said(&counted));
    assert!(!entries(&center).contains("\"what\":\"frames\""));
    let frames = psql(&["select (select count(*) from frames) > 0 as there from vehicles limit 1"]);
    assert!(frames.status.success(), "{}", said(&frames));
    eventually("the look into frames is entered", || {
        entries(&center).contains("\"what\":\"frames\"").then_some(())
    });
    let wrong = psql(&["select nothing from nowhere"]);
    assert!(!wrong.status.success() && said(&wrong).contains("nowhere"), "{}", said(&wrong));

    let why = json!({ "why": "a test" });
    let (status, answer) = center.call("POST", "/api/tokens/shell/revoke", Some(&why));
    assert!(status < 300, "{status} {answer}");
    let revoked = psql(&["select 1"]);
    assert!(!revoked.status.success() && said(&revoked).contains("revoked"), "{}", said(&revoked));
}
