//! What an analyst may try to get a VIN, or a place finer than the country pack's cell: a row a trick.
//!
//! A trick's answer must hold none of what was planted, in the text or in numbers that tell as much. Where it can be shown that the
//! trick is one, an officer tries it too, and gets what the analyst must not.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use wire::tesla::payload::{Datum, Value, encode_errors, encode_vitals};
use wire::tesla::{Stream, encode_stream};
use wire::websocket::Opcode;

use crate::center::{Center, eventually};
use crate::postgres::{authority, said, token};
use crate::vehicles::{Said, Tesla, tls};

const VIN: &str = "LRW3E7FA8MC000001";
const AT: i64 = 1_763_870_400;

/// Where the car was, and the centre of the pack's cell of 0.02 degrees around it.
const LATITUDE: f64 = 31.234_567;
const LONGITUDE: f64 = 121.476_543;
const CENTRE: &str = "31.23,121.47";

/// What no analyst's answer holds: the VIN, and the planted places in any text.
const SECRETS: [&str; 8] =
    [VIN, "MC000001", "31.234", "121.4765", "31234567", "Secret Garden", "route-of-31", "31.111"];

/// How somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `POST /api/query` for CSV.
    Rest,
    /// `psql`, in one session; statements apart by a line of `;;`.
    Postgres,
    /// psycopg, prepared at the server, with two parameters.
    Psycopg,
    /// Another address of the API: `sql` is the path.
    Get,
}

