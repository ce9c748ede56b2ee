//! Other programs read our tables: Python's `deltalake` and `polars`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lake::{Urgency, Work};
use model::UtcMicros;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::maintenance::Plain;
use crate::world::{Center, check_rows};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A Python with the packages of `tests/python/requirements.txt`.
fn python() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests are told by the environment where Python is")]
    let named = std::env::var_os("DOMICILE_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| repository().join(".venv/bin/python"));
    python.exists().then_some(python)
}

#[test]
fn deltalake_and_polars_read_the_same_rows() {
    let Some(python) = python() else {
        println!(
            "skipped: no Python (set DOMICILE_PYTHON, or make .venv from tests/python/requirements.txt)"
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn ObjectStore> =
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).expect("a store"));
    let mut center = Center::open(store.clone()).expect("a lake");
    // Past a checkpoint, so that both it and the log after it are read.
    for batch in 0..103 {
        center.take(batch, batch * 3 + 1..=batch * 3 + 3);
        center.commit(batch * 3 + 1, batch * 3 + 3).expect("a commit");
    }
    check_rows(&center, 309, "before others read");
    let lake = folder.path().join("shanghai-1/lake");
    read(&python, &lake);
    // Python rewrote the checkpoint: ours must read what another program wrote.
    drop(center);
    let mut center = Center::open(store.clone()).expect("a lake");
    check_rows(&center, 309, "after Python wrote a checkpoint");
    // Put together, with removed files in the log and their objects still there.
    let run = |center: &Center| {
        let books = Plain(store.clone());
        let mut maintenance = center.maintenance.lock();
        maintenance.run(Work::Both, Urgency::Now, &books, &mut |_| true).expect("a run")
    };
    assert!(run(&center).steps.len() >= 3);
    read(&python, &lake);
    // And with a file after it, the objects gone, and the log before the checkpoint.
    center.clock.pass(2 * UtcMicros::PER_HOUR);
    let done = run(&center);
    assert!(done.discarded >= 309, "{done:?}");
    center.take(200, 310..=312);
    center.commit(310, 312).expect("a commit");
    read_rows(&python, &lake, 312);
}

fn read(python: &Path, lake: &Path) {
    read_rows(python, lake, 309);
}

fn read_rows(python: &Path, lake: &Path, frames: u64) {
    let output = Command::new(python)
        .arg(repository().join("tests/python/read_delta.py"))
        .args([lake.as_os_str(), frames.to_string().as_ref()])
        .output()
        .expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    print!("{text}");
}
