//! Tables of records: what the registry declares, as SQL sees it.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use lake::{
    Error, QueryError, RecordColumn, RecordKind, RecordSource, RecordTable, RecordValue, Settings,
    SourceError,
};
use object_store::memory::InMemory;
use parking_lot::Mutex;

use crate::world::{Center, START, vehicle};

/// How a source ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Well,
    Error,
    Panic,
    /// A last row whose first value is no text.
    WrongKind,
    /// A last row with too few values.
    Short,
}

/// So many sales, one a vehicle.
struct TestRecords {
    names: Vec<&'static str>,
    rows: u64,
    counted: bool,
    end: End,
    /// Held while rows are handed over, as a database's connection is.
    connection: Mutex<()>,
}

impl TestRecords {
    fn of(rows: u64) -> Self {
        Self { names: vec!["sales"], rows, counted: true, end: End::Well, connection: Mutex::new(()) }
    }
}

impl RecordSource for TestRecords {
    fn tables(&self) -> Vec<RecordTable> {
        let kinds = [
            ("vehicle", RecordKind::Text),
            ("sold_at", RecordKind::Time),
            ("price", RecordKind::Number),
            ("seats", RecordKind::Whole),
            ("leased", RecordKind::Flag),
            ("dealer", RecordKind::Text),
        ];
        let columns = kinds.map(|(name, kind)| RecordColumn { name: name.to_owned(), kind }).to_vec();
        self.names
            .iter()
            .map(|name| RecordTable { name: (*name).to_owned(), columns: columns.clone() })
            .collect()
    }

    fn rows(&self, table: &str, each: &mut dyn FnMut(Vec<RecordValue>)) -> Result<(), SourceError> {
        assert!(self.names.contains(&table));
        let _connection = self.connection.lock();
        for number in 0..self.rows {
            let null = number % 10 == 9;
            let or_null = |value| if null { RecordValue::Null } else { value };
            each(vec![
                RecordValue::Text(vehicle(number).to_string()),
                or_null(RecordValue::Time(START.plus_micros(number as i64))),
                or_null(RecordValue::Number(number as f64 / 2.0)),
                or_null(RecordValue::Whole(number as i64 % 5 + 2)),
                or_null(RecordValue::Flag(number % 2 == 0)),
                or_null(RecordValue::Text(format!("a dealer with a name of some length {}", number % 7))),
            ]);
        }
        match self.end {
            End::Well => Ok(()),
            End::Error => Err(SourceError("the registry is being rebuilt".to_owned())),
            End::Panic => panic!("a defect of the source"),
            End::WrongKind => {
                each(vec![RecordValue::Whole(1); 6]);
                Ok(())
            }
            End::Short => {
                each(vec![RecordValue::Null]);
                Ok(())
            }
        }
    }

    fn count(&self, _table: &str) -> Option<u64> {
        self.counted.then_some(self.rows)
    }
}

fn open(records: TestRecords) -> Result<Center, Error> {
    Center::open_all(Arc::new(InMemory::new()), Settings::default(), Arc::new(records))
}

fn printed(center: &Center, sql: &str) -> String {
    pretty_format_batches(&center.query(sql).expect(sql)).expect("a table").to_string()
}

#[test]
fn values_of_every_kind_come_as_they_are_and_so_does_none() {
    let center = open(TestRecords::of(10)).expect("a lake");
    let table = printed(&center, "select * from sales order by vehicle");
    for row in [
        "| v0000000000000002 | 2026-11-23T10:00:00.000002Z | 1.0   | 4     | true   | a dealer with a name of some length 2 |",
        "| v0000000000000009 |                             |       |       |        |                                       |",
    ] {
        assert!(table.contains(row), "{table}");
    }
    let sql =
        "select cast(sum(price) as bigint), sum(seats), count(*), count(leased), (select count(*) from sales
               where sold_at >= '2026-11-23T10:00:00.000004Z') later from sales";
    assert_eq!(center.numbers(sql), [18, 34, 10, 9, 5]);
}

#[test]
fn rows_come_in_batches_and_only_the_columns_asked_for() {
    let center = open(TestRecords::of(20_000)).expect("a lake");
    let batches = center.query("select * from sales").expect("an answer");
    let sizes: Vec<_> = batches.iter().map(arrow::array::RecordBatch::num_rows).collect();
    assert_eq!((sizes.iter().sum::<usize>(), sizes.iter().max()), (20_000, Some(&8_192)));
    assert_eq!(center.numbers("select count(*) from sales"), [20_000]);
    assert_eq!(center.numbers("select count(*) from (select * from sales limit 5)"), [5]);
    let plan = printed(&center, "explain select dealer, vehicle from sales where seats = 3");
    assert!(plan.contains("projection=[vehicle, seats, dealer]"), "{plan}");
    let listed = "select count(*) from information_schema.columns where table_name = 'sales'";
    assert_eq!(center.numbers(listed), [6]);
}

