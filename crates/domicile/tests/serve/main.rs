//! The serving center end to end: the real program on loopback with real TLS, and vehicles that speak the real protocols.
#![allow(unreachable_pub, reason = "this is a program of tests: what its modules share is public to them")]
#![allow(clippy::disallowed_methods, reason = "the tests wait in real time for a real process")]

mod center;
#[cfg(feature = "lake")]
mod centers;
#[cfg(feature = "lake")]
mod dashboards;
#[cfg(feature = "lake")]
mod engines;
#[cfg(feature = "lake")]
mod erasure;
#[cfg(feature = "lake")]
mod lake;
#[cfg(feature = "lake")]
mod limits;
#[cfg(feature = "lake")]
mod postgres;
#[cfg(feature = "lake")]
mod sql;
mod tests;
#[cfg(feature = "lake")]
mod tricks;
mod vehicles;
