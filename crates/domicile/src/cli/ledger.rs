//! `domicile ledger …`: holds the center's store against its transparency log.

use std::path::{Path, PathBuf};

use ::ledger::{Options, Report, VerifierKey, verify};
use anyhow::{Context, bail};
use model::CenterName;
use serde_json::json;
use store::{Names, Objects};

use super::{Folder, Format};
use crate::bookkeeping::Seen;
use crate::center::Center;
use crate::cosigning::witness_keys;
use crate::peer::report::Sources;
use crate::world::World;

/// Check the transparency log and hold the store against it
#[derive(clap::Args)]
pub(crate) struct Ledgers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Check tree, signatures and, both ways, that every object has its entry and every entry its object
    Verify(Verify),
}

#[derive(clap::Args)]
struct Verify {
    /// A copy of a store's folder (or of one center's folder in it), without any key: everything is taken from there
    #[arg(long, value_name = "DIR")]
    offline: Option<PathBuf>,
    /// The copy of this center that lies here, against the key that the charter names
    #[arg(long, value_name = "CENTER", conflicts_with = "offline")]
    of: Option<CenterName>,
    /// The log's key, a file with a line such as keys/log.vkey [default: the one that the genesis names]
    #[arg(long, value_name = "FILE")]
    vkey: Option<PathBuf>,
    /// An earlier checkpoint of this log, to hold it against [default: the one that the center noted beside its store]
    #[arg(long, value_name = "FILE")]
    seen: Option<PathBuf>,
    /// Print this many findings at most
    #[arg(long, default_value_t = 20)]
    findings: usize,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    folder: Folder,
}

impl Ledgers {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let Verb::Verify(verify) = self.verb;
        verify.run(world)
    }
}

/// What is verified, and with which keys.
pub(super) struct Subject {
    pub(super) objects: Objects,
    pub(super) names: Names,
    pub(super) log_key: VerifierKey,
    pub(super) options: Options,
}

impl Verify {
    fn run(self, world: &World) -> anyhow::Result<()> {
        let mut subject = match &self.offline {
            Some(copy) => Subject::of_copy(copy)?,
            None => match &self.of {
                Some(center) => Subject::of_mirrored(center, &self.folder.path(world), world)?,
                None => Subject::of_center(&self.folder.path(world), world)?,
            },
        };
        if let Some(path) = &self.vkey {
            subject.log_key =
                VerifierKey::parse(read(path)?.trim_end()).with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &self.seen {
            subject.options.last_seen = Some(read(path)?);
        }
        let Subject { objects, names, log_key, options } = subject;
        let report = verify(&objects, &names, &log_key, &options)?;
        match self.format {
            Format::Json => say!("{}", serde_json::to_string_pretty(&as_json(&report))?),
            Format::Table => print(&report, self.findings),
        }
        if !report.passed() {
            bail!("the store and its ledger do not agree");
        }
        Ok(())
    }
}

impl Subject {
    /// A center's own store, beside the running center.
    pub(super) fn of_center(folder: &Path, world: &World) -> anyhow::Result<Self> {
        let center = Center::open(folder, world)?;
        let options = Options {
            country_key: Some(center.genesis.country_key()),
            last_seen: Seen::of(folder).read(),
            witnesses: witness_keys(&center)?,
            quorum: center.settings.ledger.quorum as usize,
            is_copy: false,
        };
        let objects = Objects::read_only(&center.settings.store_folder(folder))?;
        Ok(Self { objects, names: center.names(), log_key: center.genesis.log_key(), options })
    }

    /// The copy of another center, which this one must have cosigned.
    fn of_mirrored(other: &CenterName, folder: &Path, world: &World) -> anyhow::Result<Self> {
        let center = Center::open(folder, world)?;
        if *other == center.genesis.center() {
            return Self::of_center(folder, world);
        }
        let (names, log_key) = Sources::open(&center)?.copy(other)?;
        let options = Options {
            country_key: Some(center.genesis.country_key()),
            last_seen: None,
            witnesses: vec![center.genesis.mirror_key()],
            quorum: 1,
            is_copy: true,
        };
        let objects = Objects::read_only(&center.settings.store_folder(folder))?;
        Ok(Self { objects, names, log_key, options })
    }

    /// A copy of a store: the keys are those that its genesis names.
    fn of_copy(copy: &Path) -> anyhow::Result<Self> {
        // One center's folder was copied, or the whole store with one center in it.
        let (root, center) = if copy.join("genesis.json").is_file() {
            let name = copy.canonicalize()?.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            let parent = copy.canonicalize()?.parent().map(Path::to_owned);
            (
                parent.context("a center's folder lies in another")?,
                name.context("the folder is named for its center")?,
            )
        } else {
            let mut centers = Vec::new();
            for entry in copy.read_dir().with_context(|| copy.display().to_string())? {
                let entry = entry?;
                if entry.path().join("genesis.json").is_file() {
                    centers.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            match centers.as_slice() {
                [center] => (copy.to_owned(), center.clone()),
                [] => bail!("{}: no folder with a genesis.json in it", copy.display()),
                _ => bail!(
                    "{}: several centers ({}); give the folder of one",
                    copy.display(),
                    centers.join(", ")
                ),
            }
        };
        let name: CenterName = center.parse()?;
        let genesis: serde_json::Value =
            serde_json::from_str(&read(&root.join(&center).join("genesis.json"))?)?;
        let key = |field: &str| -> anyhow::Result<VerifierKey> {
            let text = genesis.get(field).and_then(serde_json::Value::as_str);
            Ok(VerifierKey::parse(text.with_context(|| format!("the genesis names no `{field}`"))?)?)
        };
        let options = Options { country_key: Some(key("country_vkey")?), ..Options::default() };
        Ok(Self {
            objects: Objects::read_only(&root)?,
            names: Names::new(name),
            log_key: key("log_vkey")?,
            options,
        })
    }
}

fn print(report: &Report, findings_max: usize) {
    say!("entries     {}", report.size);
    for (kind, count) in &report.kinds {
        say!("  {kind:<10}{count}");
    }
    say!("objects     {} with {} bytes are what their entries say", report.objects, report.bytes);
    say!("tiles       {}", report.tiles);
    say!("pending     {}", report.pending.len());
    for note in &report.notes {
        say!("note        {}: {}", note.place, note.what);
    }
    for finding in report.findings.iter().take(findings_max) {
        say!("WRONG       {}: {}", finding.place, finding.what);
    }
    let more = report.findings.len().saturating_sub(findings_max) as u64 + report.findings_left_out;
    if more > 0 {
        say!("WRONG       and {more} more");
    }
    say!("{}", if report.passed() { "verified" } else { "NOT VERIFIED" });
}

fn as_json(report: &Report) -> serde_json::Value {
    let finding = |finding: &::ledger::Finding| json!({ "place": finding.place, "what": finding.what });
    json!({
        "passed": report.passed(),
        "size": report.size,
        "checkpoint": report.checkpoint,
        "kinds": report.kinds,
        "objects": report.objects,
        "bytes": report.bytes,
        "tiles": report.tiles,
        "pending": report.pending,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "findings_left_out": report.findings_left_out,
        "notes": report.notes.iter().map(finding).collect::<Vec<_>>(),
    })
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
