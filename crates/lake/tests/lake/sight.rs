//! Rows as somebody sees them who may not see them as they are.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use lake::{Allowed, Places, QueryError, Sight};
use model::{Class, Event, Protocol, Quality, Reading, ReadingSink, Sequence, SignalId};

use crate::world::{Center, received_at, vehicle};

/// 0.02 degrees.
const CELL: u32 = 20_000;

fn seen(places: Places, hidden: &[Class]) -> Allowed {
    Allowed {
        tables: None,
        sight: Sight { places, hidden: hidden.iter().copied().collect() },
        own_alone: false,
    }
}

fn coarse() -> Allowed {
    seen(Places::Coarse { cell: CELL }, &[Class::Sensitive, Class::Important])
}

/// Eight frames in files and eight in the tail: places from 31.20001 on, a step of 1e-5 degrees a frame.
fn center() -> Center {
    let mut center = Center::new();
    center.take(1, 1..=8);
    assert!(center.commit(1, 8).is_ok());
    center.take(9, 9..=16);
    center
}

fn text(center: &Center, sql: &str, allowed: &Allowed) -> String {
    match center.query_as(sql, allowed) {
        Ok(batches) => pretty_format_batches(&batches).expect("a table").to_string(),
        Err(error) => error.to_string(),
    }
}

