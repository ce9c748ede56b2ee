//! Frames found in public parsers' tests, where they lie beside the repository: they decode to the values
//! beside them.

#[path = "rtm_con/mod.rs"]
mod rtm_con;

use std::path::PathBuf;

use rtm_con::{assert_encodes_again, compare, unhex};
use serde_json::Value as Json;
use wire::gbt32960::{Checksum, Cut, FRAME_BYTES_MAX, Keys, cut, describe};

fn frames_file() -> Option<PathBuf> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    #[expect(clippy::disallowed_methods, reason = "a test asks where the frames lie")]
    let given = std::env::var_os("DOMICILE_SHARED").map(PathBuf::from);
    let beside = ["../shared", "../../shared"].map(|path| repository.join(path));
    given
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("frames/gbt32960.jsonl"))
        .find(|file| file.exists())
}

#[test]
fn public_frames_decode_to_the_values_beside_them_and_encode_to_the_same_bytes() {
    let Some(file) = frames_file() else {
        println!("skipped: no shared/frames/gbt32960.jsonl beside the repository");
        return;
    };
    let lines = std::fs::read_to_string(file).expect("readable");
    let mut compared = 0;
    for line in lines.lines() {
        let line: Json = serde_json::from_str(line).expect("JSON");
        let frame = unhex(line["hex"].as_str().expect("hexadecimal"));
        let expected = Cut::Frame { skipped: 0, length: frame.len(), checksum: Checksum::AsSent };
        assert_eq!(cut(&frame, FRAME_BYTES_MAX, &Keys::none()), expected);
        assert_encodes_again(&frame);
        let ours = describe(&frame, &Keys::none()).expect("a frame");
        let theirs = &line["decoded_by_rtm_con"];
        if theirs["parser_error"].is_null() {
            compare(theirs, &ours);
            compared += 1;
        } else {
            assert_eq!(ours["command_name"], "platform_login");
        }
    }
    println!("{compared} frames compared");
    assert!(compared >= 8);
}
