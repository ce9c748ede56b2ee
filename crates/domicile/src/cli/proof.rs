//! `domicile proof …`: proofs of single objects, to be carried away and checked elsewhere.

use std::path::PathBuf;

use ::ledger::{VerifierKey, proof_of, verify_proof_file};
use anyhow::Context;

use super::Folder;
use super::ledger::{Subject, read};
use crate::world::World;

/// Show that an object is in the transparency log, and check such a proof
#[derive(clap::Args)]
pub(crate) struct Proofs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Print an object's proof (c2sp.org/tlog-proof@v1), with the entry and the opening of its commitment
    Show {
        /// The object's name in the store, such as shanghai-1/control/00000000000000000001.json
        object: String,
        /// Write it to a file (its name should end in .tlog-proof) instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Check a proof; needs no center
    Verify {
        /// The .tlog-proof file
        file: PathBuf,
        /// The log's key: a file with a line such as keys/log.vkey [default: that of the center's folder]
        #[arg(long, value_name = "FILE")]
        vkey: Option<PathBuf>,
        /// The object itself, to be held against the entry's commitment
        #[arg(long, value_name = "FILE")]
        content: Option<PathBuf>,
        /// Keys of witnesses, each a file with one line
        #[arg(long = "witness", value_name = "FILE")]
        witnesses: Vec<PathBuf>,
        /// How many of the witnesses must have cosigned
        #[arg(long, default_value_t = 0)]
        quorum: usize,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Proofs {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.verb {
            Verb::Show { object, out, folder } => {
                let Subject { objects, names, log_key, .. } = Subject::of_center(&folder.path(world), world)?;
                let proof = proof_of(&objects, &names, &log_key, &object.as_str().into())?;
                match out {
                    Some(path) => {
                        std::fs::write(&path, proof).with_context(|| path.display().to_string())?;
                        say!("{}", path.display());
                    }
                    None => say!("{}", proof.trim_end_matches('\n')),
                }
                Ok(())
            }
            Verb::Verify { file, vkey, content, witnesses, quorum, folder } => {
                let key = |path: &PathBuf| -> anyhow::Result<VerifierKey> {
                    VerifierKey::parse(read(path)?.trim_end()).with_context(|| path.display().to_string())
                };
                let log_key = match &vkey {
                    Some(path) => key(path)?,
                    None => Subject::of_center(&folder.path(world), world)?.log_key,
                };
                let witnesses = witnesses.iter().map(key).collect::<anyhow::Result<Vec<_>>>()?;
                let content =
                    content.map(|path| std::fs::read(&path).with_context(|| path.display().to_string()));
                let content = content.transpose()?;
                let text = read(&file)?;
                let proved =
                    verify_proof_file(&text, None, content.as_deref(), &log_key, &witnesses, quorum)?;
                say!("object      {}", proved.object.as_deref().unwrap_or("not named"));
                let entry = String::from_utf8_lossy(&proved.entry);
                say!("entry       {} of {}: {entry}", proved.index, proved.checkpoint.size());
                for name in &proved.cosigned_by {
                    say!("cosigned    {name}");
                }
                if proved.content_matches {
                    say!("content     is what was entered");
                }
                say!("verified");
                Ok(())
            }
        }
    }
}
