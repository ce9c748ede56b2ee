//! Holds the catalogue's files valid, and against the facts that they are made from where those are at hand.

use super::{find, gbt, info, signals, tesla, tesla_by_name};
use crate::gbt32960::names::NAMES;

#[test]
fn every_line_of_both_files_is_valid() {
    super::load::load(include_str!("signals.csv"), include_str!("enumerations.csv")).expect("valid files");
    assert!(signals().len() > 300);
}

#[test]
fn every_tesla_field_is_there() {
    for number in 0..=259 {
        let entry = tesla(number).expect("a field");
        assert_eq!(entry.number, number);
        let by_name = tesla_by_name(entry.entry.name).expect("the same field");
        assert_eq!(by_name.number, number);
    }
    assert!(tesla(260).is_none());
    assert!(tesla(u32::MAX).is_none());
}

#[test]
fn every_gbt_name_is_there_with_the_codec_s_unit() {
    for (name, unit) in NAMES {
        let entry = gbt(name).expect("a line for the name");
        assert_eq!(entry.maker_unit, *unit, "{name}");
        assert_eq!(find(info(entry.signal).path), Some(entry.signal));
    }
}