fn count(center: &Center, sql: &str, allowed: &Allowed) -> usize {
    let batches = center.query_as(sql, allowed).expect(sql);
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn coarse_places_are_the_centres_of_cells_whatever_is_asked() {
    let center = center();
    let coarse = coarse();
    assert_eq!(count(&center, "select * from positions", &coarse), 16);
    let cells = text(&center, "select distinct latitude, longitude, heading, valid from positions", &coarse);
    assert!(cells.contains("31.21 ") && cells.contains("121.51 ") && !cells.contains("90.0"), "{cells}");
    assert_eq!(count(&center, "select distinct latitude, longitude, heading from positions", &coarse), 1);
    assert_eq!(count(&center, "select distinct time from positions", &coarse), 16);
    for (sql, rows) in [
        // A predicate sees the coarse value alone: below the exact places and above the centre there is nothing.
        ("select 1 from positions where latitude < 31.2001", 0),
        ("select 1 from positions where latitude = 31.21", 16),
        ("select 1 from positions where latitude > 31.2 and latitude < 31.201", 0),
        ("select 1 from positions where cast(latitude as varchar) like '31.200%'", 0),
        ("select 1 from positions where heading is not null", 0),
        ("select 1 from positions order by latitude limit 3", 3),
        ("select 1 from positions a join positions b on a.latitude = b.latitude and a.time = b.time", 16),
        ("select 1 from positions p join (values (31.20003)) t(x) on p.latitude = t.x", 0),
        ("select 1 from positions where latitude in (select 31.21)", 16),
        ("select latitude from positions group by latitude", 1),
    ] {
        assert_eq!(count(&center, sql, &coarse), rows, "{sql}");
    }
    let ends = text(&center, "select min(latitude), max(latitude), avg(latitude) from positions", &coarse);
    assert!(!ends.contains("31.20") && ends.contains("31.21"), "{ends}");
    for sql in [
        "explain verbose select * from positions where latitude > 30.0",
        "explain analyze select * from positions where latitude < 31.20005",
        "explain analyze verbose select * from positions where latitude < 31.20005 order by latitude limit 1",
        "select arrow_cast(latitude, 'Int8') from positions",
    ] {
        let shown = text(&center, sql, &coarse);
        assert!(!shown.contains("31.2000") || sql.contains("31.20005"), "{sql}: {shown}");
        assert!(!shown.contains("pruned") && !shown.contains(".parquet"), "{sql}: {shown}");
        assert!(!sql.starts_with("explain") || shown.contains("SightExec"), "{sql}: {shown}");
    }
    // The smaller side of a join is held in memory, as it is for who sees everything.
    let plan = text(
        &center,
        "explain select count(*) from positions p join (values ('v')) t(x) on p.vehicle = t.x",
        &coarse,
    );
    let place = |word: &str| plan.find(word).unwrap_or_else(|| panic!("{word}: {plan}"));
    assert!(place("DataSourceExec") < place("SightExec"), "{plan}");
    // Whoever may, sees them exactly, and with what chose the files.
    let exact = Allowed::default();
    assert_eq!(count(&center, "select distinct latitude from positions", &exact), 16);
    assert_eq!(count(&center, "select 1 from positions where heading = 90.0", &exact), 16);
}

#[test]
fn rows_of_hidden_classes_are_in_no_answer_and_in_no_error() {
    let mut center = center();
    // A signal about a place, with a text that errors would show.
    let mut sink = center.writer.begin_frame(2, Sequence(17), vehicle(0), Protocol::Tesla, received_at(17));
    sink.reading(Reading {
        time: received_at(17),
        signal: SignalId(2),
        value: None,
        text: Some("31.2304,121.4737"),
        quality: Quality::Valid,
    });
    drop(sink);
    let coarse = coarse();
    let all = count(&center, "select 1 from signals", &Allowed::default());
    let shown = count(&center, "select 1 from signals", &coarse);
    assert_eq!(all - shown, 17, "one of class location a frame");
    for sql in [
        "select 1 from signals where signal like '%Part02'",
        "select 1 from signals where value = 0.05",
        "select 1 from signals where text like '31%'",
        "select 1 from signals where text is not null and text <> 'Charging'",
    ] {
        assert_eq!(count(&center, sql, &coarse), 0, "{sql}");
    }
    for sql in [
        "select cast(text as double) from signals where text <> 'Charging'",
        "select sum(cast(text as int)) from signals where signal like '%Part02'",
    ] {
        assert!(!text(&center, sql, &coarse).contains("31.2"), "{sql}");
        assert!(
            text(&center, sql, &Allowed::default()).contains("31.2"),
            "{sql}: it shows where all is seen"
        );
    }
    let personal = seen(Places::Exact, &[Class::Personal]);
    assert_eq!(count(&center, "select 1 from signals where signal like '%Part04'", &personal), 0);
    assert_eq!(count(&center, "select 1 from signals where signal like '%Part02'", &personal), 17);
    assert!(matches!(center.query_as("select 1 from events", &personal), Err(QueryError::Refused(_))));
    let nowhere = seen(Places::Hidden, &[]);
    for table in ["positions", "frames"] {
        let refused = center.query_as(&format!("select 1 from {table}"), &nowhere);
        assert!(matches!(refused, Err(QueryError::Refused(_))), "{table}: {refused:?}");
    }
    assert!(matches!(center.query_as("select 1 from frames", &coarse), Err(QueryError::Refused(_))));
}

#[test]
fn what_a_vehicle_wrote_freely_is_left_out_of_the_details() {
    let mut center = center();
    let mut sink = center.writer.begin_frame(2, Sequence(17), vehicle(0), Protocol::Tesla, received_at(17));
    let free = r#"{"body":"at 31.2304,121.4737"}"#;
    for kind in ["error", "alarm"] {
        let time = received_at(17);
        sink.event(Event { time, kind, code: "free", level: None, ended_at: None, detail: Some(free) });
    }
    drop(sink);
    let coarse = coarse();
    let details = "select kind, detail from events where code = 'free'";
    assert_eq!(count(&center, details, &coarse), 2);
    assert_eq!(count(&center, &format!("{details} and detail is not null"), &coarse), 1);
    assert_eq!(
        count(&center, "select 1 from events where detail like '%31.2304%' and kind = 'error'", &coarse),
        0
    );
    assert_eq!(count(&center, "select detail from events where detail is null", &coarse), 1);
    assert_eq!(count(&center, "select 1 from events where detail is null", &Allowed::default()), 0);
}
