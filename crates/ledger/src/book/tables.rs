//! Which of a Delta table's objects are what, by their names: the little that double entry has to know of the format.

use object_store::path::Path;

/// The folder of a table's log.
const LOG_FOLDER: &str = "_delta_log";
/// The pointer to the newest checkpoint.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// The folder of a table's log.
pub(crate) fn log(table: &Path) -> Path {
    table.clone().join(LOG_FOLDER)
}

/// The commit of a version.
pub(crate) fn commit(table: &Path, version: i64) -> Path {
    log(table).join(format!("{version:020}.json"))
}

/// The checkpoint of a version.
pub(crate) fn checkpoint(table: &Path, version: i64) -> Path {
    log(table).join(format!("{version:020}.checkpoint.parquet"))
}

/// The pointer to the newest checkpoint.
pub(crate) fn last_checkpoint(table: &Path) -> Path {
    log(table).join(LAST_CHECKPOINT)
}

/// What an object in a table's folder is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TableFile {
    /// The commit of a version.
    Commit(i64),
    /// Made from commits, and remade from them: a checkpoint, and the pointer to it.
    Derived,
    /// Rows.
    Data,
}

/// What an object in a table's folder is.
pub(crate) fn file(table: &Path, object: &Path) -> TableFile {
    let log = log(table);
    if !object.prefix_matches(&log) {
        return TableFile::Data;
    }
    let name = object.filename().unwrap_or_default();
    let version = |name: &str| -> Option<i64> {
        let digits = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| name.parse().ok())?
    };
    let is_child = object.parts_count() == log.parts_count() + 1;
    match name.strip_suffix(".json").and_then(version) {
        Some(version) if is_child => TableFile::Commit(version),
        _ if is_child && (name == LAST_CHECKPOINT || name.ends_with(".checkpoint.parquet")) => {
            TableFile::Derived
        }
        // Anything else there is no file of this program: it needs an entry, and has none.
        _ => TableFile::Data,
    }
}

/// Takes out of `data` the objects that a commit's text names.
pub(crate) fn named_by(table: &Path, commit: &[u8], data: &mut Vec<Path>) -> Vec<Path> {
    let text = String::from_utf8_lossy(commit);
    let (named, rest) = data.drain(..).partition(|object| names(table, &text, object));
    *data = rest;
    named
}

/// Whether a commit's text names an object: as the path below the table's folder, in quotation marks.
fn names(table: &Path, commit: &str, object: &Path) -> bool {
    let below = object.as_ref().strip_prefix(table.as_ref()).map(|below| below.trim_start_matches('/'));
    below.is_some_and(|below| commit.contains(&format!("\"{below}\"")))
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::{TableFile, file, named_by};

    #[test]
    fn a_tables_objects_are_told_apart_by_their_names() {
        let table = Path::from("c/lake/signals");
        let of = |name: &str| file(&table, &Path::from(format!("c/lake/signals/{name}")));
        assert_eq!(of("_delta_log/00000000000000000007.json"), TableFile::Commit(7));
        assert_eq!(of("_delta_log/00000000000000000007.checkpoint.parquet"), TableFile::Derived);
        assert_eq!(of("_delta_log/_last_checkpoint"), TableFile::Derived);
        assert_eq!(of("_delta_log/7.json"), TableFile::Data);
        assert_eq!(of("_delta_log/x/_last_checkpoint"), TableFile::Data);
        assert_eq!(of("gw-1.parquet"), TableFile::Data);
    }

    #[test]
    fn a_commit_names_its_files_whole() {
        let table = Path::from("c/lake/t");
        let mut data: Vec<Path> = ["a.parquet", "aa.parquet", "d/a.parquet"]
            .map(|name| Path::from(format!("{table}/{name}")))
            .to_vec();
        let commit = br#"{"add":{"path":"a.parquet","size":1}}"#;
        assert_eq!(named_by(&table, commit, &mut data), [Path::from("c/lake/t/a.parquet")]);
        assert_eq!(data.len(), 2);
    }
}
