//! The key that a center shows other centers, in a certificate that vouches for itself: the charter names its public half.

use std::path::Path;

use model::UtcMicros;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::pki::{self, PkiError};

/// The certificate's and the key's place in a center's folder.
const CERTIFICATE: &str = "pki/peer.pem";
const KEY: &str = "pki/peer.key";
/// Certificates are made as of this instant where no clock is at hand: nobody looks at their dates.
const MADE_AT: UtcMicros = UtcMicros::from_seconds(1_764_000_000);

/// A center's own certificate and key.
#[derive(Debug)]
pub(crate) struct PeerIdentity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    sha256: String,
}

impl PeerIdentity {
    /// Makes one in a folder that has none.
    pub(crate) fn make(folder: &Path, now: UtcMicros) -> Result<Self, PkiError> {
        let issued = pki::new_self_signed("domicile center", now)?;
        issued.write(&folder.join(CERTIFICATE), &folder.join(KEY))?;
        Self::open(folder)
    }

    /// The folder's; made where there is none.
    pub(crate) fn open_or_make(folder: &Path) -> Result<Self, PkiError> {
        if folder.join(CERTIFICATE).exists() { Self::open(folder) } else { Self::make(folder, MADE_AT) }
    }

    fn open(folder: &Path) -> Result<Self, PkiError> {
        let unreadable = |name: &str| PkiError::Unreadable { what: folder.join(name).display().to_string() };
        let certificate =
            CertificateDer::from_pem_file(folder.join(CERTIFICATE)).map_err(|_| unreadable(CERTIFICATE))?;
        let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(|_| unreadable(KEY))?;
        let sha256 = pki::public_key_pin_of(&certificate).ok_or_else(|| unreadable(CERTIFICATE))?;
        Ok(Self { certificate, key, sha256 })
    }

    /// SHA-256 (hex) of its public key (SubjectPublicKeyInfo, DER): what the charter names.
    pub(crate) fn sha256(&self) -> String {
        self.sha256.clone()
    }

    /// Certificate and key, for a TLS configuration.
    pub(crate) fn pair(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], self.key.clone_key())
    }
}
