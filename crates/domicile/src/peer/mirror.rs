//! Holding copies of other centers: a thread for each, which follows that center's log, fetches what its entries name, and says so with
//! a cosignature only when all of it is here ([`ledger::copy`]). Beside it, for every other center, the thread of [`super::register`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::copy::{Copy, Followed};
use ledger::entry::{Mirrored, Root};
use ledger::{Entry, Error, Kind, SignedCheckpoint, SigningKey, cosignature};
use model::{CenterName, Clock, Entropy, KeyPeriod, UtcMicros, VehicleId};
use parking_lot::{Condvar, Mutex};
use policy::RegistryVersion;
use store::{Keyring, Names, ObjectPath, Objects};

use super::KEYS_AT_ONCE;
use super::leaving::Leaving;
use super::network::{HeadAnswer, Network, Peer, wrong};
use super::placement::{followed_by, sources_of};
use super::register::{LOOK_TIME, Listening, OnAdopted, Register};
use crate::api::Rooms;
use crate::bookkeeping::Bookkeeper;
use crate::center::{Center, CenterError};
use crate::charter::{Charters, Member};
use crate::world::World;

/// Least time between two rounds: what comes meanwhile is fetched together.
const ROUND_TIME_MIN: Duration = Duration::from_millis(200);
/// First and longest pause after a failed round.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A copy that has not changed is cosigned anew after so long, to show that its center is there.
const REFRESH_TIME: Duration = Duration::from_secs(600);
/// What is held of a center is entered in the own log at most so often: the log speaks of minutes.
const ENTRY_TIME: Duration = Duration::from_secs(60);

/// What is called with a center when the tables of its copy have changed, on the thread that copies it.
pub(crate) type OnHeld = Box<dyn Fn(&CenterName) + Send + Sync>;

/// How a copy stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CopyView {
    /// Entries up to which everything is held.
    pub(crate) held: u64,
    /// When that was cosigned last.
    pub(crate) held_at: Option<UtcMicros>,
    /// Entries of the newest head that the center showed.
    pub(crate) head: u64,
    /// Objects and bytes fetched since the start.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// When it was last known to be all that the center had.
    pub(crate) whole_at: Option<UtcMicros>,
    /// Why the last round failed; empty where it did not.
    pub(crate) problem: String,
}

/// The copies that this center holds, and what it takes over of other centers' registries. Threads end when this goes.
pub(crate) struct Mirrors {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<BTreeMap<(CenterName, Work), JoinHandle<()>>>,
}

/// What a thread does with another center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Holds a copy of it.
    Mirror,
    /// Takes over what its registry changes.
    Register,
}

pub(super) struct Shared {
    pub(super) center: Arc<Center>,
    objects: Objects,
    books: Arc<Bookkeeper>,
    charters: Arc<Charters>,
    clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    key: SigningKey,
    pub(super) network: Arc<dyn Network>,
    pub(super) register: Register,
    on_held: OnHeld,
    views: Mutex<BTreeMap<CenterName, CopyView>>,
    is_ending: AtomicBool,
    ending: Mutex<()>,
    called: Condvar,
}

impl Mirrors {
    /// For an opened center; follows nobody before [`Mirrors::adjust`] is called. Called inside the runtime.
    ///
    /// # Errors
    /// Where the center's own keys can't be read.
    pub(super) fn new(
        rooms: &Rooms,
        network: Arc<dyn Network>,
        on_held: OnHeld,
        on_adopted: OnAdopted,
        world: &World,
    ) -> Result<Self, CenterError> {
        let center = rooms.center.clone();
        let shared = Shared {
            key: center.mirror_key()?,
            network,
            register: Register { registry: rooms.registry.clone(), on_adopted },
            objects: rooms.store.objects().clone(),
            books: rooms.books.clone(),
            charters: rooms.charters.clone(),
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
            on_held,
            views: Mutex::default(),
            is_ending: AtomicBool::new(false),
            ending: Mutex::default(),
            called: Condvar::new(),
            center,
        };
        Ok(Self { shared: Arc::new(shared), threads: Mutex::default() })
    }

