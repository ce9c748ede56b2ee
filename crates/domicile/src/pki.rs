//! Certificates that the center makes: its authority for servers, its authority for vehicles, and what they issue. All keys
//! are P-256, because every vehicle can verify that.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::charter::sha256;
use model::{UtcMicros, Vin};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The common name of the authority for vehicles: `tesla.issuers` names it.
pub(crate) const VEHICLE_CA_NAME: &str = "Domicile vehicle CA";
/// The common name of the authority for servers.
const SERVER_CA_NAME: &str = "Domicile server CA";
/// An authority outlives the vehicles that trust it: changing it means configuring each of them again.
const AUTHORITY_DAYS: i64 = 30 * 365;
/// A vehicle's certificate lasts as long as a vehicle; `vehicle revoke` ends it sooner.
const VEHICLE_DAYS: i64 = 15 * 365;
/// A server's certificate is short-lived, because it is renewed without touching a vehicle.
const SERVER_DAYS: i64 = 397;
/// A server's certificate is renewed when it has fewer days left.
pub(crate) const RENEWAL_DAYS: i64 = 30;
/// Certificates are valid from a day before they are made, for vehicles whose clock is slow.
const SLACK_DAYS: i64 = 1;

/// Why a certificate can't be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    #[error("{name}: {source}")]
    File { name: String, source: std::io::Error },
    #[error("{name} exists already; nothing was overwritten")]
    Exists { name: String },
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{what} is no certificate in PEM")]
    Unreadable { what: String },
    #[error("it is no certificate of this country's authority for servers")]
    Foreign,
    #[error("no center that has the country's authority for servers renewed it: {0}")]
    NoAuthority(String),
    #[error("another center gave a certificate that is of no use here: {0}")]
    Useless(String),
    #[error("`{name}` is neither a host name nor an address")]
    HostName { name: String },
}

/// A certificate and its private key, both as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// An authority that issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    certificate: String,
}

/// Makes the authority whose certificates servers show and vehicles trust.
pub(crate) fn new_server_authority(now: UtcMicros) -> Result<Issued, PkiError> {
    new_authority(SERVER_CA_NAME, now)
}

/// Makes the authority whose certificates vehicles show.
pub(crate) fn new_vehicle_authority(now: UtcMicros) -> Result<Issued, PkiError> {
    new_authority(VEHICLE_CA_NAME, now)
}

