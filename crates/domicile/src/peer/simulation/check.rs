//! What must hold when everything has come to rest, and what must hold of a copy whenever it is cosigned.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Options;
use model::{CenterName, VehicleId};
use store::{BatchName, Keyring, Names, Objects};

use super::super::placement::holders;
use super::country::CENTERS;
use super::machine::shown_through;
use super::run::Simulation;

/// In so many of a thousand cases a cosigned copy is held against its log as a whole, which takes a while.
const WHOLE_LOOKS_PERMILLE: usize = 40;

/// What a center has of the frames of one center: how often each message lies there.
#[derive(Default)]
struct Stored {
    messages: BTreeMap<String, usize>,
}

impl Simulation<'_> {
    /// All that must hold at the end.
    pub(super) fn check(&mut self) {
        let alive: Vec<usize> = (0..self.machines.len()).filter(|machine| !self.is_lost[*machine]).collect();
        let mut stored = BTreeMap::new();
        for machine in &alive {
            for (number, center) in CENTERS.iter().enumerate() {
                let name: CenterName = center.parse().expect("a center's name");
                stored.insert((*machine, number), self.stored(*machine, &name));
            }
        }
        self.check_frames(&alive, &stored);
        self.check_foreign(&stored);
        self.check_erased(&alive);
        self.check_registers(&alive);
        for machine in &alive {
            for source in 0..CENTERS.len() {
                self.check_log(*machine, source);
            }
        }
    }

    /// The frames of a center as they lie at a machine: in its own batches, or in the copy that is held there.
    fn stored(&mut self, machine: usize, center: &CenterName) -> Stored {
        let mut stored = Stored::default();
        let Some(program) = &self.programs[machine] else { return stored };
        let store = program.rooms.store.clone();
        let identity = program.rooms.center.identity().expect("the center's identity");
        let names = Names::new(center.clone());
        let keyring = Keyring::new(
            store.objects().clone(),
            names,
            identity,
            self.machines[machine].world.entropy.clone(),
        );
        let mut problems = Vec::new();
        let through = shown_through(&store, &program.rooms.charters, center).expect("the log is read");
        for name in store.batches_of(center).expect("listed").into_iter().filter(|name| name.last <= through)
        {
            let read = read_batch(&store, &name, &keyring, &mut stored);
            problems.extend(
                read.err().map(|error| format!("{name:?} can't be read at {}: {error:#}", CENTERS[machine])),
            );
        }
        problems.into_iter().for_each(|problem| self.violate(problem));
        stored
    }

    /// Every acknowledged frame lies, once, at its center or at who took it over, and at each that is to hold a copy of that.
    fn check_frames(&mut self, alive: &[usize], stored: &BTreeMap<(usize, usize), Stored>) {
        let number = |name: &CenterName| CENTERS.iter().position(|center| *center == name.as_str());
        let mut problems = Vec::new();
        for message in &self.messages {
            let name: CenterName = CENTERS[message.center].parse().expect("a center's name");
            let is_lost = self.is_lost[message.center];
            let copies: Vec<usize> =
                holders(&self.charter, &name).iter().filter_map(|member| number(&member.name)).collect();
            let count = |machine: usize, center: usize| {
                stored
                    .get(&(machine, center))
                    .and_then(|stored| stored.messages.get(&message.text))
                    .copied()
                    .unwrap_or(0)
            };
            // What a machine shows of it: from its own batches and from all copies that lie there.
            for machine in alive {
                let shown: usize = (0..CENTERS.len()).map(|center| count(*machine, center)).sum();
                if shown > 1 {
                    problems.push(format!(
                        "a message of vehicle {} to {} lies {shown} times at {}",
                        message.vehicle, CENTERS[message.center], CENTERS[*machine]
                    ));
                }
            }
            let is_promised = message.is_acknowledged && !(is_lost && message.is_at_risk);
            let is_gone = self.vehicles[message.vehicle].is_foreign || self.was_erased(message.vehicle);
            if !is_promised || is_gone {
                continue;
            }
            let mut homes = vec![(message.center, copies)];
            if is_lost {
                let heir = homes[0].1.first().copied().unwrap_or_default();
                let heirs: CenterName = CENTERS[heir].parse().expect("a center's name");
                let copies = holders(&self.charter, &heirs);
                homes.push((heir, copies.iter().filter_map(|member| number(&member.name)).collect()));
            }
            let is_at_home = |(center, copies): &(usize, Vec<usize>)| {
                (self.is_lost[*center] || count(*center, *center) == 1)
                    && copies.iter().all(|copy| count(*copy, *center) == 1)
            };
            if !homes.iter().any(is_at_home) {
                let where_it_is: Vec<String> = alive
                    .iter()
                    .flat_map(|machine| (0..CENTERS.len()).map(move |center| (*machine, center)))
                    .filter(|(machine, center)| count(*machine, *center) > 0)
                    .map(|(machine, center)| format!("{} of {}", CENTERS[machine], CENTERS[center]))
                    .collect();
                problems.push(format!(
                    "a message of vehicle {} that {} acknowledged is not where it must be, only at: {}",
                    message.vehicle,
                    CENTERS[message.center],
                    where_it_is.join(", ")
                ));
            }
        }
        problems.dedup();
        problems.into_iter().for_each(|problem| self.violate(problem));
    }

    /// Whether something of a vehicle was erased: its messages may be gone.
    fn was_erased(&self, vehicle: usize) -> bool {
        self.erased_vehicles.contains(&vehicle)
    }

    /// Nothing of a vehicle of another country is stored.
    fn check_foreign(&mut self, stored: &BTreeMap<(usize, usize), Stored>) {
        let is_foreign = |text: &str| {
            let vehicle = text.split('/').next().and_then(|number| number.parse::<usize>().ok());
            vehicle.is_some_and(|vehicle| self.vehicles[vehicle].is_foreign)
        };
        let found = stored.iter().find(|(_, stored)| stored.messages.keys().any(|text| is_foreign(text)));
        if let Some(((machine, _), _)) = found {
            let machine = CENTERS[*machine];
            self.violate(format!("{machine} has stored what a vehicle of another country sent"));
        }
    }

    /// No key of what was erased lies anywhere. Of an erasure at a center that burnt down before anybody heard of it nobody knows.
    fn check_erased(&mut self, alive: &[usize]) {
        let mut problems = Vec::new();
        let here =
            self.erased.iter().filter(|(_, center)| !self.is_lost[*center]).map(|(vehicle, _)| *vehicle);
        let mut erased: BTreeSet<VehicleId> = here.collect();
        for program in self.programs.iter().flatten() {
            let known = program.rooms.registry.erasures().expect("listed");
            erased.extend(known.into_iter().map(|erasure| erasure.vehicle));
        }
        for machine in alive {
            let Some(program) = &self.programs[*machine] else { continue };
            for center in CENTERS {
                let names = Names::new(center.parse().expect("a center's name"));
                for object in program.rooms.store.objects().list(&names.keys()).expect("listed") {
                    let name = object.location.filename().unwrap_or_default().to_owned();
                    if erased.iter().any(|vehicle| name.starts_with(&format!("{vehicle}-"))) {
                        let machine = CENTERS[*machine];
                        problems.push(format!("{machine} has {name} of {center}, which was to be erased"));
                    }
                }
            }
        }
        problems.into_iter().for_each(|problem| self.violate(problem));
    }

    /// All centers have the same vehicles under the same pseudonyms.
    fn check_registers(&mut self, alive: &[usize]) {
        let register = |machine: usize| {
            let program = self.programs[machine].as_ref()?;
            let vehicles = program.rooms.registry.list(None, 1_000).expect("listed");
            let facts = vehicles.into_iter().map(|vehicle| {
                (vehicle.vin.as_str().to_owned(), vehicle.id, vehicle.revoked.is_some(), vehicle.model)
            });
            Some(facts.collect::<Vec<_>>())
        };
        let registers: Vec<_> = alive.iter().map(|machine| register(*machine)).collect();
        if registers.iter().any(|other| *other != registers[0]) {
            self.violate(format!("centers know different vehicles: {registers:?}"));
        }
    }

    /// A copy up to what was cosigned lies at the machine that cosigned it.
    pub(super) fn check_copy(&mut self, source: usize, holder: usize, size: u64) {
        let names = Names::new(self.machines[source].name.clone());
        let objects = Objects::new(self.machines[holder].objects.clone());
        let name = store::ObjectPath::from(format!("{}/checkpoint", names.ledger()));
        let note = objects.read(&name).expect("read").and_then(|note| String::from_utf8(note.to_vec()).ok());
        // The second line of a checkpoint is its size (C2SP tlog-checkpoint).
        let held = note.and_then(|note| note.lines().nth(1)?.parse::<u64>().ok()).unwrap_or(0);
        if held < size {
            let (source, holder) = (CENTERS[source], CENTERS[holder]);
            return self.violate(format!("{holder} cosigned {size} entries of {source} and holds {held}"));
        }
        if self.dice.permille(WHOLE_LOOKS_PERMILLE) {
            self.check_log(holder, source);
        }
    }

    /// A log, or the copy of one, and everything that it names.
    fn check_log(&mut self, machine: usize, source: usize) {
        let name = &self.machines[source].name;
        let names = Names::new(name.clone());
        let objects = Objects::new(self.machines[machine].objects.clone());
        let has_whole_copy =
            self.programs[machine].as_ref().is_some_and(|program| program.has_whole_copy(name));
        if machine != source && !has_whole_copy {
            return;
        }
        let member = self.charter.member(name).expect("it is in the charter").keys().expect("its keys");
        let options = Options { is_copy: machine != source, ..Options::default() };
        let problem = match ledger::verify(&objects, &names, &member.log, &options) {
            Ok(report) if report.passed() => None,
            Ok(report) => Some(format!("{:?}", report.findings)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            let (machine, source) = (CENTERS[machine], CENTERS[source]);
            self.violate(format!("the log of {source} as it lies at {machine} does not verify: {problem}"));
        }
    }
}

fn read_batch(
    store: &store::Store,
    name: &BatchName,
    keyring: &Keyring,
    stored: &mut Stored,
) -> anyhow::Result<()> {
    store.read_batch(name)?.for_each(keyring, |row| {
        let Some(frame) = row.frame() else { return Ok(()) };
        let text = String::from_utf8(frame.bytes.to_vec())?;
        *stored.messages.entry(text).or_default() += 1;
        Ok(())
    })
}
