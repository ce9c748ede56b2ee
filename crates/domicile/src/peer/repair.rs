//! A center whose store was set back or exchanged fetches back from the others what they hold of it, while it is not serving.
//!
//! The own prefix is put aside as a whole and copied anew, so that nothing of a history that nobody else knows stays: what the others
//! hold is what was promised to be there. Frames that another center holds as the second one, and of which no batch came to it any more, that
//! center takes over. What no other center has is gone, but for what lies in the folder put aside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use ledger::copy::{Copy, Followed};
use ledger::{LogReader, SignedCheckpoint};
use model::{KeyPeriod, VehicleId};
use store::{Keyring, Names, Objects, OsDisk, Store};

use super::mirror::fetch_keys;
use super::network::{Network, Peer};
use super::ways::Ways;
use crate::bookkeeping::Seen;
use crate::center::Center;
use crate::charter::Charters;
use crate::egress::Declared;
use crate::ingress::away::Away;
use crate::world::World;

/// What is not put aside: the charters, which say who is to be asked when a repair is begun again.
const KEPT: &str = "charter";

/// What a repair came to.
pub(crate) struct Repaired {
    /// Whose copy it was.
    pub(crate) from: String,
    /// Entries of the log that lay here before, and that lie here now.
    pub(crate) entries: (u64, u64),
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Frames that other centers took over.
    pub(crate) taken_over: u64,
    /// Changes of the registry that were made here since the store was set back, and that nobody else knows.
    pub(crate) dropped: u64,
    /// Where the store's earlier state lies.
    pub(crate) aside: PathBuf,
}

/// Repairs the center of a folder. Nobody else may have the folder. Called on a thread that may block, with the runtime entered.
///
/// # Errors
/// Nothing is changed where no other center has more of the log than lies here, or none answers. What fails later says where the earlier
/// state lies; the repair can be begun again.
pub(crate) fn repair(folder: &Path, world: &World) -> anyhow::Result<Repaired> {
    let center = Arc::new(Center::open(folder, world)?);
    let own = center.genesis.center();
    let (clock, entropy) = (world.clock.clone(), world.entropy.clone());
    let outside = store::World { clock: clock.clone(), entropy: entropy.clone(), disk: Arc::new(OsDisk) };
    let store = Store::open(&center.settings.store, folder, &own, &center.identity()?, outside)?;
    let (objects, names) = (store.objects().clone(), Names::new(own.clone()));
    let charters = Arc::new(Charters::open(&center, &objects, || {})?);
    let declared = Arc::new(Declared::of(&center.settings, center.genesis.country())?);
    let ways = Ways::new(center.clone(), charters.clone(), &declared, Away::default(), world)?;
    let key = center.genesis.log_key();

    let log = LogReader::new(objects.clone(), names.ledger(), key.clone());
    let head = log.head()?;
    let (here, epoch) = head.map_or((0, 0), |head| (head.checkpoint.size(), head.epoch));
    let (from, source, newest) = best(&ways, &charters, &center)?;
    let newest = SignedCheckpoint::open(&newest, &key)?;
    if newest.size() < here
        || (newest.size() == here && log.checkpoint()?.is_some_and(|known| known.root() == newest.root()))
    {
        bail!(
            "{from} holds {} entries of this center's log, and {here} lie here: there is nothing to fetch back",
            newest.size()
        );
    }

    let aside = put_aside(&center.settings.store_folder(folder), own.as_str(), &clock.now().to_string())?;
    let words = || {
        format!(
            "the store's earlier state is in {}; `domicile center repair` can be begun again",
            aside.display()
        )
    };
    let fetched = (|| {
        let mut copy = Copy::open(objects.clone(), names.clone(), key.clone())?;
        let mut followed = Followed::default();
        copy.follow(source.as_ref(), &newest, &mut followed)?;
        ensure!(
            copy.is_whole(),
            "{from} does not have what its copy of the log names: {}",
            copy.absent().take(3).collect::<Vec<_>>().join(", ")
        );
        copy.discard(&followed.leaving)?;
        let keyring = Keyring::new(objects.clone(), names.clone(), center.identity()?, entropy);
        fetch_keys(&keyring, source.as_ref(), &[(VehicleId::NONE, KeyPeriod::default())])?;
        for number in &followed.controls {
            let bytes = objects
                .read(&names.control(*number))?
                .with_context(|| format!("change {number} of the registry is gone"))?;
            let keys = registry::keys_of_control(*number, &bytes)?;
            fetch_keys(&keyring, source.as_ref(), &keys.made)?;
            for (vehicle, period) in keys.destroyed {
                keyring.destroy(vehicle, period)?;
            }
        }
        copy.hold(SignedCheckpoint::open(newest.note(), &key)?)?;
        anyhow::Ok((copy, followed))
    })();
    let (copy, followed) = fetched.with_context(words)?;
    let dropped = drop_changes(folder, &aside, &objects, &names).with_context(words)?;
    let taken_over = hand_over(&ways, &charters, &store).with_context(words)?;
    Seen::of(folder).write(newest.note());
    // Last: without it the folder is no center's that can be served.
    copy.into_log(epoch + 1, &format!("{own}, repaired at {}", clock.now())).with_context(words)?;
    Ok(Repaired {
        from,
        entries: (here, newest.size()),
        objects: followed.objects,
        bytes: followed.bytes,
        taken_over,
        dropped,
        aside,
    })
}

