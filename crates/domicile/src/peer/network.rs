//! Other centers as this one may ask them: what copying, listening and pushing need of a network. [`super::ways`] is the real one.

use std::collections::BTreeMap;

use bytes::Bytes;
use ledger::Error;
use ledger::copy::{OBJECTS_AT_ONCE, Source};
use model::{CenterName, GatewayName, KeyPeriod, Sequence, VehicleId};

use crate::charter::Member;

/// Another center, asked for what lies under one prefix: its own, or that of a copy that it holds.
pub(super) trait Peer: Source {
    /// The newest signed head of the log, where it has one; of its own log it waits a while for one of more than `after` entries.
    fn head(&self, after: u64) -> Result<Option<HeadAnswer>, Error>;

    /// A version of the charter.
    fn charter(&self, version: u64) -> Result<String, Error>;

    /// Tells the center that a copy of it is held.
    fn tell_held(&self, note: &str) -> Result<(), Error>;

    /// Pushes durable frames of this center's journal ([`store::HeldBlock`]s); those up to `freed` may go there. Gives the number of
    /// changes of this center's registry that are taken over there.
    fn push_frames(&self, gateway: &GatewayName, freed: Sequence, blocks: Vec<u8>) -> Result<u64, Error>;

    /// Says that this center's journals are lost, and up to which frame of each gateway it has the batches: the other center takes over
    /// what it holds of later ones. Gives how many frames that were.
    fn take_over_held(&self, known: &BTreeMap<String, u64>) -> Result<u64, Error>;

    /// This center's certificate as a server (PEM), made anew for the same key by the country's authority for servers; `None` where the
    /// other center has that authority not.
    fn renew_certificate(&self, certificate: &str) -> Result<Option<String>, Error>;

    /// Keys, wrapped for this center, as many as were asked for; `None` for those that were destroyed.
    fn keys(&self, wanted: &[(VehicleId, KeyPeriod)]) -> Result<Vec<Option<Bytes>>, Error>;
}

/// The ways to other centers.
pub(super) trait Network: Send + Sync {
    /// A member of the charter, asked for what lies under a prefix.
    ///
    /// # Errors
    /// Where it can't be connected to.
    fn peer(&self, member: &Member, prefix: &CenterName) -> Result<Box<dyn Peer>, Error>;

    /// How many questions one copy may have open at a time.
    fn questions_at_once(&self) -> usize {
        OBJECTS_AT_ONCE
    }
}

/// A log's head, and what else its center says with it.
#[derive(Debug)]
pub(super) struct HeadAnswer {
    /// The signed checkpoint.
    pub(super) note: String,
    /// The version of the charter that is in force there; 0 for none.
    pub(super) charter: u64,
    /// The number of the last change of its own registry; 0 where that is not said.
    pub(super) controls: u64,
}

/// What is wrong with another center, or with the way to it: it is tried again.
pub(super) fn wrong(center: &CenterName, why: String) -> Error {
    Error::Unavailable { name: format!("center {center}"), why }
}
