//! The document that configures a Tesla to stream to this center (`fleet_telemetry_config` of the maker's API).

use serde_json::{Map, Value, json};

use crate::api::Problem;
use crate::center::Center;
use crate::pki;

/// How often, in seconds, the vehicle sends what is asked for: quick ones while driving, slow ones for wear and supervision. A
/// vehicle sends a field only when its value has changed, at most so often.
const FIELDS: &[(&str, u32)] = &[
    ("VehicleSpeed", 10),
    ("Location", 10),
    ("GpsHeading", 10),
    ("Gear", 1),
    ("Odometer", 60),
    ("Soc", 60),
    ("BatteryLevel", 60),
    ("EnergyRemaining", 60),
    ("EstBatteryRange", 300),
    ("PackVoltage", 10),
    ("PackCurrent", 10),
    ("DetailedChargeState", 10),
    ("ACChargingPower", 30),
    ("DCChargingPower", 30),
    ("BMSState", 30),
    ("ModuleTempMax", 60),
    ("ModuleTempMin", 60),
    ("BrickVoltageMax", 60),
    ("BrickVoltageMin", 60),
    ("IsolationResistance", 300),
    ("LifetimeEnergyUsed", 300),
    ("InsideTemp", 60),
    ("OutsideTemp", 60),
    ("TpmsPressureFl", 300),
    ("TpmsPressureFr", 300),
    ("TpmsPressureRl", 300),
    ("TpmsPressureRr", 300),
    ("DoorState", 1),
    ("Locked", 1),
    ("Version", 3600),
];

/// The document, for a vehicle that reaches the center under `host` (its certificate's first name where none is given).
pub(super) fn config(center: &Center, host: Option<String>) -> Result<Value, Problem> {
    let listen = &center.settings.tesla.listen;
    let Some(port) = listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) else {
        return Err(Problem::conflict(
            "tesla.listen is turned off in domicile.toml, so no Tesla can stream to this center",
        ));
    };
    let (_, names) = pki::inspect_file(&center.folder.join(&center.settings.tesla.certificate))
        .map_err(Problem::unavailable)?;
    let host = match host {
        Some(host) if names.contains(&host) => host,
        Some(host) => {
            let known = names.join(", ");
            return Err(Problem::conflict(format!(
                "the server's certificate is not for `{host}`, so a vehicle would not trust it; it is for {known}"
            )));
        }
        None => names.into_iter().next().unwrap_or_default(),
    };
    let fields: Map<String, Value> = FIELDS
        .iter()
        .map(|(field, seconds)| ((*field).to_owned(), json!({ "interval_seconds": seconds })))
        .collect();
    Ok(json!({
        "hostname": host,
        "port": port,
        "ca": center.server_ca().map_err(Problem::unavailable)?,
        "fields": fields,
        "alert_types": ["service"],
        "prefer_typed": true,
    }))
}

#[cfg(test)]
mod tests {
    use super::FIELDS;

    #[test]
    fn every_field_is_one_of_the_makers() {
        for (field, seconds) in FIELDS {
            let known =
                (0..=1_000).filter_map(wire::catalogue::tesla).any(|known| known.entry.name == *field);
            assert!(known, "{field}");
            assert!(*seconds > 0);
        }
    }
}
