//! SQL: what it answers, and what it refuses.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use lake::{QueryError, Settings};
use object_store::memory::InMemory;

use crate::world::{Center, START};

fn printed(center: &Center, sql: &str) -> String {
    pretty_format_batches(&center.query(sql).expect(sql)).expect("a table").to_string()
}

#[test]
fn rows_read_the_same_from_tail_and_files() {
    let mut center = Center::new();
    center.take(1, 1..=8);
    let queries = [
        "select * from signals order by time, signal, vehicle",
        "select * from positions order by time",
        "select * from events order by time",
        "select signal, quality, count(*), min(value), max(text) from signals group by 1, 2 order by 1, 2",
        "select vehicle, max(time) from signals where signal like '%Part01' and value > 3 group by 1 order by 1",
        "select e.code, p.latitude from events e join positions p on e.vehicle = p.vehicle and e.time = p.time order by 1",
    ];
    let from_tail = queries.map(|sql| printed(&center, sql));
    center.commit(1, 8).expect("a commit");
    let from_files = queries.map(|sql| printed(&center, sql));
    for (tail, files) in from_tail.iter().zip(&from_files) {
        assert_eq!(tail, files);
    }
    let squeezed = from_files.map(|table| table.split_whitespace().collect::<Vec<_>>().join(" "));
    for (table, row) in [
        (
            0,
            "| v0000000000000001 | 2026-11-23T10:00:00.100Z | Vehicle.Powertrain.TractionBattery.Part03 | 2.0 | Charging | valid | tesla | 2026-11-23T10:00:00.100Z |",
        ),
        (
            1,
            "| v0000000000000001 | 2026-11-23T10:00:00.100Z | 31.20001 | 121.5 | 90.0 | | true | tesla | 2026-11-23T10:00:00.100Z |",
        ),
        (
            2,
            "| v0000000000000002 | 2026-11-23T10:00:00.200Z | alert | 2 | 1 | | {} | tesla | 2026-11-23T10:00:00.200Z |",
        ),
    ] {
        assert!(squeezed[table].contains(row), "{}", squeezed[table]);
    }
}

#[test]
fn an_empty_lake_has_its_tables_and_columns() {
    let center = Center::new();
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
    let answer =
        center.query("select table_name from information_schema.tables where table_schema = 'public'");
    let names = answer.expect("an answer").iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
    assert_eq!(names, 11);
}

#[test]
fn files_without_rows_in_question_are_not_opened() {
    let mut center = Center::new();
    for batch in 0..8 {
        center.take(batch, batch * 10 + 1..=batch * 10 + 10);
        center.commit(batch * 10 + 1, batch * 10 + 10).expect("a commit");
    }
    let plan =
        |condition: &str| printed(&center, &format!("explain select value from signals where {condition}"));
    let files = |plan: &str| plan.matches(".parquet").count();
    assert_eq!(files(&plan("value > 0")), 8);
    let one = START.plus_micros(5 * 1_000_000);
    assert_eq!(
        files(&plan(&format!("time = timestamp '{one}'"))),
        1,
        "{}",
        plan(&format!("time = timestamp '{one}'"))
    );
    assert_eq!(files(&plan(&format!("received_at >= timestamp '{one}' and signal like '%Part01'"))), 4);
    assert_eq!(files(&plan("vehicle = 'v0000000000000009'")), 0);
    let count = format!("select count(*) from signals where time >= timestamp '{one}'");
    assert_eq!(center.numbers(&count), [4 * 31]);
}

