//! Files of a copy that a later version of their table does without. They stay for a while, because queries may be reading them, as
//! they do at their own center; the list is kept beside the store, so that a restart forgets none.

use std::path::{Path, PathBuf};

use model::{CenterName, UtcMicros};
use serde::{Deserialize, Serialize};
use store::ObjectPath;

use crate::pki::{PkiError, replace_file};

/// How long such a file stays: longer than any query may take.
const STAY_MICROS: i64 = 60 * 60 * UtcMicros::PER_SECOND;

/// A file that is to go.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct File {
    name: String,
    due_us: i64,
}

/// The files of one copy that are to go.
#[derive(Debug)]
pub(super) struct Leaving {
    path: PathBuf,
    files: Vec<File>,
}

impl Leaving {
    /// The list of a copy. One that can't be read is begun anew: what it named stays, and stands in no table.
    pub(super) fn of(folder: &Path, center: &CenterName) -> Self {
        let path = folder.join(format!("mirror/{center}.leaving.json"));
        let files = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, files: files.unwrap_or_default() }
    }

    /// Puts files on the list, durably.
    pub(super) fn add(&mut self, files: &[ObjectPath], now: UtcMicros) -> Result<(), PkiError> {
        if files.is_empty() {
            return Ok(());
        }
        let due_us = now.plus_micros(STAY_MICROS).0;
        self.files.extend(files.iter().map(|file| File { name: file.to_string(), due_us }));
        self.write()
    }

    /// Those whose time is over.
    pub(super) fn due(&self, now: UtcMicros) -> Vec<ObjectPath> {
        let due = self.files.iter().filter(|file| file.due_us <= now.0);
        due.map(|file| ObjectPath::from(file.name.as_str())).collect()
    }

    /// Takes them off the list: they are deleted.
    pub(super) fn forget_due(&mut self, now: UtcMicros) -> Result<(), PkiError> {
        let count = self.files.len();
        self.files.retain(|file| file.due_us > now.0);
        if self.files.len() == count { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<(), PkiError> {
        let json = serde_json::to_vec(&self.files).expect("texts and numbers are JSON");
        replace_file(&self.path, &json, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use model::UtcMicros;
    use store::ObjectPath;

    use super::{Leaving, STAY_MICROS};

    #[test]
    fn a_file_stays_for_its_time_also_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("mirror")).expect("a folder");
        let center = "beijing-1".parse().expect("a name");
        let mut leaving = Leaving::of(folder.path(), &center);
        let file = ObjectPath::from("beijing-1/lake/signals/gw-1.parquet");
        leaving.add(std::slice::from_ref(&file), UtcMicros(0)).expect("kept");
        let mut leaving = Leaving::of(folder.path(), &center);
        assert_eq!(leaving.due(UtcMicros(STAY_MICROS - 1)), []);
        assert_eq!(leaving.due(UtcMicros(STAY_MICROS)), [file]);
        leaving.forget_due(UtcMicros(STAY_MICROS)).expect("kept");
        assert_eq!(Leaving::of(folder.path(), &center).due(UtcMicros(i64::MAX)), []);
    }
}
