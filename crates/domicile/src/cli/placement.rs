//! `domicile placement report`: which center holds what, by the centers' own logs.

use std::path::Path;

use anyhow::Context;
use ledger::SigningKey;
use model::{CenterName, VehicleId, Vin};
use store::ObjectPath;

use super::client::{Client, converse};
use super::{Folder, Format, Usage};
use crate::api::vehicles::ShowView;
use crate::center::{Center, Role};
use crate::peer::report::{Report, Sources};
use crate::world::World;

/// The first line of a signed report.
const SIGNED: &str = "domicile placement report v1\n";

/// Where everything lies
#[derive(clap::Args)]
pub(crate) struct Placement {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Report which center holds what, since when, and as of when, by what each has entered and signed
    Report {
        /// An object's name, such as shanghai-1/control/00000000000000000001.json: where its copies are
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
        /// Where they were at this instant, such as 2026-11-24T20:10:00Z
        #[arg(long, value_name = "TIME", requires = "object")]
        at: Option<String>,
        /// A vehicle: in which centers its data lies, in how many objects, and who holds copies of those
        #[arg(long, value_name = "VIN", conflicts_with = "object")]
        vin: Option<model::Vin>,
        /// Print the report as a note that this center's mirror key has signed
        #[arg(long)]
        signed: bool,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Placement {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let Verb::Report { object, at, vin, signed, format, folder } = self.verb;
        let folder = folder.path(world);
        let center = Center::open(&folder, world)?;
        let wrong = |text: &str| Usage(format!("--at: `{text}` is no time such as 2026-11-24T20:10:00Z"));
        let at = at.map(|text| registry::date(&text).map_err(|_| wrong(&text))).transpose()?;
        let sources = Sources::open(&center)?;
        let mut report = sources.report(object.as_deref(), at, world.clock.now())?;
        if let Some(vin) = vin {
            let vehicle = pseudonym(&folder, &vin, world)?;
            sources.add_vehicle(&mut report, vehicle, &|center, vehicle| {
                table_files(&sources, center, vehicle)
            })?;
        }
        if signed {
            let key: SigningKey = Role::Mirror.read_private(&center.folder)?;
            let json = serde_json::to_string_pretty(&report)?;
            say!("{}", key.sign(&format!("{SIGNED}{json}\n"))?.to_string().trim_end());
        } else if format == Format::Json {
            say!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(())
    }
}

/// The name of a vehicle in everything that is stored.
fn pseudonym(folder: &Path, vin: &Vin, world: &World) -> anyhow::Result<VehicleId> {
    let shown: ShowView =
        converse(async { Client::open(folder, world).await?.get(&format!("/api/vehicles/{vin}")).await })?;
    let vehicle = shown.vehicle.with_context(|| format!("{vin} is not registered"))?;
    Ok(vehicle.id.parse()?)
}

#[cfg(feature = "lake")]
fn table_files(
    sources: &Sources<'_>,
    center: &CenterName,
    vehicle: VehicleId,
) -> anyhow::Result<Vec<ObjectPath>> {
    let store = sources.objects().object_store();
    converse(async { Ok(lake::files_of_vehicle(store.as_ref(), center, vehicle).await?) })
}

#[cfg(not(feature = "lake"))]
fn table_files(_: &Sources<'_>, _: &CenterName, _: VehicleId) -> anyhow::Result<Vec<ObjectPath>> {
    Ok(Vec::new())
}

fn print(report: &Report) {
    say!(
        "{} of {}, charter {}, replication {}; reported by {} at {}",
        report.cluster,
        report.country,
        report.charter,
        report.replication,
        report.by,
        report.at
    );
    for center in &report.centers {
        let entries = center.entries.map_or("unknown".to_owned(), |entries| entries.to_string());
        let safe = if center.is_safe { "safe" } else { "NOT SAFE" };
        say!("{} ({}, {}): {entries} entries, {safe}", center.center, center.site, center.state);
        for copy in &center.copies {
            let since = copy.since.as_ref().map(|since| format!(", since {since}")).unwrap_or_default();
            let verified = copy.verified.as_ref().map(|at| format!(", verified {at}")).unwrap_or_default();
            say!("  in {} ({}): {} entries{since}{verified}", copy.center, copy.site, copy.entries);
        }
    }
    for center in &report.logs_not_here {
        say!("The log of {center} does not lie here: what {center} says of itself is not in this report.");
    }
    if let Some(object) = &report.object {
        say!("{}: entered {} as entry {}", object.object, object.entered, object.entry);
        if let Some(removed) = &object.removed {
            say!("  taken away: {removed}");
        }
        if let Some(as_of) = &object.as_of {
            say!("  as of {as_of}:");
        }
        for copy in &object.copies {
            let until = copy.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            let disk = match copy.is_on_this_disk {
                Some(true) => ", on this disk",
                Some(false) => ", not on this disk",
                None => "",
            };
            say!("  in {} ({}) since {}{until}{disk}", copy.center, copy.site, copy.since);
        }
        if object.copies.is_empty() {
            say!("  in no center");
        }
    }
    for placement in report.vehicle.iter().flatten() {
        say!(
            "Of the vehicle, received or registered by {} (in {}):",
            placement.center,
            placement.held_by.join(", ")
        );
        for (kind, found) in &placement.objects {
            say!(
                "  {kind:<9} {:>6} objects, {} bytes, {} to {}",
                found.count,
                found.bytes,
                found.first,
                found.last
            );
        }
    }
    if report.vehicle.as_ref().is_some_and(Vec::is_empty) {
        say!("Nothing of the vehicle lies under any prefix here.");
    }
}
