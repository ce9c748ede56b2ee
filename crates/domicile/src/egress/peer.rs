//! The way out to another center: HTTP over TLS that both ends pin, on connections that are kept for the next request.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Method, Request, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::declared::Destination;
use super::dial::Dialer;
use super::http::HttpError;

/// How long an answer may take to begin, and to go on. A log that has not grown is answered after a third of it.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);
/// The largest answer: an object of the store, in memory. Batches are 16 MiB and sorted files a few times as much.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Connections that are kept while nothing is asked.
const IDLE_MAX: usize = 16;

/// A way to one other center.
pub(crate) struct PeerClient {
    dialer: Arc<Dialer>,
    destination: Arc<Destination>,
    tls: TlsConnector,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer.
pub(crate) struct PeerAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Questions whose body is JSON, by the end of their path; that of all others is a text.
const JSON: [&str; 2] = ["/keys", "/hand-over"];

fn content_type(path: &str) -> &'static str {
    if JSON.iter().any(|end| path.ends_with(end)) { "application/json" } else { "text/plain" }
}

impl PeerClient {
    /// A way to a declared destination. The configuration says whose key is expected there.
    pub(crate) fn new(dialer: Arc<Dialer>, destination: Arc<Destination>, tls: Arc<ClientConfig>) -> Self {
        Self { dialer, destination, tls: TlsConnector::from(tls), idle: Mutex::default() }
    }

    /// Asks. A connection that was kept and has ended meanwhile is replaced by a new one: what is asked may be asked twice.
    ///
    /// # Errors
    /// [`HttpError`]. An answer with a status of 4xx or 5xx is none.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<PeerAnswer, HttpError> {
        loop {
            let kept = self.idle.lock().pop();
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match self.exchange(&mut sender, &method, path, body.clone()).await {
                Ok(answer) => {
                    let mut idle = self.idle.lock();
                    if idle.len() < IDLE_MAX && !sender.is_closed() {
                        idle.push(sender);
                    }
                    return Ok(answer);
                }
                Err(HttpError::Protocol { .. }) if is_kept => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let to = || self.destination.to_string();
        let opened = async {
            let stream = self.dialer.connect(&self.destination).await?;
            // The name is nothing that anybody looks at: the key is pinned.
            let name = ServerName::try_from("center.domicile").expect("a constant name");
            let session = self.tls.connect(name, stream).await;
            let session = session.map_err(|source| HttpError::Tls { to: to(), source })?;
            let handshake = http1::Builder::new().handshake(TokioIo::new(session)).await;
            let (sender, connection) =
                handshake.map_err(|source| HttpError::Protocol { to: to(), source })?;
            // Ends with the sender.
            tokio::spawn(connection);
            Ok(sender)
        };
        timeout(STALL_TIME_MAX, opened).await.map_err(|_| self.slow())?
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<PeerAnswer, HttpError> {
        let to = || self.destination.to_string();
        let protocol = |source| HttpError::Protocol { to: to(), source };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, to())
            .header(header::CONTENT_TYPE, content_type(path))
            .body(Full::new(body))
            .expect("names of objects and fixed header lines make a request");
        let sent = async {
            sender.ready().await.map_err(protocol)?;
            sender.send_request(request).await.map_err(protocol)
        };
        let response = timeout(STALL_TIME_MAX, sent).await.map_err(|_| self.slow())??;
        let (head, mut rest) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = timeout(STALL_TIME_MAX, rest.frame()).await.map_err(|_| self.slow())? {
            if let Ok(data) = frame.map_err(protocol)?.into_data() {
                if body.len() + data.len() > ANSWER_BYTES_MAX {
                    return Err(HttpError::TooLarge { to: to() });
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(PeerAnswer { status: head.status.as_u16(), headers: head.headers, body: body.freeze() })
    }

    fn slow(&self) -> HttpError {
        HttpError::Slow { to: self.destination.to_string(), time_max: STALL_TIME_MAX }
    }
}
