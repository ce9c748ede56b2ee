//! The residency self-test: what a center must show before it joins a country. It is made with what it will run with: its settings, the
//! country's pack, and the decision on admission itself.

use std::path::Path;

use model::{Country, KeyPeriod, VehicleId, Vin};
use policy::{
    Certificate, Facts, Pack, Refusal, RegistryVersion, Rules, Signature, Transport, VehicleFacts,
    VehicleState, Via, admit,
};

use super::Genesis;
use crate::charter::{Charter, Package};
use crate::egress::Declared;
use crate::settings::Settings;
use crate::world::World;

/// VINs that no vehicle has: there is no maker of that code.
const CANARIES: [&str; 3] = ["DMCTRL0000000AAA1", "DMFRGN0000000AAA2", "DMSTRG0000000AAA3"];

/// Makes the test; gives a line on each thing that was tried.
///
/// # Errors
/// The first that does not hold, and what to do.
pub(crate) fn check(folder: &Path, package: &Package, world: &World) -> Result<Vec<String>, String> {
    let settings = Settings::load(folder, &*world.environment).map_err(|error| error.to_string())?;
    let genesis = Genesis::parse(&package.genesis)?;
    let country = genesis.country();
    let mut held = Vec::new();

    let declared = Declared::of(&settings, country).map_err(|error| error.to_string())?;
    held.push(format!(
        "connects to nobody outside of {country}: {} destinations are declared",
        declared.destinations().len()
    ));

    let charter = package.charters.last().ok_or("the package holds no charter")?;
    let charter = Charter::open(charter, &genesis)?;
    for member in charter.centers.iter().filter(|member| member.state.is_here()) {
        declared.peer(&member.address, &settings, country).map_err(|error| {
            format!(
                "{error}; write peer.networks into {}/domicile.toml as at the other centers",
                folder.display()
            )
        })?;
    }
    held.push(format!(
        "meets the {} centers of the charter inside peer.networks alone",
        charter.centers.len()
    ));

    let pack = Pack::parse(&package.pack).map_err(|error| error.to_string())?;
    let rules = Rules {
        country,
        pack: pack.version(),
        require_tls: settings.gbt32960.require_tls,
        require_signature: settings.gbt32960.require_signature,
    };
    decide(&rules)?;
    held.push(format!("by pack {} takes a vehicle sold in {country}, and none that was sold abroad or that nobody registered", pack.version()));
    Ok(held)
}

/// The decision that each connection is taken in or refused by.
fn decide(rules: &Rules) -> Result<(), String> {
    let abroad = if rules.country.to_string() == "DE" { "FR" } else { "DE" };
    let abroad: Country = abroad.parse().map_err(|_| "no country".to_owned())?;
    let facts = |country: Country| VehicleFacts {
        id: VehicleId::NONE,
        key: KeyPeriod::default(),
        country,
        state: VehicleState::Active,
        iccid: None,
        public_key: None,
        erased_until: None,
    };
    let (own, foreign) = (facts(rules.country), facts(abroad));
    let cases = [
        (Some(&own), None),
        (Some(&foreign), Some(Refusal::ForeignCountry)),
        (None, Some(Refusal::UnknownVehicle)),
    ];
    for (vin, (vehicle, expected)) in CANARIES.iter().zip(cases) {
        let vin: Vin = vin.parse().map_err(|_| format!("{vin} is no VIN"))?;
        let facts = Facts {
            rules,
            version: RegistryVersion::default(),
            vin: &vin,
            vehicle,
            transport: Transport::Tls,
            via: Via::Direct,
            certificate: Certificate::Names(&vin),
            iccid: None,
            signature: Signature::Verified,
            holder: None,
        };
        let refused = admit(&facts).err();
        if refused != expected {
            return Err(format!(
                "a vehicle that must be answered with {expected:?} is answered with {refused:?}: don't run this program"
            ));
        }
    }
    Ok(())
}