#[test]
fn a_hundred_thousand_records_join_signals_and_are_the_side_held_in_memory() {
    for (rows, counted) in [(100_000, true), (100_000, false), (300_000, true)] {
        let mut center = open(TestRecords { counted, ..TestRecords::of(rows) }).expect("a lake");
        let frames = if rows == 300_000 { 90_000 } else { 30_000 };
        center.take(1, 1..=frames);
        for (step, from) in [
            ("from the tail", "signals s join sales r on s.vehicle = r.vehicle"),
            ("from a file", "signals s join sales r on s.vehicle = r.vehicle"),
            ("the other way round", "sales r join signals s using (vehicle)"),
        ] {
            if step == "from a file" {
                center.commit(1, frames).expect("a commit");
            }
            let plan = printed(&center, &format!("explain select s.value, r.dealer from {from}"));
            let join = plan.find("HashJoinExec").expect("a hash join");
            let (records, signals) =
                (plan[join..].find("dealer]").expect("sales"), plan[join..].find("value]").expect("signals"));
            assert!(records < signals, "{step}, {rows} records: {plan}");
            #[expect(clippy::disallowed_methods, reason = "a measurement, printed and not compared")]
            let now = std::time::Instant::now;
            let began = now();
            let sql = format!("select count(*), sum(r.seats), count(distinct r.vehicle) from {from}");
            let n = frames as i64;
            // Vehicles 0, 1 and 2 have two, three and four seats and a third of the frames each.
            assert_eq!(center.numbers(&sql), [4 * n, 12 * n, 3], "{step}");
            println!("{rows} records join {} signals {step}: {} ms", 4 * frames, (now() - began).as_millis());
        }
    }
}

#[test]
fn a_table_that_is_read_twice_by_one_query_does_not_wait_for_itself() {
    let center = open(TestRecords::of(100_000)).expect("a lake");
    for (sql, count) in [
        ("select count(*) from sales a join sales b on a.vehicle = b.vehicle", 100_000),
        ("select count(*) from (select * from sales union all select * from sales)", 200_000),
        ("select count(*) from sales where vehicle in (select vehicle from sales where seats = 3)", 20_000),
        (
            "select count(*) from (select a.vehicle from sales a join (select * from sales order by price) b using (vehicle) limit 7)",
            7,
        ),
    ] {
        assert_eq!(center.numbers(sql), [count], "{sql}");
    }
}

#[test]
fn a_source_that_fails_fails_the_query_and_never_shortens_the_answer() {
    for (end, text) in [
        (End::Error, "the registry is being rebuilt"),
        (End::Panic, "panicked"),
        (End::WrongKind, "column vehicle that is no Text"),
        (End::Short, "a row of 1 values for 6 columns"),
    ] {
        for rows in [0, 3, 20_000] {
            let center = open(TestRecords { end, ..TestRecords::of(rows) }).expect("a lake");
            match center.query("select vehicle from sales") {
                Err(QueryError::Failed(why)) => assert!(why.contains(text), "{why}"),
                other => panic!("{text}, {rows} rows: {other:?}"),
            }
            assert_eq!(center.numbers("select count(*) from signals"), [0], "others go on");
        }
    }
}

#[test]
fn records_beyond_the_memory_of_queries_fail_and_others_go_on() {
    let settings = Settings { memory_bytes_max: Settings::MEMORY_BYTES_MIN, ..Settings::default() };
    let records = TestRecords::of(1_000_000);
    let center = Center::open_all(Arc::new(InMemory::new()), settings, Arc::new(records)).expect("a lake");
    // Read slower than the source gives: what waits is booked.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut answer = runtime.block_on(center.lake.query("select * from sales")).expect("an answer");
    let outcome = runtime.block_on(async {
        use futures::StreamExt;
        while let Some(batch) = answer.rows.next().await {
            std::thread::sleep(std::time::Duration::from_millis(50));
            batch?;
        }
        Ok::<_, QueryError>(())
    });
    assert!(matches!(outcome, Err(QueryError::TooLarge(_))), "{outcome:?}");
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}

#[test]
fn names_that_collide_or_that_sql_cannot_say_are_refused_at_the_start() {
    for (names, named) in [
        (vec!["sales", "signals"], "signals"),
        (vec!["positions"], "positions"),
        (vec!["events"], "events"),
        (vec!["frames"], "frames"),
        (vec!["vehicles"], "vehicles"),
        (vec!["sales", "owners", "sales"], "sales"),
        (vec!["Sales"], "Sales"),
        (vec!["public.sales"], "public.sales"),
        (vec!["1st"], "1st"),
        (vec![""], ""),
    ] {
        match open(TestRecords { names, ..TestRecords::of(1) }) {
            Err(Error::Records { table, .. }) => assert_eq!(table, named),
            Err(other) => panic!("{named}: {other}"),
            Ok(_) => panic!("{named} was taken"),
        }
    }
    open(TestRecords { names: vec!["sales", "owners", "services_2"], ..TestRecords::of(1) }).expect("a lake");
}
