//! A vehicle's side of TLS: its certificate, and the server that it trusts.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::error::ClientError;

/// A vehicle's certificate chain and key.
#[derive(Debug)]
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads both from PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ClientError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ClientError::Credentials("the certificate is no PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| ClientError::Credentials("the key is no PEM private key"))?;
        if chain.is_empty() {
            return Err(ClientError::Credentials("there is no certificate in the PEM"));
        }
        Ok(Self { chain, key })
    }
}

/// The servers' CA that vehicles were configured with.
#[derive(Debug, Clone)]
pub struct Trust(Arc<RootCertStore>, Arc<CryptoProvider>);

impl Trust {
    /// Reads the CA from PEM.
    pub fn from_pem(ca: &[u8]) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            let certificate = certificate.map_err(|_| ClientError::Credentials("the CA is no PEM"))?;
            roots.add(certificate)?;
        }
        Ok(Self(Arc::new(roots), Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
    }

    /// A connector that shows these credentials, or none. Sessions are not resumed: a vehicle comes back after hours.
    pub fn connector(&self, credentials: Option<&Credentials>) -> Result<TlsConnector, ClientError> {
        let builder = ClientConfig::builder_with_provider(self.1.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.0.clone());
        let mut config = match credentials {
            Some(Credentials { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Where a vehicle connects to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// The name that the server's certificate must carry.
    pub server_name: ServerName<'static>,
}

impl Endpoint {
    /// An endpoint by address; the certificate must name the IP address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, server_name: ServerName::from(address.ip()) }
    }
}
