//! Records of sale, ownership and service.

use crate::house::House;

const VIN: &str = "LRW3E7FA8MC000001";
const OTHER: &str = "LRW3E7FA8MC000002";

#[test]
fn records_are_imported_all_or_none() {
    let mut house = House::serving();
    for vin in [VIN, OTHER] {
        house.done(&["vehicle", "add", vin, "--country", "CN"]);
    }
    let import = |kind: &str, content: &[u8]| {
        let file = house.file("records.csv", content);
        house.run(&["records", "import", "--kind", kind, &file])
    };
    let bad = format!("vin,sold_at,dealer\n{VIN},2026-01-05,d\nNOVIN,2026-01-05,d\n{OTHER},2026-13-05,\n");
    let wrong = crate::house::said(&import("sale", bad.as_bytes()));
    assert!(
        wrong.contains("line 3") && wrong.contains("line 4") && wrong.contains("nothing was imported"),
        "{wrong}"
    );
    let duplicate = format!("vin,sold_at,dealer\n{VIN},2026-01-05,d\n{VIN},2026-01-05,d\n");
    let column = format!("vin,sold,dealer\n{VIN},2026-01-05,d\n");
    let encoding = [format!("vin,sold_at,dealer\n{VIN},2026-01-05,").as_bytes(), b"\xff\xfe\n"].concat();
    for wrong in [duplicate.as_bytes(), column.as_bytes(), &encoding] {
        let output = import("sale", wrong);
        assert!(!output.status.success(), "{}", crate::house::said(&output));
    }
    let count = |sql: &str| house.done(&["query", "--format", "csv", sql]);
    assert!(count("select count(*) from sales").ends_with("\n0\n"));
    let good =
        format!("vin,sold_at,dealer,price\n{VIN},2026-01-05,first shop,199000\n{OTHER},2026-01-06,x,1\n");
    assert!(import("sale", good.as_bytes()).status.success());
    assert!(!import("sale", good.as_bytes()).status.success(), "sold already");
    let owners = format!("vin,owner_id,valid_from\n{VIN},c-1,2026-01-05\n{VIN},c-2,2026-03-01\n");
    let output = import("owner", owners.as_bytes());
    assert!(output.status.success(), "{}", crate::house::said(&output));
    let later = format!("vin,owner_id,valid_from\n{VIN},c-3,2026-06-01\n");
    let output = import("owner", later.as_bytes());
    assert!(
        crate::house::said(&output).contains("1 earlier owners' periods ended"),
        "{}",
        crate::house::said(&output)
    );
    assert!(count("select count(*) from owners where valid_to is not null").ends_with("\n2\n"));
    let officer = house.token("officer", "officer");
    let third = format!("vin,sold_at,dealer\n{VIN},2026-09-05,second hand\n");
    let posted = house.ask("POST", "/api/records/sale", Some(&officer), "text/csv", third.as_bytes());
    assert!(matches!(posted.status, 200 | 400), "{} {}", posted.status, posted.body);
    assert_eq!(house.ask("POST", "/api/records/rent", Some(&officer), "text/csv", b"").status, 404);
    let joined = "select count(*) from sales left join signals on sales.vehicle = signals.vehicle where dealer = 'first shop'";
    assert!(count(joined).ends_with("\n1\n"));
    house.stop();
    let verified = house.done(&["ledger", "verify"]);
    assert!(verified.contains("verified"), "{verified}");
    let bundles = house.files().into_iter().filter(|path| path.to_string_lossy().contains("tile/entries"));
    let entries: String = bundles
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a bundle")).into_owned())
        .collect();
    assert!(entries.contains("\"series\":\"records\""), "{entries}");
    assert!(!entries.contains(VIN));
}

#[test]
fn the_registry_comes_back_from_its_objects() {
    let house = House::new("CN", "shanghai-1");
    let mut fleet = "vin,country\n".to_owned();
    for number in 0..300 {
        fleet.push_str(&format!("LRW3E7FA8MC{number:06},CN\n"));
    }
    house.done(&["vehicle", "import", &house.file("fleet.csv", fleet)]);
    let before = house.done(&["vehicle", "list"]);
    for name in ["registry.sqlite", "registry.sqlite-wal", "registry.sqlite-shm"] {
        let _some_are_there = std::fs::remove_file(house.path().join("registry").join(name));
    }
    assert_eq!(house.done(&["vehicle", "list"]), before);
}
