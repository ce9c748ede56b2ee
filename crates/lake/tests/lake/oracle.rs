//! Other programs read our tables: Python's `deltalake` and `polars`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use object_store::local::LocalFileSystem;

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
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).expect("a store"));
    let mut center = Center::open(store.clone()).expect("a lake");
    // Past a checkpoint, so that both it and the log after it are read.
    for batch in 0..103 {
        center.take(batch, batch * 3 + 1..=batch * 3 + 3);
        center.commit(batch * 3 + 1, batch * 3 + 3).expect("a commit");
    }
    check_rows(&center, 309, "before others read");
    let lake = folder.path().join("shanghai-1/lake");
    let output = Command::new(python)
        .arg(repository().join("tests/python/read_delta.py"))
        .args([lake.as_os_str(), "309".as_ref()])
        .output()
        .expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    print!("{text}");
    // Python rewrote the checkpoint: ours must read what another program wrote.
    drop(center);
    let center = Center::open(store).expect("a lake");
    check_rows(&center, 309, "after Python wrote a checkpoint");
}
