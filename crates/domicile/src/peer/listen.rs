//! The listener for other centers. It is open while the charter names one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::CenterName;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::tls::center_of;
use crate::charter::Charters;
use crate::ingress::listener::bind;

/// Connections of other centers at once: each keeps a few, and a country has few centers.
const CONNECTIONS_MAX: usize = 512;
/// How long a handshake and the head of a request may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The center at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct PeerCenter(pub(crate) CenterName);

/// Listens from the first charter on that names another center, until `stop` becomes true.
pub(crate) async fn listen(
    address: String,
    charters: Arc<Charters>,
    config: Arc<ServerConfig>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut versions = charters.subscribe();
    while charters.others().is_empty() {
        tokio::select! {
            changed = versions.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
        }
    }
    let listener = match bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%address, %error, "can't listen for other centers; correct peer.listen and restart");
            return;
        }
    };
    let local = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    tracing::info!(service = "peer", address = %local, "listening");
    tokio::select! {
        () = accept(listener, charters, config, router) => {}
        _ = stop.wait_for(|is_stopped| *is_stopped) => {}
    }
}

async fn accept(listener: TcpListener, charters: Arc<Charters>, config: Arc<ServerConfig>, router: Router) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(seat) = seats.clone().try_acquire_owned() else { continue };
                let _only_slower = stream.set_nodelay(true);
                let (charters, config, router) = (charters.clone(), config.clone(), router.clone());
                tokio::spawn(async move {
                    serve(stream, &charters, config, router).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection of another center");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, charters: &Charters, config: Arc<ServerConfig>, router: Router) {
    let accepting = TlsAcceptor::from(config).accept(stream);
    let stream = match Box::pin(timeout(HANDSHAKE_TIME, accepting)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a connection to the peer port is of no center in the charter: refused");
            return;
        }
        Err(_) => return,
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let Some(center) = certificate.and_then(|certificate| center_of(charters, certificate)) else { return };
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerCenter(center.clone()));
        service.call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of another center broke off");
    }
}