    /// Begins to follow each center that is to be followed, and to listen to the registry of each.
    pub(crate) fn adjust(&self) {
        let mut threads = self.threads.lock();
        for (center, work) in self.shared.wanted() {
            if threads.get(&(center.clone(), work)).is_some_and(|thread| !thread.is_finished()) {
                continue;
            }
            let (shared, source) = (self.shared.clone(), center.clone());
            let name = match work {
                Work::Mirror => format!("mirror-{center}"),
                Work::Register => format!("register-{center}"),
            };
            let thread = std::thread::Builder::new().name(name).spawn(move || match work {
                Work::Mirror => shared.mirror(&source),
                Work::Register => shared.listen(&source),
            });
            match thread {
                Ok(thread) => {
                    threads.insert((center, work), thread);
                }
                Err(error) => tracing::error!(%error, "the system gives no thread for another center"),
            }
        }
    }

    /// How each copy stands.
    pub(crate) fn views(&self) -> BTreeMap<CenterName, CopyView> {
        self.shared.views.lock().clone()
    }

    /// Ends the threads. Blocks until they have.
    pub(crate) fn finish(&self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        drop(self.shared.ending.lock());
        self.shared.called.notify_all();
        for (_, thread) in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread that copies another center ended by a defect of the program");
            }
        }
    }
}

/// A thread's own state.
pub(super) struct Round {
    shared: Arc<Shared>,
    copy: Copy,
    keyring: Keyring,
    /// Changes of the registry whose keys are still to be fetched or destroyed.
    controls: Vec<u64>,
    /// Entries that came since the own log was told what is held.
    news: u64,
    cosigned_at: Option<Duration>,
    entered_at: Option<Duration>,
    has_own_key: bool,
    leaving: Leaving,
    has_new_tables: bool,
    /// Of a center that is gone: everything that was erased up to this state of the registry is destroyed in its copy.
    forgotten: Option<RegistryVersion>,
}

impl Shared {
    /// What is to be done by the charter in force, and for the copies that lie here.
    pub(super) fn wanted(&self) -> Vec<(CenterName, Work)> {
        let Some(in_force) = self.charters.in_force() else { return Vec::new() };
        let own = self.center.genesis.center();
        let followed = followed_by(&in_force.charter, &own, &self.objects);
        let others = in_force.charter.centers.iter().filter(|member| member.name != own);
        let heard = others.filter(|member| member.state.is_here()).map(|member| member.name.clone());
        let mirrors = followed.into_iter().map(|center| (center, Work::Mirror));
        mirrors.chain(heard.map(|center| (center, Work::Register))).collect()
    }

    fn mirror(self: &Arc<Self>, source: &CenterName) {
        let mut round = None;
        // What lay here at the start shows, also where nobody is left to ask for more.
        (self.on_held)(source);
        self.keep_on(source, "a copy does not go on", || {
            let gone = self.go_round(source, &mut round);
            self.sleep(ROUND_TIME_MIN);
            gone.map(|()| true)
        });
    }

    fn listen(&self, center: &CenterName) {
        let mut listening = None;
        self.keep_on(center, "the registry of another center is not heard", || {
            let goes_on = self.look(center, &mut listening)?;
            self.sleep(LOOK_TIME);
            Ok(goes_on)
        });
    }

    /// Takes over what the registry of a center changed; waits for nothing but the other center. Whether to go on.
    pub(super) fn look(&self, center: &CenterName, listening: &mut Option<Listening>) -> Result<bool, Error> {
        let listening = match listening {
            Some(listening) => listening,
            None => listening.insert(Listening::begin(self, center)?),
        };
        listening.look(self, center)
    }

