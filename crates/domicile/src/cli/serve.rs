//! `domicile serve`: runs the data center until a signal ends it.

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Folder;
use crate::api::Rooms;
use crate::assemble::Serving;
use crate::center::Center;
use crate::egress::confine::{Confinement, Report};
use crate::observe::{LogFormat, start_logs};
use crate::world::World;

/// Run the data center
#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    folder: Folder,
    /// Write logs as JSON, one object a line
    #[arg(long)]
    log_json: bool,
    /// What to log, such as `info` or `domicile=debug,warn`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

impl Serve {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let format = if self.log_json { LogFormat::Json } else { LogFormat::Text };
        start_logs(format, &self.log);
        raise_descriptor_limit();
        forbid_core_files();
        let folder = self.folder.path(world);
        // Before there is any thread, because those that exist already stay as they are.
        confine(&Center::open(&folder, world)?)?;
        let rooms = Rooms::open_to_serve(&folder, world)?;
        let runtime = Builder::new_multi_thread().enable_all().thread_name("serve").build()?;
        runtime.block_on(serve(rooms, world))
    }
}

/// Gives up every file and port that a serving center does not need, as far as the kernel can hold it to that.
fn confine(center: &Center) -> anyhow::Result<()> {
    let declared = crate::charter::declared(center)?;
    let report = match center.settings.egress.confine {
        true => Confinement::of(center, &declared).apply()?,
        false => Report::OFF,
    };
    if report.is_full() {
        tracing::info!("confined: {report}");
    } else {
        tracing::warn!("not wholly confined: {report}");
    }
    Ok(())
}

async fn serve(rooms: Rooms, world: &World) -> anyhow::Result<()> {
    // Before anything listens, so that no signal is lost.
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let mut hangup = signal(SignalKind::hangup())?;
    let serving = Serving::start(rooms, world).await?;
    for (name, address) in serving.addresses() {
        println!("{name} on {address}");
    }
    println!("ready");
    loop {
        tokio::select! {
            () = any(&mut ends) => break,
            _ = hangup.recv() => serving.reload_certificates(),
        }
    }
    tracing::info!("ending: a second signal ends at once");
    tokio::select! {
        () = serving.drain() => Ok(()),
        () = any(&mut ends) => std::process::exit(1),
    }
}

async fn any(signals: &mut [Signal; 2]) {
    let [first, second] = signals;
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

/// A core file would hold keys and frames, outside of the center's folder.
fn forbid_core_files() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "can't forbid core files, which hold what the memory holds");
    }
}

/// Each connection takes a descriptor: asks for as many as the system lets this user have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "can't raise the limit of open files; it limits the connections");
    }
}
