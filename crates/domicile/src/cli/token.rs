//! `domicile token …`: who may ask over HTTPS.

use super::client::{Client, converse, part};
use super::{Folder, Format, Usage};
use crate::api::vehicles::Reason;
use crate::api::{MadeToken, NewToken, TokenView};
use crate::world::World;

/// Manage the tokens of the API
#[derive(clap::Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make a token and print its secret, alone on the last line
    Create {
        /// operator, analyst, officer or auditor
        #[arg(long)]
        role: String,
        /// Whose it is: a person's or a program's name at work, used once
        #[arg(long)]
        name: String,
        /// When it expires, in days: 90d. Without it never
        #[arg(long, value_name = "DAYS")]
        expires: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// List the tokens
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Withdraw a token
    Revoke {
        name: String,
        /// Why, for whoever asks later
        #[arg(long)]
        why: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Tokens {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        converse(async {
            match self.verb {
                Verb::Create { role, name, expires, folder } => {
                    let days = expires.as_deref().map(days).transpose()?;
                    let mut client = Client::open(&folder.path(world), world).await?;
                    let made: MadeToken = client.post("/api/tokens", &NewToken { name, role, days }).await?;
                    say!("This is the only time that the token is shown:\n{}", made.secret);
                    Ok(())
                }
                Verb::List { format, folder } => list(format, &folder, world).await,
                Verb::Revoke { name, why, folder } => {
                    let mut client = Client::open(&folder.path(world), world).await?;
                    client.command(&format!("/api/tokens/{}/revoke", part(&name)), &Reason { why }).await?;
                    say!("revoked; it opens nothing any more");
                    Ok(())
                }
            }
        })
    }
}

fn days(text: &str) -> anyhow::Result<u32> {
    let number = text.strip_suffix('d').and_then(|number| number.parse().ok());
    Ok(number.ok_or_else(|| Usage("--expires: days are expected, such as 90d".to_owned()))?)
}

async fn list(format: Format, folder: &Folder, world: &World) -> anyhow::Result<()> {
    let mut client = Client::open(&folder.path(world), world).await?;
    let tokens: Vec<TokenView> = client.get("/api/tokens").await?;
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&tokens)?);
        return Ok(());
    }
    for token in tokens {
        let state = match (&token.revoked, &token.expires_at) {
            (Some(revoked), _) => format!("revoked at {}: {}", revoked.at, revoked.why),
            (None, Some(at)) => format!("until {at}"),
            (None, None) => "until it is revoked".to_owned(),
        };
        say!("{:<20}  {:<8}  since {}  {state}", token.name, token.role, token.created_at);
    }
    Ok(())
}
