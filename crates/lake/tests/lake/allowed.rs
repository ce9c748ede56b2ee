//! Tables that are closed to whoever asks.

use lake::{Allowed, QueryError};

use crate::world::Center;

fn only(tables: &[&str]) -> Allowed {
    let tables = Some(tables.iter().map(|name| (*name).to_owned()).collect());
    Allowed { tables, ..Allowed::default() }
}

fn count(center: &Center, sql: &str, allowed: &Allowed) -> usize {
    let batches = center.query_as(sql, allowed).expect(sql);
    batches.iter().map(arrow::array::RecordBatch::num_rows).sum()
}

#[test]
fn a_closed_table_is_refused_by_its_name_in_whatever_part_of_a_query() {
    let mut center = Center::new();
    center.take(1, 1..=8);
    let allowed = only(&["signals", "vehicles"]);
    for sql in [
        "select * from events",
        "select count(*) from events",
        "select 1 from EVENTS",
        r#"select 1 from "events""#,
        "select 1 from public.events",
        "select 1 from domicile.public.events",
        "select * from signals s join events e on s.vehicle = e.vehicle",
        "select * from signals, events",
        "select * from signals where vehicle in (select vehicle from events)",
        "select * from signals s where exists (select 1 from events e where e.vehicle = s.vehicle)",
        "select (select count(*) from events) from signals",
        "select * from (select * from (select * from events))",
        "with e as (select * from events) select count(*) from e",
        "with signals as (select * from events) select * from signals",
        "with recursive e as (select code from events union all select code from e) select * from e",
        "with x as (select 1) select * from signals where time > (with y as (select max(time) t from events) select t from y)",
        "select vehicle from signals union all select vehicle from events",
        "select vehicle from signals except select vehicle from events",
        "select * from signals s left join lateral (select * from events e where e.vehicle = s.vehicle) on true",
        "select 1 order by (select count(*) from events)",
        "values ((select count(*) from events))",
        "explain select * from events",
        "explain analyze select * from events",
        "describe events",
        "show columns from events",
        "create view v as select * from events",
        "insert into signals select * from events",
        "copy events to '/tmp/out.parquet'",
    ] {
        match center.query_as(sql, &allowed) {
            Err(QueryError::Refused(why)) => assert!(why.contains("events"), "{sql}: {why}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in ["select * from signals", "with events as (select * from vehicles) select * from events"] {
        assert!(count(&center, sql, &allowed) > 0, "{sql}");
    }
    assert!(matches!(center.query_as("select * from nothing", &allowed), Err(QueryError::Malformed(_))));
}

#[test]
fn listings_leave_closed_tables_out() {
    let center = Center::new();
    let allowed = only(&["signals", "vehicles", "no_such_table"]);
    let public = "select * from information_schema.tables where table_schema = 'public'";
    assert_eq!(count(&center, public, &allowed), 2);
    assert_eq!(count(&center, public, &only(&[])), 0);
    assert_eq!(count(&center, public, &Allowed::default()), 11);
    for listing in ["information_schema.tables", "information_schema.columns", "information_schema.views"] {
        let sql = format!("select * from {listing} where table_name in ('events', 'positions', 'frames')");
        assert_eq!(count(&center, &sql, &allowed), 0, "{listing}");
    }
    let shown = center.query_as("show tables", &allowed).expect("a listing");
    let text = arrow::util::pretty::pretty_format_batches(&shown).expect("a table").to_string();
    assert!(text.contains("vehicles") && !text.contains("events") && !text.contains("frames"), "{text}");
}

#[test]
fn without_tables_only_what_needs_none_is_answered() {
    let center = Center::new();
    assert_eq!(count(&center, "select 1", &only(&[])), 1);
    for table in ["signals", "positions", "events", "frames", "vehicles", "trips", "gaps", "daily"] {
        let outcome = center.query_as(&format!("select 1 from {table}"), &only(&[]));
        assert!(matches!(&outcome, Err(QueryError::Refused(why)) if why.contains(table)), "{outcome:?}");
        assert!(center.query(&format!("select 1 from {table} limit 0")).is_ok());
    }
}
