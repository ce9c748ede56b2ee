//! The ways to other centers over TLS: one client for each, shared by all threads that ask it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::Error;
use model::CenterName;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::identity::PeerIdentity;
use super::network::{Network, Peer, wrong};
use super::source::{PeerSource, Throttle};
use super::tls;
use crate::center::{Center, CenterError};
use crate::charter::{Charters, Member};
use crate::egress::Declared;
use crate::egress::dial::Dialer;
use crate::egress::peer::PeerClient;
use crate::ingress::away::Away;
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
    away: Away,
}

impl Ways {
    /// Called inside the runtime.
    pub(super) fn new(
        center: Arc<Center>,
        charters: Arc<Charters>,
        declared: &Arc<Declared>,
        away: Away,
        world: &World,
    ) -> Result<Self, CenterError> {
        Ok(Self {
            charters,
            identity: PeerIdentity::open_or_make(&center.folder)?,
            dialer: Arc::new(Dialer::new()),
            declared: declared.clone(),
            throttle: Arc::new(Throttle::new(center.settings.peer.bytes_per_s_max, world.clock.clone())),
            runtime: Handle::current(),
            clients: Mutex::default(),
            away,
            center,
        })
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

impl Network for Ways {
    fn peer(&self, member: &Member, prefix: &CenterName) -> Result<Box<dyn Peer>, Error> {
        if self.away.is_set() {
            return Err(wrong(&member.name, "a drill keeps this center away from others".to_owned()));
        }
        Ok(Box::new(PeerSource {
            client: self.client(member)?,
            prefix: prefix.clone(),
            runtime: self.runtime.clone(),
            throttle: self.throttle.clone(),
        }))
    }
}
