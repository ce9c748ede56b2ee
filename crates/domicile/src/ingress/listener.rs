//! Listeners: they accept, keep the limit of connections, shake hands within a deadline, and hand over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::Protocol;
use policy::Transport;
use rustls::Error as RustlsError;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wire::gbt32960::Keys;

use super::connections::Seat;
use super::dialogue::seconds;
use super::gate::{Certified, Gate, plain_address};
use super::tls::{self, Tls};
use super::{gbt32960, sweep, tesla};
use crate::api::access::PeerAddress;
#[cfg(feature = "lake")]
use crate::postgres::Postgres;
use crate::settings::listen_address;

/// Connections that the system may hold ready before we accept them: a fleet that reconnects at once after an outage.
const BACKLOG: i32 = 4_096;

/// How long a TLS handshake may take from the first byte on.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a client may take for the head of an HTTP request.
const HTTP_HEAD_TIME: Duration = Duration::from_secs(10);

/// Connections of people and their programs at once, over HTTP and over the PostgreSQL protocol each. Few are needed, and vehicles'
/// connections must not go short of descriptors for them.
const OFFICE_CONNECTIONS_MAX: usize = 256;

/// Pause after a failed accept: the system has no descriptor left, and asking again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served on a listener.
#[derive(Clone)]
pub(crate) enum Service {
    /// Tesla Fleet Telemetry.
    Tesla(Arc<Tls>),
    /// GB/T 32960 over TLS.
    Gbt32960Tls(Arc<Tls>, Arc<Keys>),
    /// GB/T 32960 over plain TCP.
    Gbt32960(Arc<Keys>),
    /// HTTPS.
    Http(Arc<Tls>, Router),
    /// SQL over the PostgreSQL protocol.
    #[cfg(feature = "lake")]
    Postgres(Arc<Tls>, Arc<Postgres>),
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Self::Tesla(_) => "tesla",
            Self::Gbt32960Tls(..) => "gbt32960-tls",
            Self::Gbt32960(_) => "gbt32960",
            Self::Http(..) => "http",
            #[cfg(feature = "lake")]
            Self::Postgres(..) => "postgres",
        }
    }
}

/// Why a listener can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{service}: can't listen on {address}: {source}; change the setting, or stop what holds the port")]
pub(crate) struct ListenError {
    service: &'static str,
    address: String,
    source: io::Error,
}

/// The open listeners.
pub(crate) struct Listeners {
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Listeners {
    /// No listener yet; begins to keep the connections' deadlines. Called inside the runtime.
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        tokio::spawn(sweep::sweep(gate.clone()));
        Self { gate, stop: watch::channel(false).0, addresses: Vec::new() }
    }

    /// Opens one and begins to accept. `address` is `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError`] where the address can't be had.
    pub(crate) fn open(&mut self, address: &str, service: Service) -> Result<SocketAddr, ListenError> {
        let name = service.name();
        let failed = |source| ListenError { service: name, address: address.to_owned(), source };
        let listener = bind(address).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        self.addresses.push((name, local));
        tracing::info!(service = name, address = %local, "listening");
        tokio::spawn(accept(self.gate.clone(), listener, service, self.stop.subscribe()));
        Ok(local)
    }

