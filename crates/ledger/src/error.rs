//! What can go wrong here, and whose move it is.

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes from outside are not what their format says.
    #[error("{what}: {why}")]
    Malformed {
        /// Which kind of bytes.
        what: &'static str,
        /// Which rule they break.
        why: String,
    },
    /// A signature of a known key does not hold.
    #[error("the signature of {name} does not hold: the note was changed, or another key has that name")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// The note carries no signature of the key that is asked for.
    #[error("the note is not signed by {name}")]
    NotSigned {
        /// The key's name.
        name: String,
    },
    /// Fewer witnesses than required have cosigned.
    #[error("{found} of the {needed} required cosignatures are there")]
    NoQuorum {
        /// Valid cosignatures of different witnesses.
        found: usize,
        /// The quorum.
        needed: usize,
    },
    /// A proof does not lead to the root.
    #[error("the proof does not hold: {why}")]
    BadProof {
        /// What does not fit.
        why: String,
    },
    /// An index or size that the log does not have.
    #[error("the log has {size} entries; {asked} is not among them")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The log's size.
        size: u64,
    },
    /// A file of the log is missing or is not what the checkpoint says.
    #[error("{name} is damaged: {why}; restore it from a mirror or a backup")]
    Corrupt {
        /// The file, below the log's folder.
        name: String,
        /// Which rule it breaks.
        why: String,
    },
    /// A tile could not be fetched.
    #[error("{name} could not be read: {why}; try again")]
    Unavailable {
        /// The file, below the log's folder.
        name: String,
        /// Why not.
        why: String,
    },
    /// An entry is longer than the format allows.
    #[error("an entry of {bytes} bytes is longer than the {bytes_max} that a bundle holds")]
    EntryTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Cosigners have seen more of this log than the store holds.
    #[error(
        "the store was rolled back: it holds {ours} entries, and cosigners have seen {seen}. Nothing is signed. Restore \
         the store to its last state, or from a mirror"
    )]
    RolledBack {
        /// The size here.
        ours: u64,
        /// The size that a cosigner has seen.
        seen: u64,
    },
    /// A log has two histories.
    #[error(
        "the log has another history than the one that is held here: its first {size} entries are not the same. Somebody rewrote \
         it, or its center was restored wrongly; keep both and ask who answers for it"
    )]
    Forked {
        /// The size up to which it is held here.
        size: u64,
    },
    /// Another process has claimed the log.
    #[error("another writer (epoch {epoch}) has claimed the log; this process must stop writing")]
    Fenced {
        /// The other's epoch.
        epoch: u64,
    },
    /// The ledger has stopped, and nothing more is signed until it is opened again.
    #[error("the ledger has stopped: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// The entry was not committed in time; it may be later.
    #[error("the entry was not committed in time; it still waits")]
    TimedOut,
    /// A checkpoint that may not be published.
    #[error("the checkpoint can't be published: {why}")]
    NotPublishable {
        /// Why not.
        why: String,
    },
    /// The store failed.
    #[cfg(feature = "writer")]
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The commit thread could not be started.
    #[cfg(feature = "writer")]
    #[error("starting the ledger's thread: {0}")]
    Thread(std::io::Error),
}

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Try again later.
    Unavailable,
    /// Stop and say so: what lies there is not what was written.
    Corrupt,
    /// Correct what was asked or handed in.
    Refused,
    /// What was asked for does not exist.
    Missing,
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } | Self::TimedOut | Self::Failed { .. } => Kind::Unavailable,
            Self::Corrupt { .. } | Self::RolledBack { .. } | Self::Forked { .. } => Kind::Corrupt,
            Self::OutOfRange { .. } => Kind::Missing,
            Self::Malformed { .. }
            | Self::BadSignature { .. }
            | Self::NotSigned { .. }
            | Self::NoQuorum { .. }
            | Self::BadProof { .. }
            | Self::EntryTooLong { .. }
            | Self::Fenced { .. }
            | Self::Closed
            | Self::NotPublishable { .. } => Kind::Refused,
            #[cfg(feature = "writer")]
            Self::Thread(_) => Kind::Unavailable,
            #[cfg(feature = "writer")]
            Self::Store(error) => match error.kind() {
                store::Kind::Unavailable => Kind::Unavailable,
                store::Kind::Corrupt => Kind::Corrupt,
                store::Kind::Refused => Kind::Refused,
                store::Kind::Missing => Kind::Missing,
            },
        }
    }

    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }

    pub(crate) fn corrupt(name: impl ToString, why: impl Into<String>) -> Self {
        Self::Corrupt { name: name.to_string(), why: why.into() }
    }

    pub(crate) fn proof(why: impl Into<String>) -> Self {
        Self::BadProof { why: why.into() }
    }
}
