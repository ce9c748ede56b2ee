//! `domicile lake …`: the tables' files.

use super::client::{Client, converse};
#[cfg(feature = "lake")]
use super::copies::ExportFiles;
use super::{Folder, Format};
use crate::api::{DerivedView, DoneView, LakeView, TableFilesView};
use crate::world::World;

/// Look after the tables' files; a serving center does it by itself
#[derive(clap::Args)]
pub(crate) struct Lakes {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show files, sizes, terms and what waits
    Status {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Put small files together now, those of the last hour too
    Compact {
        #[command(flatten)]
        folder: Folder,
    },
    /// Hand an engine a table as Parquet files, without what a role may not see; an entry of the ledger says so first
    #[cfg(feature = "lake")]
    ExportFiles(ExportFiles),
    /// Take out rows whose term is over now, and destroy their files
    Expire {
        #[command(flatten)]
        folder: Folder,
    },
    /// Throw the derived tables (trips, charges, states, battery, gaps, daily) away; they are made anew, the newest day first
    Rebuild {
        #[command(flatten)]
        folder: Folder,
    },
}

impl Lakes {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        converse(async {
            match self.verb {
                Verb::Status { format, folder } => status(format, &folder, world).await,
                Verb::Compact { folder } => keep("compact", &folder, world).await,
                #[cfg(feature = "lake")]
                Verb::ExportFiles(export) => export.run(world).await,
                Verb::Expire { folder } => keep("expire", &folder, world).await,
                Verb::Rebuild { folder } => rebuild(&folder, world).await,
            }
        })
    }
}

async fn keep(chore: &str, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let address = format!("/api/lake/{chore}");
    let ask = async |client: &mut Client| client.post::<DoneView>(&address, &serde_json::json!({})).await;
    let done = Client::with_tables(&folder.path(world), world, ask).await?;
    say!(
        "{} files left, {} came in their place ({} bytes before, {} after)",
        done.files_removed,
        done.files_added,
        done.bytes_before,
        done.bytes_after
    );
    say!("{} rows were over their term, {} were there twice", done.expired, done.doubled);
    say!("{} objects destroyed, {} deleted for which others stand", done.destroyed, done.discarded);
    Ok(())
}

async fn rebuild(folder: &Folder, world: &World) -> anyhow::Result<()> {
    let ask = async |client: &mut Client| {
        client.post::<DoneView>("/api/lake/rebuild", &serde_json::json!({})).await
    };
    Client::with_tables(&folder.path(world), world, ask).await?;
    say!(
        "the derived tables are empty and made anew by the serving center; `lake status` shows how far they are"
    );
    Ok(())
}

async fn status(format: Format, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let ask = async |client: &mut Client| client.get::<LakeView>("/api/lake").await;
    let lake = Client::with_tables(&folder.path(world), world, ask).await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&lake)?);
        return Ok(());
    }
    for table in &lake.tables {
        print(table);
    }
    let DerivedView { days, files, bytes, behind } = &lake.derived;
    say!("derived    {days} days, {files} files, {bytes} bytes; {behind} days have newer signals");
    say!("last run since the start: {}", lake.last_run.as_deref().unwrap_or("none yet"));
    Ok(())
}

fn print(table: &TableFilesView) {
    let bytes_a_row = match table.rows {
        0 => "-".to_owned(),
        rows => format!("{:.2}", table.bytes as f64 / rows as f64),
    };
    say!(
        "{:<10} {} files, {} bytes, {} rows, {bytes_a_row} bytes a row; {} files wait to be put together",
        table.table,
        table.files,
        table.bytes,
        table.rows,
        table.waiting
    );
    let terms: Vec<String> =
        table.terms.iter().map(|term| format!("{} {} days", term.class, term.days)).collect();
    say!("{:<10} kept by {}: {}", "", table.pack, terms.join(", "));
    say!(
        "{:<10} oldest row received {}, last put together {}",
        "",
        table.oldest.as_deref().unwrap_or("-"),
        table.sorted_at.as_deref().unwrap_or("never")
    );
}
