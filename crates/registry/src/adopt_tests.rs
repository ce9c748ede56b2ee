use std::collections::{BTreeMap, BTreeSet};

use model::{UtcMicros, VehicleId};

use crate::tests::{Center, new, vin};
use crate::{ErasureGround, NewErasure, NewVehicle, Registry, Vehicle, VehicleState};

/// A center with its registry, and how far it has read the others' changes.
struct Member {
    center: Center,
    registry: Registry,
}

impl Member {
    fn new(name: &str, count: u64) -> Self {
        let center = Center::named(name, count);
        Self { registry: center.registry(), center }
    }

    /// Takes over what another center changed from change `after` up to `to`. Gives how many changed something here.
    fn hear(&self, other: &Self, after: u64, to: u64) -> usize {
        let keyring = other.center.cold_keyring();
        let mut taken = 0;
        for number in after + 1..=to {
            let name = other.center.store.names().control(number);
            let bytes = other.center.store.objects().read(&name).expect("read").expect("there");
            let center = other.center.store.names().center();
            let adopted = self.registry.adopt(center, &keyring, number, &bytes).expect("adopted");
            taken += usize::from(adopted.version.is_some());
        }
        taken
    }

    fn hear_all(&self, other: &Self) -> usize {
        self.hear(other, 0, other.registry.version().0)
    }

    fn vehicles(&self) -> Vec<Vehicle> {
        self.registry.list(None, 1_000).expect("listed")
    }

    fn vehicle(&self, number: u32) -> Vehicle {
        self.registry.show(&vin(number)).expect("looked").expect("registered")
    }

    fn erase(&self, number: u32) -> VehicleId {
        let vin = vin(number);
        let erasure = NewErasure {
            vin: &vin,
            owner_from: None,
            ground: ErasureGround::Request,
            why: "asked",
            asked_at: UtcMicros(0),
            subject: "sha256:0".to_owned(),
        };
        self.registry.erase(&erasure).expect("erased").0.vehicle
    }

    fn gone(&self) -> BTreeSet<VehicleId> {
        self.registry.erased().iter().filter(|rows| rows.is_whole()).map(|rows| rows.vehicle).collect()
    }
}

/// Both hear each other until neither learns anything.
fn settle(members: &[&Member]) {
    for _ in 0..10 {
        let mut taken = 0;
        for member in members {
            for other in members.iter().filter(|other| !std::ptr::eq(**other, *member)) {
                taken += member.hear_all(other);
            }
        }
        if taken == 0 {
            return;
        }
    }
    panic!("centers go on telling each other the same");
}

#[test]
fn a_vehicle_is_the_same_at_each_center_and_has_a_key_of_each() {
    let (here, there) = (Member::new("shanghai-1", 0), Member::new("beijing-1", 1 << 20));
    let added = here.registry.add(&new(1)).expect("added").vehicle;
    assert_eq!(there.hear_all(&here), 1);
    assert_eq!(there.vehicle(1), added);
    assert_eq!(there.registry.lookup(&vin(1)).expect("in memory").id, added.id);
    let key = |member: &Member| member.center.cold_keyring().key(added.id, added.key).expect("a key");
    let sealed = store::seal_small(&key(&here), b"x", b"text", &*here.center.world.entropy);
    assert!(store::open_small(&key(&there), b"x", &sealed).is_none(), "each center has its own key");
    // Hearing it again, or one's own words from there, changes nothing.
    assert_eq!(there.hear_all(&here), 0);
    assert_eq!(here.hear_all(&there), 0);
    // Also after the projection was lost.
    there.center.delete_projection();
    let again = Member { registry: there.center.registry(), center: there.center };
    assert_eq!((again.vehicle(1), again.hear_all(&here)), (added, 0));
}

#[test]
fn of_two_pseudonyms_the_older_holds_and_the_other_is_an_alias_that_is_erased_with_it() {
    let (here, there) = (Member::new("shanghai-1", 0), Member::new("beijing-1", 1 << 20));
    let older = here.registry.add(&new(1)).expect("added").vehicle.id;
    let younger = there.registry.add(&new(1)).expect("added").vehicle.id;
    settle(&[&here, &there]);
    for member in [&here, &there] {
        let vehicle = member.vehicle(1);
        assert_eq!((vehicle.id, vehicle.aliases), (older, vec![younger]));
        assert!(member.registry.show_id(younger).expect("looked").is_none());
    }
    let erased = there.erase(1);
    assert_eq!(erased, older);
    settle(&[&here, &there]);
    assert_eq!(here.vehicle(1), there.vehicle(1));
    assert!(here.vehicle(1).aliases.is_empty());
    for member in [&here, &there] {
        assert_eq!(member.gone(), BTreeSet::from([older, younger]));
        for erasure in member.registry.erasures().expect("listed") {
            member.registry.destroy_keys(&erasure).expect("destroyed");
            let keyring = member.center.cold_keyring();
            assert!(erasure.keys.iter().all(|key| keyring.key(erasure.vehicle, *key).is_err()));
        }
    }
}

