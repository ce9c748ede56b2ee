//! `domicile subject …`: what somebody may ask for of whom data is held.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::ledger::{BatchProof, BatchProofs, VerifierKey, proofs_of_batches};
use anyhow::{Context, bail};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use model::{UtcMicros, VehicleId, Vin};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::BatchName;

use super::client::{Client, converse};
use super::copies::{copy_vehicle, make_folder, write_file, write_last};
use super::ledger::{Subject as LogSubject, read};
use super::{Folder, Format};
use crate::api::subjects::{EraseRequest, EraseView, ErasureView, SubjectRequest, SubjectView};
use crate::center::hex;
use crate::erasure::{Certificate, verify};
use crate::world::World;

/// How often it is looked whether something that is waited for is so.
const LOOK_TIME: Duration = Duration::from_millis(250);

/// How long it is waited until the entries of batches are published.
const PUBLISHED_TIME: Duration = Duration::from_secs(10);

/// Show and erase what is held of a vehicle, and show the certificates
#[derive(clap::Args)]
pub(crate) struct Subjects {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Erase all that is held of a vehicle, or of one owner's period, and wait for the certificate
    Erase {
        #[arg(long)]
        vin: Vin,
        /// Why, for the registry; it may name nobody but the vehicle
        #[arg(long)]
        why: String,
        /// Only the owner's period that began on this day (valid_from in the table owners)
        #[arg(long, value_name = "DATE")]
        owner_period: Option<String>,
        /// Who has it erased: the person, a withdrawn consent, an authority
        #[arg(long, default_value = "request", value_parser = ["request", "withdrawal", "order"])]
        ground: String,
        /// The day on which it was asked for, if not today: the deadline runs from then
        #[arg(long, value_name = "DATE")]
        asked: Option<String>,
        /// Write the certificate and the salt that opens it into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Don't wait until it is done
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Write all that is held of a vehicle into a folder, in open formats (Parquet, JSON), with a manifest
    Show {
        #[arg(long)]
        vin: Vin,
        /// A new or empty folder on this machine
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// List erasures and their deadlines
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Print an erasure's certificate
    Certificate {
        number: u64,
        #[command(flatten)]
        folder: Folder,
    },
    /// Check a certificate; needs no center
    Verify {
        /// The certificate's file
        file: PathBuf,
        /// The log's key: a file with a line such as keys/log.vkey [default: that of the center's folder]
        #[arg(long, value_name = "FILE")]
        vkey: Option<PathBuf>,
        /// The vehicle that it should be about
        #[arg(long, requires = "salt")]
        vin: Option<Vin>,
        /// The salt that was told when it was erased
        #[arg(long, requires = "vin")]
        salt: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Subjects {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.verb {
            Verb::Erase { vin, why, owner_period, ground, asked, out, no_wait, folder } => {
                let request = EraseRequest {
                    vin: vin.to_string(),
                    why,
                    ground: Some(ground),
                    owner_period,
                    asked_at: asked,
                };
                converse(erase(&request, out.as_deref(), no_wait, &folder, world))
            }
            Verb::Show { vin, out, folder } => converse(show(&vin, &out, &folder, world)),
            Verb::List { format, folder } => converse(list(format, &folder, world)),
            Verb::Certificate { number, folder } => converse(async {
                let ask = async |client: &mut Client| certificate(client, number).await;
                let certificate = ask(&mut Client::open(&folder.path(world), world).await?).await?;
                say!("{}", certificate.trim_end());
                Ok(())
            }),
            Verb::Verify { file, vkey, vin, salt, folder } => {
                let key = match &vkey {
                    Some(path) => VerifierKey::parse(read(path)?.trim_end())
                        .with_context(|| path.display().to_string())?,
                    None => LogSubject::of_center(&folder.path(world), world)?.log_key,
                };
                let subject = salt.as_deref().zip(vin.as_ref());
                let certificate = verify(&read(&file)?, &key, subject)
                    .with_context(|| format!("{}: not a certificate that holds", file.display()))?;
                print(&certificate);
                match subject {
                    Some(_) => say!("it holds, and it is about this vehicle"),
                    None => say!("it holds; --vin and --salt show whom it is about"),
                }
                Ok(())
            }
        }
    }
}

async fn erase(
    request: &EraseRequest,
    out: Option<&Path>,
    no_wait: bool,
    folder: &Folder,
    world: &World,
) -> anyhow::Result<()> {
    let work = async |client: &mut Client| {
        let EraseView { erasure, salt } = client.post("/api/subjects/erasures", request).await?;
        say!("erasure {} has begun; nobody sees the data from now on", erasure.number);
        say!("to be done by {} ({} days left)", erasure.deadline, erasure.days_left.unwrap_or_default());
        say!("salt {salt} opens the certificate's subject; it is kept nowhere, so hand it on");
        if no_wait {
            return Ok(None);
        }
        let certificate = certificate_when_done(client, erasure.number).await?;
        Ok(Some((erasure.number, salt, certificate)))
    };
    let Some((number, salt, certificate)) = Client::with_tables(&folder.path(world), world, work).await?
    else {
        return Ok(());
    };
    say!("erasure {number} is done");
    match out {
        Some(out) => {
            std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
            for (name, text) in [
                (format!("erasure-{number}.note"), certificate),
                (format!("erasure-{number}.salt"), salt + "\n"),
            ] {
                let path = out.join(name);
                std::fs::write(&path, text).with_context(|| path.display().to_string())?;
                say!("{}", path.display());
            }
        }
        None => say!("{}", certificate.trim_end()),
    }
    Ok(())
}

/// The tables that hold rows of single vehicles, in the order in which they are written.
const TABLES: [&str; 9] =
    ["signals", "positions", "events", "frames", "trips", "charges", "states", "battery", "gaps"];

/// What the folder's `manifest.json` says.
#[derive(Serialize)]
struct ShownManifest {
    format: u32,
    vehicle: String,
    /// Tables and their rows; each folder has a manifest of its own with the files' hashes.
    tables: BTreeMap<&'static str, u64>,
    /// The other files and their SHA-256.
    files: BTreeMap<String, String>,
    proofs: ShownProofs,
}

/// Proofs that the raw frames were entered in the center's log.
#[derive(Serialize)]
struct ShownProofs {
    /// How anybody checks one, in the folder and without the center.
    check_with: [&'static str; 2],
    /// The log's public key. Who does not trust the folder takes it from the center's genesis.
    key: &'static str,
    /// The checkpoint to which all of them lead.
    checkpoint: &'static str,
    /// A batch each that holds frames of the vehicle, in the log's order.
    batches: Vec<ShownProof>,
    /// Batches whose entries no published checkpoint holds yet.
    not_yet: Vec<String>,
}

#[derive(Serialize)]
struct ShownProof {
    file: String,
    object: String,
    index: u64,
    entry: serde_json::Value,
}

const CHECK_WITH: [&str; 2] = [
    "domicile proof verify FILE --vkey log.vkey",
    "python3 auditor/verify_log.py --proof FILE --vkey log.vkey",
];

async fn show(vin: &Vin, out: &Path, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let log = LogSubject::of_center(&folder.path(world), world)?;
    let work = async |client: &mut Client| {
        let request = SubjectRequest { vin: vin.to_string() };
        let subject: SubjectView = client.post("/api/subjects/show", &request).await?;
        make_folder(out)?;
        let mut tables = BTreeMap::new();
        let mut frames = Shown::default();
        for table in TABLES {
            let look = |rows: &RecordBatch| if table == "frames" { frames.note(rows) } else { Ok(()) };
            let rows = copy_vehicle(client, table, &subject.vehicle.id, &out.join(table), look).await?;
            say!("{rows} rows of {table}");
            tables.insert(table, rows);
        }
        let proved = prove(&log, &frames.batches(&log, subject.vehicle.id.parse()?)?).await?;
        let mut files = BTreeMap::new();
        let mut write = |name: &str, text: &str| {
            files.insert(name.to_owned(), hex(&Sha256::digest(text.as_bytes())));
            write_file(&out.join(name), text)
        };
        write("subject.json", &(serde_json::to_string_pretty(&subject)? + "\n"))?;
        write("log.vkey", &format!("{}\n", log.log_key))?;
        write("checkpoint", &proved.checkpoint)?;
        make_folder(&out.join("proofs"))?;
        let mut batches = Vec::new();
        for BatchProof { batch, index, entry, text } in &proved.proofs {
            let file = format!("proofs/{}-{:020}.tlog-proof", batch.gateway, batch.last.0);
            write(&file, text)?;
            let entry = serde_json::from_str(entry)?;
            batches.push(ShownProof { file, object: batch.path().to_string(), index: *index, entry });
        }
        say!("{} batches hold its frames; their proofs: proofs/", batches.len());
        let not_yet: Vec<String> = proved.missing.iter().map(|batch| batch.path().to_string()).collect();
        if !not_yet.is_empty() {
            say!("{} batches are in no published checkpoint yet: show it again later", not_yet.len());
        }
        // Last: a folder without it is not complete.
        let proofs = ShownProofs {
            check_with: CHECK_WITH,
            key: "log.vkey",
            checkpoint: "checkpoint",
            batches,
            not_yet,
        };
        let vehicle = subject.vehicle.id.clone();
        write_last(out, &ShownManifest { format: 1, vehicle, tables, files, proofs })?;
        say!("{} records, and what the registry holds: subject.json", subject.records.len());
        say!("who has asked for it must have it by {}: {}", subject.deadline, subject.deadline_rule);
        say!("{}", out.display());
        Ok(())
    };
    Client::with_tables(&folder.path(world), world, work).await
}

/// The frames that are shown, by the hour in which they were received: their sequences.
#[derive(Default)]
struct Shown(BTreeMap<i64, Vec<u64>>);

impl Shown {
    fn note(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        let column = |name: &str| rows.column_by_name(name).with_context(|| format!("no column {name}"));
        let unknown = || "a column of frames has another type";
        let received = column("received_at")?;
        let received = received.as_primitive_opt::<TimestampMicrosecondType>().with_context(unknown)?;
        let sequences = column("sequence")?.as_primitive_opt::<UInt64Type>().with_context(unknown)?;
        for row in 0..rows.num_rows() {
            let hour = received.value(row).div_euclid(UtcMicros::PER_HOUR) * UtcMicros::PER_HOUR;
            self.0.entry(hour).or_default().push(sequences.value(row));
        }
        Ok(())
    }

    /// The batches that hold them. What was erased is not shown, so a batch that holds nothing else is none of them.
    fn batches(mut self, log: &LogSubject, vehicle: VehicleId) -> anyhow::Result<Vec<BatchName>> {
        self.0.values_mut().for_each(|sequences| sequences.sort_unstable());
        let mut holding = Vec::new();
        for meta in log.objects.list(&log.names.batches())? {
            let Some(name) = BatchName::parse(&meta.location) else { continue };
            let Some(sequences) = self.0.get(&name.hour.0) else { continue };
            if sequences.first().is_none_or(|first| *first > name.last.0) {
                continue;
            }
            // One that has expired meanwhile has no proof any more.
            let Some(bytes) = log.objects.read(&meta.location)? else { continue };
            let batch = store::read(meta.location.as_ref(), bytes)?;
            let range = batch.header().first.0..=batch.header().last.0;
            let at = sequences.partition_point(|sequence| sequence < range.start());
            // Gateways count each for itself: the vehicle must be in it too.
            if sequences.get(at).is_some_and(|sequence| range.contains(sequence))
                && batch.keys()?.iter().any(|(of, _)| *of == vehicle)
            {
                holding.push(name);
            }
        }
        Ok(holding)
    }
}

/// The proofs of batches. What was sealed a moment ago is waited for, until its entry is published.
async fn prove(log: &LogSubject, batches: &[BatchName]) -> anyhow::Result<BatchProofs> {
    let LogSubject { objects, names, log_key, .. } = log;
    let mut looks = PUBLISHED_TIME.as_millis() / LOOK_TIME.as_millis();
    loop {
        let proved = proofs_of_batches(objects, names, log_key, batches)?;
        if proved.missing.is_empty() || looks == 0 {
            return Ok(proved);
        }
        looks -= 1;
        tokio::time::sleep(LOOK_TIME).await;
    }
}

/// Waits as long as it takes; who does not want to wait ends the command, and the center goes on.
async fn certificate_when_done(client: &mut Client, number: u64) -> anyhow::Result<String> {
    let mut told = None;
    loop {
        let view: ErasureView = client.get(&format!("/api/subjects/erasures/{number}")).await?;
        if let Some(certificate) = view.certificate {
            return Ok(certificate);
        }
        if view.failing != told {
            if let Some(failing) = &view.failing {
                say!("a try failed and is repeated: {failing}");
            }
            told = view.failing;
        }
        tokio::time::sleep(LOOK_TIME).await;
    }
}

async fn certificate(client: &mut Client, number: u64) -> anyhow::Result<String> {
    let view: ErasureView = client.get(&format!("/api/subjects/erasures/{number}")).await?;
    match view.certificate {
        Some(certificate) => Ok(certificate),
        None => bail!("erasure {number} is not done yet; `subject list` shows how it stands"),
    }
}

async fn list(format: Format, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let mut client = Client::open(&folder.path(world), world).await?;
    let erasures: Vec<ErasureView> = client.get("/api/subjects/erasures").await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&erasures)?);
        return Ok(());
    }
    if erasures.is_empty() {
        say!("nothing was erased");
    }
    for erasure in &erasures {
        let end = match (&erasure.done_at, erasure.days_left) {
            (Some(at), _) => format!("done {at}"),
            (None, Some(left)) if left < 0 => format!("OVERDUE by {} days", -left),
            (None, left) => format!("open, {} days left", left.unwrap_or_default()),
        };
        say!(
            "{:>6}  {:<12}  {:<10}  asked {}, due {}: {end}",
            erasure.number,
            erasure.scope,
            erasure.ground,
            erasure.asked_at,
            erasure.deadline
        );
        if let Some(failing) = &erasure.failing {
            say!("        the last try failed and is repeated: {failing}");
        }
    }
    Ok(())
}

fn print(certificate: &Certificate) {
    say!(
        "erasure {} of center {} ({}), cluster {}",
        certificate.number,
        certificate.center,
        certificate.country,
        certificate.cluster
    );
    match &certificate.period {
        Some((from, to)) => say!("what was received from {from} until {to} of {}", certificate.subject),
        None => say!("all that was held of {}", certificate.subject),
    }
    say!(
        "asked for {} ({}), done {}, due {}: {}",
        certificate.asked_at,
        certificate.ground,
        certificate.done_at,
        certificate.deadline,
        certificate.deadline_rule
    );
    for (title, items) in [("destroyed", &certificate.destroyed), ("kept", &certificate.kept)] {
        say!("{title}:");
        for item in items {
            let count = item.count.map_or(String::new(), |count| format!("{count} "));
            say!("  {count}{} ({}): {}", item.what, item.place, item.how);
        }
    }
    say!("all destructions stand in the log of {} entries", certificate.log_size);
}