/// The other center that has most of the own log, as a source, and the head that it shows.
fn best(
    ways: &Ways,
    charters: &Charters,
    center: &Center,
) -> anyhow::Result<(String, Box<dyn Peer>, String)> {
    let (own, key) = (center.genesis.center(), center.genesis.log_key());
    let mut said = Vec::new();
    let mut best: Option<(u64, String, Box<dyn Peer>, String)> = None;
    for member in charters.others() {
        let asked = ways.peer(&member, &own).and_then(|peer| {
            let note = peer.head(0)?.map(|answer| answer.note);
            let size = note.as_deref().map(|note| SignedCheckpoint::open(note, &key)).transpose()?;
            Ok((peer, note, size.map(|held| held.size())))
        });
        match asked {
            Ok((peer, Some(note), Some(size))) => {
                if best.as_ref().is_none_or(|(most, ..)| *most < size) {
                    best = Some((size, member.name.to_string(), peer, note));
                }
            }
            Ok(_) => said.push(format!("{} has no copy", member.name)),
            Err(error) => said.push(format!("{}: {error}", member.name)),
        }
    }
    let (_, name, peer, note) = best.with_context(|| {
        format!("no other center can give back what it holds of this one: {}", said.join("; "))
    })?;
    Ok((name, peer, note))
}

/// Moves what lies under the own prefix beside the store, also what an earlier try began there; each goes to a folder of its own.
fn put_aside(store: &Path, own: &str, now: &str) -> anyhow::Result<PathBuf> {
    let mut aside = store.as_os_str().to_owned();
    aside.push(format!(".set-back-{}", now.replace(':', "")));
    let aside = PathBuf::from(aside);
    let prefix = store.join(own);
    let doing = || format!("putting {} aside as {}", prefix.display(), aside.display());
    std::fs::create_dir(&aside).with_context(doing)?;
    std::fs::rename(&prefix, aside.join(own)).with_context(doing)?;
    std::fs::create_dir_all(&prefix).with_context(doing)?;
    let (from, to) = (aside.join(own).join(KEPT), prefix.join(KEPT));
    if from.exists() {
        std::fs::rename(&from, &to).with_context(doing)?;
    }
    std::fs::File::open(store).and_then(|folder| folder.sync_all()).with_context(doing)?;
    Ok(aside)
}

/// Changes of the registry that are in no log: where there are some, the registry is a projection of a history that is gone, and is built anew
/// at the next start. Gives how many there are.
fn drop_changes(folder: &Path, aside: &Path, objects: &Objects, names: &Names) -> anyhow::Result<u64> {
    let earlier = Objects::read_only(aside)?;
    let mut dropped = 0;
    for change in earlier.list(&names.controls())? {
        if objects.read(&change.location)? != earlier.read(&change.location)? {
            dropped += 1;
        }
    }
    if dropped > 0 {
        let registry = folder.join("registry");
        for file in std::fs::read_dir(&registry).with_context(|| registry.display().to_string())? {
            let path = file?.path();
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(dropped)
}

/// Lets the other centers take over what they hold of the own journals beyond the batches that lie here.
fn hand_over(ways: &Ways, charters: &Charters, store: &Store) -> anyhow::Result<u64> {
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    for batch in store.batches()? {
        let last = known.entry(batch.gateway.to_string()).or_default();
        *last = (*last).max(batch.last.0);
    }
    let mut frames = 0;
    for member in charters.others() {
        let asked = ways.peer(&member, &member.name).and_then(|peer| peer.take_over_held(&known));
        frames += asked.with_context(|| {
            format!("{} must take over what it holds of this center's journal", member.name)
        })?;
    }
    Ok(frames)
}
