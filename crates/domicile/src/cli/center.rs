//! `domicile center …`: the country's centers: let one join, change what one does, see how it would be, apply it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ledger::SigningKey;
use model::CenterName;

use super::client::{Client, converse};
use super::{Folder, Format, Refused, dns};
use crate::api::centers::{CentersView, CharterView, NewCharter};
use crate::center::{Center, Role};
use crate::charter::{Change, Charter, Charters, JoinRequest, Package, Staged, State};
use crate::peer::placement::holders;
use crate::world::World;

/// The country's centers: let one join, change what one does, see it and apply it
#[derive(clap::Args)]
pub(crate) struct Centers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the centers, and what they hold of each other as far as this one knows
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Print DNS records of the one name under which vehicles reach the centers that take them, with weights
    Dns {
        /// The name that vehicles are configured with
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The port that they connect to
        #[arg(long, default_value_t = 4443)]
        port: u16,
        /// Seconds that others may remember the records
        #[arg(long, value_name = "SECONDS", default_value_t = dns::TTL_DEFAULT)]
        ttl: u32,
        /// Where vehicles reach a center, where that is another address than the one that other centers use: NAME=ADDRESS
        #[arg(long, value_name = "NAME=ADDRESS", value_parser = dns::center_at)]
        at: Vec<(CenterName, IpAddr)>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Write the invitation that a new center is made ready with (`domicile init --invitation`); it holds no secret
    Invite {
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Stage that a center joins: takes the request that it made
    Add {
        /// `join/request.note` of the new center's folder
        request: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Stage that a center is ready: vehicles may be sent to it
    Activate {
        name: CenterName,
        #[command(flatten)]
        folder: Folder,
    },
    /// Stage that no vehicles are to be sent to a center any more; it goes on being copied, and lets its vehicles go (peer.drain_s)
    Drain {
        name: CenterName,
        #[command(flatten)]
        folder: Folder,
    },
    /// Stage that a center is none any more
    Remove {
        name: CenterName,
        /// It is lost, with what only it had
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Stage in how many centers everything is to lie
    Replication {
        centers: u32,
        #[command(flatten)]
        folder: Folder,
    },
    /// Show what is staged, and what would move
    Show {
        #[command(flatten)]
        folder: Folder,
    },
    /// Forget what is staged
    Revert {
        #[command(flatten)]
        folder: Folder,
    },
    /// Sign what is staged as the next version of the charter and put it in force; writes a package for each center that joins
    Apply {
        /// The version that `center show` named: another one is refused
        #[arg(long, value_name = "VERSION")]
        version: u64,
        /// The country's key [default: DIR/keys/country.key]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Let this center be lost for a while, on purpose, and tell what that came to: who moved, how fast, and what a real loss had cost
    Drill {
        /// This center's name, so that no other is meant
        name: CenterName,
        /// How long
        #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = super::harness::duration)]
        time: std::time::Duration,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Fetch back what other centers hold of this one, whose store was set back; it must not be serving
    Repair {
        #[command(flatten)]
        folder: Folder,
    },
    /// Make a prepared folder a center, with the package that `center apply` wrote for it
    Join {
        package: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Centers {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.verb {
            Verb::List { format, folder } => list(format, &folder.path(world), world),
            Verb::Dns { name, port, ttl, at, folder } => {
                let folder = folder.path(world);
                let charter = charter_of(&Center::open(&folder, world)?, &ask(&folder, world)?)?;
                let charter =
                    charter.context("no charter names another center: one address record is all there is")?;
                let at = at.into_iter().collect();
                let wanted = dns::Wanted { name: &name, port, ttl, at: &at };
                say!("{}", dns::zone(&charter, &wanted)?.trim_end());
                Ok(())
            }
            Verb::Invite { out, folder } => invite(&out, &Center::open(&folder.path(world), world)?),
            Verb::Add { request, folder } => {
                let request =
                    std::fs::read_to_string(&request).with_context(|| request.display().to_string())?;
                stage(Change::Add { request }, &folder.path(world), world)
            }
            Verb::Activate { name, folder } => stage(state(&name, State::Active), &folder.path(world), world),
            Verb::Drain { name, folder } => stage(state(&name, State::Draining), &folder.path(world), world),
            Verb::Remove { name, lost, folder } => {
                let next = if lost { State::Lost } else { State::Retired };
                stage(state(&name, next), &folder.path(world), world)
            }
            Verb::Replication { centers, folder } => {
                stage(Change::Replication { centers }, &folder.path(world), world)
            }
            Verb::Show { folder } => show(&folder.path(world), world),
            Verb::Revert { folder } => {
                Staged::discard(&Center::open(&folder.path(world), world)?.folder)?;
                say!("Nothing is staged.");
                Ok(())
            }
            Verb::Apply { version, key, folder } => {
                apply(version, key.as_deref(), &folder.path(world), world)
            }
            Verb::Drill { name, time, format, folder } => {
                super::drill::run(&name, time, format, &folder.path(world), world)
            }
            Verb::Repair { folder } => repair(&folder.path(world), world),
            Verb::Join { package, folder } => join(&package, &folder.path(world), world),
        }
    }
}

fn state(name: &CenterName, state: State) -> Change {
    Change::State { center: name.to_string(), state }
}

/// What the center says of the country's centers.
fn ask(folder: &Path, world: &World) -> anyhow::Result<CentersView> {
    converse(async { Client::open(folder, world).await?.get("/api/centers").await })
}

fn charter_of(center: &Center, view: &CentersView) -> anyhow::Result<Option<Charter>> {
    let open = |note: &String| Charter::open(note, &center.genesis).map_err(anyhow::Error::msg);
    view.charter.as_ref().map(open).transpose()
}

fn list(format: Format, folder: &Path, world: &World) -> anyhow::Result<()> {
    let center = Center::open(folder, world)?;
    let view = ask(folder, world)?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&view)?);
        return Ok(());
    }
    let Some(charter) = charter_of(&center, &view)? else {
        say!("{} is alone: no charter names another center.", center.genesis.center());
        return Ok(());
    };
    let own = center.genesis.center();
    say!(
        "Charter version {} of {}, replication {}",
        charter.version,
        center.genesis.country(),
        charter.replication
    );
    for member in &charter.centers {
        let here = if member.name == own { "  (this one)" } else { "" };
        say!(
            "  {:<20} {:<9} {:<24} {}{here}",
            member.name.as_str(),
            member.state,
            member.address,
            member.site
        );
    }
    say!("{own} has {} entries.", view.entries);
    for receipt in &view.receipts {
        say!(
            "  {} holds what the first {} name, as of {}",
            receipt.center,
            receipt.held,
            receipt.held_at.as_deref().unwrap_or("an unknown time")
        );
    }
    for copy in &view.copies {
        let problem = if copy.problem.is_empty() { String::new() } else { format!("; {}", copy.problem) };
        say!(
            "{own} holds what the first {} of {} entries of {} name{problem}",
            copy.held,
            copy.head,
            copy.center
        );
    }
    Ok(())
}

fn invite(out: &Path, center: &Center) -> anyhow::Result<()> {
    let invitation = center.invitation()?;
    std::fs::write(out, serde_json::to_string_pretty(&invitation)?)
        .with_context(|| out.display().to_string())?;
    say!(
        "The invitation to cluster {} of {} is in {}.",
        invitation.cluster,
        invitation.country,
        out.display()
    );
    say!(
        "At the new center:\n  domicile init --country {} --center NAME --invitation {} --address ADDRESS:8701 --dir DIR",
        invitation.country,
        out.display()
    );
    Ok(())
}

fn stage(change: Change, folder: &Path, world: &World) -> anyhow::Result<()> {
    let center = Center::open(folder, world)?;
    let view = ask(folder, world)?;
    let before = charter_of(&center, &view)?;
    let mut staged = Staged::read(folder)?;
    staged.changes.push(change);
    let next = staged
        .next(&center, before.as_ref(), world.clock.now().to_string())
        .map_err(|error| Refused(format!("not staged: {error:#}")))?;
    staged.write(folder)?;
    print_change(before.as_ref(), &next);
    say!(
        "Staged. `domicile center show` says what would move; `domicile center apply --version {}` does it.",
        next.version
    );
    Ok(())
}

fn print_change(before: Option<&Charter>, next: &Charter) {
    for member in &next.centers {
        match before.and_then(|before| before.member(&member.name)) {
            None => say!("  + {} {} at {}", member.name, member.state, member.address),
            Some(old) if old.state != member.state => {
                say!("  {} {} -> {}", member.name, old.state, member.state)
            }
            Some(_) => {}
        }
    }
    let replication = before.map_or(next.replication, |before| before.replication);
    if replication != next.replication {
        say!("  replication {replication} -> {}", next.replication);
    }
}

fn show(folder: &Path, world: &World) -> anyhow::Result<()> {
    let center = Center::open(folder, world)?;
    let view = ask(folder, world)?;
    let before = charter_of(&center, &view)?;
    let staged = Staged::read(folder)?;
    if staged.changes.is_empty() {
        say!("Nothing is staged; version {} is in force.", view.version);
        return Ok(());
    }
    let next = staged.next(&center, before.as_ref(), world.clock.now().to_string())?;
    say!("Version {} would be:", next.version);
    print_change(before.as_ref(), &next);
    say!("What would move:");
    let objects = store::Objects::read_only(&center.settings.store_folder(folder))?;
    let mut moves = 0;
    for source in &next.centers {
        let wanted = holders(&next, &source.name);
        let had = before.as_ref().map(|before| holders(before, &source.name)).unwrap_or_default();
        let bytes = objects
            .list(&crate::peer::placement::folder_of(&source.name))?
            .iter()
            .map(|object| object.size)
            .sum::<u64>();
        for holder in wanted.iter().filter(|holder| had.iter().all(|old| old.name != holder.name)) {
            moves += 1;
            let size = match bytes {
                0 => "its objects (none of them lie here: how many bytes is not known)".to_owned(),
                bytes => format!("{bytes} bytes"),
            };
            say!("  {} -> {}: {size}", source.name, holder.name);
        }
        let needed = (next.replication as usize).saturating_sub(usize::from(source.state.is_here()));
        if wanted.len() < needed {
            say!(
                "  {}: {} of {needed} copies have a center; add one, or lower the replication",
                source.name,
                wanted.len()
            );
        }
    }
    if moves == 0 {
        say!("  nothing");
    }
    let leaving = next.centers.iter().filter(|member| {
        let was_here = before
            .as_ref()
            .and_then(|before| before.member(&member.name))
            .is_some_and(|old| old.state.is_here());
        was_here && !member.state.is_here()
    });
    for leaving in leaving {
        say!("Keys that {} has seen; it is given none that are made from then on:", leaving.name);
        for source in &next.centers {
            let is_own = source.name == leaving.name;
            let held = before.as_ref().map(|before| holders(before, &source.name)).unwrap_or_default();
            if is_own || held.iter().any(|holder| holder.name == leaving.name) {
                let keys = objects.list(&store::Names::new(source.name.clone()).keys())?.len();
                say!("  {}: {keys}, as far as they lie here", source.name);
            }
        }
    }
    say!("`domicile center apply --version {}` does it; `domicile center revert` forgets it.", next.version);
    Ok(())
}

fn apply(version: u64, key: Option<&Path>, folder: &Path, world: &World) -> anyhow::Result<()> {
    let center = Center::open(folder, world)?;
    let view = ask(folder, world)?;
    let before = charter_of(&center, &view)?;
    if version <= view.version {
        return Err(Refused(format!(
            "version {version} is in force already, or was: nothing is applied twice"
        ))
        .into());
    }
    let staged = Staged::read(folder)?;
    ensure!(!staged.changes.is_empty(), "nothing is staged");
    let now = world.clock.now();
    let next = staged.next(&center, before.as_ref(), now.to_string())?;
    if next.version != version {
        return Err(Refused(format!(
            "what is staged is version {}, not {version}: look at it again",
            next.version
        ))
        .into());
    }
    let key = match key {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            SigningKey::parse(text.trim_end()).with_context(|| path.display().to_string())?
        }
        None => Role::Country.read_private(folder).context(
            "the charter is signed with the country's key: apply it where keys/country.key lies, or give the key with --key",
        )?,
    };
    let note = next.sign(&key)?;
    // Packages before the charter: one that can't be made must not leave a charter that names its center.
    let objects = store::Objects::read_only(&center.settings.store_folder(folder))?;
    let charters = Charters::open(&center, &objects, || {})?;
    let mut notes = Vec::new();
    for version in 1..=view.version {
        notes.push(
            charters.note(version)?.with_context(|| format!("version {version} of the charter is gone"))?,
        );
    }
    notes.push(note.clone());
    let mut packages = Vec::new();
    for change in &staged.changes {
        let Change::Add { request } = change else { continue };
        let request = JoinRequest::open(request).map_err(anyhow::Error::msg)?;
        let package = center.package(&request, notes.clone(), &key, now)?;
        packages.push((request.member.name.clone(), package));
    }
    let applied: CharterView = converse(async {
        Client::open(folder, world).await?.post("/api/charter", &NewCharter { charter: note }).await
    })?;
    for (name, package) in packages {
        std::fs::create_dir_all(folder.join("join"))?;
        let path = folder.join(format!("join/{name}.json"));
        crate::pki::replace_file(&path, &serde_json::to_vec_pretty(&package)?, 0o600)?;
        say!("{}: at {name}, `domicile center join` takes it", path.display());
    }
    Staged::discard(folder)?;
    say!("Version {} of the charter is in force.", applied.version);
    Ok(())
}

fn repair(folder: &Path, world: &World) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let entered = runtime.enter();
    let repaired = crate::peer::repair::repair(folder, world)?;
    drop(entered);
    let (before, now) = repaired.entries;
    say!(
        "Fetched back from {}: {} objects, {} bytes. The log has {now} entries; {before} lay here.",
        repaired.from,
        repaired.objects,
        repaired.bytes
    );
    if repaired.taken_over > 0 {
        say!(
            "Other centers took over {} frames that they held of this center's journal.",
            repaired.taken_over
        );
    }
    if repaired.dropped > 0 {
        say!(
            "{} changes of the registry were made on top of the earlier state; nobody else knows them: make them again.",
            repaired.dropped
        );
    }
    say!(
        "What lay here before is in {}: delete it once nobody needs it, it holds vehicles' data.\nNow: domicile serve --dir {}",
        repaired.aside.display(),
        folder.display()
    );
    Ok(())
}

fn join(package: &Path, folder: &Path, world: &World) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(package).with_context(|| package.display().to_string())?;
    let package: Package =
        serde_json::from_str(&text).context("this is no package that `center apply` wrote")?;
    let held = crate::center::residency::check(folder, &package, world)
        .map_err(|why| Refused(format!("the residency self-test does not hold: {why}")))?;
    say!("Residency self-test: this center");
    held.iter().for_each(|line| say!("  {line}"));
    let center = Center::join(folder, &package, world)?;
    // From here on everything that is made has its entry: genesis, pack, charter.
    let rooms = crate::api::Rooms::open(folder, world)?;
    rooms.books.close();
    let own = center.genesis.center();
    say!("{own} is a center of {}, cluster {}.", center.genesis.country(), center.genesis.cluster());
    say!("Now: domicile serve --dir {}", folder.display());
    Ok(())
}
