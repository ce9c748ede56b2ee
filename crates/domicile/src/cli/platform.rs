//! `domicile platform …`: accounts of platforms that forward their vehicles' frames (GB/T 32960, platform login).

use std::io::BufRead;

use super::client::{Client, converse, part};
use super::{Folder, Format};
use crate::api::vehicles::Reason;
use crate::api::{NewPlatform, PlatformView};
use crate::world::World;

/// Manage the accounts of GB/T 32960 platforms that forward to this center
#[derive(clap::Args)]
pub(crate) struct Platforms {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make an account and print its password
    Add {
        /// The user name of its login: 1 to 12 visible ASCII characters
        name: String,
        /// Read the password (8 to 20 visible ASCII characters) from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// List the accounts
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Withdraw an account
    Revoke {
        name: String,
        /// Why, for whoever asks later
        #[arg(long)]
        why: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Platforms {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        converse(async {
            match self.verb {
                Verb::Add { name, password_stdin, folder } => add(name, password_stdin, &folder, world).await,
                Verb::List { format, folder } => list(format, &folder, world).await,
                Verb::Revoke { name, why, folder } => {
                    let mut client = Client::open(&folder.path(world), world).await?;
                    client
                        .command(&format!("/api/platforms/{}/revoke", part(&name)), &Reason { why })
                        .await?;
                    say!("revoked; it can't log in any more");
                    Ok(())
                }
            }
        })
    }
}

async fn add(name: String, password_stdin: bool, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let password = if password_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        draw_password(world)
    };
    let mut client = Client::open(&folder.path(world), world).await?;
    client.command("/api/platforms", &NewPlatform { name, password: password.clone() }).await?;
    say!("registered");
    if !password_stdin {
        say!("password: {password}\nIt is not kept anywhere in this form: write it down now.");
    }
    Ok(())
}

/// A password as long as the protocol has room for: 100 random bits, without letters that are easily mistaken.
fn draw_password(world: &World) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; registry::PASSWORD_LENGTH_MAX];
    world.entropy.fill(&mut random);
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

async fn list(format: Format, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let mut client = Client::open(&folder.path(world), world).await?;
    let platforms: Vec<PlatformView> = client.get("/api/platforms").await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&platforms)?);
        return Ok(());
    }
    for platform in platforms {
        let state = match platform.revoked {
            Some(revoked) => format!("revoked at {}: {}", revoked.at, revoked.why),
            None => "active".to_owned(),
        };
        say!("{:<12}  since {}  {state}", platform.name, platform.added_at);
    }
    Ok(())
}