impl Authority {
    /// Reads an authority's certificate and key.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        Self::from_pem(&read(certificate)?, &read(key)?)
    }

    /// The authority of a certificate and key in PEM.
    pub(crate) fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { issuer, certificate: certificate.to_owned() })
    }

    /// Issues a server's certificate for these host names and addresses, with a new key.
    pub(crate) fn server(&self, hosts: &[String], now: UtcMicros) -> Result<Issued, PkiError> {
        self.issue(server_params(hosts, now)?)
    }

    /// Issues a server's certificate for a key that is somebody else's: its public half in PEM. Gives the certificate.
    pub(crate) fn server_of(
        &self,
        hosts: &[String],
        public_key: &str,
        now: UtcMicros,
    ) -> Result<String, PkiError> {
        let key = SubjectPublicKeyInfo::from_pem(public_key)?;
        Ok(server_params(hosts, now)?.signed_by(&key, &self.issuer)?.pem())
    }

    /// Issues a server's certificate anew for one that this authority has issued: for the same key, host names and addresses. Also where
    /// that one has expired.
    pub(crate) fn server_again(&self, earlier: &str, now: UtcMicros) -> Result<String, PkiError> {
        let unreadable = || PkiError::Unreadable { what: "what is to be renewed".to_owned() };
        let (_, hosts) = inspect(earlier, "what is to be renewed")?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(earlier.as_bytes()).map_err(|_| unreadable())?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| unreadable())?;
        let began = certificate.validity().not_before.timestamp();
        let name =
            hosts.first().and_then(|host| ServerName::try_from(host.as_str()).ok()).ok_or_else(unreadable)?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(began.unsigned_abs() + 1));
        verifier_of(&self.certificate)?
            .verify_server_cert(&CertificateDer::from(pem.contents.as_slice()), &[], &name, &[], at)
            .map_err(|_| PkiError::Foreign)?;
        let key = SubjectPublicKeyInfo::from_der(certificate.public_key().raw)?;
        Ok(server_params(&hosts, now)?.signed_by(&key, &self.issuer)?.pem())
    }

    /// Issues a vehicle's certificate: its subject's common name is the VIN.
    pub(crate) fn vehicle(&self, vin: &Vin, now: UtcMicros) -> Result<Issued, PkiError> {
        let mut params = params(vin.as_str(), now, VEHICLE_DAYS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<Issued, PkiError> {
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn server_params(hosts: &[String], now: UtcMicros) -> Result<CertificateParams, PkiError> {
    let mut params = params(hosts.first().map_or("domicile", String::as_str), now, SERVER_DAYS);
    for host in hosts {
        params.subject_alt_names.push(alternative_name(host)?);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// A key without a certificate yet: the private and the public half, PEM each.
pub(crate) fn new_key_pair() -> Result<(String, String), PkiError> {
    let key = new_key()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// A certificate that vouches for itself: whoever believes it has been told its public key by other means.
pub(crate) fn new_self_signed(name: &str, now: UtcMicros) -> Result<Issued, PkiError> {
    let mut params = params(name, now, AUTHORITY_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = new_key()?;
    let certificate = params.self_signed(&key)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn new_key() -> Result<KeyPair, PkiError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

impl Issued {
    /// Writes certificate (0644) and key (0600), durably; overwrites neither.
    pub(crate) fn write(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        write_new(key, self.key.as_bytes(), 0o600)?;
        write_new(certificate, self.certificate.as_bytes(), 0o644)
    }

    /// Puts certificate and key in the place of others: each file is the old or the new one at any time.
    pub(crate) fn replace(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        for (path, text, mode) in [(key, &self.key, 0o600), (certificate, &self.certificate, 0o644)] {
            replace_file(path, text.as_bytes(), mode)?;
        }
        Ok(())
    }
}

/// When the first certificate of a PEM text expires, and which host names and addresses it is for.
pub(crate) fn inspect(pem: &str, what: &str) -> Result<(UtcMicros, Vec<String>), PkiError> {
    let unreadable = || PkiError::Unreadable { what: what.to_owned() };
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| unreadable())?;
    let expires = UtcMicros::from_seconds(certificate.validity().not_after.timestamp());
    let names = certificate.subject_alternative_name().map_err(|_| unreadable())?;
    let names = names.map(|extension| extension.value.general_names.iter().filter_map(host_name).collect());
    Ok((expires, names.unwrap_or_default()))
}

/// That a server's certificate which somebody else made anew is for the same key and names as the one in use, lasts longer, and is trusted
/// by who trusts the authority (PEM each).
pub(crate) fn check_renewed(
    renewed: &str,
    used: &str,
    authority: &str,
    now: UtcMicros,
) -> Result<(), PkiError> {
    let useless = |what: &str| PkiError::Useless(what.to_owned());
    if public_key_pin(renewed)? != public_key_pin(used)? {
        return Err(useless("it is for another key"));
    }
    let (expires, hosts) = inspect(renewed, "the renewed certificate")?;
    let (expired, known) = inspect(used, "the certificate")?;
    if hosts != known || expires <= expired {
        return Err(useless("it is for other names, or lasts no longer"));
    }
    let name = hosts.first().and_then(|host| ServerName::try_from(host.as_str()).ok());
    let name = name.ok_or_else(|| useless("it names no host"))?;
    let der = CertificateDer::from_pem_slice(renewed.as_bytes()).map_err(|_| useless("it is not PEM"))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(
        now.0.div_euclid(UtcMicros::PER_SECOND).unsigned_abs(),
    ));
    let verified = verifier_of(authority)?.verify_server_cert(&der, &[], &name, &[], at);
    verified.map(|_| ()).map_err(|error| PkiError::Useless(error.to_string()))
}

fn verifier_of(authority: &str) -> Result<Arc<WebPkiServerVerifier>, PkiError> {
    let unreadable = || PkiError::Unreadable { what: "the authority".to_owned() };
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|_| unreadable())?;
    roots.add(root).map_err(|_| unreadable())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|_| unreadable())
}

/// SHA-256 (hex) of the public key (SubjectPublicKeyInfo, DER) of the first certificate of a PEM text.
pub(crate) fn public_key_pin(pem: &str) -> Result<String, PkiError> {
    let unreadable = || PkiError::Unreadable { what: "the certificate".to_owned() };
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    public_key_pin_of(&pem.contents).ok_or_else(unreadable)
}

/// As [`public_key_pin`], of a certificate's DER.
pub(crate) fn public_key_pin_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(sha256(certificate.public_key().raw))
}

/// As [`inspect`], of a file.
pub(crate) fn inspect_file(path: &Path) -> Result<(UtcMicros, Vec<String>), PkiError> {
    inspect(&read(path)?, &path.display().to_string())
}

/// Writes a file that must not exist yet, durably: it is there whole or not at all, also where the program is killed meanwhile.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let staged = stage(path, bytes, mode)?;
    let linked = std::fs::hard_link(&staged, path);
    std::fs::remove_file(&staged).map_err(file_error(path))?;
    linked.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => PkiError::Exists { name: path.display().to_string() },
        _ => file_error(path)(source),
    })?;
    sync_folder_of(path)
}

/// Puts a file in the place of another, durably: it is the old or the new one at any time.
pub(crate) fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let staged = stage(path, bytes, mode)?;
    std::fs::rename(&staged, path).map_err(file_error(path))?;
    sync_folder_of(path)
}

/// Writes what a file is to hold beside it, and gives that one's name. One that a killed program has left goes.
fn stage(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, PkiError> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    let _there_may_be_none = std::fs::remove_file(&staged);
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged);
    let mut file = opened.map_err(file_error(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(file_error(path))?;
    Ok(staged)
}

fn sync_folder_of(path: &Path) -> Result<(), PkiError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(path))
}

fn new_authority(name: &str, now: UtcMicros) -> Result<Issued, PkiError> {
    let mut params = params(name, now, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = new_key()?;
    let certificate = params.self_signed(&key)?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, now: UtcMicros, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |offset: i64| {
        let (year, month, day, ..) = now.plus_micros(offset * UtcMicros::PER_DAY).civil();
        rcgen::date_time_ymd(year, month, day)
    };
    params.not_before = day(-SLACK_DAYS);
    params.not_after = day(days);
    params.use_authority_key_identifier_extension = true;
    params
}

fn alternative_name(host: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    match host.try_into() {
        Ok(name) if plain && !host.is_empty() => Ok(SanType::DnsName(name)),
        _ => Err(PkiError::HostName { name: host.to_owned() }),
    }
}

fn host_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        x509_parser::extensions::GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(file_error(path))
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> PkiError {
    move |source| PkiError::File { name: path.display().to_string(), source }
}

#[cfg(test)]
#[path = "pki_tests.rs"]
mod tests;
