//! Changes that are staged at a center until they are applied as one next version.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use model::CenterName;
use serde::{Deserialize, Serialize};

use super::{Charter, JoinRequest, Member, State};
use crate::center::Center;
use crate::pki::replace_file;
use crate::settings::network;

/// A staged change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Change {
    /// A center joins.
    Add {
        /// Its signed request.
        request: String,
    },
    /// A center is to do something else.
    State {
        /// Which.
        center: String,
        /// What.
        state: State,
    },
    /// In how many centers everything is to lie.
    Replication {
        /// The number.
        centers: u32,
    },
}

/// The staged changes of a center's folder.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Staged {
    pub(crate) changes: Vec<Change>,
}

impl Staged {
    fn path(folder: &Path) -> PathBuf {
        folder.join("charter.staged.json")
    }

    /// What is staged.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = Self::path(folder);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Keeps it.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(replace_file(&Self::path(folder), &serde_json::to_vec_pretty(self)?, 0o600)?)
    }

    /// Forgets it.
    pub(crate) fn discard(folder: &Path) -> anyhow::Result<()> {
        match std::fs::remove_file(Self::path(folder)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| Self::path(folder).display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// The version that the changes make of the one in force.
    ///
    /// # Errors
    /// Which change can't be, and why.
    pub(crate) fn next(
        &self,
        center: &Center,
        before: Option<&Charter>,
        at: String,
    ) -> anyhow::Result<Charter> {
        let mut next = Charter::next(before, &center.genesis, center.settings.peer.replication, at);
        if next.centers.is_empty() {
            next.centers.push(own(center)?);
        }
        for change in &self.changes {
            match change {
                Change::Add { request } => next.centers.push(joining(center, &next, request)?),
                Change::State { center, state } => {
                    let name: CenterName = center.parse().context("a staged change")?;
                    let member = next.centers.iter_mut().find(|member| member.name == name);
                    let member = member.with_context(|| format!("no center {name} is in the charter"))?;
                    ensure!(
                        member.state.may_become(*state) && member.state != *state,
                        "center {name} is {} and can't become {state}",
                        member.state
                    );
                    member.state = *state;
                }
                Change::Replication { centers } => next.replication = *centers,
            }
        }
        next.check().map_err(anyhow::Error::msg)?;
        // The first version names this center, active, and those that join it.
        if before.is_some() {
            next.check_follows(before).map_err(anyhow::Error::msg)?;
        }
        Ok(next)
    }
}

/// This center as the first of its country.
fn own(center: &Center) -> anyhow::Result<Member> {
    let address = &center.settings.peer.address;
    ensure!(
        !address.is_empty(),
        "the setting peer.address is empty: write where other centers reach this one, such as \"10.1.0.7:8701\""
    );
    check_address(center, address)?;
    Ok(Member { state: State::Active, ..super::joining::member(center, address)? })
}

fn joining(center: &Center, next: &Charter, request: &str) -> anyhow::Result<Member> {
    let request = JoinRequest::open(request).map_err(anyhow::Error::msg)?;
    let genesis = &center.genesis;
    if request.country != genesis.country().to_string() {
        bail!(
            "center {} is of {}, and this cluster of {}: a cluster never crosses a border",
            request.member.name,
            super::country_of(&request.country)
                .map_or(request.country.clone(), |country| country.to_string()),
            genesis.country()
        );
    }
    ensure!(
        request.cluster == genesis.cluster(),
        "center {} was prepared for cluster {}, and this is {}: give it this cluster's invitation",
        request.member.name,
        request.cluster,
        genesis.cluster()
    );
    ensure!(next.member(&request.member.name).is_none(), "there is a center {} already", request.member.name);
    check_address(center, &request.member.address)?;
    let genesis_sha256 = super::sha256(crate::center::vouch(center, &request)?.to_text());
    Ok(Member { state: State::Joining, genesis_sha256, ..request.member })
}

/// Whether an address lies where centers of this country may: in the networks that the operator declared.
pub(crate) fn check_address(center: &Center, address: &str) -> anyhow::Result<()> {
    let networks = &center.settings.peer.networks;
    let (host, port) =
        address.rsplit_once(':').with_context(|| format!("`{address}` is no address and port"))?;
    let host: IpAddr =
        host.trim_start_matches('[').trim_end_matches(']').parse().ok().with_context(|| {
            format!(
                "`{address}`: write an IP address and a port, so that it can be held against peer.networks"
            )
        })?;
    ensure!(port.parse::<u16>().is_ok_and(|port| port > 0), "`{address}` has no port");
    let is_inside = networks
        .iter()
        .filter_map(|text| network(text).ok())
        .any(|network| network.contains(&host.to_canonical()));
    ensure!(
        is_inside,
        "{address} lies outside of the networks that are declared for centers of this country (peer.networks = [{}]): \
         correct the address, or declare its network if it lies in the country",
        networks.join(", ")
    );
    Ok(())
}
