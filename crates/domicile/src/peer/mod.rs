//! Other centers of the country: who they are, what they may read here, and the copies that are held of them.
//!
//! Each center writes under its own prefix alone, and follows the logs of those that it holds copies of ([`mirror`]). A center is known
//! by the public key that the charter names ([`tls`]); what it may read is the log, the objects and the charter ([`office`]). Nothing but
//! [`ways`], [`source`], [`serve`] and [`listen`] knows a network: all else runs in a simulation.

mod guard;
pub(crate) mod identity;
mod leaving;
pub(crate) mod listen;
pub(crate) mod mirror;
mod network;
pub(crate) mod of_vehicle;
mod office;
mod others;
pub(crate) mod placement;
pub(crate) mod receipts;
mod register;
pub(crate) mod repair;
pub(crate) mod report;
pub(crate) mod second;
mod serve;
#[cfg(test)]
mod simulation;
mod source;
mod takeover;
pub(crate) mod tls;
mod ways;

pub(crate) use others::{Hooks, Others, OthersError};

/// The header that an object's opening comes in: 64 hex digits.
const OPENING_HEADER: &str = "domicile-opening";
/// The header that says which version of the charter is in force.
const CHARTER_HEADER: &str = "domicile-charter";
/// The header that says how many changes a center's own registry has seen.
const CONTROLS_HEADER: &str = "domicile-controls";
/// How long a center waits for a longer log before it answers with the one that there is.
const HEAD_WAIT_TIME: std::time::Duration = std::time::Duration::from_secs(10);
/// Keys that are asked for at once.
const KEYS_AT_ONCE: usize = 256;

/// A key by its vehicle and period.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct KeyName {
    vehicle: String,
    period: u32,
}
