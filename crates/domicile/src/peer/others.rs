//! All that has to do with other centers at a serving center: what they may read here, what is held of them, what they hold.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::identity::PeerIdentity;
use super::mirror::{Mirrors, OnHeld};
use super::receipts::Receipts;
use super::register::OnAdopted;
use super::serve::{PeerOffice, router};
use super::{listen, tls};
use crate::api::Rooms;
use crate::center::CenterError;
use crate::egress::Declared;
use crate::live::copy_gauges;
use crate::world::World;

/// How often one looks whether the copies of other centers go on.
const COPIES_TIME: Duration = Duration::from_secs(10);

/// Why other centers can't be met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OthersError {
    /// Boxed, because it is much larger than the others.
    #[error(transparent)]
    Center(Box<CenterError>),
    #[error("the receipts of other centers can't be read: {0}")]
    Receipts(std::io::Error),
    #[error("TLS between centers: {0}")]
    Tls(rustls::Error),
}

impl From<CenterError> for OthersError {
    fn from(error: CenterError) -> Self {
        Self::Center(Box::new(error))
    }
}

/// Other centers, as far as this one has to do with them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Others {
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) receipts: Arc<Receipts>,
}

impl Others {
    /// For an opened center. Called inside the runtime; nothing is listened on and nobody is asked before [`Others::meet`].
    ///
    /// # Errors
    /// [`OthersError`].
    pub(crate) fn open(
        rooms: &Rooms,
        declared: &Arc<Declared>,
        on_held: OnHeld,
        on_adopted: OnAdopted,
        world: &World,
    ) -> Result<Self, OthersError> {
        let center = &rooms.center;
        rooms.charters.write_vehicle_authorities(center)?;
        let mirrors = Mirrors::new(rooms, declared, on_held, on_adopted, world)?;
        let receipts = Receipts::open(&center.folder, &center.genesis.log_key(), rooms.charters.clone());
        let receipts = receipts.map_err(OthersError::Receipts)?;
        Ok(Self { mirrors: Arc::new(mirrors), receipts: Arc::new(receipts) })
    }

    /// Listens for other centers, and follows those that the charter, whenever it changes, says are to be followed. Called inside the
    /// runtime.
    ///
    /// # Errors
    /// [`OthersError`].
    pub(crate) fn meet(
        &self,
        rooms: &Rooms,
        stop: &watch::Sender<bool>,
        world: &World,
    ) -> Result<(), OthersError> {
        let (center, charters) = (rooms.center.clone(), rooms.charters.clone());
        let shown = self.clone();
        rooms.metrics.add_gauges(move |gauges| copy_gauges(&shown, gauges));
        let address = center.settings.peer.listen.clone();
        if !address.is_empty() {
            let identity = PeerIdentity::open_or_make(&center.folder).map_err(CenterError::from)?;
            let config = tls::server(&identity, &charters).map_err(OthersError::Tls)?;
            let office = PeerOffice::new(rooms, self.receipts.clone(), world.entropy.clone());
            let router = router(Arc::new(office));
            tokio::spawn(listen::listen(address, charters.clone(), config, router, stop.subscribe()));
        }
        let (mirrors, mut versions, mut stop) =
            (self.mirrors.clone(), charters.subscribe(), stop.subscribe());
        let mut looks = tokio::time::interval(COPIES_TIME);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = stop.wait_for(|is_stopped| *is_stopped) => return,
                    changed = versions.changed() => if changed.is_err() { return },
                    // A thread that ended is begun anew.
                    _ = looks.tick() => {}
                }
                let (mirrors, center, charters) = (mirrors.clone(), center.clone(), charters.clone());
                let adjusted = tokio::task::spawn_blocking(move || {
                    if let Err(error) = charters.write_vehicle_authorities(&center) {
                        tracing::error!(%error, "the other centers' authorities of vehicles can't be written");
                    }
                    mirrors.adjust();
                });
                let _told_by_the_panic = adjusted.await;
            }
        });
        Ok(())
    }
}
