//! All that has to do with other centers at a serving center: what they may read here, what is held of them, what they hold.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use store::Journal;
use tokio::sync::watch;

use super::guard::{ASK_INTERVAL, Guard};
use super::identity::PeerIdentity;
use super::mirror::{Mirrors, OnHeld};
use super::network::Network;
use super::office::{HeldBooks, PeerOffice};
use super::receipts::Receipts;
use super::register::OnAdopted;
use super::second::Second;
use super::serve::router;
use super::takeover::{Tabled, TakeOver};
use super::ways::Ways;
use super::{listen, tls};
use crate::api::Rooms;
use crate::center::CenterError;
use crate::charter::Charters;
use crate::egress::Declared;
use crate::ingress::away::Away;
use crate::live::copy_gauges;
use crate::pki::PkiError;
use crate::world::World;

/// How often one looks whether the copies of other centers go on.
const COPIES_TIME: Duration = Duration::from_secs(10);

/// How long a take-over waits for the journal before it looks again: some flushes of a disk.
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(10);

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
    #[error("the system gives no thread for other centers: {0}")]
    Thread(std::io::Error),
}

impl From<CenterError> for OthersError {
    fn from(error: CenterError) -> Self {
        Self::Center(Box::new(error))
    }
}

/// What happens in this center when others say or leave something.
pub(crate) struct Hooks {
    pub(crate) on_held: OnHeld,
    pub(crate) on_adopted: OnAdopted,
    pub(crate) tabled: Tabled,
}

/// Other centers, as far as this one has to do with them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Others {
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) receipts: Arc<Receipts>,
    /// `None` where one center's journal is enough for an acknowledgement.
    pub(crate) second: Option<Arc<Second>>,
    held: Arc<HeldBooks>,
    takeover: Arc<TakeOver>,
    network: Arc<dyn Network>,
    away: Away,
    journal: Journal,
    /// The thread of the guard, while it asks.
    guard: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Others {
    /// For an opened center. Called inside the runtime; nothing is listened on and nothing is copied before [`Others::meet`].
    ///
    /// # Errors
    /// [`OthersError`].
    pub(crate) fn open(
        rooms: &Rooms,
        declared: &Arc<Declared>,
        journal: &Journal,
        away: &Away,
        hooks: Hooks,
        stop: &watch::Sender<bool>,
        world: &World,
    ) -> Result<Self, OthersError> {
        let center = &rooms.center;
        rooms.charters.write_vehicle_authorities(center)?;
        let ways =
            Arc::new(Ways::new(center.clone(), rooms.charters.clone(), declared, away.clone(), world)?);
        let mirrors = Mirrors::new(rooms, ways.clone(), hooks.on_held, hooks.on_adopted, world)?;
        let receipts = Receipts::open(&center.folder, &center.genesis.log_key(), rooms.charters.clone());
        let receipts = receipts.map_err(OthersError::Receipts)?;
        let (receipts, held) = (Arc::new(receipts), Arc::new(HeldBooks::default()));
        let second = match center.settings.peer.ack_centers {
            1 => None,
            _ => {
                let second =
                    Second::start(rooms, ways.clone(), receipts.clone(), journal, world.clock.clone());
                Some(Arc::new(second.map_err(OthersError::Thread)?))
            }
        };
        let stop = stop.subscribe();
        let pause = Box::new(move || {
            std::thread::sleep(TAKE_OVER_PAUSE);
            !*stop.borrow()
        });
        let takeover = TakeOver::new(rooms, journal, held.clone(), ways.clone(), hooks.tabled, pause, world);
        Ok(Self {
            mirrors: Arc::new(mirrors),
            receipts,
            second,
            held,
            takeover: Arc::new(takeover),
            network: ways,
            away: away.clone(),
            journal: journal.clone(),
            guard: Arc::default(),
        })
    }

    /// Frames taken over from lost centers since the start.
    pub(crate) fn taken_over(&self) -> u64 {
        self.takeover.frames()
    }

    /// The center's certificate as a server (PEM), made anew by the first other center that has the country's authority for servers. Blocks.
    ///
    /// # Errors
    /// [`PkiError::NoAuthority`], with what each said.
    pub(crate) fn renew_certificate(
        &self,
        charters: &Charters,
        certificate: &str,
    ) -> Result<String, PkiError> {
        let mut said = Vec::new();
        for member in charters.others() {
            let asked = self.network.peer(&member, &member.name);
            match asked.and_then(|peer| peer.renew_certificate(certificate)) {
                Ok(Some(renewed)) => return Ok(renewed),
                Ok(None) => said.push(format!("{} has it not", member.name)),
                Err(error) => said.push(format!("{}: {error}", member.name)),
            }
        }
        Err(PkiError::NoAuthority(said.join("; ")))
    }

    /// Ends the threads, once the program's end was told. Blocks until they have.
    pub(crate) fn finish(&self) {
        if let Some(second) = &self.second {
            second.finish();
        }
        self.mirrors.finish();
        if self.guard.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the thread that asks other centers about this log ended by a defect of the program"
            );
        }
    }

    /// Asks other centers what they hold of this one's log, and lets it be signed.
    fn guard(&self, rooms: &Rooms, stop: &watch::Sender<bool>, world: &World) -> std::io::Result<()> {
        let mut guard = Guard::new(rooms, &self.journal, self.network.clone(), world.clock.clone());
        let stop = stop.subscribe();
        let thread = std::thread::Builder::new().name("log-guard".to_owned()).spawn(move || {
            while !*stop.borrow() && !guard.step() {
                std::thread::sleep(ASK_INTERVAL);
            }
        });
        *self.guard.lock() = Some(thread?);
        Ok(())
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
            let office = PeerOffice::new(
                rooms,
                self.receipts.clone(),
                self.held.clone(),
                self.takeover.clone(),
                world,
            );
            let router = router(Arc::new(office), self.away.clone());
            tokio::spawn(listen::listen(address, charters.clone(), config, router, stop.subscribe()));
        }
        self.guard(rooms, stop, world).map_err(OthersError::Thread)?;
        let (mirrors, takeover) = (self.mirrors.clone(), self.takeover.clone());
        let (mut versions, mut stop) = (charters.subscribe(), stop.subscribe());
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
                let takeover = takeover.clone();
                let adjusted = tokio::task::spawn_blocking(move || {
                    if let Err(error) = charters.write_vehicle_authorities(&center) {
                        tracing::error!(%error, "the other centers' authorities of vehicles can't be written");
                    }
                    mirrors.adjust();
                    takeover.look();
                });
                let _told_by_the_panic = adjusted.await;
            }
        });
        Ok(())
    }
}
