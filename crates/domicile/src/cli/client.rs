//! How a command talks to the center: over the running center's socket, or to the folder opened by the command itself.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Refused;
use crate::api::answer::CUT;
use crate::api::centers::MissingView;
use crate::api::query::MISSING;
use crate::api::{OfficeError, Problem, Rooms, private_router};
use crate::assemble::Flow;
use crate::center::Center;
use crate::world::World;

/// A way to the center.
pub(crate) enum Client {
    /// A running center.
    Socket(hyper::client::conn::http1::SendRequest<Body>),
    /// The folder, opened by this process.
    Here { router: Router, flow: Option<Box<Flow>>, rooms: Box<Rooms> },
}

impl Client {
    /// Finds the running center of a folder, else opens the folder.
    pub(crate) async fn open(folder: &Path, world: &World) -> anyhow::Result<Self> {
        Self::find(folder, world, false).await
    }

    /// As [`Client::open`], for work that asks the tables. A folder that this process has opened is closed afterwards as a
    /// center that ends closes it.
    pub(crate) async fn with_tables<T>(
        folder: &Path,
        world: &World,
        work: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut client = Self::find(folder, world, true).await?;
        let done = work(&mut client).await;
        if let Self::Here { flow, rooms, .. } = client {
            tokio::task::spawn_blocking(move || {
                if let Some(flow) = flow {
                    flow.close();
                }
                rooms.books.close()
            })
            .await?;
        }
        done
    }

    async fn find(folder: &Path, world: &World, with_tables: bool) -> anyhow::Result<Self> {
        let path = Center::socket(folder);
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(Self::Socket(sender))
            }
            // No socket, or one that an ended process left: the folder's lock says whether it is in use.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                let rooms = open_rooms(folder, world)?;
                let flow = if with_tables { Some(Box::new(Flow::open(&rooms, world).await?)) } else { None };
                let sql = flow.as_ref().and_then(|flow| flow.sql());
                if let Some(flow) = &flow {
                    flow.caught_up().await;
                }
                let office =
                    Arc::new(rooms.office(world, None, sql, flow.as_ref().map(|flow| flow.eraser.clone())));
                Ok(Self::Here { router: private_router(office), flow, rooms: Box::new(rooms) })
            }
            Err(error) => {
                Err(error).with_context(|| format!("talking to the center over {}", path.display()))
            }
        }
    }

    /// Asks for a JSON document.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, address: &str) -> anyhow::Result<T> {
        let request = Request::builder().uri(address).body(Body::empty())?;
        json(self.send(request).await?).await
    }

    /// Asks for a text.
    pub(crate) async fn text(&mut self, address: &str) -> anyhow::Result<String> {
        let request = Request::builder().uri(address).body(Body::empty())?;
        let body = self.send(request).await?.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(body.to_vec())?)
    }

    /// Sends a JSON document and gives the answer's.
    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        address: &str,
        document: &impl Serialize,
    ) -> anyhow::Result<T> {
        json(self.send(post(address, document)?).await?).await
    }

    /// Sends a JSON document; the answer has no content.
    pub(crate) async fn command(&mut self, address: &str, document: &impl Serialize) -> anyhow::Result<()> {
        self.send(post(address, document)?).await.map(drop)
    }

    /// Sends bytes as they are and gives the answer's JSON document.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &mut self,
        address: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<T> {
        let request = Request::builder().method(Method::POST).uri(address).body(Body::from(bytes))?;
        json(self.send(request).await?).await
    }

    /// Sends a JSON document and gives the answer as it comes.
    pub(crate) async fn stream(
        &mut self,
        address: &str,
        document: &impl Serialize,
    ) -> anyhow::Result<Stream> {
        let response = self.send(post(address, document)?).await?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let cut = header(CUT).map(str::to_owned);
        let missing = header(MISSING).map(serde_json::from_str).transpose()?.unwrap_or_default();
        Ok(Stream { cut, missing, body: response.into_body() })
    }

    /// Sends a request; an answer that is not a success is an error.
    async fn send(&mut self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        let response = match self {
            Self::Socket(sender) => {
                let lost = "the center ended while it worked on this; its log says more";
                // The connection may still be busy with the end of the answer before.
                sender.ready().await.context(lost)?;
                sender.send_request(request).await.context(lost)?.map(Body::new)
            }
            Self::Here { router, .. } => {
                let service = TowerToHyperService::new(router.clone());
                hyper::service::Service::call(&service, request).await.into_response()
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Err(failure(status, &body))
    }
}

/// An answer as it comes.
pub(crate) struct Stream {
    pub(crate) body: Body,
    /// The limit by which it was cut.
    pub(crate) cut: Option<String>,
    /// Centers whose rows may be missing.
    pub(crate) missing: Vec<MissingView>,
}

/// Opens the folder itself, for a center that is not running.
fn open_rooms(folder: &Path, world: &World) -> anyhow::Result<Rooms> {
    match Rooms::open(folder, world) {
        Err(OfficeError::Store(store::Error::InUse { .. })) => anyhow::bail!(
            "a program has {0} (its lock is held) but does not answer on {1}: it is starting, ending or stuck; try again in a \
             moment, and if that does not help, stop it",
            folder.display(),
            Center::socket(folder).display()
        ),
        rooms => Ok(rooms?),
    }
}

/// Runs a command's conversation with the center.
pub(crate) fn converse<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(conversation)
}

/// A name as a part of an address: what is not a letter, digit, `-`, `.` or `_` is written in percent signs (RFC 3986, 2.1).
pub(crate) fn part(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn post(address: &str, document: &impl Serialize) -> anyhow::Result<Request<Body>> {
    let body = Body::from(serde_json::to_vec(document)?);
    let request = Request::builder().method(Method::POST).uri(address);
    Ok(request.header(header::CONTENT_TYPE, "application/json").body(body)?)
}

async fn json<T: DeserializeOwned>(response: Response<Body>) -> anyhow::Result<T> {
    let body = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&body).context("the center's answer is not understood: is it of another version?")
}

fn failure(status: StatusCode, body: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if problem.is_refusal() => Refused(problem.detail).into(),
        Ok(problem) => problem.into(),
        Err(_) => anyhow::anyhow!("{status}: {}", String::from_utf8_lossy(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_name_can_be_any_text_in_an_address() {
        assert_eq!(part("LRW3E7FA8MC000001"), "LRW3E7FA8MC000001");
        assert_eq!(part("a/b ?\u{e9}"), "a%2Fb%20%3F%C3%A9");
    }
}