    /// Goes round after round, with a pause after those that failed, until one says that it was the last.
    fn keep_on(&self, center: &CenterName, what: &str, mut round: impl FnMut() -> Result<bool, Error>) {
        let mut pause = RETRY_MIN;
        let mut complaint = String::new();
        while !self.is_ending() {
            match round() {
                Ok(true) => (pause, complaint) = (RETRY_MIN, String::new()),
                Ok(false) => return,
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        match error.kind() {
                            Kind::Unavailable => tracing::warn!(%center, error = %text, "{what}"),
                            _ => tracing::error!(%center, error = %text, "{what}"),
                        }
                    }
                    complaint = text;
                    self.sleep(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Goes on with the copy of a center, which is opened first where it is not; waits for nothing but the other center.
    pub(super) fn go_round(
        self: &Arc<Self>,
        source: &CenterName,
        round: &mut Option<Round>,
    ) -> Result<(), Error> {
        let gone = match round {
            Some(round) => round.go(source),
            None => self.open(source).and_then(|opened| round.insert(opened).go(source)),
        };
        let problem = gone.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.change_view(source, |view| view.problem = problem);
        gone
    }

    fn open(self: &Arc<Self>, source: &CenterName) -> Result<Round, Error> {
        let member = self.member(source)?;
        let keys = member.keys().map_err(|what| wrong(source, what))?;
        let names = Names::new(source.clone());
        let copy = Copy::open(self.objects.clone(), names.clone(), keys.log)?;
        let identity = self.center.identity().map_err(|error| wrong(source, error.to_string()))?;
        let keyring = Keyring::new(self.objects.clone(), names, identity, self.entropy.clone());
        let held_at = copy.held().and_then(|held| held.cosigned_at(&self.key.verifier()).ok().flatten());
        self.change_view(source, |view| {
            view.held = copy.size();
            view.held_at = held_at.map(|seconds| UtcMicros::from_seconds(seconds.cast_signed()));
            view.whole_at = view.held_at;
        });
        Ok(Round {
            shared: self.clone(),
            copy: copy.asking_at_once(self.network.questions_at_once()),
            keyring,
            controls: Vec::new(),
            news: 0,
            cosigned_at: None,
            entered_at: None,
            has_own_key: false,
            leaving: Leaving::of(&self.center.folder, source),
            has_new_tables: false,
            forgotten: None,
        })
    }

    /// What the charter in force says of a center.
    pub(super) fn member(&self, center: &CenterName) -> Result<Member, Error> {
        let member = self.charters.member(center);
        member.ok_or_else(|| wrong(center, "the charter does not name it".to_owned()))
    }

    /// Takes the versions of the charter that the other center has and this one has not.
    pub(super) fn take_charters(
        &self,
        source: &dyn Peer,
        center: &CenterName,
        theirs: u64,
    ) -> Result<(), Error> {
        while self.charters.version() < theirs {
            let note = source.charter(self.charters.version() + 1)?;
            let applied = self.charters.apply(&note);
            // Another thread may have taken it meanwhile.
            if let Err(problem) = applied
                && self.charters.version() < theirs
            {
                return Err(wrong(center, format!("its charter is not taken: {problem}")));
            }
        }
        Ok(())
    }

    fn change_view(&self, center: &CenterName, change: impl FnOnce(&mut CopyView)) {
        change(self.views.lock().entry(center.clone()).or_default());
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(super) fn sleep(&self, time: Duration) {
        let mut ending = self.ending.lock();
        if !self.is_ending() {
            self.called.wait_for(&mut ending, time);
        }
    }
}

impl Round {
    /// Asks for the head, follows the log to it, and says what is held.
    fn go(&mut self, prefix: &CenterName) -> Result<(), Error> {
        let is_here = self.shared.member(prefix)?.state.is_here();
        if !is_here {
            self.forget_erased(prefix)?;
        }
        let (source, answer) = self.source(prefix)?;
        let source = source.as_ref();
        self.shared.take_charters(source, prefix, answer.charter)?;
        if self.shared.is_ending() {
            return Ok(());
        }
        let head = SignedCheckpoint::open(&answer.note, self.copy.log_key())?;
        if !is_here && head.size() < self.copy.reached() {
            // The center is gone, and nobody has more of it than lies here.
            return self.check_whole(prefix);
        }
        self.shared.change_view(prefix, |view| view.head = head.size());
        let mut followed = Followed::default();
        let outcome = self.copy.follow(source, &head, &mut followed);
        self.controls.extend(&followed.controls);
        self.news += followed.news;
        self.has_new_tables |= followed.tables > 0;
        self.take_leave(&followed.leaving).map_err(|error| wrong(prefix, error.to_string()))?;
        self.shared.change_view(prefix, |view| {
            view.objects += followed.objects;
            view.bytes += followed.bytes;
        });
        outcome?;
        self.take_keys(source, prefix)?;
        if !self.copy.is_whole() {
            return self.check_whole(prefix);
        }
        self.hold(source, prefix, &head)?;
        if std::mem::take(&mut self.has_new_tables) {
            (self.shared.on_held)(prefix);
        }
        Ok(())
    }

    /// Whether everything is held that was read of the log.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.copy.is_whole() && self.copy.size() > 0 && self.copy.reached() == self.copy.size()
    }

    /// Remembers files that are to go, and deletes those whose time is over.
    fn take_leave(&mut self, files: &[ObjectPath]) -> anyhow::Result<()> {
        let now = self.shared.clock.now();
        self.leaving.add(files, now)?;
        self.copy.discard(&self.leaving.due(now))?;
        Ok(self.leaving.forget_due(now)?)
    }

    /// A center that is gone erases nothing any more: what was erased in the country since is destroyed in its copy by who holds it.
    fn forget_erased(&mut self, prefix: &CenterName) -> Result<(), Error> {
        let registry = &self.shared.register.registry;
        let version = registry.version();
        if self.forgotten == Some(version) {
            return Ok(());
        }
        for erasure in registry.erasures().map_err(|error| wrong(prefix, error.to_string()))? {
            for key in &erasure.keys {
                self.keyring.destroy(erasure.vehicle, *key)?;
            }
        }
        self.forgotten = Some(version);
        Ok(())
    }

    /// An error where the copy lacks something that its log names.
    fn check_whole(&self, prefix: &CenterName) -> Result<(), Error> {
        let absent: Vec<&str> = self.copy.absent().take(3).collect();
        match absent[..] {
            // Or something is to be taken away as soon as the log has gone on.
            [] => Ok(()),
            _ => Err(wrong(prefix, format!("it does not have what its log names: {}, …", absent.join(", ")))),
        }
    }

    /// Who is asked, and the head that it shows: the center itself, or, where that is gone, whoever has most of it.
    fn source(&self, prefix: &CenterName) -> Result<(Box<dyn Peer>, HeadAnswer), Error> {
        let in_force = self.shared.charters.in_force();
        let in_force = in_force.ok_or_else(|| wrong(prefix, "there is no charter".to_owned()))?;
        let own = self.shared.center.genesis.center();
        // A copy that is whole waits at the source for news; one that is not asks at once.
        let after = if self.copy.is_whole() { self.copy.size() } else { 0 };
        let mut problem = wrong(prefix, "no center that the charter names has a copy of it".to_owned());
        let mut best: Option<(u64, Box<dyn Peer>, HeadAnswer)> = None;
        for member in sources_of(&in_force.charter, prefix, &own) {
            let asked = self.shared.network.peer(&member, prefix).and_then(|source| {
                let answer = source
                    .head(after)?
                    .ok_or_else(|| wrong(prefix, format!("{} has nothing of it", member.name)))?;
                let size = SignedCheckpoint::open(&answer.note, self.copy.log_key())?.size();
                Ok((size, source, answer))
            });
            match asked {
                Ok(asked) if best.as_ref().is_none_or(|(size, ..)| *size < asked.0) => best = Some(asked),
                Ok(_) => {}
                Err(error) => problem = error,
            }
        }
        best.map(|(_, source, answer)| (source, answer)).ok_or(problem)
    }

    /// Fetches the keys that changes of the registry made, and destroys those that they destroyed: before anything is cosigned.
    fn take_keys(&mut self, source: &dyn Peer, prefix: &CenterName) -> Result<(), Error> {
        if !self.has_own_key {
            // The key of what the center says of itself.
            fetch_keys(&self.keyring, source, &[(VehicleId::NONE, KeyPeriod::default())])?;
            self.has_own_key = true;
        }
        let names = Names::new(prefix.clone());
        while let Some(number) = self.controls.first().copied() {
            let Some(bytes) = self.shared.objects.read(&names.control(number))? else {
                return Err(Error::Corrupt {
                    name: names.control(number).to_string(),
                    why: "it is gone".to_owned(),
                });
            };
            let keys = registry::keys_of_control(number, &bytes).map_err(|error| Error::Corrupt {
                name: names.control(number).to_string(),
                why: error.to_string(),
            })?;
            fetch_keys(&self.keyring, source, &keys.made)?;
            self.forgotten = None;
            self.shared.register.adopt(prefix, &self.keyring, number, &bytes)?;
            for (vehicle, period) in keys.destroyed {
                self.keyring.destroy(vehicle, period)?;
            }
            self.controls.remove(0);
        }
        Ok(())
    }

    /// Cosigns the head, tells the center, and enters it in the own log.
    fn hold(&mut self, source: &dyn Peer, prefix: &CenterName, head: &SignedCheckpoint) -> Result<(), Error> {
        let (now, whole_at) = (self.shared.clock.monotonic(), self.shared.clock.now());
        self.shared.change_view(prefix, |view| view.whole_at = Some(whole_at));
        let is_new = self.copy.held().is_none_or(|held| held.size() < head.size());
        let is_stale = self.cosigned_at.is_none_or(|at| now.saturating_sub(at) >= REFRESH_TIME);
        if is_new || is_stale {
            let at = self.shared.clock.now();
            let seconds = u64::try_from(at.0 / UtcMicros::PER_SECOND).unwrap_or(0);
            let signed = SignedCheckpoint::open(head.note(), self.copy.log_key())?;
            let cosigned = signed.with(cosignature::sign(&self.shared.key, seconds, signed.text())?)?;
            self.copy.hold(cosigned.clone())?;
            self.cosigned_at = Some(now);
            self.shared.change_view(prefix, |view| {
                view.held = cosigned.size();
                view.held_at = Some(at);
            });
            if self.shared.member(prefix)?.state.is_here() {
                source.tell_held(cosigned.note())?;
            }
        }
        let is_due = self.entered_at.is_none_or(|at| now.saturating_sub(at) >= ENTRY_TIME);
        if self.news > 0 && is_due {
            let (size, root) = (head.size(), Root(head.root()));
            let mirrored = Mirrored { center: prefix.clone(), size, root };
            let _follows = self.shared.books.book().enter(&Entry::Mirrored(mirrored))?;
            (self.news, self.entered_at) = (0, Some(now));
        }
        Ok(())
    }
}

/// Fetches those of the keys that are not there yet.
pub(super) fn fetch_keys(
    keyring: &Keyring,
    source: &dyn Peer,
    keys: &[(VehicleId, KeyPeriod)],
) -> Result<(), Error> {
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let mut wanted = Vec::with_capacity(keys.len());
        for key in keys {
            if !keyring.has(key.0, key.1)? {
                wanted.push(*key);
            }
        }
        if wanted.is_empty() {
            continue;
        }
        for ((vehicle, period), wrapped) in wanted.iter().zip(source.keys(&wanted)?) {
            // One that was destroyed meanwhile has a later change that says so.
            if let Some(wrapped) = wrapped {
                keyring.keep(*vehicle, *period, wrapped)?;
            }
        }
    }
    Ok(())
}
