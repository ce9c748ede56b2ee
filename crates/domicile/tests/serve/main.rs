//! The serving center end to end: the real program on loopback with real TLS, and vehicles that speak the real protocols.

mod center;
#[cfg(feature = "lake")]
mod sql;
mod tests;
mod vehicles;
