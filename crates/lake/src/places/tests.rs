//! Places that everybody knows lie where they lie.

use super::{Language, city, province};

fn names(latitude: f64, longitude: f64) -> [Option<&'static str>; 4] {
    let (province, city) = (province(latitude, longitude), city(latitude, longitude));
    [
        province.map(|named| named.name(Language::English)),
        province.map(|named| named.name(Language::Chinese)),
        city.map(|named| named.name(Language::English)),
        city.map(|named| named.name(Language::Chinese)),
    ]
}

#[test]
fn places_have_the_names_that_everybody_knows() {
    for (latitude, longitude, expected) in [
        (31.2304, 121.4737, ["Shanghai", "上海市", "Shanghai", "上海"]),
        (39.9042, 116.4074, ["Beijing", "北京市", "Beijing", "北京"]),
        (30.5728, 104.0668, ["Sichuan", "四川省", "Chengdu", "成都"]),
        (43.8256, 87.6168, ["Xinjiang", "新疆维吾尔自治区", "Ürümqi", "乌鲁木齐"]),
        (29.6520, 91.1721, ["Xizang", "西藏自治区", "Lhasa", "拉萨"]),
        (23.1291, 113.2644, ["Guangdong", "广东省", "Guangzhou", "广州"]),
    ] {
        let found = names(latitude, longitude).map(|name| name.unwrap_or("nothing"));
        assert_eq!(found, expected, "{latitude} {longitude}");
    }
    // No provinces are drawn in Europe: there the nearest city says which.
    assert_eq!(names(48.137, 11.575)[0], Some("Bayern"));
    assert_eq!(names(48.137, 11.575)[2], Some("Munich"));
}

#[test]
fn a_city_is_one_of_the_same_province() {
    // Kunshan lies in Jiangsu and near Shanghai.
    let kunshan = names(31.385, 120.981);
    assert_eq!(kunshan[0], Some("Jiangsu"));
    assert_eq!(kunshan[2], Some("Suzhou"));
}

#[test]
fn the_sea_the_desert_and_what_is_no_place_have_no_name() {
    for (latitude, longitude) in [(0.0, -150.0), (f64::NAN, 10.0), (10.0, f64::INFINITY), (95.0, 500.0)] {
        assert_eq!(names(latitude, longitude), [None; 4], "{latitude} {longitude}");
    }
    // In the Taklamakan there is a province and no city.
    let taklamakan = names(38.9, 84.0);
    assert_eq!((taklamakan[0], taklamakan[2]), (Some("Xinjiang"), None));
}

#[test]
fn a_language_is_named_by_its_code() {
    assert_eq!(Language::of("zh"), Some(Language::Chinese));
    assert_eq!(Language::of("en"), Some(Language::English));
    assert_eq!(Language::of("fr"), None);
}
