//! Vehicles' side of the real protocols over real sockets.
//!
//! A [`Link`] is one connection. A [`Driver`] keeps one vehicle connected: it sends what a [`Source`] makes, keeps what is not
//! acknowledged, loses the connection now and then if told to, and sends again what was not acknowledged.

mod driver;
mod error;
mod link;
mod report;
mod tls;

pub use driver::{AckObserver, Directory, Driver, Outages, Pace, Source};
pub use error::ClientError;
pub use link::{Answer, Body, Link, Message, Speaks, Target};
pub use report::{Counts, Latency, Report};
pub use tls::{Credentials, Endpoint, Trust};
