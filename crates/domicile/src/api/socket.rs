//! The center's socket: only the user who runs the center (and root) may speak on it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Commands at once: a person's terminal and a few scripts.
const COMMANDS_MAX: usize = 64;

/// Listens on `path` and answers until `stop` becomes true; then ends what runs and removes the socket. A socket that an ended
/// process left is replaced, so call it only where the folder's lock is held.
///
/// # Errors
/// When the socket can't be made.
pub(crate) async fn serve_socket(
    path: &Path,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The folder is 0700, so nobody gets in between bind and chmod.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let mut commands = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = commands.join_next(), if !commands.is_empty() => {}
            accepted = listener.accept(), if commands.len() < COMMANDS_MAX => match accepted {
                Ok((stream, _)) if is_own(&stream) => {
                    commands.spawn(speak(stream, router.clone()));
                }
                Ok(_) => tracing::warn!("another user tried to speak on the center's socket"),
                Err(error) => tracing::warn!(%error, "the center's socket"),
            },
        }
    }
    drop(commands);
    std::fs::remove_file(path)
}

/// Whether the other end belongs to the user of this process, or to root (who could read everything anyway).
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn speak(stream: UnixStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a command's connection ended");
    }
}
