//! TLS: one server configuration a listener, read from files, replaced as a whole when they change. Connections that are open
//! keep the one that they began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

/// Which certificates clients of a listener show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clients {
    /// Each one, signed by a trusted authority.
    Certified,
    /// Those that have one; it must be signed by a trusted authority.
    MayBeCertified,
    /// None.
    Anonymous,
}

/// The files behind a listener's TLS, PEM each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsFiles {
    /// The server's certificate and what signed it, up to the authority.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authorities whose client certificates are trusted.
    pub(crate) client_ca: Vec<PathBuf>,
    /// What is asked of clients.
    pub(crate) clients: Clients,
}

/// Why the files make no TLS server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read, or is not the PEM that it should be.
    #[error("{}: {what}: {source}; check the file named in the settings", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it doesn't.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate at all.
    #[error("{}: holds no certificate; a PEM file with at least one is needed", .0.display())]
    Empty(PathBuf),
    /// Certificate and key don't fit each other, or are of a kind that is not supported.
    #[error("certificate {} and its key: {source}; renew both together", certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The authorities can't verify anybody.
    #[error("client authorities: {0}; check the files named in the settings")]
    Authorities(String),
}

/// Hears of client certificates that were refused in the handshake: when a vehicle can't connect, its diary says why.
pub(crate) trait RefusedCertificates: Send + Sync {
    /// A certificate was refused. `end_entity` is its DER as received, verified by nobody; `reason` is fit for a metric.
    fn refused(&self, end_entity: &[u8], reason: &'static str);
}

/// A listener's TLS configuration as it stands now.
pub(crate) struct Tls {
    files: TlsFiles,
    refused: Arc<dyn RefusedCertificates>,
    config: ArcSwap<ServerConfig>,
    /// When the files were written that `config` or the last failure was made from.
    seen: Mutex<Stamps>,
}

/// When each file was last written, and how long it is.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// What a look at the files brought.
#[derive(Debug)]
pub(crate) enum Reload {
    /// They are what they were.
    Unchanged,
    /// They were read anew: new connections use them.
    Reloaded,
    /// They have changed and are of no use: what was read before stays.
    Kept(TlsError),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that is not what it should be.
    pub(crate) fn load(files: TlsFiles, refused: Arc<dyn RefusedCertificates>) -> Result<Self, TlsError> {
        let seen = Mutex::new(stamps(&files));
        let config = ArcSwap::from_pointee(build(&files, &refused)?);
        Ok(Self { files, refused, config, seen })
    }

    /// The configuration for a new connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again where they have changed, or in any case with `is_forced`. Reads files: not for a task's thread.
    pub(crate) fn reload(&self, is_forced: bool) -> Reload {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock();
        if !is_forced && *seen == now {
            return Reload::Unchanged;
        }
        *seen = now;
        match build(&self.files, &self.refused) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                Reload::Reloaded
            }
            Err(error) => Reload::Kept(error),
        }
    }

    /// The server's certificate file, for `doctor` and gauges.
    pub(crate) fn certificate(&self) -> &Path {
        &self.files.certificate
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [&files.certificate, &files.key].into_iter().chain(&files.client_ca).map(stamp).collect()
}

fn build(files: &TlsFiles, refused: &Arc<dyn RefusedCertificates>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        path: files.key.clone(),
        what: "a private key in PEM",
        source,
    })?;
    let pair = |source| TlsError::Pair { certificate: files.certificate.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?;
    let mut config = match verifier(files, &provider, refused)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(chain, key)
    .map_err(pair)?;
    // A resumed handshake costs a quarter less. The tickets are sealed with keys that end with this configuration, so that
    // none outlives a change of the trusted authorities; who may send is asked of the registry after each handshake.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
        config.send_tls13_tickets = 1;
    }
    if files.clients == Clients::Anonymous {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}

fn verifier(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
    refused: &Arc<dyn RefusedCertificates>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if files.clients == Clients::Anonymous {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for path in &files.client_ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match files.clients {
        Clients::MayBeCertified => builder.allow_unauthenticated(),
        _ => builder,
    };
    let inner = builder.build().map_err(|error| TlsError::Authorities(error.to_string()))?;
    Ok(Some(Arc::new(Reporting { inner, refused: refused.clone() })))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), what: "certificates in PEM", source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(file)?.collect::<Result<_, _>>().map_err(file)?;
    if chain.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(chain) }
}

/// Verifies as rustls does, and tells of those that it refused.
struct Reporting {
    inner: Arc<dyn ClientCertVerifier>,
    refused: Arc<dyn RefusedCertificates>,
}

impl fmt::Debug for Reporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporting").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Reporting {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now);
        if let Err(error) = &verified {
            self.refused.refused(end_entity.as_ref(), reason(error));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A handshake's error as a metric's label: a closed set.
pub(crate) fn reason(error: &rustls::Error) -> &'static str {
    use rustls::Error;
    match error {
        Error::NoCertificatesPresented => "certificate_missing",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "certificate_expired"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "certificate_not_valid_yet",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "certificate_unknown_authority",
        Error::InvalidCertificate(CertificateError::BadEncoding) => "certificate_malformed",
        Error::InvalidCertificate(_) => "certificate_invalid",
        Error::AlertReceived(_) => "peer_alert",
        Error::PeerIncompatible(_) => "peer_incompatible",
        _ => "tls_malformed",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{Clients, RefusedCertificates, Reload, Tls, TlsError, TlsFiles};

    struct Nobody;
    impl RefusedCertificates for Nobody {
        fn refused(&self, _: &[u8], _: &'static str) {}
    }

    fn write_pair(folder: &Path, name: &str) {
        let issued = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        std::fs::write(folder.join("server.pem"), issued.cert.pem()).expect("written");
        std::fs::write(folder.join("server.key"), issued.signing_key.serialize_pem()).expect("written");
    }

    fn files(folder: &Path, clients: Clients) -> TlsFiles {
        TlsFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_ca: vec![folder.join("server.pem")],
            clients,
        }
    }

    #[test]
    fn changed_files_are_read_anew_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        write_pair(folder.path(), "one.example");
        let tls = Tls::load(files(folder.path(), Clients::Certified), Arc::new(Nobody)).expect("loaded");
        let first = tls.current();
        assert!(matches!(tls.reload(false), Reload::Unchanged));
        write_pair(folder.path(), "two-with-another-length.example");
        assert!(matches!(tls.reload(false), Reload::Reloaded));
        let second = tls.current();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(folder.path().join("server.pem"), "nothing").expect("written");
        assert!(matches!(tls.reload(false), Reload::Kept(TlsError::Empty(_))));
        assert!(matches!(tls.reload(false), Reload::Unchanged), "a failure is told once");
        assert!(Arc::ptr_eq(&second, &tls.current()));
        assert!(matches!(tls.reload(true), Reload::Kept(_)));
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        write_pair(folder.path(), "one.example");
        let certificate = std::fs::read(folder.path().join("server.pem")).expect("read");
        write_pair(folder.path(), "two.example");
        std::fs::write(folder.path().join("server.pem"), certificate).expect("written");
        let loaded = Tls::load(files(folder.path(), Clients::Anonymous), Arc::new(Nobody));
        assert!(matches!(loaded, Err(TlsError::Pair { .. })));
    }
}
