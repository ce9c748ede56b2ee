//! `domicile init`: makes a center's folder.

use std::path::{Path, PathBuf};

use anyhow::Context;
use model::{CenterName, Country};

use super::Folder;
use crate::api::Rooms;
use crate::center::{Center, NewCenter, prepare};
use crate::charter::Invitation;
use crate::world::World;

/// The name of the token that a new center has.
const FIRST_TOKEN: &str = "first";

/// Make a data center's folder: keys, certificates, settings
#[derive(clap::Args)]
pub(crate) struct Init {
    /// The country that the center belongs to, by its ISO 3166-1 code, such as CN; it can't be changed later
    #[arg(long)]
    country: Country,
    /// The center's name, such as shanghai-1; it can't be changed later
    #[arg(long)]
    center: CenterName,
    /// Where it stands, in your words
    #[arg(long, default_value = "")]
    site: String,
    /// A host name or address that vehicles reach it by (repeat for more); this machine's name and loopback are in any case
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Make the folder ready to join a country that has a center: the invitation that `center invite` wrote there
    #[arg(long, value_name = "FILE", requires = "address")]
    invitation: Option<PathBuf>,
    /// Where other centers are to reach this one, such as 10.2.0.7:8701
    #[arg(long, value_name = "ADDRESS", requires = "invitation")]
    address: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

impl Init {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        let new =
            NewCenter { country: self.country, center: self.center, site: self.site, hosts: self.hosts };
        if let (Some(invitation), Some(address)) = (&self.invitation, &self.address) {
            return prepare_to_join(&folder, &new, invitation, address, world);
        }
        let center = Center::create(&folder, &new, world)?;
        // From here on everything that is made has its entry: genesis, pack, and the first token.
        let rooms = Rooms::open(&folder, world)?;
        let (token, _) = rooms.registry.token_create(FIRST_TOKEN, policy::Role::Operator, None)?;
        rooms.books.close();
        let dir = folder.display();
        say!("Center {} of {} lies in {dir}.", center.genesis.center(), center.genesis.country());
        say!(
            "Settings: {dir}/domicile.toml. Keys: {dir}/keys and {dir}/pki; keep a copy of both in a safe place."
        );
        say!(
            "The country's key {dir}/keys/country.key signs the genesis and the country pack ({}). It may lie elsewhere until a pack \
             changes.",
            rooms.packs.in_force().pack.version()
        );
        say!("Next:\n  domicile vehicle import FILE.csv --dir {dir}\n  domicile serve --dir {dir}");
        say!("A token for the API, role operator; it is kept nowhere in this form:\n{}", token.as_str());
        Ok(())
    }
}

fn prepare_to_join(
    folder: &Path,
    new: &NewCenter,
    invitation: &Path,
    address: &str,
    world: &World,
) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(invitation).with_context(|| invitation.display().to_string())?;
    let invitation: Invitation =
        serde_json::from_str(&text).with_context(|| format!("{}: no invitation", invitation.display()))?;
    prepare(folder, new, &invitation, address, world)?;
    let dir = folder.display();
    say!(
        "{dir} is ready to join cluster {} of {}. Its private keys were made here and stay here.",
        invitation.cluster,
        invitation.country
    );
    say!(
        "Next, at a center of the country that has the country's key:\n  domicile center add {dir}/join/request.note\n  domicile center \
         show\n  domicile center apply --version N\nand here, with the package that it writes:\n  domicile center join PACKAGE --dir {dir}"
    );
    Ok(())
}