/// What must come of it.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// It is answered, and the answer holds this text.
    Answered(&'static str),
    /// It is answered without any row.
    Nothing,
    /// It is refused, with this word.
    Refused(&'static str),
}

use Outcome::{Answered, Nothing, Refused};
use Way::{Get, Postgres, Psycopg, Rest};

/// Name, way in, what is asked, what must come of it, and what an officer's answer holds where the trick works for him.
type Trick = (&'static str, Way, &'static str, Outcome, Option<&'static str>);

const TRICKS: &[Trick] = &[
    (
        "plain columns",
        Rest,
        "select latitude, longitude from positions",
        Answered(CENTRE),
        Some("31.234567,121.476543"),
    ),
    (
        "plain columns",
        Postgres,
        "select latitude, longitude from positions",
        Answered("31.23|121.47"),
        Some("31.234567|121.476543"),
    ),
    (
        "CTE",
        Rest,
        "with p as (select * from positions) select latitude, longitude from p",
        Answered(CENTRE),
        Some("31.234567"),
    ),
    (
        "recursive CTE",
        Rest,
        "with recursive r as (select latitude as x, 1 as n from positions union all select x, n + 1 from r where n < 3) select distinct x from r",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "subquery",
        Rest,
        "select (select max(latitude) from positions) as x",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "self join",
        Rest,
        "select a.latitude - b.latitude as x from positions a join positions b on a.vehicle = b.vehicle",
        Answered("0.0"),
        None,
    ),
    (
        "join on the exact value",
        Rest,
        "select 1 as hit from positions p join (values (31.234567)) t(x) on p.latitude = t.x",
        Nothing,
        Some("\n1"),
    ),
    (
        "lateral join",
        Rest,
        "select l.y from positions p cross join lateral (select max(q.latitude) as y from positions q where q.vehicle = p.vehicle) l",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "binary search by count",
        Rest,
        "select count(*) as n from positions where latitude > 31.2345 and latitude < 31.2346",
        Answered("n\n0\n"),
        Some("n\n1\n"),
    ),
    (
        "binary search, other side",
        Rest,
        "select count(*) as n from positions where not (latitude <= 31.2345)",
        Answered("n\n0\n"),
        Some("n\n1\n"),
    ),
    (
        "binary search by exists",
        Rest,
        "select 1 as hit where exists (select 1 from positions where longitude between 121.4765 and 121.4766)",
        Nothing,
        Some("\n1"),
    ),
    (
        "binary search over PostgreSQL",
        Postgres,
        "select count(*) from positions where latitude between 31.2345 and 31.2346",
        Answered("0"),
        Some("1"),
    ),
    (
        "min and max",
        Rest,
        "select min(latitude) as a, max(longitude) as b from positions",
        Answered(CENTRE),
        Some("31.234567,121.476543"),
    ),
    (
        "LIKE on the text",
        Rest,
        "select 1 as hit from positions where cast(latitude as varchar) like '31.2345%'",
        Nothing,
        Some("\n1"),
    ),
    (
        "regular expression",
        Rest,
        "select 1 as hit from positions where cast(longitude as varchar) ~ '^121\\.4765'",
        Nothing,
        Some("\n1"),
    ),
    (
        "nearest first",
        Rest,
        "select latitude, longitude from positions order by abs(latitude - 31.234567), abs(longitude - 121.476543) limit 1",
        Answered(CENTRE),
        Some("31.234567"),
    ),
    (
        "window function",
        Rest,
        "select first_value(latitude) over (partition by vehicle order by time) as x from positions",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "aggregates that keep values",
        Rest,
        "select array_to_string(array_agg(latitude), ';') as x, median(longitude) as y from positions",
        Answered(CENTRE),
        Some("31.234567"),
    ),
    (
        "percentile",
        Rest,
        "select approx_percentile_cont(latitude, 0.5) as x from positions",
        Answered("31.23"),
        None,
    ),
    (
        "digits beyond the cell",
        Rest,
        "select cast(floor(latitude * 1000000) as bigint) as x from positions",
        Answered("x\n312"),
        Some("31234567"),
    ),
    (
        "sampling and limit",
        Rest,
        "select latitude from positions limit 1 offset 0",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "TABLESAMPLE",
        Postgres,
        "select latitude from positions tablesample system (100)",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "grouping",
        Rest,
        "select latitude, count(*) as n from positions group by rollup(latitude) having count(*) > 0 order by 1 nulls last",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "heading between cells",
        Rest,
        "select 1 as hit from positions where heading is not null",
        Nothing,
        Some("\n1"),
    ),
    (
        "cast whose error shows the value",
        Rest,
        "select arrow_cast(cast(latitude as varchar), 'Int8') as x from positions",
        Refused("31.23"),
        Some("31.234567"),
    ),
    (
        "filter whose error shows the value",
        Postgres,
        "select 1 from positions where cast(cast(longitude as text) as int) = 1",
        Refused("121.47"),
        Some("121.476543"),
    ),
    (
        "cast of a hidden signal",
        Rest,
        "select cast(text as int) as x from signals where signal = 'Vehicle.Tesla.RouteLine'",
        Nothing,
        Some("route-of-31"),
    ),
    (
        "cast before the filter",
        Rest,
        "select 1 as hit from signals where signal = 'Vehicle.Tesla.RouteLine' and cast(text as double) > 0",
        Nothing,
        Some("route-of-31"),
    ),
    (
        "place's heading as a signal",
        Rest,
        "select value from signals where signal like 'Vehicle.CurrentLocation.%'",
        Nothing,
        Some("87.5"),
    ),
    (
        "place as another signal",
        Rest,
        "select signal, value from signals where value between 31.1 and 31.3 or value between 121.4 and 121.5",
        Nothing,
        Some("31.1111"),
    ),
    (
        "destination's name",
        Rest,
        "select text from signals where text like '%Garden%'",
        Nothing,
        Some("Secret Garden"),
    ),
    ("home flag", Rest, "select value from signals where signal like '%LocatedAtHome'", Nothing, Some("1.0")),
    (
        "count of hidden rows",
        Rest,
        "select count(*) as n from signals where signal ilike '%route%'",
        Answered("n\n0\n"),
        Some("n\n1\n"),
    ),
    (
        "belt, of class sensitive",
        Rest,
        "select value from signals where signal like '%IsBelted'",
        Nothing,
        Some("\n"),
    ),
    (
        "error that the car wrote",
        Rest,
        "select detail from events where kind = 'error' and detail is not null",
        Nothing,
        Some("31.234567"),
    ),
    ("JSON of a detail", Postgres, "select 1 from events where detail like '%31.2345%'", Nothing, Some("1")),
    ("EXPLAIN", Rest, "explain select * from positions where latitude > 31", Answered("SightExec"), None),
    (
        "EXPLAIN ANALYZE",
        Rest,
        "explain analyze verbose select count(*) from positions where latitude > 31",
        Answered("SightExec"),
        None,
    ),
    (
        "EXPLAIN by PostgreSQL",
        Postgres,
        "explain (analyze, verbose) select * from positions",
        Answered("SightExec"),
        None,
    ),
    ("raw frames", Rest, "select * from frames", Refused("not open to you"), None),
    (
        "raw frames in a subquery",
        Rest,
        "select 1 from vehicles where exists (select 1 from frames where encode(frame, 'hex') like '%4c5257%')",
        Refused("not open to you"),
        None,
    ),
    (
        "raw frames by PostgreSQL",
        Postgres,
        "select encode(frame, 'escape') from frames",
        Refused("not open to you"),
        None,
    ),
    ("owners", Rest, "select * from owners", Refused("not open to you"), Some("owner_type")),
    (
        "sales in a union",
        Rest,
        "select vehicle from vehicles union all select dealer from sales",
        Refused("not open to you"),
        Some("shop"),
    ),
    (
        "owners in a scalar subquery",
        Postgres,
        "select (select max(valid_from) from owners) from vehicles",
        Refused("not open to you"),
        Some("2025-01-05"),
    ),
    (
        "columns of vehicles",
        Rest,
        "select * from vehicles",
        Answered("vehicle,country,maker,model,state,registered_at"),
        None,
    ),
    ("a column vin", Rest, "select vin from vehicles", Refused("vin"), None),
    (
        "information_schema",
        Rest,
        "select table_name, column_name from information_schema.columns where table_name in ('owners', 'sales', 'frames') or column_name = 'vin'",
        Nothing,
        Some("owner_type"),
    ),
    (
        "pg_catalog",
        Postgres,
        "select relname from pg_catalog.pg_class where relname in ('owners', 'sales', 'services', 'frames')",
        Nothing,
        Some("owners"),
    ),
    (
        "statistics of columns",
        Postgres,
        "select histogram_bounds from pg_catalog.pg_stats where tablename = 'positions'",
        Refused("ERROR"),
        None,
    ),
    ("another schema", Rest, "select * from lake.positions", Refused("lake"), None),
    (
        "another schema by its whole name",
        Rest,
        r#"select latitude from "domicile"."public"."positions""#,
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "quoted identifiers",
        Postgres,
        r#"select "latitude" from "public"."positions""#,
        Answered("31.23"),
        Some("31.234567"),
    ),
    ("other spelling", Rest, "select LATITUDE from POSITIONS", Answered("31.23"), Some("31.234567")),
    (
        "a table shadowed by a CTE",
        Rest,
        "with owners as (select * from positions) select latitude from owners",
        Answered("31.23"),
        Some("31.234567"),
    ),
    ("view", Rest, "create view v as select * from positions", Refused("only SELECT"), None),
    (
        "table from a query",
        Postgres,
        "create table mine as select * from positions",
        Refused("only SELECT"),
        None,
    ),
    ("COPY out", Postgres, "copy positions to stdout", Refused("only SELECT"), None),
    ("COPY to a file", Rest, "copy positions to '/tmp/positions.csv'", Refused("only SELECT"), None),
    (
        "external table",
        Rest,
        "create external table p stored as parquet location 'lake://store/shanghai-1/lake/positions/'",
        Refused("only SELECT"),
        None,
    ),
    (
        "a file's name as a table",
        Rest,
        "select * from 'lake://store/shanghai-1/lake/positions/'",
        Refused("positions"),
        None,
    ),
    ("a system file as a table", Postgres, r#"select * from "/etc/passwd""#, Refused("passwd"), None),
    (
        "function that reads files",
        Rest,
        "select * from read_parquet('shanghai-1/lake/positions/*.parquet')",
        Refused("read_parquet"),
        None,
    ),
    (
        "function of the server's files",
        Postgres,
        "select pg_read_file('/etc/passwd')",
        Refused("pg_read_file"),
        None,
    ),
    (
        "SET ROLE",
        Postgres,
        "set role officer;;select latitude from positions",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "SET SESSION AUTHORIZATION",
        Postgres,
        "set session authorization officer;;select latitude from positions",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "SET search_path",
        Postgres,
        "set search_path to pg_catalog, owners;;select count(*) from owners",
        Refused("not open to you"),
        Some("1"),
    ),
    (
        "the optimizer's settings",
        Postgres,
        "set datafusion.execution.parquet.pushdown_filters = true;;select count(*) from positions where latitude between 31.2345 and 31.2346",
        Answered("0"),
        Some("1"),
    ),
    (
        "the optimizer's settings by REST",
        Rest,
        "set datafusion.execution.parquet.pushdown_filters = true",
        Refused("only SELECT"),
        None,
    ),
    (
        "PREPARE and EXECUTE",
        Postgres,
        "prepare p as select latitude from positions;;execute p",
        Refused("only SELECT"),
        None,
    ),
    (
        "prepared by the protocol",
        Psycopg,
        "select count(*) from positions where latitude between %s and %s",
        Answered("(0,)"),
        Some("(1,)"),
    ),
    (
        "parameter that is cast",
        Psycopg,
        "select latitude from positions where latitude > %s and longitude > %s",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "cursor",
        Postgres,
        "begin;;declare c cursor for select latitude from positions",
        Refused("only SELECT"),
        None,
    ),
    (
        "transaction that stays open",
        Postgres,
        "begin;;select latitude from positions",
        Answered("31.23"),
        Some("31.234567"),
    ),
    (
        "several statements at once",
        Postgres,
        "select 1; select latitude from positions",
        Refused("one question"),
        None,
    ),
    (
        "the vehicle's identity by the API",
        Get,
        "/api/identities/LRW3E7FA8MC000001",
        Refused("identities.read"),
        Some("LRW3E7FA8MC000001"),
    ),
    (
        "the vehicle's page",
        Get,
        "/api/vehicles/LRW3E7FA8MC000001",
        Refused("vehicles.read"),
        Some("LRW3E7FA8MC000001"),
    ),
    ("the list of vehicles", Get, "/api/vehicles", Refused("vehicles.read"), Some("CN")),
    ("the tables' files", Get, "/api/lake", Refused("lake.read"), Some("positions")),
];

/// A center with a car at a place, a route, a destination, an error that says where, a sale and an owner.
fn planted() -> Center {
    let center = Center::start(&[]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    let data = [
        (21, Value::Location { latitude: LATITUDE, longitude: LONGITUDE }),
        (23, Value::Double(87.5)),
        (94, Value::Text("BuckleStatusLatched")),
        (108, Value::Text("route-of-31.234567")),
        (111, Value::Location { latitude: 31.111_111, longitude: 121.444_444 }),
        (112, Value::Location { latitude: 31.222_222, longitude: 121.433_333 }),
        (163, Value::Text("Secret Garden 7")),
        (229, Value::Boolean(true)),
    ];
    let at = model::UtcMicros::from_seconds(AT);
    let mut vitals = Vec::new();
    let data = data.into_iter().map(|(field, value)| Datum { field, value });
    encode_vitals(data, Some(at), "", false, &mut vitals);
    let mut errors = Vec::new();
    let body = format!("no map at {LATITUDE},{LONGITUDE} of {VIN}");
    encode_errors("map_missing", &[("vin", VIN)], &body, at, "", &mut errors);
    let sender = format!("vehicle_device.{VIN}");
    for (txid, topic, payload) in [("1", "V", &vitals), ("2", "errors", &errors)] {
        let stream = Stream { sender_id: sender.as_bytes(), payload, ..Stream::default() };
        let mut message = Vec::new();
        encode_stream(txid.as_bytes(), topic.as_bytes(), b"", &stream, &mut message);
        car.send(Opcode::Binary, &message);
        assert_eq!(car.hear(), Some(Said::Ack(txid.as_bytes().to_vec())));
    }
    for (kind, rows) in [
        ("sale", format!("vin,sold_at,dealer,contract_no\n{VIN},2025-01-05,shop,K-77\n")),
        ("owner", format!("vin,owner_id,address,valid_from\n{VIN},c-1,Hidden Road 9,2025-01-05\n")),
    ] {
        let file = center.path().join("records.csv");
        std::fs::write(&file, rows).expect("written");
        let run = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["records", "import", "--kind", kind])
            .arg(&file)
            .arg("--dir")
            .arg(center.path())
            .output()
            .expect("the program runs");
        assert!(run.status.success(), "{}", said(&run));
    }
    let everything = json!({ "sql": "select 1 from positions, events where events.kind = 'error'" });
    eventually("the rows", || {
        let (_, rows) = center.ask_accepting("text/csv", "POST", "/api/query", Some(&everything));
        rows.ends_with(b"1\n").then_some(())
    });
    center
}

/// Asks over HTTPS with a token. Gives the status and the body.
pub(crate) fn ask(
    center: &Center,
    secret: &str,
    ca: &str,
    request: &str,
    accept: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = tls(center.address("http"), None, ca).expect("connected");
    let head = format!(
        "{request} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("asked");
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
}

/// Has a statement prepared at the server, and executes it with parameters in binary.
const PREPARED: &str = "
import sys, psycopg
port, token, sql, ca = sys.argv[1:]
low = (31.2345, 31.2346) if 'between' in sql else (31.0, 121.0)
with psycopg.connect(host='localhost', port=port, user='officer', dbname='domicile', password=token,
                     sslmode='verify-full', sslrootcert=ca) as connection:
    for row in connection.cursor(binary=True).execute(sql, low, prepare=True):
        print(row)
";

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python")
}

/// Tries a trick: whether it was answered, and what came.
fn attempt(center: &Center, secret: &str, ca: &str, user: &str, way: Way, sql: &str) -> (bool, String) {
    match way {
        Rest => {
            let (status, body) =
                ask(center, secret, ca, "POST /api/query", "text/csv", &json!({ "sql": sql }).to_string());
            (status == 200, body)
        }
        Get => {
            let (status, body) = ask(center, secret, ca, &format!("GET {sql}"), "*/*", "");
            (status == 200, body)
        }
        Psycopg => {
            let run = Command::new(python())
                .arg("-c")
                .arg(PREPARED)
                .args([&center.address("postgres").port().to_string(), secret, sql])
                .arg(authority(center))
                .output()
                .expect("Python runs");
            (run.status.success(), said(&run))
        }
        Postgres => {
            let target = format!(
                "host=localhost port={} user={user} dbname=domicile sslmode=verify-full sslrootcert={}",
                center.address("postgres").port(),
                authority(center).display()
            );
            let mut psql = Command::new("psql");
            psql.env("PGPASSWORD", secret).args([
                "--no-psqlrc",
                "-qAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &target,
            ]);
            psql.arg("-f").arg("-").stdin(std::process::Stdio::piped());
            psql.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let mut running = psql.spawn().expect("psql runs");
            // `;;` parts statements that must not travel in one message; a trick's own `;` is kept in one by `\;`.
            let script: Vec<String> = sql
                .split(";;")
                .map(|part| {
                    let part = part.replace("; ", "\\; ");
                    if part.contains("\\g") { part } else { part + ";" }
                })
                .collect();
            let mut input = running.stdin.take().expect("it is piped");
            input.write_all((script.join("\n") + "\n").as_bytes()).expect("asked");
            drop(input);
            let run = running.wait_with_output().expect("psql ends");
            (run.status.success(), said(&run))
        }
    }
}

#[test]
fn no_trick_gives_an_analyst_a_vin_or_an_exact_place() {
    let center = planted();
    let (analyst, officer) = (token(&center, "bi", "analyst"), token(&center, "dpo", "officer"));
    let ca = center.papers(VIN).server_ca;
    let has_psql = Command::new("psql").arg("--version").output().is_ok();
    if !has_psql {
        println!("psql is missing (Debian's postgresql-client): the tricks over PostgreSQL are not tried");
    }
    let has_psycopg = Command::new(python()).args(["-c", "import psycopg"]).output();
    let has_psycopg = has_psycopg.is_ok_and(|run| run.status.success());
    if !has_psycopg {
        println!("psycopg is missing (make test installs it): the prepared tricks are not tried");
    }
    // Who has the folder is operator and officer: the command line is no way in for others.
    for part in ["", "run", "store", "registry"] {
        let mode = std::fs::metadata(center.path().join(part)).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{part:?} is open to others: {mode:o}");
    }
    let (mut tried, mut failed) = (0, Vec::new());
    for (name, way, sql, outcome, works) in TRICKS {
        if *way == Postgres && !has_psql || *way == Psycopg && !has_psycopg {
            continue;
        }
        tried += 1;
        let (is_answered, text) = attempt(&center, &analyst, &ca, "officer", *way, sql);
        let rows = text.trim().lines().skip(usize::from(*way == Rest)).count();
        let holds = match outcome {
            Answered(word) => is_answered && text.contains(word),
            Nothing => is_answered && rows == 0,
            Refused(word) => !is_answered && text.contains(word),
        };
        // What the trick itself says comes back in plans and errors.
        let leaks: Vec<&&str> =
            SECRETS.iter().filter(|secret| text.contains(**secret) && !sql.contains(**secret)).collect();
        if !holds || !leaks.is_empty() {
            failed.push(format!(
                "{name} ({way:?}): {sql}\n  expected {outcome:?}, leaks {leaks:?}, got: {text}"
            ));
        }
        if let Some(word) = works {
            let (_, text) = attempt(&center, &officer, &ca, "analyst", *way, sql);
            if !text.contains(word) {
                failed
                    .push(format!("{name} ({way:?}): {sql}\n  does not work for an officer either: {text}"));
            }
        }
        let came = match outcome {
            Answered(word) => format!("answered, with {}", word.trim().replace('\n', " ")),
            Nothing => "answered without a row".to_owned(),
            Refused(word) => format!("refused: {word}"),
        };
        let control = if works.is_some() { "; works for an officer" } else { "" };
        println!("{:<8} {name:<36} {came}{control}", format!("{way:?}").to_lowercase());
    }
    println!("{tried} tricks tried, {} worked", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
