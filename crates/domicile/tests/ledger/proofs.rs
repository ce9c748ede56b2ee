//! Proofs of single objects that are carried away: ours and the auditor's script agree on them.

use std::path::Path;

use crate::outside::{Said, auditor, domicile, files, verify};
use crate::traffic::{self, drive, settle, store};

fn prove(dir: &Path, object: &str, proof: &Path) -> Said {
    domicile(&[
        "proof".as_ref(),
        "show".as_ref(),
        object.as_ref(),
        "--out".as_ref(),
        proof.as_ref(),
        "--dir".as_ref(),
        dir.as_ref(),
    ])
}

fn verifies(proof: &Path, vkey: &Path, content: &Path) -> (Said, Option<Said>) {
    let ours = domicile(&[
        "proof".as_ref(),
        "verify".as_ref(),
        proof.as_ref(),
        "--vkey".as_ref(),
        vkey.as_ref(),
        "--content".as_ref(),
        content.as_ref(),
    ]);
    let script = auditor(
        &[
            "--proof".as_ref(),
            proof.as_ref(),
            "--vkey".as_ref(),
            vkey.as_ref(),
            "--content".as_ref(),
            content.as_ref(),
        ],
        None,
    );
    (ours, script)
}

#[test]
fn a_batch_a_change_and_a_tables_file_are_proved_and_another_content_is_not() {
    let mut center = traffic::center();
    assert!(drive(&center) > 0);
    settle(&center);
    traffic::end(&mut center);
    let (dir, vkey) = (center.path(), center.path().join("keys/log.vkey"));
    verify(&dir).accepted("verified");
    let folder = store(&dir);
    let mut objects = vec![folder.join("control/00000000000000000002.json"), folder.join("genesis.json")];
    objects.extend(files(&folder.join("batch"), |name| name.ends_with(".parquet")).pop());
    objects.extend(files(&folder.join("lake/signals"), |name| name.ends_with(".parquet")).pop());
    objects.extend(files(&folder.join("lake/signals/_delta_log"), |_| true).pop());
    assert_eq!(objects.len(), 5, "one of each kind: {objects:?}");
    let proof = center.folder.path().join("object.tlog-proof");
    let changed = center.folder.path().join("changed");
    for path in objects {
        let object = path.strip_prefix(dir.join("store")).expect("below the store");
        let object = object.to_str().expect("a name");
        prove(&dir, object, &proof).accepted(".tlog-proof");
        let (ours, script) = verifies(&proof, &vkey, &path);
        ours.accepted("content     is what was entered");
        ours.accepted(object);
        if let Some(said) = script {
            said.accepted(&format!("is {object}"));
            said.accepted("OK: all of it holds");
        }
        let mut content = std::fs::read(&path).expect("read");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(&changed, &content).expect("written");
        let (ours, script) = verifies(&proof, &vkey, &changed);
        ours.rejected("the content is not what was entered");
        if let Some(said) = script {
            said.rejected("not what the entry committed to");
        }
    }
    // A proof that was changed proves nothing.
    let text = std::fs::read_to_string(&proof).expect("a text");
    let index = text.lines().find(|line| line.starts_with("index ")).expect("an index");
    std::fs::write(&proof, text.replacen(index, "index 0", 1)).expect("written");
    let (ours, script) = verifies(&proof, &vkey, &changed);
    assert!(!ours.holds, "{}", ours.text);
    assert!(script.is_none_or(|said| !said.holds));
    prove(&dir, "shanghai-1/control/00000000000000009999.json", &proof).rejected("00000000000000009999");
}
