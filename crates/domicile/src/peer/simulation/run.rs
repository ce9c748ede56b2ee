//! One simulation: what happens, from the first step to the last, follows from its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use model::{CenterName, Sequence, VehicleId, Vin};
use store::CommitWaiter;
use tempfile::TempDir;

use super::super::second::Pusher;
use super::country::{CENTERS, Country};
use super::disk::DiskFaults;
use super::machine::{Common, Machine, Program};
use super::network::SimNetwork;
use super::world::{Dice, PowerCut, Time, folder_in_memory, mix};
use crate::charter::Charter;
use crate::settings::environment_variable;

/// Things that happen in a simulation before everything is mended.
const STEPS: usize = 420;
/// Rounds in which everything must have come to rest once nothing fails any more, and how far they are apart.
const SETTLING_ROUNDS: usize = 240;
const SETTLING_TIME: Duration = Duration::from_secs(20);
/// Vehicles on the road, and those of them that were sold in another country.
const VEHICLES: usize = 6;
const FOREIGN: usize = 2;

/// A defect that is put in on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    /// The journal's flush is forgotten.
    SkippedFlush,
    /// Vehicles are answered before their frames are durable.
    EarlyAnswer,
    /// A copy is cosigned before it was fetched.
    EarlyCosignature,
    /// A mirror keeps the keys that an erasure destroys.
    ForgottenErasure,
    /// A vehicle of another country is let in.
    ForeignVehicle,
}

/// What a simulation came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What was violated; empty where nothing was.
    pub(super) violations: Vec<String>,
    /// A number that follows from everything that happened.
    pub(super) trace: u64,
    pub(super) acknowledged: usize,
    pub(super) simulated: Duration,
    pub(super) power_cuts: usize,
    pub(super) has_lost_a_center: bool,
    pub(super) questions: u64,
    pub(super) taken_over: u64,
    pub(super) erasures: usize,
}

/// A message that a vehicle sent to a center.
pub(super) struct Message {
    pub(super) text: String,
    pub(super) vehicle: usize,
    pub(super) center: usize,
    /// Which run of the center's program took it.
    pub(super) run: u64,
    pub(super) sequence: Sequence,
    pub(super) waiter: Option<Arc<CommitWaiter>>,
    pub(super) is_acknowledged: bool,
    /// Acknowledged by a center that had said that it was alone.
    pub(super) is_at_risk: bool,
}

/// A vehicle.
pub(super) struct Vehicle {
    pub(super) vin: Vin,
    pub(super) is_foreign: bool,
    pub(super) sent: u32,
}

