//! What is done to a center behind its back, and what it says of it.

use std::path::Path;
use std::process::Command;

use crate::center::Center;
use crate::outside::{Said, copy, files, run, verify};
use crate::traffic::{self, drive, enter, settle, store};

/// Serves a folder that can't be served, and gives what is said of it.
fn serve(dir: &Path) -> Said {
    let mut command = Command::new("timeout");
    command.arg("60").arg(env!("CARGO_BIN_EXE_domicile")).args(["serve", "--dir"]).arg(dir);
    for protocol in ["TESLA", "GBT32960", "GBT32960_TLS", "HTTP"] {
        let name = protocol
            .strip_suffix("_TLS")
            .map_or(format!("DOMICILE_{protocol}_LISTEN"), |of| format!("DOMICILE_{of}_TLS_LISTEN"));
        command.env(name, "127.0.0.1:0");
    }
    run(&mut command)
}

#[test]
fn what_is_done_behind_its_back_is_named() {
    let mut center = traffic::center();
    assert!(drive(&center) > 0);
    settle(&center);
    let dir = center.path();
    let folder = store(&dir);

    // Two processes on one center.
    serve(&dir).rejected("in use");
    assert_eq!(center.status()["live"]["ledger"]["state"], "healthy", "the first one goes on");
    traffic::end(&mut center);
    verify(&dir).accepted("verified");

    // Objects that nobody entered, beside the others and in another number.
    for name in [
        "control/00000000000000009999.json",
        "batch/2026/11/24/20/gw-00000000000000999999.parquet",
        "note.txt",
    ] {
        let planted = folder.join(name);
        std::fs::create_dir_all(planted.parent().expect("a folder")).expect("made");
        std::fs::write(&planted, "planted").expect("written");
        let said = verify(&dir);
        said.rejected("NOT VERIFIED");
        said.rejected(name);
        std::fs::remove_file(&planted).expect("removed");
    }
    verify(&dir).accepted("verified");

    // A flipped bit in each kind of object, and each gone.
    let newest = |below: &str| files(&folder.join(below), |_| true).pop().expect("one of each kind");
    for path in
        [newest("batch"), newest("control"), newest("lake/signals"), newest("manifest"), newest("policy")]
    {
        let name = path.strip_prefix(&folder).expect("below the center").to_string_lossy().into_owned();
        let whole = std::fs::read(&path).expect("read");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).expect("written");
        verify(&dir).rejected(&name);
        std::fs::remove_file(&path).expect("removed");
        verify(&dir).rejected(&name);
        std::fs::write(&path, &whole).expect("written");
    }
    verify(&dir).accepted("verified");

    // A register that ends in the middle: named, and nothing is served on it.
    let head = folder.join("ledger/head.json");
    let whole = std::fs::read(&head).expect("read");
    std::fs::write(&head, &whole[..whole.len() / 2]).expect("written");
    verify(&dir).rejected("head.json");
    serve(&dir).rejected("head.json");
    std::fs::write(&head, &whole).expect("written");
    center.serve_again();
    assert_eq!(center.status()["live"]["ledger"]["state"], "healthy");
    a_store_that_was_rolled_back_is_told_without_a_witness(&mut center);
}

/// An older store comes back under a center that remembers a newer one.
fn a_store_that_was_rolled_back_is_told_without_a_witness(center: &mut Center) {
    let (dir, older) = (center.path(), center.folder.path().join("older"));
    traffic::end(center);
    copy(&dir.join("store"), &older);
    center.serve_again();
    enter(center, "later", 3);
    settle(center);
    traffic::end(center);
    verify(&dir).accepted("verified");
    std::fs::rename(dir.join("store"), center.folder.path().join("newest")).expect("moved away");
    copy(&older, &dir.join("store"));
    verify(&dir).rejected("NOT VERIFIED");
    serve(&dir).rejected("rolled back");
}
