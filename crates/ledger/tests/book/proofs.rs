//! Proofs that are handed out.

use ledger::{SignatureType, SigningKey, proof_of, verify_proof_file};

use crate::world::World;

#[test]
fn an_object_of_each_kind_is_proved_by_a_file_and_the_logs_key() {
    let world = World::filled();
    let key = world.key.verifier();
    let proved = world.files().into_keys().filter(|name| {
        let folders =
            ["/batch/", "/control/", "/policy/", "/records/", "/manifest/", "/lake/", "/genesis.json"];
        let is_derived = name.contains("checkpoint");
        folders.iter().any(|folder| name.contains(folder)) && !name.contains("/opening/") && !is_derived
    });
    for name in proved {
        let content = world.content(&name.as_str().into());
        let text = proof_of(&world.objects, &world.names, &key, &name.as_str().into()).expect("a proof");
        let read = verify_proof_file(&text, None, Some(&content), &key, &[], 0).expect("it holds");
        assert!(read.content_matches);
        assert_eq!(read.object.as_deref(), Some(name.as_str()));
        let without = verify_proof_file(&text, Some(&read.entry), None, &key, &[], 0).expect("it holds");
        assert!(!without.content_matches);
        let mut other = content.clone();
        other.push(b'\n');
        assert!(verify_proof_file(&text, None, Some(&other), &key, &[], 0).is_err());
        assert!(verify_proof_file(&text, Some(b"{}"), None, &key, &[], 0).is_err());
    }
}

#[test]
fn a_proof_needs_the_right_key_and_the_witnesses() {
    let world = World::filled();
    let text = proof_of(&world.objects, &world.names, &world.key.verifier(), &world.names.control(2))
        .expect("a proof");
    let other = SigningKey::from_seed(world.key.name(), SignatureType::Ed25519, &[9; 32]).expect("a key");
    assert!(verify_proof_file(&text, None, None, &other.verifier(), &[], 0).is_err());
    let witness =
        SigningKey::from_seed("w", SignatureType::CosignatureV1, &[1; 32]).expect("a key").verifier();
    let key = world.key.verifier();
    assert!(verify_proof_file(&text, None, None, &key, std::slice::from_ref(&witness), 0).is_ok());
    assert!(verify_proof_file(&text, None, None, &key, &[witness], 1).is_err());
    for line in text.lines().filter(|line| line.len() > 8) {
        let changed = text.replace(line, &line[4..]);
        assert!(verify_proof_file(&changed, None, None, &key, &[], 0).is_err(), "{line}");
    }
    let never = world.names.control(77);
    assert!(proof_of(&world.objects, &world.names, &key, &never).is_err());
}
