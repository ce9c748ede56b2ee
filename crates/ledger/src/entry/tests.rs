//! Every kind of entry, spelled out.

use model::UtcMicros;

use super::{
    About, Adopted, BatchFacts, Checked, Degraded, Destroyed, Entered, Entry, Ground, Minute, Mirrored,
    Numbered, Opening, Pack, Read, RecordsFacts, Refused, Root, Stored, Superseded, Tabled, Whole, Word,
};

fn at() -> Minute {
    Minute::of(UtcMicros::from_civil(2026, 11, 24, 20, 10, 30).expect("a time"))
}

fn every_kind() -> Vec<(Entry, &'static str)> {
    let name = |text: &str| text.parse().expect("a name");
    let label = |text: &str| text.parse().expect("a label");
    let commitment = Opening::new([1; 32]).commit("c/x", b"hello");
    let whole = Whole { object: name("c/genesis.json"), commitment };
    let batch = BatchFacts {
        object: name("c/batch/2026/11/24/20/gw-00000000000000000042.parquet"),
        commitment,
        bytes: 1_234,
        gateway: "gw".parse().expect("a name"),
        first: 40,
        last: 42,
        frames: 3,
    };
    let records = RecordsFacts {
        object: name("c/records/00000000000000000001.parquet"),
        number: 1,
        commitment,
        bytes: 99,
        records: Word::of("sale"),
        rows: 100_000,
    };
    let control = Numbered { object: name("c/control/00000000000000000007.json"), number: 7, commitment };
    let pack = Pack {
        object: name("c/policy/00000000000000000001.toml"),
        number: 1,
        version: label("cn-1"),
        commitment,
    };
    let table = Tabled {
        table: label("signals"),
        version: 3,
        manifest: name("c/manifest/00000000000000000004.json"),
        number: 4,
        commitment,
        added: 2,
        removed: 0,
    };
    let manifest = Numbered { object: name("c/manifest/00000000000000000005.json"), number: 5, commitment };
    let some = Destroyed { ground: Ground::Request, objects: vec![name("c/x"), name("c/y")], manifest: None };
    let many = Destroyed { ground: Ground::Term, objects: Vec::new(), manifest: Some(manifest) };
    let refused = Refused {
        protocol: Word::of("gbt32960"),
        reason: Word::of("unknown_vehicle"),
        count: About::of(17),
        pack: label("cn-1"),
    };
    let read = Read { role: Word::of("officer"), what: Word::of("frames"), from: Word::of("inside") };
    vec![
        (Entry::Charter(whole.clone()), CHARTER),
        (
            Entry::Adopted(Adopted::Genesis(whole)),
            r#""kind":"adopted","at":"2026-11-24T20:10Z","what":"genesis","object""#,
        ),
        (Entry::Adopted(Adopted::Batch(batch.clone())), r#""what":"batch","object":"c/batch/"#),
        (Entry::Adopted(Adopted::Records(records.clone())), r#""what":"records","object":"c/records/"#),
        (Entry::Adopted(Adopted::Control(control.clone())), r#""what":"control","object":"c/control/"#),
        (Entry::Adopted(Adopted::Pack(pack.clone())), r#""what":"policy","object":"c/policy/"#),
        (
            Entry::Adopted(Adopted::Table(table.clone())),
            r#""what":"table","table":"signals","version":3,"manifest""#,
        ),
        (
            Entry::Stored(Stored::Batch(batch)),
            r#""bytes":1234,"gateway":"gw","first":40,"last":42,"frames":3}"#,
        ),
        (Entry::Stored(Stored::Records(records)), r#""bytes":99,"records":"sale","rows":100000}"#),
        (
            Entry::Control(control),
            r#""object":"c/control/00000000000000000007.json","number":7,"commitment":""#,
        ),
        (
            Entry::Chartered(Numbered {
                object: name("c/charter/00000000000000000002.note"),
                number: 2,
                commitment,
            }),
            r#""kind":"charter","at":"2026-11-24T20:10Z","object":"c/charter/00000000000000000002.note","number":2,"#,
        ),
        (
            Entry::Mirrored(Mirrored {
                center: "beijing-1".parse().expect("a name"),
                size: 77,
                root: Root([1; 32]),
            }),
            r#""center":"beijing-1","size":77,"root":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#,
        ),
        (Entry::Policy(pack), r#","number":1,"version":"cn-1","commitment":""#),
        (Entry::Tabled(table), r#""added":2,"removed":0}"#),
        (
            Entry::Refused(refused),
            r#""protocol":"gbt32960","reason":"unknown_vehicle","count":20,"pack":"cn-1"}"#,
        ),
        (Entry::Read(read), r#""role":"officer","what":"frames","from":"inside"}"#),
        (Entry::Erased(some), r#""ground":"request","objects":["c/x","c/y"]}"#),
        (
            Entry::Expired(many),
            r#""ground":"term","manifest":{"object":"c/manifest/00000000000000000005.json","number":5"#,
        ),
        (
            Entry::Superseded(Superseded { object: name("c/x"), by: name("c/y") }),
            r#""kind":"superseded","at":"2026-11-24T20:10Z","object":"c/x","by":"c/y"}"#,
        ),
        (
            Entry::Degraded(Degraded { part: Word::of("witness"), state: Word::of("silent") }),
            r#""part":"witness","state":"silent"}"#,
        ),
        (
            Entry::Checked(Checked { what: Word::of("store"), result: Word::of("passed") }),
            r#""what":"store","result":"passed"}"#,
        ),
    ]
}

const CHARTER: &str = concat!(
    r#"{"v":1,"kind":"charter","at":"2026-11-24T20:10Z","object":"c/genesis.json","#,
    r#""commitment":"GJISaw9SuH0otN/mN3QPmTQXKUE5A49egq3ZT2Oq7lA="}"#
);

#[test]
fn every_kind_is_written_as_the_schema_has_it_and_read_again() {
    for (entry, part) in every_kind() {
        let bytes = entry.write(at()).expect("an entry");
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let head = format!(r#"{{"v":1,"kind":"{}","at":"2026-11-24T20:10Z""#, entry.kind());
        assert!(text.starts_with(&head) && text.contains(part), "{text}\n{part}");
        assert_eq!(Entered::parse(&bytes).expect("its own"), Entered { at: at(), entry });
    }
}

#[test]
fn no_prefix_of_an_entry_is_one_and_no_changed_byte_goes_unseen() {
    for (entry, _) in every_kind() {
        let bytes = entry.write(at()).expect("an entry");
        for end in 0..bytes.len() {
            assert!(Entered::parse(&bytes[..end]).is_err(), "{} to {end}", entry.kind());
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x20;
            // A change may make another entry, never a second spelling of this one.
            if let Ok(read) = Entered::parse(&changed) {
                assert!(read.entry != entry || read.at != at(), "{} at {place}", entry.kind());
            }
        }
    }
}

#[test]
fn a_second_spelling_is_refused() {
    let wrong = [
        CHARTER.replace("\"v\":1", "\"v\": 1"),
        CHARTER.replace("}", ",\"note\":\"free text\"}"),
        CHARTER.replace("\"object\":\"c/genesis.json\",", ""),
        CHARTER.replace("c/genesis.json", "c\\/genesis.json"),
        CHARTER.replace("T20:10Z", "T20:10:00Z"),
        CHARTER.replace("charter\"", "charter\" "),
        format!("{CHARTER} "),
        String::new(),
        "{}".to_owned(),
        r#"{"v":1,"kind":"refused","at":"2026-11-24T20:10Z","protocol":"tesla","reason":"revoked","count":3,"pack":"1"}"#
            .to_owned(),
        r#"{"v":1,"kind":"expired","at":"2026-11-24T20:10Z","ground":"term"}"#.to_owned(),
        r#"{"v":1,"kind":"expired","at":"2026-11-24T20:10Z","ground":"term","objects":[]}"#.to_owned(),
        r#"{"v":1,"kind":"read","at":"2026-11-24T20:10Z"}"#.to_owned(),
    ];
    for text in wrong {
        assert!(Entered::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_entry_of_a_later_program_is_kept_as_it_is() {
    let later = br#"{"v":2,"kind":"mirrored","at":"2027-01-01T00:00Z","center":"beijing-1"}"#;
    let entered = Entered::parse(later).expect("an entry");
    assert_eq!(entered.entry, Entry::Opaque { kind: Word::of("mirrored"), bytes: later.to_vec() });
    assert_eq!(entered.entry.write(entered.at).expect("bytes"), later);
    assert!(Entered::parse(br#"{"v":1,"kind":"Two Words","at":"2027-01-01T00:00Z"}"#).is_err());
}

#[test]
fn a_list_that_is_too_long_for_an_entry_is_refused() {
    let name = format!("c/{}", "x".repeat(400)).parse().expect("a name");
    let objects = vec![name; 16];
    let entry = Entry::Erased(Destroyed { ground: Ground::Order, objects, manifest: None });
    assert!(matches!(entry.write(at()), Err(crate::Error::EntryTooLong { .. })));
}
