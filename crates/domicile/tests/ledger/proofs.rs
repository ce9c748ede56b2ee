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

#[test]
fn what_is_shown_of_a_vehicle_carries_proofs_of_its_batches() {
    let mut center = traffic::center();
    assert!(drive(&center) > 0);
    settle(&center);
    let dir = center.path();
    let fleet = std::fs::read_to_string(dir.join("fleet.csv")).expect("a fleet");
    let vins: Vec<&str> =
        fleet.lines().filter_map(|line| line.split_once(",CN,")).map(|(vin, _)| vin).collect();
    assert_eq!(vins.len(), 5, "{fleet}");
    let ids: Vec<String> = vins
        .iter()
        .map(|vin| center.show(vin)["vehicle"]["id"].as_str().expect("a vehicle").to_owned())
        .collect();
    let out = center.folder.path().join("shown");
    let show = ["subject", "show", "--vin", vins[0], "--out"].map(AsRef::as_ref);
    let shown = domicile(&[&show[..], &[out.as_ref(), "--dir".as_ref(), dir.as_ref()]].concat());
    traffic::end(&mut center);
    shown.accepted("batches hold its frames");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("a file");
    let manifest: serde_json::Value = serde_json::from_str(&read("manifest.json")).expect("JSON");
    assert_eq!(manifest["proofs"]["not_yet"], serde_json::json!([]));
    let proofs = manifest["proofs"]["batches"].as_array().expect("proofs");
    let held: u64 = proofs.iter().map(|proof| proof["entry"]["frames"].as_u64().expect("a count")).sum();
    assert!(held >= manifest["tables"]["frames"].as_u64().expect("a count"), "{manifest}");
    let vkey = out.join("log.vkey");
    for proof in proofs {
        let file = out.join(proof["file"].as_str().expect("a name"));
        let object = proof["object"].as_str().expect("a name");
        assert!(std::fs::read_to_string(&file).expect("a proof").ends_with(&read("checkpoint")));
        let (ours, script) = verifies(&file, &vkey, &dir.join("store").join(object));
        ours.accepted("content     is what was entered");
        if let Some(said) = script {
            said.accepted(&format!("is {object}"));
        }
        // Nothing of it can be changed.
        let text = std::fs::read(&file).expect("a proof");
        for at in (0..text.len()).step_by(97) {
            let mut changed = text.clone();
            changed[at] ^= 1;
            std::fs::write(&file, &changed).expect("written");
            let (ours, script) = verifies(&file, &vkey, &dir.join("store").join(object));
            assert!(!ours.holds && script.is_none_or(|said| !said.holds), "byte {at}: {}", ours.text);
        }
        std::fs::write(&file, &text).expect("written");
    }
    // Every file of the folder speaks of this vehicle alone.
    for path in files(&out, |_| true) {
        let bytes = std::fs::read(&path).expect("a file");
        for id in &ids[1..] {
            let is_named = bytes.windows(id.len()).any(|window| window == id.as_bytes());
            assert!(!is_named, "{} names another vehicle", path.display());
        }
    }
}
