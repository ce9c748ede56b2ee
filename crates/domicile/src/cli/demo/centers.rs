//! `domicile demo --centers 3`: a country of three centers on loopback, each with a third of the fleet, acknowledging from two. One is
//! killed on the way and comes back; each answers SQL for the country.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Country as CountryCode;
use sim::fleet::Fleet;
use sim::vehicle::vin;
use tokio::sync::watch;

use super::super::country::{Country, NAMES, Site};
use super::super::sim::{Wallet, interrupted, summary};
use super::{PROGRESS_INTERVAL, fleet, rows};
use crate::world::World;

/// Vehicles of each center.
const VEHICLES_EACH: u32 = 60;
/// When a center is killed, where there is time for it, and how long it is down.
const KILL_AFTER: Duration = Duration::from_secs(15);
const DOWN_TIME: Duration = Duration::from_secs(5);
/// How long all centers may take to answer the same, once no vehicle sends any more.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Runs it until the time is over or somebody interrupts.
pub(super) fn run(folder: &Path, duration: Option<Duration>, world: &World) -> anyhow::Result<()> {
    let home: CountryCode = "CN".parse()?;
    let mut country = Country::that_stays(folder)?;
    let fleets: Vec<Fleet> = (0_u32..)
        .zip(&country.sites)
        .map(|(number, site)| fleet(home, number * VEHICLES_EACH, VEHICLES_EACH, site.ports, world))
        .collect();
    if folder.join(NAMES[0]).join("genesis.json").exists() {
        println!("The centers in {} go on …", folder.display());
        country.go_on(world)?;
    } else {
        println!("Making {} in {}; the others join …", NAMES.join(", "), folder.display());
        let registrations = fleets.iter().map(Fleet::registration);
        let lines: Vec<String> = registrations.collect();
        let more = lines[1..].iter().flat_map(|text| text.lines().skip(1).map(|line| format!("{line}\n")));
        let vehicles = lines[0].clone() + &more.collect::<String>();
        country.begin(&vehicles, world)?;
        let last = vin(VEHICLES_EACH * NAMES.len() as u32 - 1);
        country.join(&[1, 2], &last, world)?;
    }
    introduce(&country);
    let outcome = drive(&mut country, &fleets, duration, world);
    println!("Stopping the centers …");
    country.stop(world)?;
    outcome?;
    println!("Done. {} keeps what was collected; run it again to go on.", folder.display());
    Ok(())
}

fn introduce(country: &Country) {
    println!("\nThree centers of one country run, and a frame is acknowledged when two of them have it:");
    for site in &country.sites {
        let ports = site.ports;
        println!(
            "  {:<11} Tesla on 127.0.0.1:{}, GB/T 32960 on 127.0.0.1:{} (TLS), HTTPS on 127.0.0.1:{}, PostgreSQL on 127.0.0.1:{}",
            site.name, ports.tesla, ports.gbt_tls, ports.http, ports.postgres
        );
    }
    let [first, second, ..] = &country.sites[..] else { return };
    println!(
        "\nIn another terminal try:\n\n  \
         domicile query --dir {} \"select source, count(*) from signals group by 1\"      # for the country, at any center\n  \
         domicile center list --dir {}\n  \
         domicile placement report --dir {}\n  \
         domicile vehicle revoke {} --why stolen --dir {}      # holds at each within a second\n\n\
         (Built from source the program is target/debug/domicile.) Ctrl-C ends it.\n",
        second.folder.display(),
        first.folder.display(),
        second.folder.display(),
        vin(0),
        second.folder.display(),
    );
}

fn drive(
    country: &mut Country,
    fleets: &[Fleet],
    duration: Option<Duration>,
    world: &World,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(&country.sites[0].folder, world)?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    {
        let _inside = country.runtime.enter();
        for fleet in fleets {
            tasks.push(fleet.start(&wallet.trust()?, |vin| wallet.credentials(vin, world), &stopped)?);
        }
    }
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let told = is_interrupted.clone();
    country.runtime.spawn(async move {
        // Where the signal can't be waited for, the time or a second one ends it.
        let _ = interrupted().await;
        told.store(true, Ordering::Relaxed);
    });
    let began = world.clock.monotonic();
    let passed = || world.clock.monotonic().saturating_sub(began);
    let has_time = duration.is_none_or(|duration| duration > 2 * KILL_AFTER);
    let (mut is_killed, mut said_at) = (!has_time, Duration::ZERO);
    while duration.is_none_or(|duration| passed() < duration) && !is_interrupted.load(Ordering::Relaxed) {
        if !is_killed && passed() >= KILL_AFTER {
            is_killed = true;
            println!("{} is killed with kill -9; its vehicles wait for it …", NAMES[2]);
            country.kill(2, DOWN_TIME, world)?;
            println!("{} is back.", NAMES[2]);
        }
        if passed() - said_at >= PROGRESS_INTERVAL {
            said_at = passed();
            say(country, fleets);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    println!("Stopping the fleet …");
    stop.send_replace(true);
    country.runtime.block_on(async {
        for mut fleet in tasks {
            while fleet.join_next().await.is_some() {}
        }
    });
    for (site, fleet) in country.sites.iter().zip(fleets) {
        println!("{:<11} {}", site.name, summary(&fleet.report));
    }
    let deadline = world.clock.monotonic() + SETTLE_TIME_MAX;
    loop {
        let rows: Vec<String> = country.sites.iter().map(rows_at).collect();
        let are_the_same = rows.iter().all(|other| *other == rows[0]);
        if are_the_same || world.clock.monotonic() >= deadline {
            say(country, fleets);
            let said = if are_the_same {
                "Each center answers the same for the country."
            } else {
                "The centers do not answer the same yet."
            };
            println!("{said}\n");
            break;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// A line that says how far it is.
fn say(country: &Country, fleets: &[Fleet]) {
    let each = country.sites.iter().zip(fleets).map(|(site, fleet)| {
        format!("{} {} acked, country's rows {}", site.name, fleet.report.counts().acked, rows_at(site))
    });
    println!("{}", each.collect::<Vec<_>>().join("; "));
}

/// How many rows SQL at a center sees of the whole country.
fn rows_at(site: &Site) -> String {
    rows(&site.folder).unwrap_or("?".to_owned())
}
