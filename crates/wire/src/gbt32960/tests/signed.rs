//! Signatures of 2025.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};

use super::super::{
    Command, Edition, Envelope, Item, Items, PublicKey, Realtime, Signature, SignatureAlgorithm,
    SignatureCheck, Signer, Unit, WireTime, verify,
};
use super::{TIME, header, unhex};

fn signers() -> [Signer; 3] {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key").as_der().expect("PKCS #8");
    let p256 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
    [
        Signer::rsa(rsa.as_ref()).expect("RSA"),
        Signer::p256(p256.as_ref()).expect("P-256"),
        Signer::sm2(&[0x42; 32]).expect("SM2"),
    ]
}

fn signed_frame(signer: &Signer) -> Vec<u8> {
    let items = [Item::Custom { kind: 0x90, bytes: b"\xff\x01\x00\x00" }];
    let realtime =
        Realtime { time: WireTime(TIME), items: Items::Given(&items), signature: None, signed: &[] };
    let mut frame = Vec::new();
    signer.encode_signed(&header(Edition::V2025, Command::REALTIME), &realtime, &mut frame).expect("short");
    frame
}

fn check(frame: &[u8], key: Option<&PublicKey>) -> SignatureCheck {
    let Ok(Unit::Realtime(realtime)) = Envelope::read(frame).expect("a frame").plain_unit() else {
        panic!("realtime data")
    };
    verify(realtime.signed, realtime.signature.as_ref(), key)
}

#[test]
fn each_algorithm_verifies_what_it_signed_and_nothing_else() {
    let signers = signers();
    let keys = signers.each_ref().map(|signer| PublicKey::from_pem(&signer.public_key_pem()).expect("a key"));
    let algorithms = [SignatureAlgorithm::RSA, SignatureAlgorithm::ECC, SignatureAlgorithm::SM2];
    assert_eq!(keys.each_ref().map(PublicKey::algorithm), algorithms);
    for (index, signer) in signers.iter().enumerate() {
        let frame = signed_frame(signer);
        for (other, key) in keys.iter().enumerate() {
            let expected = if index == other { SignatureCheck::Verified } else { SignatureCheck::Invalid };
            assert_eq!(check(&frame, Some(key)), expected, "{index} {other}");
        }
        assert_eq!(check(&frame, None), SignatureCheck::NoKey);
        let mut tampered = frame.clone();
        for offset in [24, 29, 34] {
            tampered[offset] ^= 1;
            assert_ne!(check_if_readable(&tampered, &keys[index]), Some(SignatureCheck::Verified));
            tampered[offset] ^= 1;
        }
        let last = tampered.len() - 2;
        tampered[last] ^= 1;
        assert_ne!(check_if_readable(&tampered, &keys[index]), Some(SignatureCheck::Verified));
        // The VIN is not covered, which is why the caller holds a signature against that vehicle's key only.
        tampered[last] ^= 1;
        tampered[20] ^= 1;
        assert_eq!(check(&tampered, Some(&keys[index])), SignatureCheck::Verified);
    }
}

fn check_if_readable(frame: &[u8], key: &PublicKey) -> Option<SignatureCheck> {
    let Ok(Unit::Realtime(realtime)) = Envelope::read(frame).expect("a frame").plain_unit() else {
        return None;
    };
    Some(verify(realtime.signed, realtime.signature.as_ref(), Some(key)))
}

#[test]
fn another_vehicles_key_of_the_same_algorithm_does_not_hold() {
    let (mine, other) = (signers(), signers());
    let frame = signed_frame(&mine[0]);
    let key = PublicKey::from_pem(&other[0].public_key_pem()).expect("a key");
    assert_eq!(check(&frame, Some(&key)), SignatureCheck::Invalid);
    let other = Signer::sm2(&[0x43; 32]).expect("SM2");
    let key = PublicKey::from_pem(&other.public_key_pem()).expect("a key");
    assert_eq!(check(&signed_frame(&mine[2]), Some(&key)), SignatureCheck::Invalid);
}

#[test]
fn sm2_signatures_of_another_program_verify() {
    // GB/T 32918.5-2017, annex A: key, message "message digest", user id 1234567812345678, signature.
    let point = "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020
                 ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
    let spki = format!("3059301306072a8648ce3d020106082a811ccf5501822d034200 04 {point}");
    let key = PublicKey::from_der(&unhex(&spki)).expect("a key");
    let r = unhex("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3");
    let s = unhex("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa");
    let signature = Signature { algorithm: SignatureAlgorithm::SM2, r: &r, s: &s };
    assert_eq!(verify(b"message digest", Some(&signature), Some(&key)), SignatureCheck::Verified);
    assert_eq!(verify(b"message digesT", Some(&signature), Some(&key)), SignatureCheck::Invalid);
}

#[test]
fn absent_and_unknown_signatures_are_told_apart() {
    let key = PublicKey::from_pem(&signers()[1].public_key_pem()).expect("a key");
    assert_eq!(verify(b"", None, Some(&key)), SignatureCheck::Absent);
    let unknown = Signature { algorithm: SignatureAlgorithm(9), r: &[], s: &[] };
    assert_eq!(verify(b"", Some(&unknown), Some(&key)), SignatureCheck::UnknownAlgorithm);
    // Numbers longer than the curve's, or none at all, are invalid and no panic.
    for length in [0, 1, 31, 33, 300] {
        let bytes = vec![1; length];
        let odd = Signature { algorithm: SignatureAlgorithm::ECC, r: &bytes, s: &bytes };
        assert_eq!(verify(b"", Some(&odd), Some(&key)), SignatureCheck::Invalid);
    }
}

#[test]
fn what_is_no_public_key_is_refused() {
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----",
    ] {
        assert!(PublicKey::from_pem(text).is_err());
    }
    let pem = signers()[2].public_key_pem();
    let short = pem.replace('\n', " ").replacen("MF", "MG", 1);
    assert!(PublicKey::from_pem(&short).is_err());
}