    /// What is listened on.
    pub(crate) fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Accepts nothing more.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

pub(crate) fn bind(address: &str) -> io::Result<TcpListener> {
    let address =
        listen_address(address).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn accept(gate: Arc<Gate>, listener: TcpListener, service: Service, mut stop: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(OFFICE_CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
        };
        match accepted {
            Ok((stream, peer)) => receive(&gate, &service, stream, peer.ip(), &seats),
            Err(error) => {
                gate.metrics.accept_failures.inc();
                tracing::warn!(service = service.name(), %error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection a task of its own, if there is room for it; closes it at once otherwise.
fn receive(gate: &Arc<Gate>, service: &Service, stream: TcpStream, peer: IpAddr, seats: &Arc<Semaphore>) {
    // An acknowledgement is one small write: it must not wait for the peer's answer to an earlier one.
    let _only_slower = stream.set_nodelay(true);
    let protocol = match service {
        Service::Http(tls, router) => {
            if let Ok(seat) = seats.clone().try_acquire_owned() {
                let (tls, router) = (tls.clone(), router.clone());
                tokio::spawn(async move {
                    serve_http(&tls, stream, plain_address(peer), router).await;
                    drop(seat);
                });
            }
            return;
        }
        #[cfg(feature = "lake")]
        Service::Postgres(tls, postgres) => {
            if let Ok(seat) = seats.clone().try_acquire_owned() {
                let (tls, postgres) = (tls.current(), postgres.clone());
                tokio::spawn(async move {
                    postgres.serve(tls, stream).await;
                    drop(seat);
                });
            }
            return;
        }
        Service::Tesla(_) => Protocol::Tesla,
        Service::Gbt32960Tls(..) | Service::Gbt32960(_) => Protocol::Gbt32960,
    };
    if gate.away.is_set() {
        return;
    }
    let now_s = seconds(gate.clock.monotonic());
    let Some(seat) = gate.connections.enter(protocol, plain_address(peer), gate.clock.now(), now_s) else {
        gate.metrics.refused(protocol, "connections_max");
        return;
    };
    if gate.connections.is_full_of_bytes() {
        gate.metrics.refused(protocol, "memory_full");
        return;
    }
    gate.metrics.of(protocol).opened.inc();
    match service.clone() {
        Service::Tesla(tls) => tokio::spawn(serve_tesla(gate.clone(), tls, stream, seat)),
        Service::Gbt32960Tls(tls, keys) => {
            tokio::spawn(serve_gbt32960(gate.clone(), tls, keys, stream, seat))
        }
        Service::Gbt32960(keys) => {
            let certified = Certified::Absent;
            tokio::spawn(gbt32960::serve(gate.clone(), keys, stream, seat, Transport::Plain, certified))
        }
        Service::Http(..) => unreachable!("served above"),
        #[cfg(feature = "lake")]
        Service::Postgres(..) => unreachable!("served above"),
    };
}

async fn serve_tesla(gate: Arc<Gate>, tls: Arc<Tls>, stream: TcpStream, seat: Seat) {
    match handshake(&tls, stream).await {
        Ok(stream) => tesla::serve(gate, stream, seat).await,
        Err(reason) => gate.metrics.handshake_failed(Protocol::Tesla, reason),
    }
}

async fn serve_gbt32960(gate: Arc<Gate>, tls: Arc<Tls>, keys: Arc<Keys>, stream: TcpStream, seat: Seat) {
    match handshake(&tls, stream).await {
        Ok(stream) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let (certified, _) = gate.certified(certificate.map(AsRef::as_ref));
            gbt32960::serve(gate, keys, stream, seat, Transport::Tls, certified).await;
        }
        Err(reason) => gate.metrics.handshake_failed(Protocol::Gbt32960, reason),
    }
}

async fn serve_http(tls: &Tls, stream: TcpStream, peer: IpAddr, router: Router) {
    let Ok(stream) = handshake(tls, stream).await else { return };
    let service = TowerToHyperService::new(router);
    // The metrics may be read from some addresses only.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(peer));
        service.call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}

/// Shakes hands within the deadline. The error is a label. Boxed, because what a handshake needs is large and soon over.
async fn handshake(tls: &Tls, stream: TcpStream) -> Result<Box<TlsStream<TcpStream>>, &'static str> {
    let accepting = TlsAcceptor::from(tls.current()).accept(stream);
    match Box::pin(timeout(HANDSHAKE_TIME, accepting)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
            Some(error) => tls::reason(error),
            None => "network_error",
        }),
        Err(_) => Err("timeout"),
    }
}
