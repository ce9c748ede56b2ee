//! What decisions cost: reading a pack and a policy file, deciding on access, checking a record's values.
//!
//! `cargo run -p policy --example decision_cost`

use std::hint::black_box;
use std::time::{Duration, Instant};

use policy::{Access, Action, DEFAULT_ACCESS, Pack, Principal, RecordKind, Resource, Role};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = Pack::builtin("CN".parse()?);
    let pack = Pack::parse(text)?;
    let access = Access::parse(DEFAULT_ACCESS)?;
    print("Pack::parse", 50, || drop(black_box(Pack::parse(text))));
    print("Access::parse", 5, || drop(black_box(Access::parse(DEFAULT_ACCESS))));
    let table = Resource::Table { name: "signals", identities: false };
    let analyst = Principal::new("grafana", Role::Analyst);
    print("Access::decide, query", 1_000_000, || {
        drop(black_box(access.decide(&analyst, Action::Query, &table)))
    });
    let operator = Principal::new("console", Role::Operator);
    print("Access::decide, denied", 1_000_000, || {
        drop(black_box(access.decide(&operator, Action::IdentitiesRead, &Resource::Center)));
    });
    let both = Principal { name: "x", roles: Principal::SOCKET.roles.with(Role::Auditor) };
    print("Access::decide, roles that nobody has", 1_000, || {
        drop(black_box(access.decide(&both, Action::PolicyRead, &Resource::Center)));
    });
    let sale = pack.record_schema(RecordKind::Sale);
    let columns = sale.columns(["vin", "sold_at", "dealer", "price", "currency", "city", "buyer_type"])?;
    let row = ["LRW3E7FA8MC000001", "2026-11-24", "Shanghai 1", "249900.00", "CNY", "Shanghai", "person"];
    print("a sale of seven fields", 200_000, || {
        for (field, text) in columns.iter().zip(row) {
            black_box(field.check(text)).expect("a good value");
        }
    });
    Ok(())
}

fn print(what: &str, times: u32, mut work: impl FnMut()) {
    let start = now();
    for _ in 0..times {
        work();
    }
    println!("{what:40} {:>12.3} us", (now() - start).as_secs_f64() * 1e6 / f64::from(times));
}

#[expect(clippy::disallowed_methods, reason = "a measurement is about the real time")]
fn now() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    Instant::now() - start
}