/// A simulation.
pub(super) struct Simulation<'a> {
    pub(super) country: &'a Country,
    pub(super) charter: Charter,
    pub(super) bug: Option<Bug>,
    pub(super) dice: Arc<Dice>,
    pub(super) time: Arc<Time>,
    pub(super) network: Arc<SimNetwork>,
    pub(super) machines: Vec<Machine>,
    pub(super) programs: Vec<Option<Program>>,
    pub(super) is_lost: Vec<bool>,
    pub(super) vehicles: Vec<Vehicle>,
    pub(super) messages: Vec<Message>,
    /// Pseudonyms that were erased, with all that was held of them, and where.
    pub(super) erased: BTreeSet<(VehicleId, usize)>,
    /// Vehicles of which something was erased.
    pub(super) erased_vehicles: BTreeSet<usize>,
    /// All versions of the charter, signed.
    pub(super) notes: Vec<String>,
    /// The newest version is still to be brought to a center: the first one to the center that signed it.
    pub(super) is_unapplied: bool,
    /// Sizes of logs that others said they hold, as they were looked at last.
    pub(super) receipts: BTreeMap<(usize, CenterName), u64>,
    pub(super) violations: Vec<String>,
    pub(super) trace: u64,
    pub(super) log: Option<Vec<String>>,
    pub(super) power_cuts: usize,
    pub(super) loses_centers: bool,
    _folder: TempDir,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(seed: u64, country: &'a Country, bug: Option<Bug>, loses_centers: bool) -> Self {
        let (dice, time) = (Arc::new(Dice::new(seed)), Arc::new(Time::default()));
        let network = Arc::new(SimNetwork::new(dice.clone(), time.clone()));
        let folder = folder_in_memory();
        let common = Common {
            network: network.clone(),
            time: time.clone(),
            skips_syncs: bug == Some(Bug::SkippedFlush),
            keeps_copied_keys: bug == Some(Bug::ForgottenErasure),
        };
        let machines = CENTERS.iter().enumerate().map(|(number, center)| {
            let name: CenterName = center.parse().expect("a center's name");
            let path = folder.path().join(center);
            let laid = country.copy(&name, &path);
            Machine::new(name, path, laid, mix(seed ^ number as u64), &common)
        });
        let machines: Vec<Machine> = machines.collect();
        let vehicle = |number: usize| Vehicle {
            vin: format!("LRW3E7FS2RC{number:06}").parse().expect("a VIN"),
            is_foreign: number < FOREIGN,
            sent: 0,
        };
        Self {
            country,
            charter: country.charter.clone(),
            bug,
            dice,
            time,
            network,
            programs: machines.iter().map(|_| None).collect(),
            is_lost: vec![false; machines.len()],
            machines,
            vehicles: (0..VEHICLES).map(vehicle).collect(),
            messages: Vec::new(),
            erased: BTreeSet::new(),
            erased_vehicles: BTreeSet::new(),
            notes: country.notes.clone(),
            is_unapplied: true,
            receipts: BTreeMap::new(),
            violations: Vec::new(),
            trace: 0,
            log: environment_variable("DOMICILE_SIM_LOG").map(|_| Vec::new()),
            power_cuts: 0,
            loses_centers,
            _folder: folder,
        }
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Outcome {
        (0..self.machines.len()).for_each(|machine| self.boot(machine));
        self.apply(0);
        for _ in 0..STEPS {
            self.happen();
            self.look();
            if !self.violations.is_empty() {
                break;
            }
        }
        if self.violations.is_empty() {
            self.settle();
        }
        if self.violations.is_empty() {
            self.check();
        }
        if let Some(log) = &self.log {
            log.iter().for_each(|line| eprintln!("{line}"));
        }
        Outcome {
            trace: self.trace,
            acknowledged: self.messages.iter().filter(|message| message.is_acknowledged).count(),
            simulated: self.time.passed(),
            power_cuts: self.power_cuts,
            has_lost_a_center: self.is_lost.contains(&true),
            questions: self.network.questions(),
            taken_over: self.programs.iter().flatten().map(Program::taken_over).sum(),
            erasures: self.erased.len(),
            violations: std::mem::take(&mut self.violations),
        }
    }

    pub(super) fn say(&mut self, what: &str) {
        let text = format!("{:>12.3} {what}", self.time.passed().as_secs_f64());
        self.trace = text.bytes().fold(self.trace, |trace, byte| mix(trace ^ u64::from(byte)));
        if let Some(log) = &mut self.log {
            log.push(text);
        }
    }

    pub(super) fn violate(&mut self, what: String) {
        self.say(&format!("VIOLATED: {what}"));
        self.violations.push(what);
    }

    /// Something happens.
    fn happen(&mut self) {
        let pause = match self.dice.below(100) {
            0..60 => self.dice.below(200),
            60..96 => self.dice.below(4_000),
            96..99 => self.dice.below(120_000),
            _ => self.dice.below(6_000_000),
        };
        self.time.pass(Duration::from_millis(pause as u64));
        let machine = self.dice.below(self.machines.len());
        if self.programs[machine].is_none() {
            if !self.is_lost[machine] && self.dice.permille(250) {
                self.boot(machine);
            }
            return;
        }
        match self.dice.below(1_000) {
            0..230 => self.send(machine),
            230..370 => self.work(machine, "commit", |program| {
                program.commit();
                Ok(())
            }),
            370..500 => {
                let closes = self.dice.permille(300);
                self.work(machine, "books", |program| program.keep_books(closes));
            }
            500..720 => self.meet(machine),
            720..800 => self.work(machine, "push", |program| Ok(program.push()?)),
            800..840 => self.network.deliver_late(),
            840..880 => self.register(machine),
            880..890 => self.revoke(machine),
            890..900 => self.erase(machine),
            900..915 => self.work(machine, "eraser", Program::erase),
            915..925 => self.work(machine, "take over", |program| {
                program.take_over();
                Ok(())
            }),
            925..950 => self.machines[machine].power.cut_in(self.dice.below(40) as u64),
            950..960 => self.cut_link(machine),
            960..970 => self.network.heal(),
            970..980 => self.fail(machine),
            980..985 => {
                let seconds = self.dice.below(240) as i64 - 120;
                self.machines[machine].skew(seconds);
            }
            985..990 => self.ask_from_abroad(machine),
            990..993 => self.lose(machine),
            _ => self.apply(machine),
        }
    }

    /// After each step: machines whose power went fall, vehicles hear what they are owed, and what must hold at any time does.
    fn look(&mut self) {
        for machine in 0..self.machines.len() {
            if self.programs[machine].is_some() && !self.machines[machine].power.is_on() {
                self.fall(machine);
            }
        }
        self.hear();
        self.look_at_receipts();
        let violations = self.network.take_violations();
        violations.into_iter().for_each(|what| self.violate(what));
    }

    /// Does something with a machine's program, whose power may go meanwhile. What fails is tried again by whoever comes next.
    pub(super) fn work(
        &mut self,
        machine: usize,
        what: &str,
        work: impl FnOnce(&mut Program) -> anyhow::Result<()>,
    ) {
        let done = self.on(machine, work);
        let text = match &done {
            None => "its power went".to_owned(),
            Some(Ok(())) => String::new(),
            // Words that name bytes differ from run to run; the kind of what went wrong does not.
            Some(Err(_)) => "failed".to_owned(),
        };
        self.say(&format!("{} {what} {text}", CENTERS[machine]));
        if let (Some(Err(error)), Some(log)) = (&done, &mut self.log) {
            log.push(format!("             because: {error:#}"));
        }
        if let Some(Err(error)) = done
            && let Some(what) = self.is_violation(&error)
        {
            self.violate(format!("{}: {what}", CENTERS[machine]));
        }
    }

    /// What no fault of this simulation leads to: a log that is found forked or shorter, a store or journal that is found damaged.
    fn is_violation(&self, error: &anyhow::Error) -> Option<String> {
        let text = format!("{error:#}");
        match error.downcast_ref::<ledger::Error>() {
            Some(
                ledger::Error::Forked { .. }
                | ledger::Error::RolledBack { .. }
                | ledger::Error::Failed { .. },
            ) => Some(text),
            _ if matches!(error.downcast_ref(), Some(store::Error::JournalDamaged { .. })) => Some(text),
            _ => None,
        }
    }

    pub(super) fn on<T>(&mut self, machine: usize, work: impl FnOnce(&mut Program) -> T) -> Option<T> {
        let program = self.programs[machine].as_mut()?;
        match std::panic::catch_unwind(AssertUnwindSafe(|| work(program))) {
            Ok(done) => Some(done),
            Err(cause) if cause.is::<PowerCut>() => {
                self.fall(machine);
                None
            }
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }

    fn boot(&mut self, machine: usize) {
        let (own, dice) = (&mut self.machines[machine], self.dice.clone());
        own.power.on();
        if dice.permille(100) {
            own.power.cut_in(dice.below(60) as u64);
        }
        let started = std::panic::catch_unwind(AssertUnwindSafe(|| own.start()));
        match started {
            Ok(Ok(program)) => {
                self.programs[machine] = Some(program);
                self.say(&format!("{} starts", CENTERS[machine]));
            }
            Ok(Err(error)) if own.power.is_on() => {
                self.violate(format!("{} does not start: {error:#}", CENTERS[machine]));
            }
            Ok(Err(_)) => self.fall(machine),
            Err(cause) if cause.is::<PowerCut>() => self.fall(machine),
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }

    /// The power is gone: what was not durable goes, and whoever was not answered will ask again.
    fn fall(&mut self, machine: usize) {
        self.say(&format!("{} falls", CENTERS[machine]));
        self.power_cuts += 1;
        self.machines[machine].power.off();
        self.stop(machine);
        self.machines[machine].disk.lose_power(&self.dice);
        self.machines[machine].objects.fail(0);
    }

    pub(super) fn stop(&mut self, machine: usize) {
        self.network.disconnect(&self.machines[machine].name);
        let program = self.programs[machine].take();
        let _without_power = std::panic::catch_unwind(AssertUnwindSafe(|| drop(program)));
        for message in self.messages.iter_mut().filter(|message| message.center == machine) {
            message.waiter = None;
        }
    }

    /// Vehicles hear which of their messages are acknowledged.
    fn hear(&mut self) {
        for message in &mut self.messages {
            let Some(waiter) = &message.waiter else { continue };
            let Some(program) = &self.programs[message.center] else { continue };
            if waiter.durable() >= message.sequence && message.run == self.machines[message.center].runs {
                message.is_acknowledged = true;
                message.is_at_risk = program.pusher.as_ref().is_none_or(Pusher::is_degraded);
                message.waiter = None;
            }
        }
    }

    /// A receipt is only given for what is held.
    fn look_at_receipts(&mut self) {
        let mut new = Vec::new();
        for (machine, program) in self.programs.iter().enumerate() {
            let Some(program) = program else { continue };
            for (holder, receipt) in program.receipts.all() {
                let known = self.receipts.insert((machine, holder.clone()), receipt.size());
                if known != Some(receipt.size()) {
                    new.push((machine, holder, receipt));
                }
            }
        }
        for (machine, holder, receipt) in new {
            self.network.note_root(&self.machines[machine].name, receipt.size(), receipt.root());
            let holder = self.machines.iter().position(|machine| machine.name == holder);
            let Some(holder) = holder.filter(|holder| !self.is_lost[*holder]) else { continue };
            self.check_copy(machine, holder, receipt.size());
        }
    }

    /// Everything is mended and goes on until nothing changes any more.
    fn settle(&mut self) {
        self.say("everything is mended");
        self.network.heal();
        for machine in 0..self.machines.len() {
            self.machines[machine].disk.set_faults(DiskFaults::default());
            self.machines[machine].objects.fail(0);
            self.machines[machine].skew(0);
        }
        let mut before = Vec::new();
        let mut calm = 0;
        for _ in 0..SETTLING_ROUNDS {
            for machine in 0..self.machines.len() {
                if self.is_lost[machine] {
                    continue;
                }
                if self.programs[machine].is_none() {
                    self.boot(machine);
                }
                self.apply(machine);
                self.work(machine, "round", |program| {
                    program.commit();
                    program.keep_books(true)?;
                    program.push()?;
                    program.take_over();
                    program.erase()
                });
                let wanted = self.programs[machine].as_ref().map(Program::wanted).unwrap_or_default();
                for (center, work) in wanted {
                    self.work(machine, "meets", |program| Ok(program.meet(&center, work)?));
                }
                self.look();
                if !self.violations.is_empty() {
                    return;
                }
            }
            self.time.pass(SETTLING_TIME);
            let now: Vec<_> =
                self.programs.iter().map(|program| program.as_ref().map(Program::state)).collect();
            calm = if now == before && self.is_at_rest() { calm + 1 } else { 0 };
            // A minute and more: what is held is entered once a minute.
            if calm > 4 {
                return;
            }
            before = now;
        }
        let states: Vec<_> =
            self.programs.iter().map(|program| program.as_ref().map(Program::state)).collect();
        self.violate(format!("it never comes to rest: {states:?}"));
    }

    fn is_at_rest(&self) -> bool {
        !self.is_unapplied
            && self.programs.iter().zip(&self.is_lost).all(|(program, is_lost)| match program {
                Some(program) => program.is_at_rest(),
                None => *is_lost,
            })
    }
}
