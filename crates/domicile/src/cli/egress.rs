//! `domicile egress …`: what this center may connect to, for people and for the packet filter.

use serde::Serialize;

use super::client::converse;
use super::{Folder, Format, Usage};
use crate::center::Center;
use crate::egress::dial::Dialer;
use crate::egress::nft::{Located, locate, resolvers, ruleset};
use crate::world::World;

/// Show what this center may connect to; it connects to nothing else
#[derive(clap::Args)]
pub(crate) struct Egress {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the declared destinations, and where each lies now
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        folder: Folder,
    },
    /// Print an nftables ruleset that lets out what is declared and nothing else
    Nft {
        /// Hold this user's processes only, not the whole machine: the user that `serve` runs as
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
}

/// A destination as programs read it.
#[derive(Serialize)]
struct View {
    to: String,
    purpose: &'static str,
    country: String,
    networks: Vec<String>,
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Egress {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        match self.verb {
            Verb::List { format, folder } => list(format, &Center::open(&folder.path(world), world)?),
            Verb::Nft { user, folder } => {
                if let Some(user) = &user {
                    check_user(user)?;
                }
                print_ruleset(user.as_deref(), &Center::open(&folder.path(world), world)?)
            }
        }
    }
}

/// Resolves what a center declares.
pub(super) fn located(center: &Center) -> anyhow::Result<Vec<Located>> {
    let declared = crate::charter::declared(center)?;
    converse(async { Ok(locate(&declared, &Dialer::new()).await) })
}

fn list(format: Format, center: &Center) -> anyhow::Result<()> {
    let views: Vec<View> = located(center)?.iter().map(View::of).collect();
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&views)?);
        return Ok(());
    }
    if views.is_empty() {
        say!("nothing is declared in egress.allow: this center opens no connection to anywhere");
    }
    for view in &views {
        let lies = match &view.problem {
            Some(problem) => problem.clone(),
            None => view.addresses.join(", "),
        };
        let within =
            if view.networks.is_empty() { "any network".to_owned() } else { view.networks.join(", ") };
        say!("{:<32} {:<12} {}  within {within}  {lies}", view.to, view.purpose, view.country);
    }
    Ok(())
}

impl View {
    fn of(located: &Located) -> Self {
        let to = &located.destination;
        let addresses = located.addresses.as_ref().map(|found| found.iter().map(ToString::to_string));
        Self {
            to: to.to_string(),
            purpose: to.purpose().as_str(),
            country: to.country().to_string(),
            networks: to.networks().iter().map(ToString::to_string).collect(),
            addresses: addresses.map(Iterator::collect).unwrap_or_default(),
            problem: located.addresses.as_ref().err().map(ToString::to_string),
        }
    }
}

fn print_ruleset(user: Option<&str>, center: &Center) -> anyhow::Result<()> {
    let located = located(center)?;
    // The text ends with a newline of its own.
    say!("{}", ruleset(&located, &resolvers(), user).trim_end());
    let mut missing = located.iter().filter_map(|located| located.addresses.as_ref().err());
    match missing.next() {
        None => Ok(()),
        Some(first) => {
            anyhow::bail!("{} destinations have no rule; the first: {first}", 1 + missing.count())
        }
    }
}

/// A user's name as the ruleset may quote it.
fn check_user(user: &str) -> Result<(), Usage> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !user.is_empty() && user.len() <= 32 && user.bytes().all(is_plain) && !user.starts_with('-') {
        Ok(())
    } else {
        Err(Usage("--user takes the name or number of a user of this machine".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::check_user;

    #[test]
    fn a_user_that_a_ruleset_could_misread_is_refused() {
        for good in ["domicile", "1001", "svc_car-1"] {
            assert!(check_user(good).is_ok(), "{good}");
        }
        for wrong in ["", "a b", "x\" accept #", "-x", "a\nb"] {
            assert!(check_user(wrong).is_err(), "{wrong:?}");
        }
    }
}
