//! The only way in: listeners, TLS, and what is spoken with vehicles. Bytes are judged by `wire`, vehicles admitted by `policy`,
//! frames kept by `store`; here they are moved, within limits.
//!
//! Start at [`listener::Listeners`]; a connection's life is in [`dialogue`].

mod answers;
pub(crate) mod away;
pub(crate) mod connections;
mod dialogue;
pub(crate) mod diary;
pub(crate) mod drain;
pub(crate) mod gate;
mod gbt32960;
mod line;
pub(crate) mod listener;
mod sweep;
mod tesla;
pub(crate) mod tls;
