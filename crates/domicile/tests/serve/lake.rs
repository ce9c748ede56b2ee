//! Housekeeping of a serving center: files are put together, the ledger has it, also after a kill.

use std::process::Command;

use serde_json::{Value, json};

use crate::center::{Center, eventually};
use crate::vehicles::Tesla;

const VIN: &str = "LRW3E7FA8MC000001";
const AT: i64 = 1_763_870_400;

fn signals(center: &Center) -> Value {
    let (status, lake) = center.call("GET", "/api/lake", None);
    assert_eq!(status, 200, "{lake}");
    lake["tables"][0].clone()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn domicile(center: &Center, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(arguments)
        .arg("--dir")
        .arg(center.path())
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn files_are_put_together_and_the_ledger_holds_also_after_a_kill() {
    let mut center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300")]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    for round in 1..=4 {
        for index in 0..10 {
            let index = round * 10 + index;
            car.send_speed(&index.to_string(), AT + index, 10.0 + index as f64);
            assert!(car.hear().is_some());
        }
        eventually("a file of these rows", || {
            (number(&signals(&center), "rows") >= round as u64 * 10).then_some(())
        });
    }
    let before = signals(&center);
    assert!(number(&before, "files") >= 4, "{before}");
    let terms = before["terms"].to_string();
    assert!(terms.contains("location") && before["pack"].as_str().is_some_and(|pack| pack.starts_with("cn")));
    let (status, done) = center.call("POST", "/api/lake/compact", Some(&json!({})));
    assert_eq!(status, 200, "{done}");
    assert!(number(&done, "files_removed") >= 4, "{done}");
    let after = signals(&center);
    assert_eq!((number(&after, "files"), number(&after, "rows")), (1, number(&before, "rows")));
    let verified = domicile(&center, &["ledger", "verify"]);
    println!("{verified}");
    center.kill();
    domicile(&center, &["ledger", "verify"]);
    let text = domicile(&center, &["lake", "status"]);
    assert!(text.contains("location 14 days") && text.contains("bytes a row"), "{text}");
    print!("{text}");
    let text = domicile(&center, &["lake", "expire"]);
    assert!(text.contains("0 rows were over their term"), "{text}");
    domicile(&center, &["ledger", "verify"]);
    center.serve_again();
    eventually("the rows again", || {
        (number(&signals(&center), "rows") == number(&before, "rows")).then_some(())
    });
    let (status, _) = center.call("POST", "/api/lake/mow", Some(&json!({})));
    assert_eq!(status, 404);
    assert!(center.metrics().contains("lake_maintenance_runs"));
}

#[test]
fn trips_and_gaps_are_worked_out_and_made_anew_on_demand() {
    let center = Center::start(&[("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300")]);
    center.add(VIN, "CN");
    let mut car = Tesla::connect(center.address("tesla"), VIN, &center.papers(VIN)).expect("it is let in");
    // Twenty minutes at 30 mph, a message each ten seconds, without three minutes in between.
    let at = now_s() - 3_600;
    for step in (0..120).filter(|step| !(60..78).contains(step)) {
        car.send_speed(&step.to_string(), at + step * 10, 30.0);
        assert!(car.hear().is_some());
    }
    let query = |sql: &str| {
        let asked = json!({ "sql": sql });
        let (status, body) = center.ask_accepting("text/csv", "POST", "/api/query", Some(&asked));
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        String::from_utf8(body).expect("text").lines().skip(1).collect::<Vec<_>>().join(" ")
    };
    eventually("all rows in files", || (number(&signals(&center), "rows") >= 102).then_some(()));
    domicile(&center, &["lake", "rebuild"]);
    let trips = "select count(*), cast(round(sum(distance)) as bigint) from trips";
    eventually("the trip", || (query(trips) == "1,16").then_some(()));
    assert_eq!(query("select gaps, cast(missing as bigint) from gaps where gaps > 0"), "1,190");
    assert_eq!(query("select count(distinct state) from states where state = 'driving'"), "1");
    let text = domicile(&center, &["lake", "status"]);
    assert!(text.contains("derived    ") && text.contains("days have newer signals"), "{text}");
    assert!(center.metrics().contains("domicile_derived_days_total"));
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds")
}
