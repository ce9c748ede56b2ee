//! Everybody who may check the log does, and accepts it as it is and not with one bit changed.

use std::ffi::OsStr;
use std::path::Path;

use crate::outside::{auditor, copy, fsck, verify, verify_copy};
use crate::traffic::{self, auditors_token, drive, enter, settle, store};

/// More than a bundle and a tile hold, so that there are full ones and partial ones.
const ENTRIES: usize = 310;

fn check_folder(log: &Path, vkey: &Path) -> Option<crate::outside::Said> {
    auditor(&["--log".as_ref(), log.as_ref(), "--vkey".as_ref(), vkey.as_ref()], None)
}

#[test]
fn verifiers_of_others_and_ours_accept_the_log_and_reject_one_flipped_bit() {
    let mut center = traffic::center();
    assert!(drive(&center) > 0);
    enter(&center, "made", ENTRIES);
    let token = auditors_token(&center);
    let size = settle(&center);
    assert!(size > ENTRIES as u64, "{size} entries");
    let (dir, vkey) = (center.path(), center.path().join("keys/log.vkey"));

    // Over HTTPS from the running center.
    let ca = dir.join("pki/server-ca.pem");
    let url = format!("https://localhost:{}/ledger", center.address("http").port());
    if let Some(said) = fsck(OsStr::new(&url), &vkey, Some(&token), Some(&ca)) {
        said.accepted(&format!("Successfully fsck'd log with size {size}"));
    }
    let (genesis, signature) = (dir.join("genesis.json"), dir.join("genesis.sig"));
    let over_https: &[&OsStr] = &[
        "--log".as_ref(),
        url.as_ref(),
        "--vkey".as_ref(),
        vkey.as_ref(),
        "--bearer".as_ref(),
        token.as_ref(),
        "--genesis".as_ref(),
        genesis.as_ref(),
        signature.as_ref(),
    ];
    if let Some(said) = auditor(over_https, Some(&ca)) {
        said.accepted(&format!("{size} entries"));
        said.accepted("OK: all of it holds");
        said.accepted("batch of gateway gw: 1 to ");
        said.accepted("genesis     CN, center shanghai-1");
    }
    let without_token = &over_https[..4];
    if let Some(said) = auditor(without_token, Some(&ca)) {
        said.rejected("status 401");
    }
    verify(&dir).accepted("verified");

    // As a folder, at rest.
    traffic::end(&mut center);
    let log = store(&dir).join("ledger");
    if let Some(said) = fsck(log.as_ref(), &vkey, None, None) {
        said.accepted("Successfully");
    }
    if let Some(said) = check_folder(&log, &vkey) {
        said.accepted("OK: all of it holds");
    }
    verify(&dir).accepted("pending     0");
    let copied = center.folder.path().join("copy");
    copy(&dir.join("store"), &copied);
    verify_copy(&copied).accepted("verified");
    every_flipped_bit_is_found(&copied.join(traffic::CENTER), &vkey);
    verify_copy(&copied).accepted("verified");
}

fn every_flipped_bit_is_found(center: &Path, vkey: &Path) {
    let log = center.join("ledger");
    let newest = |folder: &str| {
        let widths = std::fs::read_dir(log.join(folder)).expect("partial ones").flatten();
        let widths = widths.map(|entry| entry.file_name().to_string_lossy().parse().expect("a width"));
        format!("{folder}/{}", widths.max().unwrap_or(0_u32))
    };
    let places = [
        "tile/entries/000".to_owned(),
        newest("tile/entries/001.p"),
        "tile/0/000".to_owned(),
        newest("tile/0/001.p"),
        "tile/1/000.p/1".to_owned(),
        "checkpoint".to_owned(),
    ];
    for place in places {
        let path = log.join(&place);
        let whole = std::fs::read(&path).expect("it is there");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).expect("written");
        if let Some(said) = fsck(log.as_ref(), vkey, None, None) {
            said.rejected("fsck: ");
        }
        if let Some(said) = check_folder(&log, vkey) {
            said.rejected("DOES NOT HOLD: ");
            said.rejected(&place);
        }
        let said = verify_copy(center);
        said.rejected("NOT VERIFIED");
        said.rejected(&place);
        std::fs::write(&path, &whole).expect("written");
    }
}
