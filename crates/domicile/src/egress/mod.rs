//! The only way out. Every connection that the program opens to somewhere else is opened in [`dial`], and only to what the operator
//! declared in `egress.allow`, with purpose and country.
//!
//! **Invariant:** no other file of the program opens an outbound connection, sends a datagram, or resolves a name. Three things hold
//! it:
//!
//! * the type: [`dial::Dialer::connect`] takes a [`declared::Destination`], and only [`Declared`] makes one, from a list that it has
//!   held against the center's country;
//! * the lint: `clippy.toml` bans what connects, sends and resolves, and `cargo xtask tidy` knows the few files that may say so,
//!   and that no crate is linked that would do it by itself;
//! * the kernel: [`confine`] gives up every other file and port, and [`nft`] prints the packet filter that knows addresses.
//!
//! Not here: anything that listens, what is sent and who may have it.

pub(crate) mod confine;
pub(crate) mod declared;
pub(crate) mod dial;
pub(crate) mod gauges;
pub(crate) mod http;
pub(crate) mod nft;
pub(crate) mod peer;
pub(crate) mod witness;

pub(crate) use declared::Declared;
