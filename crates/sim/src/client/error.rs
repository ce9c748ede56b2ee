//! What can go wrong between a simulated vehicle and a center.

/// Why a connection did not come about or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The vehicle's own files are not usable.
    #[error("the vehicle's credentials can't be used: {0}; issue them again with `domicile vehicle cert`")]
    Credentials(&'static str),
    /// TLS could not be set up with these credentials.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The socket failed; also how a TLS alert of the server shows.
    #[error("connection: {0}")]
    Socket(#[from] std::io::Error),
    /// The server did not upgrade the connection.
    #[error("the server answered the upgrade with HTTP status {0} (0: no HTTP)")]
    Upgrade(u16),
    /// The server closed the connection.
    #[error("the server closed the connection (code {0:?})")]
    Closed(Option<u16>),
    /// The server answered the login with this flag.
    #[error("the server refused the login with flag {0:#04x}")]
    Login(u8),
    /// The server said something that the protocol doesn't know.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// Nothing came in time.
    #[error("the server did not answer in time")]
    TimeOut,
}
