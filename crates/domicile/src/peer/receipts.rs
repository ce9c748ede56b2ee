//! What other centers say that they hold of this one: their newest cosigned checkpoints, kept in `DIR/mirror`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::{SignedCheckpoint, VerifierKey};
use model::{CenterName, UtcMicros};
use parking_lot::Mutex;

use crate::charter::Charters;
use crate::pki::{PkiError, replace_file};

/// The receipts of a center.
pub(crate) struct Receipts {
    folder: PathBuf,
    newest: Mutex<BTreeMap<CenterName, SignedCheckpoint>>,
    charters: Arc<Charters>,
}

impl Receipts {
    /// Opens a center's receipts.
    pub(crate) fn open(
        folder: &Path,
        log_key: &VerifierKey,
        charters: Arc<Charters>,
    ) -> std::io::Result<Self> {
        let newest = Mutex::new(Self::read(folder, log_key));
        let folder = folder.join("mirror");
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, newest, charters })
    }

    /// Reads what was kept. A file that can't be read is left out: its center says it again.
    pub(crate) fn read(folder: &Path, log_key: &VerifierKey) -> BTreeMap<CenterName, SignedCheckpoint> {
        let mut newest = BTreeMap::new();
        for entry in folder.join("mirror").read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(Ok(center)) = name.strip_suffix(".note").map(str::parse) else { continue };
            let note = std::fs::read_to_string(&path).unwrap_or_default();
            if let Ok(checkpoint) = SignedCheckpoint::open(&note, log_key) {
                newest.insert(center, checkpoint);
            }
        }
        newest
    }

    /// Keeps a center's receipt, unless a later one is here.
    pub(crate) fn keep(&self, center: &CenterName, receipt: &SignedCheckpoint) -> Result<(), PkiError> {
        let mut newest = self.newest.lock();
        if newest.get(center).is_some_and(|known| known.size() > receipt.size()) {
            return Ok(());
        }
        replace_file(&self.folder.join(format!("{center}.note")), receipt.note().as_bytes(), 0o600)?;
        newest.insert(center.clone(), receipt.clone());
        Ok(())
    }

    /// When a center cosigned a receipt, by the mirror key that the charter names.
    pub(crate) fn held_at(&self, center: &CenterName, receipt: &SignedCheckpoint) -> Option<UtcMicros> {
        let in_force = self.charters.in_force()?;
        let key = in_force.charter.member(center)?.keys().ok()?.mirror;
        let seconds = receipt.cosigned_at(&key).ok().flatten()?;
        Some(UtcMicros::from_seconds(seconds.cast_signed()))
    }

    /// Entries up to which a center holds everything; 0 before its first receipt.
    pub(crate) fn held_by(&self, center: &CenterName) -> u64 {
        self.newest.lock().get(center).map_or(0, SignedCheckpoint::size)
    }

    /// The newest receipt of each center.
    pub(crate) fn all(&self) -> BTreeMap<CenterName, SignedCheckpoint> {
        self.newest.lock().clone()
    }
}