#[test]
fn anything_but_a_question_is_refused() {
    let center = Center::new();
    for sql in [
        "create table t as select 1",
        "create view v as select 1",
        "create external table t stored as csv location '/etc/passwd'",
        "drop table signals",
        "insert into signals select * from signals",
        "delete from signals",
        "update signals set value = 1",
        "copy (select 1) to '/tmp/out.csv'",
        "copy signals to '/tmp/out.parquet'",
        "set datafusion.execution.batch_size = 1",
        "begin",
        "prepare p as select 1",
    ] {
        match center.query(sql) {
            Err(QueryError::Refused(_) | QueryError::Malformed(_)) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in
        ["selec 1", "select nothing from signals", "select * from '/etc/passwd'", "select 1; select 2", ""]
    {
        assert!(matches!(center.query(sql), Err(QueryError::Malformed(_))), "{sql}");
    }
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}

#[test]
fn a_query_beyond_its_memory_fails_and_others_go_on() {
    let settings = Settings { memory_bytes_max: Settings::MEMORY_BYTES_MIN, ..Settings::default() };
    let center = Center::open_with(Arc::new(InMemory::new()), settings).expect("a lake");
    let sql = "select count(*) from (select a.value, b.value from generate_series(1, 3000000) a
               join generate_series(1, 3000000) b on a.value = b.value order by 2 desc)";
    assert!(matches!(center.query(sql), Err(QueryError::TooLarge(_))));
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}

#[test]
fn a_query_that_never_ends_is_ended_and_its_threads_are_free() {
    let settings = Settings { query_seconds_max: 1, ..Settings::default() };
    let center = Center::open_with(Arc::new(InMemory::new()), settings).expect("a lake");
    // Each row that is read makes a hundred thousand: nothing is read, and so no thread let go, for a long time.
    let sql = "select count(*) from generate_series(1, 1000000) a
               join generate_series(1, 1000000) b on a.value % 7 = b.value % 5";
    // As many as the lake has threads; the third is answered only if those two have let go of them.
    for _ in 0..2 {
        assert!(matches!(center.query(sql), Err(QueryError::TooLong { seconds: 1 })));
    }
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}

#[test]
fn a_deep_condition_does_not_overflow_the_stack() {
    let center = Center::new();
    let condition: Vec<_> = (0..500).map(|number| format!("value = {number} or time is null")).collect();
    assert_eq!(
        center.numbers(&format!("select count(*) from signals where {}", condition.join(" or "))),
        [0]
    );
}

#[test]
fn frames_are_read_by_their_hour_and_decrypted_only_when_asked_for() {
    let center = Center::new();
    assert_eq!(center.numbers("select count(*), count(distinct vehicle) from frames"), [12, 3]);
    assert!(center.frames.read.lock().iter().all(|(_, with_bytes)| !with_bytes));
    center.frames.read.lock().clear();
    let sql = "select count(*), count(frame) from frames where received_at >= '2026-11-23T12:00:00Z'";
    assert_eq!(center.numbers(sql), [6, 4]);
    let read = std::mem::take(&mut *center.frames.read.lock());
    assert!(
        read.iter().all(|(name, with_bytes)| *with_bytes && name.as_str() >= "2026-11-23T11"),
        "{read:?}"
    );
    let sql = "select count(*) from frames where received_at between '2026-11-23T11:00:00Z' and '2026-11-23T11:59:59Z'";
    assert_eq!(center.numbers(sql), [3]);
    assert_eq!(center.frames.read.lock().len(), 2, "the hour itself and the one in which a bound may lie");
}

#[test]
fn vehicles_join_signals() {
    let mut center = Center::new();
    center.take(1, 1..=9);
    let sql =
        "select v.model, count(*) n from signals s join vehicles v using (vehicle) group by 1 order by 1";
    let table = printed(&center, sql);
    assert!(table.contains("| M0    | 12 |") && table.contains("| M2    | 12 |"), "{table}");
}

#[test]
fn places_have_names_and_coordinates_on_chinese_maps() {
    let mut center = Center::new();
    center.take(1, 1..=2);
    center.commit(1, 2).expect("a commit");
    let sql = "select distinct province(latitude, longitude) as p, province(latitude, longitude, 'zh') as z, \
               city(latitude, longitude) as c, city(latitude, longitude, 'zh') as d from positions";
    let row = printed(&center, sql).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(row.contains("| Shanghai | 上海市 | Shanghai | 上海 |"), "{row}");
    // Tiananmen, by a published pair of coordinates; and back.
    let sql = "select round(gcj02_latitude(39.906217, 116.391296), 4) as a, round(gcj02_longitude(39.906217, 116.391296), 4) as b, \
               round(wgs84_latitude(gcj02_latitude(31.2, 121.5), gcj02_longitude(31.2, 121.5)), 6) as c, \
               round(wgs84_longitude(gcj02_latitude(31.2, 121.5), gcj02_longitude(31.2, 121.5)), 6) as d, \
               province(null, 121.5) as e, city(0, -150) as f";
    let row = printed(&center, sql).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(row.contains("| 39.9076 | 116.3975 | 31.2 | 121.5 | | |"), "{row}");
    let refused =
        center.query("select city(latitude, longitude, 'fr') from positions").expect_err("no French");
    assert!(refused.to_string().contains("the language is 'en' or 'zh'"), "{refused}");
    // A day by the clock of a place.
    let sql = "select to_char(time at time zone 'Asia/Shanghai', '%Y-%m-%d %H:%M') as t from positions order by time limit 1";
    let row = printed(&center, sql).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(row.contains("| 2026-11-23 18:00 |"), "{row}");
}
