//! The only place of the program that resolves a name or opens a connection to somewhere else. It takes a declared destination
//! and nothing else; a name may resolve to its destination's networks only.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::declared::{Destination, Host};

/// How long a resolver may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one address may take to accept a connection: a handshake across a country and a lost packet.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried: the rest belongs to a name server that means something else.
const ADDRESSES_MAX: usize = 8;

/// Why a destination can't be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Its name has no address.
    #[error("{to} can't be resolved: {source}; check the name, and the resolvers in /etc/resolv.conf")]
    Unresolved {
        /// The destination.
        to: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Its name leads out of its networks. Nothing was sent there.
    #[error(
        "{to} resolves to {address}, outside of its networks ({}): refused; ask who answers for that name, or correct its networks in egress.allow",
        list(networks)
    )]
    Abroad {
        /// The destination.
        to: String,
        /// The first address that lies elsewhere.
        address: IpAddr,
        /// Where it should lie.
        networks: Vec<IpNet>,
    },
    /// No address takes a connection.
    #[error("{to} can't be connected to: {source}{}", gave_up(source))]
    Unreachable {
        /// The destination.
        to: String,
        /// What the last address said.
        source: io::Error,
    },
}

/// A port that the kernel holds back (`Confinement`) reads as a right that is missing.
fn gave_up(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; this program gives up, at its start, all ports but those that it knows by then: restart it; centers that listen \
             on one port (peer.listen) need no restart"
        }
        _ => "",
    }
}

fn list(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What went to a destination since the start.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    connections: AtomicU64,
    failures: AtomicU64,
    dns_abroad: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Traffic {
    /// Connections opened.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that could not be opened.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Connections refused because the name resolved outside of the destination's networks.
    pub(crate) fn dns_abroad(&self) -> u64 {
        self.dns_abroad.load(Ordering::Relaxed)
    }

    /// Bytes sent, as TCP carries them.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// Bytes received.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }
}

/// Gives the addresses of a host name. It is asked for declared names only.
pub(crate) trait Resolver: Send + Sync {
    /// The name's addresses, as they are now.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver: `/etc/hosts`, then the servers of `/etc/resolv.conf`.
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that resolves names")]
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Opens connections to declared destinations.
pub(crate) struct Dialer {
    resolver: Box<dyn Resolver>,
}

impl Dialer {
    /// One that asks the system's resolver.
    pub(crate) fn new() -> Self {
        Self::with_resolver(Box::new(SystemResolver))
    }

    /// One that asks another resolver.
    pub(crate) fn with_resolver(resolver: Box<dyn Resolver>) -> Self {
        Self { resolver }
    }

    /// Opens a connection. Addresses are tried in the resolver's order.
    ///
    /// # Errors
    /// [`DialError`]; then nothing was sent.
    pub(crate) async fn connect(&self, destination: &Arc<Destination>) -> Result<Stream, DialError> {
        let opened = self.try_connect(destination).await;
        let traffic = &destination.traffic;
        let count = if opened.is_ok() { &traffic.connections } else { &traffic.failures };
        count.fetch_add(1, Ordering::Relaxed);
        opened
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that opens outbound connections")]
    async fn try_connect(&self, destination: &Arc<Destination>) -> Result<Stream, DialError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.addresses(destination).await? {
            match timeout(CONNECT_TIME_MAX, TcpStream::connect(SocketAddr::new(address, destination.port())))
                .await
            {
                Ok(Ok(inner)) => {
                    // Requests are small and wait for their answer.
                    let _only_slower = inner.set_nodelay(true);
                    return Ok(Stream { inner, destination: destination.clone() });
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(DialError::Unreachable { to: destination.to_string(), source: last })
    }

    /// Where a destination lies now. A single address outside of its networks refuses all of them: somebody answers for the name
    /// who should not.
    ///
    /// # Errors
    /// [`DialError::Unresolved`] and [`DialError::Abroad`].
    pub(crate) async fn addresses(&self, destination: &Destination) -> Result<Vec<IpAddr>, DialError> {
        let name = match destination.host() {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let unresolved = |source| DialError::Unresolved { to: destination.to_string(), source };
        let found = timeout(RESOLVE_TIME_MAX, self.resolver.resolve(name))
            .await
            .map_err(|_| unresolved(io::ErrorKind::TimedOut.into()))?
            .map_err(unresolved)?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.into_iter().map(|address| address.to_canonical()) {
            if !destination.includes(address) {
                destination.traffic.dns_abroad.fetch_add(1, Ordering::Relaxed);
                let networks = destination.networks().to_vec();
                return Err(DialError::Abroad { to: destination.to_string(), address, networks });
            }
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(unresolved(io::Error::other("the name has no address")));
        }
        Ok(addresses)
    }
}

/// An open connection to a destination. Counts what passes.
pub(crate) struct Stream {
    inner: TcpStream,
    destination: Arc<Destination>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&format_args!("{}", self.destination)).finish()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let received = (buffer.filled().len() - before) as u64;
        self.destination.traffic.bytes_received.fetch_add(received, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(sent)) = polled {
            self.destination.traffic.bytes_sent.fetch_add(sent as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
pub(super) mod tests;
