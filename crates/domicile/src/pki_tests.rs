use std::sync::Arc;
use std::time::Duration;

use model::UtcMicros;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;

use super::{Authority, Issued, inspect, new_server_authority, new_vehicle_authority};

const NOW: UtcMicros = UtcMicros(1_795_435_200_000_000);

fn at(days: i64) -> UnixTime {
    let seconds = NOW.plus_micros(days * UtcMicros::PER_DAY).0 / UtcMicros::PER_SECOND;
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate")
}

fn roots(authority: &Issued) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(authority)).expect("an authority");
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[test]
fn a_client_that_trusts_the_authority_accepts_the_server_by_each_of_its_names() {
    let ca = new_server_authority(NOW).expect("an authority");
    let authority = Authority::from_pem(&ca.certificate, &ca.key).expect("the authority");
    let hosts = ["telemetry.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let server = authority.server(&hosts, NOW).expect("a server certificate");
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(&ca), provider()).build().expect("a verifier");
    let verify = |name: &str, day: i64| {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier.verify_server_cert(&der(&server), &[], &name, &[], at(day)).is_ok()
    };
    for host in &hosts {
        assert!(verify(host, 0), "{host}");
    }
    assert!(!verify("other.example", 0));
    assert!(verify("telemetry.example", 396));
    assert!(!verify("telemetry.example", 398), "expired");
    assert!(!verify("telemetry.example", -3), "not yet valid");
    let (expires, names) = inspect(&server.certificate, "server").expect("readable");
    assert_eq!(names, hosts);
    assert_eq!(expires.since(NOW).as_secs() / 86_400, 397 - u64::from(NOW.civil().3 > 0));
}

#[test]
fn a_server_that_trusts_the_vehicle_authority_accepts_its_vehicles_alone() {
    let ca = new_vehicle_authority(NOW).expect("an authority");
    let other = new_vehicle_authority(NOW).expect("another authority");
    let vin = "LRW3E7FA8MC000001".parse().expect("a VIN");
    let issue = |ca: &Issued| {
        Authority::from_pem(&ca.certificate, &ca.key)
            .expect("the authority")
            .vehicle(&vin, NOW)
            .expect("a certificate")
    };
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&ca), provider()).build().expect("a verifier");
    assert!(verifier.verify_client_cert(&der(&issue(&ca)), &[], at(0)).is_ok());
    assert!(verifier.verify_client_cert(&der(&issue(&ca)), &[], at(14 * 365)).is_ok());
    // The names are the same, the keys are not.
    assert!(verifier.verify_client_cert(&der(&issue(&other)), &[], at(0)).is_err());
    let certificate = der(&issue(&ca));
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).expect("a certificate");
    assert_eq!(parsed.subject().to_string(), "CN=LRW3E7FA8MC000001");
    assert_eq!(parsed.issuer().to_string(), "CN=Domicile vehicle CA");
}

#[test]
fn a_renewed_server_certificate_is_trusted_by_the_same_vehicles() {
    let ca = new_server_authority(NOW).expect("an authority");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    let authority = Authority::from_pem(&ca.certificate, &ca.key).expect("the authority");
    let hosts = ["localhost".to_owned()];
    authority.server(&hosts, NOW).expect("a certificate").write(&certificate, &key).expect("written");
    let later = NOW.plus_micros(390 * UtcMicros::PER_DAY);
    let renewed = authority.server(&hosts, later).expect("a certificate");
    assert!(renewed.write(&certificate, &key).is_err(), "writing never overwrites");
    renewed.replace(&certificate, &key).expect("replaced");
    let (expires, _) = super::inspect_file(&certificate).expect("readable");
    assert!(expires > later);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(&ca), provider()).build().expect("a verifier");
    let name = ServerName::try_from("localhost").expect("a name");
    assert!(verifier.verify_server_cert(&der(&renewed), &[], &name, &[], at(390)).is_ok());
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_host_name_is_refused() {
    let ca = new_server_authority(NOW).expect("an authority");
    let authority = Authority::from_pem(&ca.certificate, &ca.key).expect("the authority");
    for host in ["", "two words", "a/b", "host:443", "m\u{fc}nchen.example"] {
        assert!(authority.server(&[host.to_owned()], NOW).is_err(), "{host}");
    }
}
