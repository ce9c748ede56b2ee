//! The certificates while the program runs: changed files are read anew, and the center's own is renewed in time.

use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use tokio::sync::watch;

use crate::api::Rooms;
use crate::ingress::tls::{Reload, Tls};
use crate::observe::Metrics;
use crate::peer::Others;

/// How often the certificates' files are looked at.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Looks at the files between looks at whether the server's certificate must be renewed: an hour.
const RENEWAL_LOOKS: u32 = 720;

/// Looks after the certificates until the program's end. Called inside the runtime.
pub(crate) fn keep(
    tls: Vec<Arc<Tls>>,
    rooms: &Rooms,
    others: Others,
    clock: Arc<dyn Clock>,
    mut stop: watch::Receiver<bool>,
) {
    let (center, charters) = (rooms.center.clone(), rooms.charters.clone());
    let metrics = rooms.metrics.clone();
    tokio::spawn(async move {
        let mut looks = tokio::time::interval(LOOK_TIME);
        for look in 0_u32.. {
            tokio::select! {
                _ = stop.wait_for(|is_stopped| *is_stopped) => return,
                _ = looks.tick() => {}
            }
            let (tls, others, clock) = (tls.clone(), others.clone(), clock.clone());
            let (center, charters, metrics) = (center.clone(), charters.clone(), metrics.clone());
            let looked = tokio::task::spawn_blocking(move || {
                if look % RENEWAL_LOOKS == 0 {
                    let elsewhere = |certificate: &str| others.renew_certificate(&charters, certificate);
                    match center.renew_server_certificate(clock.now(), &elsewhere) {
                        Ok(true) => tracing::info!("renewed the server's certificate"),
                        Ok(false) => {}
                        Err(error) => tracing::error!(%error, "can't renew the server's certificate"),
                    }
                }
                reload(&tls, &metrics, false);
            });
            if looked.await.is_err() {
                tracing::error!("looking after the certificates failed by a defect of the program");
            }
        }
    });
}

/// Reads the files anew, where they have changed or where that is forced.
pub(crate) fn reload(tls: &[Arc<Tls>], metrics: &Metrics, is_forced: bool) {
    for tls in tls {
        match tls.reload(is_forced) {
            Reload::Unchanged => {}
            Reload::Reloaded => {
                metrics.tls_reloads.inc();
                tracing::info!(certificate = %tls.certificate().display(), "read the certificates anew");
            }
            Reload::Kept(error) => {
                metrics.tls_reload_failures.inc();
                tracing::error!(%error, "the changed certificates are of no use; those read before stay");
            }
        }
    }
}
