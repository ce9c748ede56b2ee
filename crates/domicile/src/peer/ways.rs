//! The ways to other centers: one client for each, shared by all threads that ask it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::Error;
use model::CenterName;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::identity::PeerIdentity;
use super::source::{PeerSource, Throttle};
use super::tls;
use crate::api::Rooms;
use crate::center::{Center, CenterError};
use crate::charter::{Charters, Member};
use crate::egress::Declared;
use crate::egress::dial::Dialer;
use crate::egress::peer::PeerClient;
use crate::world::World;

/// How this center asks others.
pub(super) struct Ways {
    center: Arc<Center>,
    charters: Arc<Charters>,
    identity: PeerIdentity,
    dialer: Arc<Dialer>,
    declared: Arc<Declared>,
    throttle: Arc<Throttle>,
    runtime: Handle,
    clients: Mutex<BTreeMap<CenterName, (Member, Arc<PeerClient>)>>,
}

impl Ways {
    /// Called inside the runtime.
    pub(super) fn new(rooms: &Rooms, declared: &Arc<Declared>, world: &World) -> Result<Self, CenterError> {
        let center = rooms.center.clone();
        Ok(Self {
            charters: rooms.charters.clone(),
            identity: PeerIdentity::open_or_make(&center.folder)?,
            dialer: Arc::new(Dialer::new()),
            declared: declared.clone(),
            throttle: Arc::new(Throttle::new(center.settings.peer.bytes_per_s_max, world.clock.clone())),
            runtime: Handle::current(),
            clients: Mutex::default(),
            center,
        })
    }

    /// What the charter in force says of a center.
    pub(super) fn member(&self, center: &CenterName) -> Result<Member, Error> {
        let in_force = self.charters.in_force();
        let member = in_force.as_ref().and_then(|in_force| in_force.charter.member(center));
        member.cloned().ok_or_else(|| wrong(center, "the charter does not name it".to_owned()))
    }

    /// A member, asked for what lies under a prefix: its own, or that of a copy that it holds.
    pub(super) fn source(&self, member: &Member, prefix: &CenterName) -> Result<PeerSource, Error> {
        Ok(PeerSource {
            client: self.client(member)?,
            prefix: prefix.clone(),
            runtime: self.runtime.clone(),
            throttle: self.throttle.clone(),
        })
    }

    /// Waits for something on the thread that calls; not inside the runtime.
    pub(super) fn block_on<T>(&self, done: impl Future<Output = T>) -> T {
        self.runtime.block_on(done)
    }

    fn client(&self, member: &Member) -> Result<Arc<PeerClient>, Error> {
        let mut clients = self.clients.lock();
        if let Some((known, client)) = clients.get(&member.name)
            && known == member
        {
            return Ok(client.clone());
        }
        let failed = |what: String| wrong(&member.name, what);
        let (settings, country) = (&self.center.settings, self.center.genesis.country());
        let destination = self.declared.peer(&member.address, settings, country);
        let destination = Arc::new(destination.map_err(|error| failed(error.to_string()))?);
        let config = tls::client(&self.identity, &self.charters, member.name.clone());
        let config = config.map_err(|error| failed(error.to_string()))?;
        let client = Arc::new(PeerClient::new(self.dialer.clone(), destination, config));
        clients.insert(member.name.clone(), (member.clone(), client.clone()));
        Ok(client)
    }
}

/// What is wrong with another center, or with the way to it: it is tried again.
pub(super) fn wrong(center: &CenterName, why: String) -> Error {
    Error::Unavailable { name: format!("center {center}"), why }
}
