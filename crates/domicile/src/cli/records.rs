//! `domicile records import`: records of sale, ownership and service.

use std::path::PathBuf;

use anyhow::Context;

use super::Folder;
use super::client::{Client, converse};
use crate::api::records::RecordsView;
use crate::world::World;

/// Import records of sale, ownership and service
#[derive(clap::Args)]
pub(crate) struct Records {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Import a CSV file whose header names the fields of the country pack's schema: all of it or, where a row is wrong, nothing
    Import {
        /// What the records are of
        #[arg(long, value_enum)]
        kind: Kind,
        file: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
}

/// What records are of.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Sales of vehicles
    Sale,
    /// Owners and their periods
    Owner,
    /// Service visits
    Service,
}

impl Records {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let Verb::Import { kind, file, folder } = self.verb;
        let kind = match kind {
            Kind::Sale => registry::RecordKind::Sale,
            Kind::Owner => registry::RecordKind::Owner,
            Kind::Service => registry::RecordKind::Service,
        };
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        converse(async {
            let mut client = Client::open(&folder.path(world), world).await?;
            let view: RecordsView = client.upload(&format!("/api/records/{}", kind.as_str()), bytes).await?;
            match view.number {
                Some(number) => say!("{} records of kind {}: import {number}", view.rows, kind.as_str()),
                None => say!("the file has no records; nothing was imported"),
            }
            if view.closed + view.rekeyed > 0 {
                say!(
                    "{} earlier owners' periods ended; {} vehicles have a new data key for their new owner",
                    view.closed,
                    view.rekeyed
                );
            }
            Ok(())
        })
    }
}
