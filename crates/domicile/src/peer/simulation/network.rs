//! The network between machines: links are cut, questions and answers get lost, what was sent comes late and twice, what is fetched comes
//! damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::copy::Source;
use ledger::entry::Opening;
use ledger::{Error, Tile};
use model::{CenterName, GatewayName, KeyPeriod, Sequence, VehicleId};
use parking_lot::Mutex;
use store::ObjectPath;

use super::super::network::{HeadAnswer, Network, Peer, wrong};
use super::super::office::PeerOffice;
use super::world::{Dice, Power, PowerCut, Time};
use crate::api::Problem;
use crate::charter::Member;

/// How long a question takes at most, there and back.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(80);

/// What goes wrong on a link, in so many of a thousand cases.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkFaults {
    pub(super) lost_questions: usize,
    pub(super) lost_answers: usize,
    pub(super) late_copies: usize,
    pub(super) damaged_objects: usize,
}

/// The network of a country.
pub(super) struct SimNetwork {
    dice: Arc<Dice>,
    time: Arc<Time>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<CenterName, Node>,
    cut: BTreeSet<(CenterName, CenterName)>,
    faults: LinkFaults,
    late: Vec<Late>,
    /// What was told of whom: each size of a log has one root.
    roots: BTreeMap<(CenterName, u64), [u8; 32]>,
    violations: Vec<String>,
    questions: u64,
}

struct Node {
    office: Arc<PeerOffice>,
    power: Arc<Power>,
}

/// Something that comes a second time, after what was sent later.
struct Late {
    from: CenterName,
    to: CenterName,
    what: Sent,
}

enum Sent {
    Frames { gateway: GatewayName, freed: Sequence, blocks: Vec<u8> },
    Receipt(String),
}

/// The network as one machine has it.
pub(super) struct Plug {
    pub(super) network: Arc<SimNetwork>,
    pub(super) own: CenterName,
}

struct SimPeer {
    network: Arc<SimNetwork>,
    from: CenterName,
    to: CenterName,
    prefix: CenterName,
}

impl SimNetwork {
    pub(super) fn new(dice: Arc<Dice>, time: Arc<Time>) -> Self {
        Self { dice, time, state: Mutex::default() }
    }

    pub(super) fn connect(&self, center: &CenterName, office: Arc<PeerOffice>, power: Arc<Power>) {
        self.state.lock().nodes.insert(center.clone(), Node { office, power });
    }

    pub(super) fn disconnect(&self, center: &CenterName) {
        self.state.lock().nodes.remove(center);
    }

    /// Cuts the link between two machines, in both directions, or mends it.
    pub(super) fn set_cut(&self, a: &CenterName, b: &CenterName, is_cut: bool) {
        let mut state = self.state.lock();
        for pair in [(a.clone(), b.clone()), (b.clone(), a.clone())] {
            if is_cut {
                state.cut.insert(pair)
            } else {
                state.cut.remove(&pair)
            };
        }
    }

    pub(super) fn set_faults(&self, faults: LinkFaults) {
        self.state.lock().faults = faults;
    }

    /// Mends all links; nothing gets lost any more, and nothing comes late.
    pub(super) fn heal(&self) {
        let mut state = self.state.lock();
        state.cut.clear();
        state.faults = LinkFaults::default();
    }

    pub(super) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().violations)
    }

    pub(super) fn questions(&self) -> u64 {
        self.state.lock().questions
    }

    /// Notes a root that was shown of a log: two for one size are a fork.
    pub(super) fn note_root(&self, center: &CenterName, size: u64, root: [u8; 32]) {
        let mut state = self.state.lock();
        let known = *state.roots.entry((center.clone(), size)).or_insert(root);
        if known != root {
            state.violations.push(format!("the log of {center} forked: two roots of {size} entries"));
        }
    }

    /// Lets one of the late copies arrive.
    pub(super) fn deliver_late(&self) {
        let late = {
            let mut state = self.state.lock();
            if state.late.is_empty() {
                return;
            }
            let at = self.dice.below(state.late.len());
            state.late.swap_remove(at)
        };
        let _nobody_waits_for_an_answer = match late.what {
            Sent::Frames { gateway, freed, blocks } => self.ask(&late.from, &late.to, |office| {
                office.take_frames(&late.from, &gateway, freed, &blocks).map(|_| ())
            }),
            Sent::Receipt(note) => {
                self.ask(&late.from, &late.to, |office| office.take_receipt(&late.from, &note))
            }
        };
    }

    fn remember(&self, from: &CenterName, to: &CenterName, what: impl FnOnce() -> Sent) {
        let chances = self.state.lock().faults.late_copies;
        if chances > 0 && self.dice.permille(chances) {
            let late = Late { from: from.clone(), to: to.clone(), what: what() };
            self.state.lock().late.push(late);
        }
    }

    /// A question of one machine to another.
    pub(super) fn ask<T>(
        &self,
        from: &CenterName,
        to: &CenterName,
        question: impl FnOnce(&PeerOffice) -> Result<T, Problem>,
    ) -> Result<T, Error> {
        let lost = |why: &str| Err(wrong(to, why.to_owned()));
        let (office, power, faults) = {
            let mut state = self.state.lock();
            state.questions += 1;
            if state.cut.contains(&(from.clone(), to.clone())) {
                return lost("the link is cut");
            }
            let Some(node) = state.nodes.get(to) else { return lost("nobody answers") };
            (node.office.clone(), node.power.clone(), state.faults)
        };
        self.time.pass(ROUND_TRIP_MAX / 1_000 * u32::try_from(self.dice.below(1_000)).unwrap_or(0));
        if faults.lost_questions > 0 && self.dice.permille(faults.lost_questions) {
            return lost("the question got lost");
        }
        if !power.is_on() {
            return lost("it has no power");
        }
        if !office.serves(from) {
            return lost("it does not answer those that its charter does not name");
        }
        let answered = std::panic::catch_unwind(AssertUnwindSafe(|| question(&office)));
        let answer = match answered {
            Ok(answer) => answer,
            Err(cause) if cause.is::<PowerCut>() && !power.is_on() => {
                return lost("its power went while it worked on the answer");
            }
            Err(cause) => std::panic::resume_unwind(cause),
        };
        if faults.lost_answers > 0 && self.dice.permille(faults.lost_answers) {
            return lost("the answer got lost");
        }
        answer.map_err(|problem| wrong(to, problem.to_string()))
    }
}