#[test]
fn a_revocation_wins_over_a_change_and_is_lifted_only_by_who_knew_of_it() {
    let (here, there) = (Member::new("shanghai-1", 0), Member::new("beijing-1", 1 << 20));
    here.registry.add(&new(1)).expect("added");
    settle(&[&here, &there]);
    here.registry.revoke(&vin(1), "stolen").expect("revoked");
    // Later, by somebody who does not know of it.
    there.registry.set_private(&vin(1), (UtcMicros(5), None), true).expect("set");
    settle(&[&here, &there]);
    for member in [&here, &there] {
        let vehicle = member.vehicle(1);
        assert_eq!((vehicle.state(), vehicle.private.is_empty()), (VehicleState::Revoked, false));
        assert_eq!(member.registry.lookup(&vin(1)).expect("in memory").state, VehicleState::Revoked);
    }
    assert!(there.registry.add(&new(1)).expect("restored").restored);
    settle(&[&here, &there]);
    assert_eq!(here.vehicle(1).state(), VehicleState::Active);
    assert_eq!(here.vehicle(1), there.vehicle(1));
    // What was lifted does not come back with an old word of it, and a new one holds.
    assert_eq!(here.hear_all(&there), 0);
    here.registry.revoke(&vin(1), "again").expect("revoked");
    settle(&[&here, &there]);
    assert_eq!(there.vehicle(1).state(), VehicleState::Revoked);
    assert_eq!(here.vehicle(1), there.vehicle(1));
}

#[test]
fn an_erased_pseudonym_does_not_come_back_from_a_center_that_is_behind() {
    let members =
        [Member::new("shanghai-1", 0), Member::new("beijing-1", 1 << 20), Member::new("chengdu-1", 1 << 21)];
    let [here, there, behind] = &members;
    here.registry.add(&new(1)).expect("added");
    behind.hear_all(here);
    let erased = here.erase(1);
    there.hear_all(here);
    assert_eq!(there.vehicle(1), here.vehicle(1));
    // It was erased at a center that never had it, too: what comes later is known to be gone.
    assert_eq!(there.gone(), BTreeSet::from([erased]));
    assert_eq!(there.hear_all(behind), 0);
    assert_eq!(here.hear_all(behind), 0);
    settle(&[here, there, behind]);
    assert_eq!(behind.vehicle(1), here.vehicle(1));
    assert_ne!(here.vehicle(1).id, erased);
}

#[test]
fn platforms_are_those_of_all_centers() {
    let (here, there) = (Member::new("shanghai-1", 0), Member::new("beijing-1", 1 << 20));
    here.registry.platform_add("bus-co", "password-1").expect("added");
    settle(&[&here, &there]);
    assert!(there.registry.platform_verify(b"bus-co", b"password-1"));
    there.registry.platform_revoke("bus-co", "over").expect("revoked");
    settle(&[&here, &there]);
    assert!(!here.registry.platform_verify(b"bus-co", b"password-1"));
}

/// Centers change what they like, hear each other now and then, crash and lose their projections; in the end all say the same.
#[test]
fn whatever_order_it_comes_in_all_centers_say_the_same_in_the_end() {
    for seed in 0..25_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let names = ["shanghai-1", "beijing-1", "chengdu-1"];
        let mut members: Vec<Member> = names
            .iter()
            .enumerate()
            .map(|(index, name)| Member::new(name, (index as u64) << (seed % 3 * 10)))
            .collect();
        let mut heard: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for _ in 0..60 {
            let (who, number) = (draw(3) as usize, draw(4) as u32);
            let registry = &members[who].registry;
            // What is refused (a vehicle that is not there, or revoked already) is part of it.
            match draw(9) {
                0 | 1 => drop(registry.add(&NewVehicle { model: format!("m{}", draw(9)), ..new(number) })),
                2 => drop(registry.revoke(&vin(number), "why")),
                3 => {
                    drop(registry.set_private(&vin(number), (UtcMicros(draw(50) as i64), None), draw(2) == 0))
                }
                4 if draw(3) == 0 && registry.show(&vin(number)).expect("looked").is_some() => {
                    members[who].erase(number);
                }
                5 if draw(4) == 0 => {
                    members[who].center.delete_projection();
                    members[who].registry = members[who].center.registry();
                }
                _ => {
                    let other = (who + 1 + draw(2) as usize) % 3;
                    let known = heard.entry((who, other)).or_default();
                    let newest = members[other].registry.version().0;
                    let to = *known + draw(newest.saturating_sub(*known) + 1);
                    members[who].hear(&members[other], *known, to);
                    *known = to;
                }
            }
        }
        settle(&members.iter().collect::<Vec<_>>());
        let [here, others @ ..] = &members[..] else { unreachable!("there are three") };
        for other in others {
            assert_eq!(other.vehicles(), here.vehicles(), "seed {seed}");
            assert_eq!(other.gone(), here.gone(), "seed {seed}");
        }
        for member in &members {
            let gone = member.gone();
            for vehicle in member.vehicles() {
                assert!(!gone.contains(&vehicle.id), "seed {seed}: an erased pseudonym came back");
                assert!(vehicle.aliases.iter().all(|alias| !gone.contains(alias)), "seed {seed}");
                let facts = member.registry.lookup(&vehicle.vin).expect("in memory");
                assert_eq!((facts.id, facts.key, facts.state), (vehicle.id, vehicle.key, vehicle.state()));
            }
        }
    }
}
