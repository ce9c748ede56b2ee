//! `domicile vehicle …`: who may connect.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use super::client::{Client, converse, part};
use super::{Folder, Format, Usage};
use crate::api::vehicles::{
    AddedView, CertificateView, ImportView, PrivateTime, Reason, ShowView, VehicleDetails, VehicleView,
};
use crate::pki::{PkiError, write_new};
use crate::world::World;

/// Register vehicles, show why one does not connect, issue certificates, revoke
#[derive(clap::Args)]
pub(crate) struct Vehicles {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Register a vehicle, or restore a revoked one
    Add(Add),
    /// Register the vehicles of a CSV file with a header: vin, country; optional maker, model, iccid, public_key, sold_at
    Import(Import),
    /// List the vehicles
    List(List),
    /// Show a vehicle, its connection, and why it was refused
    Show(Show),
    /// Issue a client certificate from the center's own authority
    Cert(Cert),
    /// Say that a vehicle is used privately for a time: its trips of then have no place
    Private(Private),
    /// Withdraw a vehicle: its connection ends, and nothing of it is stored any more
    Revoke(Revoke),
}

#[derive(clap::Args)]
struct Add {
    vin: String,
    /// The country that it was sold in [default: the center's]
    #[arg(long)]
    country: Option<String>,
    #[arg(long, default_value = "")]
    maker: String,
    #[arg(long, default_value = "")]
    model: String,
    /// Its SIM card's number: 19 or 20 digits
    #[arg(long)]
    iccid: Option<String>,
    /// A file with the public key that its signatures are verified with, as PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// When it was sold, such as 2026-01-31
    #[arg(long)]
    sold_at: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Import {
    file: PathBuf,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct List {
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Show {
    /// The VIN, or the vehicle's id in the tables
    vehicle: String,
    /// Print the document that configures a Tesla to stream to this center
    #[arg(long)]
    telemetry_config: bool,
    /// With --telemetry-config: the host name that the vehicle reaches the center by
    #[arg(long, requires = "telemetry_config")]
    host: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Cert {
    vin: String,
    /// A folder for VIN.pem, VIN.key and server-ca.pem
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Private {
    /// The VIN, or the vehicle's id in the tables
    vehicle: String,
    /// The first instant, such as 2026-01-31 or 2026-01-31T18:00:00Z (UTC)
    #[arg(long)]
    from: String,
    /// The first instant after it [default: until further notice]
    #[arg(long)]
    until: Option<String>,
    /// Take it back: the time is not private
    #[arg(long)]
    not: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Revoke {
    /// The VIN, or the vehicle's id in the tables
    vehicle: String,
    /// Why, for whoever asks later
    #[arg(long)]
    why: String,
    #[command(flatten)]
    folder: Folder,
}

impl Vehicles {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        converse(async {
            match self.verb {
                Verb::Add(add) => add.run(world).await,
                Verb::Import(import) => import.run(world).await,
                Verb::List(list) => list.run(world).await,
                Verb::Show(show) => show.run(world).await,
                Verb::Cert(cert) => cert.run(world).await,
                Verb::Private(private) => private.run(world).await,
                Verb::Revoke(revoke) => revoke.run(world).await,
            }
        })
    }
}

impl Add {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        let public_key = self.public_key.map(|file| read_text(&file)).transpose()?;
        let country = match self.country {
            Some(country) => country,
            None => crate::center::Center::open(&folder, world)?.genesis.country().to_string(),
        };
        let details = VehicleDetails {
            vin: self.vin,
            country,
            maker: self.maker,
            model: self.model,
            iccid: self.iccid,
            public_key,
            sold_at: self.sold_at,
        };
        let mut client = Client::open(&folder, world).await?;
        let added: AddedView = client.post("/api/vehicles", &details).await?;
        let what = if added.restored { "restored" } else { "registered" };
        say!("{what}; in the tables it is {}", added.vehicle.id);
        Ok(())
    }
}

impl Import {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let bytes = std::fs::read(&self.file).with_context(|| self.file.display().to_string())?;
        let mut client = Client::open(&self.folder.path(world), world).await?;
        let view: ImportView = client.upload("/api/vehicles/import", bytes).await?;
        say!("{} new, {} changed, {} as they were", view.added, view.changed, view.unchanged);
        if view.revoked > 0 {
            say!("{} are revoked and stay so; `domicile vehicle add VIN` restores one", view.revoked);
        }
        Ok(())
    }
}

impl List {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let mut client = Client::open(&self.folder.path(world), world).await?;
        let mut all: Vec<VehicleView> = Vec::new();
        let mut after = String::new();
        loop {
            let page: Vec<VehicleView> = client.get(&format!("/api/vehicles{after}")).await?;
            let Some(last) = page.last() else { break };
            after = format!("?after={}", last.id);
            match self.format {
                Format::Json => all.extend(page),
                Format::Table => page.iter().for_each(|vehicle| say!("{}", line(vehicle))),
            }
        }
        if self.format == Format::Json {
            say!("{}", serde_json::to_string_pretty(&all)?);
        }
        Ok(())
    }
}

fn line(vehicle: &VehicleView) -> String {
    let VehicleView { vin, id, country, state, maker, model, .. } = vehicle;
    format!("{vin}  {id}  {country}  {state:<8}  {maker} {model}").trim_end().to_owned()
}

impl Show {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        let address = format!("/api/vehicles/{}", part(&self.vehicle));
        if self.telemetry_config {
            let host = self.host.map(|host| format!("?host={}", part(&host))).unwrap_or_default();
            let mut client = Client::open(&folder, world).await?;
            let config: Value = client.get(&format!("{address}/telemetry-config{host}")).await?;
            say!("{}", serde_json::to_string_pretty(&config)?);
            return Ok(());
        }
        let show = async |client: &mut Client| client.get::<ShowView>(&address).await;
        let view = Client::with_tables(&folder, world, show).await?;
        match self.format {
            Format::Json => say!("{}", serde_json::to_string_pretty(&view)?),
            Format::Table => print_vehicle(&view),
        }
        Ok(())
    }
}

fn print_vehicle(view: &ShowView) {
    match &view.vehicle {
        Some(vehicle) => print_registered(vehicle),
        None => say!("Not in the registry. If it belongs here: domicile vehicle add VIN"),
    }
    match &view.connection {
        Some(now) => say!(
            "connected   since {} over {} from {} ({}), identity: {}",
            now.since,
            now.protocol,
            now.peer,
            now.connection,
            now.assurance
        ),
        None => say!("connected   no"),
    }
    if view.diary.is_empty() {
        say!("\nNobody with this VIN has tried to connect, as far as this center remembers.");
        return;
    }
    say!("\nConnection diary (UTC):");
    for entry in &view.diary {
        say!("  {}  {:<12}  {:<20}  {}", entry.time, entry.kind, entry.code, entry.detail);
        if let Some(refusal) = policy::Refusal::from_code(&entry.code).filter(|_| entry.kind == "refused") {
            say!("      {refusal}");
        }
    }
}

fn print_registered(vehicle: &VehicleView) {
    say!("VIN         {}", vehicle.vin);
    say!("id          {}", vehicle.id);
    for alias in &vehicle.aliases {
        say!(
            "alias       {alias}: it was registered at two centers at once; rows of then lie under this name"
        );
    }
    say!("sold in     {}{}", vehicle.country, on(vehicle.sold_at.as_deref()));
    say!("model       {} {}", vehicle.maker, vehicle.model);
    say!("ICCID       {}", vehicle.iccid.as_deref().unwrap_or("not known"));
    say!("public key  {}", if vehicle.has_public_key { "registered" } else { "none" });
    say!("registered  {}", vehicle.added_at);
    for (from, until) in &vehicle.private {
        say!("private     from {from} until {}", until.as_deref().unwrap_or("further notice"));
    }
    match &vehicle.revoked {
        Some(revoked) => say!("state       revoked at {}: {}", revoked.at, revoked.why),
        None => say!("state       {}", vehicle.state),
    }
}

fn on(time: Option<&str>) -> String {
    time.map(|time| format!(" ({time})")).unwrap_or_default()
}

impl Cert {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let vin: model::Vin =
            self.vin.parse().map_err(|error: model::InvalidName| Usage(error.to_string()))?;
        let mut client = Client::open(&self.folder.path(world), world).await?;
        let address = format!("/api/vehicles/{vin}/certificate");
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let files = [self.out.join(format!("{vin}.pem")), self.out.join(format!("{vin}.key"))];
        if let Some(file) = files.iter().find(|file| file.exists()) {
            return Err(PkiError::Exists { name: file.display().to_string() }.into());
        }
        let issued: CertificateView = client.post(&address, &()).await?;
        let [certificate, key] = &files;
        write_new(key, issued.key.as_bytes(), 0o600)?;
        write_new(certificate, issued.certificate.as_bytes(), 0o644)?;
        write_same(&self.out.join("server-ca.pem"), &issued.server_ca)?;
        say!("{}, {} and {}", certificate.display(), key.display(), self.out.join("server-ca.pem").display());
        Ok(())
    }
}

/// Writes a file that may be there already with the same content.
fn write_same(path: &Path, text: &str) -> anyhow::Result<()> {
    match std::fs::read_to_string(path) {
        Ok(there) if there == text => Ok(()),
        _ => Ok(write_new(path, text.as_bytes(), 0o644)?),
    }
}

impl Private {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let mut client = Client::open(&self.folder.path(world), world).await?;
        let address = format!("/api/vehicles/{}/private", part(&self.vehicle));
        let time = PrivateTime { from: self.from, until: self.until, private: !self.not };
        client.command(&address, &time).await?;
        say!("noted; the table trips follows within a minute or so");
        Ok(())
    }
}

impl Revoke {
    async fn run(self, world: &World) -> anyhow::Result<()> {
        let mut client = Client::open(&self.folder.path(world), world).await?;
        let address = format!("/api/vehicles/{}/revoke", part(&self.vehicle));
        client.command(&address, &Reason { why: self.why }).await?;
        say!("revoked; nothing of it is stored from now on");
        Ok(())
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
