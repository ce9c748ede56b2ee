//! One register of vehicles: a thread for each other center that takes over what that center's registry changed, within seconds and
//! whether or not a copy of the center is held here. The objects come from the center itself, which the charter's key pins; the keys
//! that open them are kept in memory for as long as that takes.

use std::sync::Arc;
use std::time::Duration;

use ledger::copy::controls_after;
use ledger::entry::Commitment;
use ledger::{Error, SignedCheckpoint};
use model::CenterName;
use registry::{Adopted, Registry};
use store::{Keyring, Names};

use super::mirror::{Shared, fetch_keys};
use super::network::{Peer, wrong};

/// Least time between two looks, so that many changes are taken over together.
pub(super) const LOOK_TIME: Duration = Duration::from_millis(100);

/// What is called when something was taken over from another center: it must hold at once.
pub(crate) type OnAdopted = Box<dyn Fn(&Adopted) + Send + Sync>;

/// Changes of registries, as they are taken over.
pub(super) struct Register {
    pub(super) registry: Arc<Registry>,
    pub(super) on_adopted: OnAdopted,
}

impl Register {
    /// Takes over a control object, unless it was before.
    pub(super) fn adopt(
        &self,
        center: &CenterName,
        keyring: &Keyring,
        number: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let failed = |error: registry::Error| match error {
            registry::Error::Damaged { .. } => Error::Corrupt {
                name: Names::new(center.clone()).control(number).to_string(),
                why: error.to_string(),
            },
            error => wrong(center, format!("a change of its registry can't be taken over: {error}")),
        };
        if self.registry.adopted(center).map_err(failed)? >= number {
            return Ok(());
        }
        let adopted = self.registry.adopt(center, keyring, number, bytes).map_err(failed)?;
        if adopted.aliases > 0 {
            tracing::warn!(
                %center, number, aliases = adopted.aliases,
                "two centers registered the same vehicles; the pseudonym that was given first holds, the other is an alias"
            );
        }
        if adopted.version.is_some() {
            (self.on_adopted)(&adopted);
        }
        Ok(())
    }
}

/// A thread's own state.
pub(super) struct Listening {
    keyring: Keyring,
    /// Entries of the log when it was looked last.
    size: u64,
}

impl Listening {
    pub(super) fn begin(shared: &Shared, center: &CenterName) -> Result<Self, Error> {
        let identity = shared.center.identity().map_err(|error| wrong(center, error.to_string()))?;
        let keyring = Keyring::in_memory(Names::new(center.clone()), identity, shared.entropy.clone());
        Ok(Self { keyring, size: 0 })
    }

    /// Waits a while for the center to say something new, and takes over what its registry changed. Whether to go on.
    pub(super) fn look(&mut self, shared: &Shared, center: &CenterName) -> Result<bool, Error> {
        let member = shared.member(center)?;
        if !member.state.is_here() {
            // What it had said lies in the copies of it, and with whoever took it over.
            return Ok(false);
        }
        let source = shared.network.peer(&member, center)?;
        let source = source.as_ref();
        let answer = source.head(self.size)?.ok_or_else(|| wrong(center, "it has no log".to_owned()))?;
        // Also from whom nothing is copied: whoever is copied may be the one that is lost.
        shared.take_charters(source, center, answer.charter)?;
        let key = member.keys().map_err(|what| wrong(center, what))?.log;
        let head = SignedCheckpoint::open(&answer.note, &key)?;
        let known = shared.register.registry.adopted(center);
        let mut number = known.map_err(|error| wrong(center, error.to_string()))?;
        if number < answer.controls {
            for (entered, commitment) in controls_after(source, &head, number)? {
                if shared.is_ending() || !self.take(shared, source, center, entered, &commitment)? {
                    break;
                }
                number = entered;
            }
        }
        // The last ones are entered in a moment.
        if number >= answer.controls {
            self.size = head.size();
        }
        Ok(true)
    }

    /// Whether the change, which the log commits to, is there.
    fn take(
        &self,
        shared: &Shared,
        source: &dyn Peer,
        center: &CenterName,
        number: u64,
        commitment: &Commitment,
    ) -> Result<bool, Error> {
        let name = Names::new(center.clone()).control(number);
        let Some((bytes, opening)) = source.object(&name)? else { return Ok(false) };
        if opening.commit(name.as_ref(), &bytes) != *commitment {
            let why = "what was sent is not what the log names".to_owned();
            return Err(Error::Corrupt { name: name.to_string(), why });
        }
        let keys = registry::keys_of_control(number, &bytes)
            .map_err(|error| Error::Corrupt { name: name.to_string(), why: error.to_string() })?;
        fetch_keys(&self.keyring, source, &keys.made)?;
        let adopted = shared.register.adopt(center, &self.keyring, number, &bytes);
        for (vehicle, period) in keys.made {
            self.keyring.destroy(vehicle, period)?;
        }
        adopted.map(|()| true)
    }
}
