//! Simulated vehicles that speak the real protocols over real sockets.
//!
//! [`vehicle`] is the physics: one seed, one life. Not here: opening a center's folder, certificates' issue, SQL; the commands
//! that use this room (`domicile sim`, `demo`, `bench`) bring those. Nothing but tests and these commands may depend on it.

pub mod client;
pub mod fleet;
pub mod gbt32960;
pub mod load;
pub mod past;
pub mod tesla;
pub mod vehicle;
