//! `domicile policy …`: the country pack that decisions are taken by.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger::SigningKey;

use super::client::{Client, converse};
use super::{Folder, Refused};
use crate::api::{NewPack, PackView};
use crate::center::{Center, Role, SignedPack};
use crate::world::World;

/// Show, check and change the country pack
#[derive(clap::Args)]
pub(crate) struct Policies {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Print the pack in force
    Show {
        #[command(flatten)]
        folder: Folder,
    },
    /// Hold a pack's file against the schema, without applying it
    Check {
        file: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Sign a pack with the country's key, where that key lies apart from the center; prints the signature
    Sign {
        file: PathBuf,
        /// The country's key [default: DIR/keys/country.key]
        #[arg(long)]
        key: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Put a pack in force: signed with DIR/keys/country.key, or with the signature given
    Apply {
        file: PathBuf,
        /// What `policy sign` printed
        #[arg(long)]
        signature: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Policies {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show { folder } => {
                let center = Center::open(&folder.path(world), world)?;
                say!("{}", SignedPack::read(&center.folder)?.text.trim_end());
                Ok(())
            }
            Verb::Check { file, folder } => {
                let center = Center::open(&folder.path(world), world)?;
                let pack = policy::Pack::parse(&read(&file)?).with_context(|| file.display().to_string())?;
                if !pack.is_for(center.genesis.country()) {
                    return Err(Refused(format!(
                        "{}: pack {} is not for {}",
                        file.display(),
                        pack.version(),
                        center.genesis.country()
                    ))
                    .into());
                }
                say!("{}: pack {} keeps the schema", file.display(), pack.version());
                Ok(())
            }
            Verb::Sign { file, key, folder } => {
                let center = Center::open(&folder.path(world), world)?;
                let key = match key {
                    Some(path) => SigningKey::parse(read(&path)?.trim_end())
                        .with_context(|| path.display().to_string())?,
                    None => Role::Country.read_private(&center.folder)?,
                };
                say!("{}", sign(&file, &center, &key)?.signature.trim_end());
                Ok(())
            }
            Verb::Apply { file, signature, folder } => {
                let folder = folder.path(world);
                let center = Center::open(&folder, world)?;
                let signed = match signature {
                    Some(path) => SignedPack { text: read(&file)?, signature: read(&path)? },
                    None => sign(&file, &center, &country_key(&center)?)?,
                };
                converse(async {
                    let mut client = Client::open(&folder, world).await?;
                    let new = NewPack { text: signed.text, signature: signed.signature };
                    let view: PackView = client.post("/api/policy", &new).await?;
                    say!("pack {} is in force, number {}", view.version, view.number);
                    Ok(())
                })
            }
        }
    }
}

/// The country's key, which may lie apart from the center.
fn country_key(center: &Center) -> anyhow::Result<SigningKey> {
    Role::Country.read_private(&center.folder).context(
        "the pack can't be signed here; where the country's key lies, `domicile policy sign FILE --key KEY` prints a signature that \
         `domicile policy apply FILE --signature FILE` takes",
    )
}

fn sign(file: &Path, center: &Center, key: &SigningKey) -> anyhow::Result<SignedPack> {
    SignedPack::sign(read(file)?, center.genesis.country(), key)
        .map_err(|what| anyhow::anyhow!("{}: {what}", file.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
