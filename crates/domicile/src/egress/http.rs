//! A small HTTP client over the dialer: one request a connection, TLS by rustls. It never follows a redirect, because the address
//! that an answer names was declared by nobody; it reads no environment and no proxy settings.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::declared::{Destination, Host, Url};
use super::dial::{DialError, Dialer};

/// The system's trusted authorities, where `egress.ca_file` names no other file.
pub(super) const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long an exchange may take, from the name to the answer's last byte.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);
/// What an answer may hold: a checkpoint, cosignatures, or an error's text.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Header lines that an answer may have.
const HEADERS_MAX: usize = 64;
/// What hyper may buffer of an answer: its header lines.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// What is shown of a redirect's target, which a stranger wrote.
const SHOWN_CHARS_MAX: usize = 120;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No TLS session.
    #[error(
        "{to}: no TLS session: {source}; if its authority is your own, name its certificate in egress.ca_file"
    )]
    Tls {
        /// The destination.
        to: String,
        /// What rustls said.
        source: io::Error,
    },
    /// The answer sends somewhere else.
    #[error(
        "{to} redirects to `{location}`: refused, a redirect is never followed; declare the new address if it lies in the country"
    )]
    Redirect {
        /// The destination.
        to: String,
        /// Where it sends, shortened, without control characters.
        location: String,
    },
    /// The answer is longer than any answer should be.
    #[error("{to}: the answer is longer than {ANSWER_BYTES_MAX} bytes: refused")]
    TooLarge {
        /// The destination.
        to: String,
    },
    /// The answer takes too long.
    #[error("{to}: no whole answer within {} s", .time_max.as_secs())]
    Slow {
        /// The destination.
        to: String,
        /// How long it was waited for.
        time_max: Duration,
    },
    /// What came is no HTTP.
    #[error("{to}: {source}")]
    Protocol {
        /// The destination.
        to: String,
        /// What hyper said.
        source: hyper::Error,
    },
    /// The trusted authorities can't be read.
    #[error("{}: {problem}; name a PEM file of the authorities that you trust in egress.ca_file", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its status code, no redirect.
    pub(crate) status: u16,
    /// What the body is, where the answer says it.
    pub(crate) content_type: Option<String>,
    /// At most 64 KiB.
    pub(crate) body: Bytes,
}

/// Asks declared destinations over HTTP.
pub(crate) struct Client {
    dialer: Arc<Dialer>,
    tls: TlsConnector,
    time_max: Duration,
}

impl Client {
    /// A client that trusts the authorities of a file; `None` is the system's.
    ///
    /// # Errors
    /// [`HttpError::Authorities`].
    pub(crate) fn new(dialer: Arc<Dialer>, ca_file: Option<&Path>) -> Result<Self, HttpError> {
        let tls = TlsConnector::from(Arc::new(tls(ca_file.unwrap_or(Path::new(SYSTEM_CA_FILE)))?));
        Ok(Self { dialer, tls, time_max: EXCHANGE_TIME_MAX })
    }

    /// The same with another limit of time.
    #[cfg(test)]
    pub(super) fn within(mut self, time_max: Duration) -> Self {
        self.time_max = time_max;
        self
    }

    /// Posts a body to `path` below the URL.
    ///
    /// # Errors
    /// [`HttpError`]. An answer with a status of 4xx or 5xx is none.
    pub(crate) async fn post(
        &self,
        destination: &Arc<Destination>,
        url: &Url,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", url.path))
            .header(header::HOST, url.authority())
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .expect("a checked URL and fixed header lines make a request");
        let exchange = async {
            let stream = self.dialer.connect(destination).await?;
            if !url.is_tls {
                return exchange(destination, stream, request).await;
            }
            let session = self.tls.connect(server_name(&url.host), stream).await;
            let session = session.map_err(|source| HttpError::Tls { to: destination.to_string(), source })?;
            exchange(destination, session, request).await
        };
        let slow = |_| HttpError::Slow { to: destination.to_string(), time_max: self.time_max };
        timeout(self.time_max, exchange).await.map_err(slow)?
    }

    /// Opens a connection, with TLS where the URL has it, and closes it without a word.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(crate) async fn probe(&self, destination: &Arc<Destination>, url: &Url) -> Result<(), HttpError> {
        let probe = async {
            let stream = self.dialer.connect(destination).await?;
            if url.is_tls {
                let session = self.tls.connect(server_name(&url.host), stream).await;
                session.map_err(|source| HttpError::Tls { to: destination.to_string(), source })?;
            }
            Ok(())
        };
        let slow = |_| HttpError::Slow { to: destination.to_string(), time_max: self.time_max };
        timeout(self.time_max, probe).await.map_err(slow)?
    }
}

fn server_name(host: &Host) -> ServerName<'static> {
    match host {
        Host::Name(name) => {
            ServerName::try_from(name.clone()).expect("a declared name is a host name by construction")
        }
        Host::Address(address) => ServerName::IpAddress(IpAddr::into(*address)),
    }
}

async fn exchange<S>(
    destination: &Destination,
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let to = || destination.to_string();
    let protocol = |source| HttpError::Protocol { to: to(), source };
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(protocol)?;
    // Dropping the set ends the connection's task, whatever way this function ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(protocol)?;
    let text = |name| response.headers().get(name).map(|value| shown(value.as_bytes()));
    if response.status().is_redirection() {
        return Err(HttpError::Redirect {
            to: to(),
            location: text(header::LOCATION).unwrap_or_else(|| "nowhere".to_owned()),
        });
    }
    let (status, content_type) = (response.status().as_u16(), text(header::CONTENT_TYPE));
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(Answer { status, content_type, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge { to: to() }),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(source) => Err(protocol(*source)),
            Err(_) => Err(HttpError::TooLarge { to: to() }),
        },
    }
}

/// What a stranger wrote, fit for a line of a log.
pub(super) fn shown(bytes: &[u8]) -> String {
    let plain = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' };
    bytes.iter().take(SHOWN_CHARS_MAX).map(plain).collect()
}

fn tls(ca_file: &Path) -> Result<ClientConfig, HttpError> {
    let wrong = |problem: String| HttpError::Authorities { path: ca_file.to_owned(), problem };
    let certificates = CertificateDer::pem_file_iter(ca_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(format!("can't be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(wrong("holds no certificate of an authority".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
