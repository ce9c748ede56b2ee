//! The placement report, held against what lies on the disks, now and at an earlier moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::UtcMicros;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::country::{Country, Site};
use crate::peer::report::Report;
use crate::world::World;

/// Objects that are looked at, now and as of the earlier moment.
const OBJECTS: usize = 12;
/// What a center holds of others it enters once a minute: by then the report must know of everything.
const ENTERED_TIME_MAX: Duration = Duration::from_secs(150);
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// What lay in each center's store at a moment.
pub(super) struct Disks {
    at: UtcMicros,
    objects: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Disks {
    /// Looks now.
    pub(super) fn look(sites: &[Site], world: &World) -> anyhow::Result<Self> {
        // The report speaks of whole seconds.
        let at = UtcMicros::from_seconds(world.clock.now().0 / UtcMicros::PER_SECOND);
        let list = |site: &Site| Ok((site.name, entered(&site.folder.join("store"))?));
        Ok(Self { at, objects: sites.iter().map(list).collect::<anyhow::Result<_>>()? })
    }

    /// Asks the report of one center for objects at random: where they are now, which is held against the disks of the centers that are
    /// left, and where they were at the moment of the look, which is held against what lay there then.
    pub(super) fn check(
        &self,
        country: &Country,
        reporter: usize,
        seed: u64,
        world: &World,
    ) -> anyhow::Result<()> {
        let reporter = &country.sites[reporter];
        let mut rng = StdRng::seed_from_u64(seed);
        let deadline = world.clock.monotonic() + ENTERED_TIME_MAX;
        let (now, said) = loop {
            let list = |site: &Site| Ok((site.name, entered(&site.folder.join("store"))?));
            let now: BTreeMap<&str, BTreeSet<String>> =
                country.left().map(list).collect::<anyhow::Result<_>>()?;
            match agree(reporter, &sample(&now[reporter.name], &mut rng), &now) {
                Ok(said) => break (now, said),
                Err(error) if world.clock.monotonic() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(POLL_INTERVAL),
            }
        };
        println!(
            "The report says of {OBJECTS} objects at random where they lie ({said} copies), and the disks say so too."
        );
        let at = self.at.to_string();
        let then: BTreeSet<String> =
            self.objects[reporter.name].intersection(&now[reporter.name]).cloned().collect();
        let mut said = 0;
        for name in sample(&then, &mut rng) {
            for center in place(reporter, &name, Some(&at))? {
                let lay_there =
                    self.objects.get(center.as_str()).is_some_and(|objects| objects.contains(&name));
                ensure!(lay_there, "the report says that {name} lay at {center} at {at}, and it did not");
                said += 1;
            }
        }
        ensure!(said > 0, "the report knows of nothing at {at}");
        println!("It says of {OBJECTS} others where they were at {at} ({said} copies), and there they were.");
        Ok(())
    }
}

/// Holds what the report of a center says of objects against what lies on the disks. Gives how many copies it told of.
fn agree(reporter: &Site, names: &[String], now: &BTreeMap<&str, BTreeSet<String>>) -> anyhow::Result<usize> {
    let mut said = 0;
    for name in names {
        let placed = place(reporter, name, None)?;
        for (center, objects) in now {
            let is_said = placed.contains(*center);
            ensure!(
                is_said == objects.contains(name),
                "the report says that {name} {} at {center}, and its disk says otherwise",
                if is_said { "lies" } else { "does not lie" }
            );
            said += usize::from(is_said);
        }
    }
    Ok(said)
}

/// The centers that hold an object, or held it at an instant, by the report of one.
fn place(reporter: &Site, object: &str, at: Option<&str>) -> anyhow::Result<BTreeSet<String>> {
    let mut arguments = vec!["placement", "report", "--format", "json", "--object", object];
    arguments.extend(at.into_iter().flat_map(|at| ["--at", at]));
    let report: Report = serde_json::from_str(&reporter.run(&arguments)?)?;
    let object = report.object.context("the report speaks of the object")?;
    let held = object.copies.into_iter().filter(|copy| at.is_some() || copy.until.is_none());
    Ok(held.map(|copy| copy.center).collect())
}

fn sample(objects: &BTreeSet<String>, rng: &mut StdRng) -> Vec<String> {
    let objects: Vec<&String> = objects.iter().collect();
    objects.sample(rng, OBJECTS).map(|name| (*name).clone()).collect()
}

/// The objects of a store that have an entry in a log: batches, changes of the registry and files of tables.
fn entered(store: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(store)?.to_str().context("a name is UTF-8")?.to_owned();
            let is_entered = name.contains("/batch/") && name.ends_with(".parquet")
                || name.contains("/control/") && name.ends_with(".json")
                || name.contains("/lake/") && name.ends_with(".parquet");
            if is_entered && !name.contains("/opening/") && !name.contains("/_delta_log/") {
                found.insert(name);
            }
        }
    }
    Ok(found)
}
