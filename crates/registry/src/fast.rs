//! What admission reads of the registry: a map in memory.

use std::collections::HashMap;
use std::sync::Arc;

use model::Vin;
use policy::{RegistryVersion, VehicleFacts, VehicleState};

use crate::control::Change;
use crate::erasure::ErasedRows;
use crate::token::Known;

/// What is asked for every connection.
#[derive(Default)]
pub(crate) struct Fast {
    pub(crate) version: RegistryVersion,
    /// The number of the last object of records.
    pub(crate) records: u64,
    pub(crate) vehicles: HashMap<Vin, Arc<VehicleFacts>>,
    /// Password hashes of the platforms that may log in.
    pub(crate) platforms: HashMap<String, String>,
    /// The tokens that are not revoked, by their ids.
    pub(crate) tokens: HashMap<String, Known>,
    /// The rows of all erasures.
    pub(crate) erased: Arc<Vec<ErasedRows>>,
}

impl Fast {
    /// Applies a control object's changes.
    pub(crate) fn apply(&mut self, sequence: u64, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Vehicle(_, vehicle) => {
                    self.vehicles.insert(vehicle.vin, Arc::new(vehicle.facts()));
                }
                Change::VehicleRevoked { vin, .. } => {
                    if let Some(facts) = self.vehicles.get_mut(vin) {
                        Arc::make_mut(facts).state = VehicleState::Revoked;
                    }
                }
                Change::PlatformAdded { platform, password_hash } => {
                    self.platforms.insert(platform.name.clone(), password_hash.clone());
                }
                Change::PlatformRevoked { name, .. } => {
                    self.platforms.remove(name);
                }
                Change::TokenCreated { token, hash } => {
                    self.tokens.insert(token.id.clone(), Known::of(token, *hash));
                }
                Change::TokenRevoked { name, .. } => {
                    self.tokens.retain(|_, known| *known.holder.name != **name);
                }
                Change::Erased { erasure, .. } => {
                    let mut erased = self.erased.to_vec();
                    erased.push(erasure.rows());
                    self.erased = Arc::new(erased);
                }
                Change::ErasureDone { number, .. } => {
                    let mut erased = self.erased.to_vec();
                    erased
                        .iter_mut()
                        .filter(|rows| rows.number == *number)
                        .for_each(|rows| rows.is_open = false);
                    self.erased = Arc::new(erased);
                }
            }
        }
        self.version = self.version.max(RegistryVersion(sequence));
    }
}
