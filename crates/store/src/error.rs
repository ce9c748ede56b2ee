//! What can go wrong here, and whose move it is.

use std::io;

use model::Sequence;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk under the journal or the data folder failed.
    #[error("{doing}: {source}; check the disk and its free space")]
    Disk {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The object store failed or could not be reached.
    #[error("object store, {doing}: {source}; what was not acknowledged is tried again")]
    Objects {
        /// What was being done.
        doing: String,
        /// The store's answer.
        source: object_store::Error,
    },
    /// A journal holds something that no crash leaves behind.
    #[error(
        "journal damaged: {what}. Nothing was changed. Put the journal's disk aside for examination, then move the \
         folder away to start with an empty journal: acknowledged frames in it may be lost"
    )]
    JournalDamaged {
        /// Where, and which rule it breaks.
        what: String,
    },
    /// An object's content is not what it should be.
    #[error("object {name} is damaged: {what}; restore it from a mirror or a backup")]
    Corrupt {
        /// The object.
        name: String,
        /// Which rule it breaks.
        what: String,
    },
    /// Another journal's frames are held under the same numbers.
    #[error(
        "other frames are held as {first} to {last} of this gateway: the journal that sends these is not the one that sent those. Its disk \
         was set back or replaced; bring it back, or call the center lost"
    )]
    OtherJournal {
        /// The first number in question.
        first: Sequence,
        /// The last.
        last: Sequence,
    },
    /// The bytes were written by a newer version of the program.
    #[error(
        "{what} has format {version}, which this version does not know; run a newer program on this folder"
    )]
    Unsupported {
        /// Which kind of file.
        what: &'static str,
        /// Its version.
        version: String,
    },
    /// Another process has the folder.
    #[error("{folder} is in use by another process; stop it first, or ask it over its socket")]
    InUse {
        /// The folder.
        folder: String,
    },
    /// Another writer has claimed this center's prefix.
    #[error(
        "another writer (epoch {epoch}) has claimed this center's prefix; this process must stop writing"
    )]
    Fenced {
        /// The other's epoch.
        epoch: u64,
    },
    /// A vehicle's data key is not there: it was never made, or it was destroyed with the vehicle's data.
    #[error("no data key {name}: it was destroyed or never made")]
    KeyMissing {
        /// The key's object.
        name: String,
    },
    /// The keyring's identity does not open a key, or can't be read.
    #[error("keyring: {what}")]
    Keyring {
        /// What, and what to do.
        what: String,
    },
    /// A setting can't work.
    #[error("setting {setting}: {rule}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it must be.
        rule: String,
    },
}

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Try again later: a disk or a store does not answer.
    Unavailable,
    /// Stop and say so: what lies there is not what was written.
    Corrupt,
    /// Correct the settings or the other process.
    Refused,
    /// The thing asked for does not exist (any more).
    Missing,
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Disk { .. } | Self::Objects { .. } => Kind::Unavailable,
            Self::JournalDamaged { .. }
            | Self::Corrupt { .. }
            | Self::Keyring { .. }
            | Self::OtherJournal { .. } => Kind::Corrupt,
            Self::Unsupported { .. } | Self::InUse { .. } | Self::Fenced { .. } | Self::Setting { .. } => {
                Kind::Refused
            }
            Self::KeyMissing { .. } => Kind::Missing,
        }
    }

    pub(crate) fn disk(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Disk { doing, source }
    }

    pub(crate) fn objects(doing: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Objects { doing, source }
    }

    pub(crate) fn corrupt(name: impl ToString, what: impl Into<String>) -> Self {
        Self::Corrupt { name: name.to_string(), what: what.into() }
    }
}
