//! The center's signing keys, in the files of `DIR/keys`. Private ones are 0600 and never leave the folder; the public half of each
//! stands in the genesis.
//!
//! | file | signs |
//! |---|---|
//! | `country.key` | genesis and country packs; may be taken away after `init` and brought back to apply a pack |
//! | `log.key` | the checkpoints of the transparency log |
//! | `mirror.key` | that this center holds a copy of another one's log and objects |
//!
//! They are three because a cosignature says nothing of its signer's name: each role needs a key pair of its own (C2SP
//! tlog-cosignature).

use std::path::{Path, PathBuf};

use ledger::{SignatureType, SigningKey, VerifierKey};
use model::{CenterName, Entropy};

use super::CenterError;
use crate::pki;

/// A role that signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Signs genesis and packs.
    Country,
    /// Signs checkpoints.
    Log,
    /// Signs that a copy is held.
    Mirror,
}

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Country, Self::Log, Self::Mirror];

    fn stem(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Log => "log",
            Self::Mirror => "mirror",
        }
    }

    /// The key's name: unique in the world, because the cluster's id is random. The log's is its origin.
    pub(super) fn key_name(self, cluster: &str, center: &CenterName) -> String {
        match self {
            Self::Country => format!("{cluster}.domicile/country"),
            Self::Log => format!("{cluster}.domicile/{center}"),
            Self::Mirror => format!("{cluster}.domicile/{center}/mirror"),
        }
    }

    /// Where the private key lies.
    pub(crate) fn private(self, folder: &Path) -> PathBuf {
        folder.join(format!("keys/{}.key", self.stem()))
    }

    /// Where the public key lies.
    pub(crate) fn public(self, folder: &Path) -> PathBuf {
        folder.join(format!("keys/{}.vkey", self.stem()))
    }

    /// The public key in its file, a line of text.
    pub(super) fn read_public(self, folder: &Path) -> Result<VerifierKey, CenterError> {
        let path = self.public(folder);
        let text = std::fs::read_to_string(&path).map_err(super::file_error(&path))?;
        VerifierKey::parse(text.trim_end())
            .map_err(|error| CenterError::Key { path, what: error.to_string() })
    }

    /// The private key in its file.
    pub(crate) fn read_private(self, folder: &Path) -> Result<SigningKey, CenterError> {
        let path = self.private(folder);
        let text = std::fs::read_to_string(&path).map_err(super::file_error(&path))?;
        SigningKey::parse(text.trim_end()).map_err(|error| CenterError::Key { path, what: error.to_string() })
    }

    /// The key in the folder; made, with its two files, where there is none.
    pub(super) fn read_or_make(
        self,
        folder: &Path,
        cluster: &str,
        center: &CenterName,
        entropy: &dyn Entropy,
    ) -> Result<SigningKey, CenterError> {
        let (private, public) = (self.private(folder), self.public(folder));
        let key = if private.exists() {
            self.read_private(folder)?
        } else {
            let mut seed = [0; 32];
            entropy.fill(&mut seed);
            let name = self.key_name(cluster, center);
            let key = SigningKey::from_seed(&name, SignatureType::Ed25519, &seed)
                .map_err(|error| CenterError::Key { path: private.clone(), what: error.to_string() })?;
            pki::write_new(&private, format!("{}\n", key.to_text()).as_bytes(), 0o600)?;
            key
        };
        if !public.exists() {
            pki::write_new(&public, format!("{}\n", key.verifier()).as_bytes(), 0o644)?;
        }
        Ok(key)
    }
}