impl Network for Plug {
    fn peer(&self, member: &Member, prefix: &CenterName) -> Result<Box<dyn Peer>, Error> {
        Ok(Box::new(SimPeer {
            network: self.network.clone(),
            from: self.own.clone(),
            to: member.name.clone(),
            prefix: prefix.clone(),
        }))
    }

    fn questions_at_once(&self) -> usize {
        1
    }
}

impl SimPeer {
    fn ask<T>(&self, question: impl FnOnce(&PeerOffice) -> Result<T, Problem>) -> Result<T, Error> {
        self.network.ask(&self.from, &self.to, question)
    }

    /// As [`SimPeer::ask`], where there may be nothing of that name.
    fn find<T>(&self, question: impl FnOnce(&PeerOffice) -> Result<T, Problem>) -> Result<Option<T>, Error> {
        self.ask(|office| match question(office) {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.is_not_found() => Ok(None),
            Err(problem) => Err(problem),
        })
    }

    fn below<'a>(&self, name: &'a ObjectPath) -> &'a str {
        name.as_ref()
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or_default()
    }

    fn damage(&self, content: Bytes) -> Bytes {
        let chances = self.network.state.lock().faults.damaged_objects;
        if chances == 0 || content.is_empty() || !self.network.dice.permille(chances) {
            return content;
        }
        let mut damaged = content.to_vec();
        let at = self.network.dice.below(damaged.len());
        damaged[at] ^= 1;
        damaged.into()
    }
}

impl Source for SimPeer {
    fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        let found = self.find(|office| office.log_file(self.prefix.as_str(), &tile.path()))?;
        Ok(found.map(|bytes| self.damage(bytes).to_vec()))
    }

    fn object(&self, name: &ObjectPath) -> Result<Option<(Bytes, Opening)>, Error> {
        let found = self.find(|office| office.object(self.prefix.as_str(), self.below(name)))?;
        let Some((content, opening)) = found else { return Ok(None) };
        let opening = Opening::parse(&opening).map_err(|rule| wrong(&self.to, rule.to_string()))?;
        Ok(Some((self.damage(content), opening)))
    }

    fn unentered(&self, name: &ObjectPath) -> Result<Option<Bytes>, Error> {
        self.find(|office| office.unentered(self.prefix.as_str(), self.below(name)))
    }
}

impl Peer for SimPeer {
    fn head(&self, after: u64) -> Result<Option<HeadAnswer>, Error> {
        self.find(|office| office.head(self.prefix.as_str(), after, Duration::ZERO))
    }

    fn charter(&self, version: u64) -> Result<String, Error> {
        self.ask(|office| office.charter(version))
    }

    fn tell_held(&self, note: &str) -> Result<(), Error> {
        self.network.remember(&self.from, &self.to, || Sent::Receipt(note.to_owned()));
        self.ask(|office| office.take_receipt(&self.from, note))
    }

    fn push_frames(&self, gateway: &GatewayName, freed: Sequence, blocks: Vec<u8>) -> Result<u64, Error> {
        self.network.remember(&self.from, &self.to, || Sent::Frames {
            gateway: gateway.clone(),
            freed,
            blocks: blocks.clone(),
        });
        self.ask(|office| office.take_frames(&self.from, gateway, freed, &blocks))
    }

    fn take_over_held(&self, known: &BTreeMap<String, u64>) -> Result<u64, Error> {
        self.ask(|office| office.take_over_held(&self.from, known))
    }

    fn renew_certificate(&self, certificate: &str) -> Result<Option<String>, Error> {
        self.ask(|office| office.renew_certificate(certificate)).map(Some)
    }

    fn keys(&self, wanted: &[(VehicleId, KeyPeriod)]) -> Result<Vec<Option<Bytes>>, Error> {
        self.ask(|office| office.keys(&self.from, self.prefix.as_str(), wanted))
    }
}
