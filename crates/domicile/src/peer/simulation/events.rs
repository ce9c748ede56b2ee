//! What happens in a simulation: what vehicles, operators and centers do, and what goes wrong.

use std::time::Duration;

use ledger::{SignedCheckpoint, cosignature};
use model::{CenterName, Country as CountryCode, UtcMicros};
use registry::{ErasureGround, NewErasure, NewVehicle};

use super::super::mirror::Work;
use super::super::network::{Network, Peer};
use super::country::CENTERS;
use super::disk::DiskFaults;
use super::machine::Sent;
use super::network::{LinkFaults, Plug};
use super::run::{Bug, Message, Simulation};
use super::world::Dice;
use crate::charter::State;

impl Simulation<'_> {
    /// A vehicle sends a message: a new one, or one that nobody acknowledged.
    pub(super) fn send(&mut self, machine: usize) {
        let vehicle = self.dice.below(self.vehicles.len());
        let (vin, is_foreign) = (self.vehicles[vehicle].vin, self.vehicles[vehicle].is_foreign);
        for _ in 0..=self.dice.below(3) {
            self.vehicles[vehicle].sent += 1;
            let length = 40 + self.dice.below(400);
            let text = format!("{vehicle}/{} ", self.vehicles[vehicle].sent);
            let text = format!("{text}{}", "x".repeat(length));
            let lets_in = is_foreign && self.bug == Some(Bug::ForeignVehicle);
            let sent = self.on(machine, |program| match lets_in {
                true => program.send_without_looking(&vin, text.as_bytes()),
                false => program.send(&vin, text.as_bytes()),
            });
            let (words, taken) = match sent {
                None => ("its power went".to_owned(), None),
                Some(Sent::NotNow) => ("not now".to_owned(), None),
                Some(Sent::Refused(refusal)) => (refusal.code().to_owned(), None),
                Some(Sent::Taken(sequence, waiter)) => (sequence.to_string(), Some((sequence, waiter))),
            };
            self.say(&format!("{} hears vehicle {vehicle}: {words}", CENTERS[machine]));
            let Some((sequence, waiter)) = taken else { continue };
            self.messages.push(Message {
                text,
                vehicle,
                center: machine,
                run: self.machines[machine].runs,
                sequence,
                waiter: Some(waiter),
                is_acknowledged: self.bug == Some(Bug::EarlyAnswer),
                is_at_risk: false,
            });
        }
    }

    pub(super) fn meet(&mut self, machine: usize) {
        let Some(program) = &self.programs[machine] else { return };
        let wanted = program.wanted();
        let Some((center, work)) = self.dice.pick(&wanted).cloned() else { return };
        if work == Work::Mirror && self.bug == Some(Bug::EarlyCosignature) {
            self.cosign_early(machine, &center);
        }
        let what = format!("{work:?} {center}");
        self.work(machine, &what, |program| Ok(program.meet(&center, work)?));
    }

    /// The defect: the head is cosigned as soon as it is heard of.
    pub(super) fn cosign_early(&mut self, machine: usize, center: &CenterName) {
        let own = &self.machines[machine];
        let plug = Plug { network: self.network.clone(), own: own.name.clone() };
        let Some(program) = &self.programs[machine] else { return };
        let Some(member) = program.rooms.charters.member(center) else { return };
        let (Ok(keys), Ok(key)) = (member.keys(), program.rooms.center.mirror_key()) else { return };
        let cosign = |peer: Box<dyn Peer>| -> Result<(), ledger::Error> {
            let Some(answer) = peer.head(0)? else { return Ok(()) };
            let head = SignedCheckpoint::open(&answer.note, &keys.log)?;
            let seconds = u64::try_from(own.world.clock.now().0 / UtcMicros::PER_SECOND).unwrap_or(0);
            let cosigned = cosignature::sign(&key, seconds, head.text())?;
            peer.tell_held(head.with(cosigned)?.note())
        };
        let _whatever_comes_of_it = plug.peer(&member, center).and_then(cosign);
    }

    pub(super) fn register(&mut self, machine: usize) {
        let vehicle = self.dice.below(self.vehicles.len());
        let (vin, is_foreign) = (self.vehicles[vehicle].vin, self.vehicles[vehicle].is_foreign);
        let country: CountryCode = if is_foreign { "DE" } else { "CN" }.parse().expect("a country");
        let new = NewVehicle {
            vin,
            country,
            maker: "maker".to_owned(),
            model: format!("model {}", self.dice.below(3)),
            iccid: None,
            public_key: None,
            sold_at: None,
        };
        self.work(machine, &format!("registers vehicle {vehicle}"), |program| {
            program.rooms.registry.add(&new)?;
            Ok(())
        });
    }

    pub(super) fn revoke(&mut self, machine: usize) {
        let vehicle = self.dice.below(self.vehicles.len());
        let vin = self.vehicles[vehicle].vin;
        self.work(machine, &format!("revokes vehicle {vehicle}"), |program| {
            let version = program.rooms.registry.revoke(&vin, "stolen")?;
            program.journal.raise_barrier(version);
            Ok(())
        });
    }

    pub(super) fn erase(&mut self, machine: usize) {
        let vehicle = self.dice.below(self.vehicles.len());
        let vin = self.vehicles[vehicle].vin;
        let asked_at = self.machines[machine].world.clock.now();
        let mut gone = Vec::new();
        // Also where the answer is lost: it may have been written down.
        let mut may_be_erased = true;
        self.work(machine, &format!("erases vehicle {vehicle}"), |program| {
            let erasure = NewErasure {
                vin: &vin,
                owner_from: None,
                ground: ErasureGround::Request,
                why: "asked",
                asked_at,
                subject: "sha256:0".to_owned(),
            };
            let erased = program.rooms.registry.erase(&erasure);
            may_be_erased = !matches!(erased, Err(registry::Error::NoSuchVehicle));
            let (erasure, version) = erased?;
            program.journal.raise_barrier(version);
            program.call_eraser();
            gone.push(erasure.vehicle);
            Ok(())
        });
        if let Some(log) = &mut self.log {
            log.push(format!("             erased: {gone:?}"));
        }
        if may_be_erased {
            self.erased_vehicles.insert(vehicle);
        }
        self.erased.extend(gone.into_iter().map(|vehicle| (vehicle, machine)));
    }

    pub(super) fn cut_link(&mut self, machine: usize) {
        let other = self.dice.below(self.machines.len());
        let (a, b) = (&self.machines[machine].name, &self.machines[other].name);
        self.network.set_cut(a, b, true);
        if self.dice.permille(400) {
            self.network.set_faults(LinkFaults {
                lost_questions: self.dice.below(200),
                lost_answers: self.dice.below(200),
                late_copies: self.dice.below(400),
                damaged_objects: self.dice.below(100),
            });
        }
        self.say(&format!("the link between {} and {} is cut", CENTERS[machine], CENTERS[other]));
    }

    pub(super) fn fail(&mut self, machine: usize) {
        let few = |dice: &Dice| u32::try_from(dice.below(3)).unwrap_or(0);
        let faults = DiskFaults { syncs: few(&self.dice), writes: few(&self.dice), full: few(&self.dice) };
        self.machines[machine].disk.set_faults(faults);
        if self.dice.permille(500) {
            self.machines[machine].objects.fail(few(&self.dice));
        }
    }

    /// Somebody who is no center of the country asks for what lies here, and brings a charter of another country.
    pub(super) fn ask_from_abroad(&mut self, machine: usize) {
        let abroad: CenterName = "frankfurt-1".parse().expect("a center's name");
        let name = self.machines[machine].name.clone();
        let answer = self.network.ask(&abroad, &name, |office| office.head(name.as_str(), 0, Duration::ZERO));
        if answer.is_ok() {
            self.violate(format!("{name} answers a center of another country"));
        }
        let mut is_taken = false;
        self.work(machine, "is brought a charter of another country", |program| {
            is_taken = super::abroad().notes.iter().any(|note| program.rooms.charters.apply(note).is_ok());
            Ok(())
        });
        if is_taken {
            self.violate(format!("{name} takes a charter of another country"));
        }
    }

    /// A center burns down, once, where frames are acknowledged from two.
    pub(super) fn lose(&mut self, machine: usize) {
        if !self.loses_centers || self.is_lost.contains(&true) || self.is_unapplied {
            return;
        }
        self.say(&format!("{} is lost for good", CENTERS[machine]));
        self.machines[machine].power.off();
        self.stop(machine);
        self.is_lost[machine] = true;
        let survivor = &self.machines[(machine + 1) % self.machines.len()].world;
        let at = survivor.clock.now();
        let (charter, note) =
            self.country.next(&self.charter, &[(CENTERS[machine], State::Lost)], at, survivor);
        self.charter = charter;
        self.notes.push(note);
        self.is_unapplied = true;
    }

    /// The operator brings a version of the charter that nobody has yet.
    pub(super) fn apply(&mut self, machine: usize) {
        let is_first = self.charter.version == self.country.charter.version;
        if !self.is_unapplied || (is_first && machine != 0) {
            return;
        }
        let (mut is_applied, version, notes) = (false, self.charter.version, self.notes.clone());
        self.work(machine, "is brought the charter", |program| {
            let charters = &program.rooms.charters;
            // Whoever knew an earlier version may be the one that is lost, and an earlier try may have lost its answer.
            for note in notes.iter().skip(usize::try_from(charters.version())?) {
                charters.apply(note).map_err(|problem| anyhow::anyhow!("{problem}"))?;
            }
            is_applied = charters.version() >= version;
            Ok(())
        });
        self.is_unapplied = !is_applied;
    }
}
