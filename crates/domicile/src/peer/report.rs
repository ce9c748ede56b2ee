//! The placement report: which center holds what, since when and as of when, by the centers' own logs. It needs no center's word but
//! what each has entered and signed; where a log does not lie here the report says so.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use ledger::entry::{Minute, Mirrored};
use ledger::trace::{Trace, mirrored, trace};
use ledger::{LogReader, SignedCheckpoint, StoreTiles, TreeView};
use model::{CenterName, UtcMicros, VehicleId};
use serde::{Deserialize, Serialize};
use store::{Names, ObjectPath, Objects};

use super::of_vehicle::{TableFiles, VehiclePlacement, found};
use super::receipts::Receipts;
use crate::center::Center;
use crate::charter::{Charter, Charters, State};

/// Who holds what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) country: String,
    pub(crate) cluster: String,
    /// The center that made the report, and when.
    pub(crate) by: String,
    pub(crate) at: String,
    /// The charter's version; 0 where the center is alone.
    pub(crate) charter: u64,
    /// In how many centers everything is to lie.
    pub(crate) replication: u32,
    pub(crate) centers: Vec<CenterPlacement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<ObjectPlacement>,
    /// Where the data of the vehicle that was asked for lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vehicle: Option<Vec<VehiclePlacement>>,
    /// Centers whose logs don't lie here, so that what they say of themselves is not in this report.
    pub(crate) logs_not_here: Vec<String>,
}

/// Where a center's log and objects lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CenterPlacement {
    pub(crate) center: String,
    pub(crate) site: String,
    pub(crate) state: String,
    /// Entries of its log, as far as they are known here; none where nothing is.
    pub(crate) entries: Option<u64>,
    pub(crate) copies: Vec<Holding>,
    /// Whether as many centers hold all that is known as the charter asks for.
    pub(crate) is_safe: bool,
}

/// A center's copy of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) center: String,
    pub(crate) site: String,
    /// Entries up to which everything is held.
    pub(crate) entries: u64,
    /// When the holder first entered that it holds a copy.
    pub(crate) since: Option<String>,
    /// When the newest that is known was said.
    pub(crate) verified: Option<String>,
}

/// Where an object lies, or lay at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectPlacement {
    pub(crate) object: String,
    /// The instant that is spoken of, where it is another than now.
    pub(crate) as_of: Option<String>,
    pub(crate) entered: String,
    pub(crate) entry: u64,
    /// Why and when it was taken away.
    pub(crate) removed: Option<String>,
    pub(crate) copies: Vec<ObjectHolding>,
}

/// A center that holds an object, or held it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectHolding {
    pub(crate) center: String,
    pub(crate) site: String,
    pub(crate) since: String,
    pub(crate) until: Option<String>,
    /// Whether it lies in the store here: looked at for this report.
    pub(crate) is_on_this_disk: Option<bool>,
}

/// What a report is made of.
pub(crate) struct Sources<'a> {
    center: &'a Center,
    objects: Objects,
    charters: Charters,
}

impl<'a> Sources<'a> {
    /// A center's folder, beside the running center or without one.
    pub(crate) fn open(center: &'a Center) -> anyhow::Result<Self> {
        let objects = Objects::read_only(&center.settings.store_folder(&center.folder))?;
        let charters = Charters::open(center, &objects, || {})?;
        Ok(Self { center, objects, charters })
    }

    /// The names, log and keys of a center whose log lies here.
    pub(crate) fn log(
        &self,
        center: &CenterName,
    ) -> anyhow::Result<Option<(Names, LogReader, SignedCheckpoint)>> {
        let names = Names::new(center.clone());
        let key = if *center == self.center.genesis.center() {
            self.center.genesis.log_key()
        } else {
            let in_force = self.charters.in_force().context("there is no charter")?;
            let member = in_force
                .charter
                .member(center)
                .with_context(|| format!("no center {center} is in the charter"))?;
            member.keys().map_err(anyhow::Error::msg)?.log
        };
        let reader = LogReader::new(self.objects.clone(), names.ledger(), key);
        Ok(reader.checkpoint()?.map(|checkpoint| (names, reader, checkpoint)))
    }

    fn view(reader: &LogReader, checkpoint: &SignedCheckpoint) -> anyhow::Result<TreeView<StoreTiles>> {
        Ok(reader.view(checkpoint)?)
    }

    /// Makes a report.
    ///
    /// # Errors
    /// Where a log that lies here can't be read, or no log here names the object.
    pub(crate) fn report(
        &self,
        object: Option<&str>,
        as_of: Option<UtcMicros>,
        now: UtcMicros,
    ) -> anyhow::Result<Report> {
        let genesis = &self.center.genesis;
        let own = genesis.center();
        let in_force = self.charters.in_force();
        let Some(charter) = in_force.as_ref().map(|in_force| &in_force.charter) else {
            bail!("{own} is alone: no charter names another center, and everything lies here");
        };
        let receipts = Receipts::read(&self.center.folder, &genesis.log_key());
        let mut logs_not_here = Vec::new();
        let mut centers = Vec::new();
        for member in &charter.centers {
            let log = self.log(&member.name)?;
            if log.is_none() && member.state != State::Joining {
                logs_not_here.push(member.name.to_string());
            }
            let entries = log.as_ref().map(|(_, _, checkpoint)| checkpoint.size());
            let mut copies = Vec::new();
            if member.state.is_here()
                && let Some(entries) = entries
            {
                copies.push(Holding {
                    center: member.name.to_string(),
                    site: member.site.clone(),
                    entries,
                    since: None,
                    verified: None,
                });
            }
            for holder in
                charter.centers.iter().filter(|holder| holder.name != member.name && holder.state.is_here())
            {
                copies.extend(self.holding(charter, &member.name, &holder.name, &receipts, now)?);
            }
            let known = copies.iter().map(|copy| copy.entries).max().or(entries);
            let whole = copies.iter().filter(|copy| Some(copy.entries) == known).count();
            centers.push(CenterPlacement {
                center: member.name.to_string(),
                site: member.site.clone(),
                state: member.state.to_string(),
                entries: known,
                is_safe: whole >= charter.replication as usize,
                copies,
            });
        }
        let object = object.map(|object| self.object(charter, object, as_of, now)).transpose()?;
        Ok(Report {
            country: genesis.country().to_string(),
            cluster: genesis.cluster().to_owned(),
            by: own.to_string(),
            at: now.to_string(),
            charter: charter.version,
            replication: charter.replication,
            centers,
            object,
            vehicle: None,
            logs_not_here,
        })
    }

    /// Adds to a report where the data of a vehicle lies.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub(crate) fn add_vehicle(
        &self,
        report: &mut Report,
        vehicle: VehicleId,
        table_files: TableFiles<'_>,
    ) -> anyhow::Result<()> {
        let mut placements = Vec::new();
        for placement in &report.centers {
            let center: CenterName = placement.center.parse()?;
            let objects = found(&self.objects, &center, vehicle, table_files)?;
            if !objects.is_empty() {
                let held_by = placement.copies.iter().map(|copy| copy.center.clone()).collect();
                placements.push(VehiclePlacement { center: placement.center.clone(), objects, held_by });
            }
        }
        report.vehicle = Some(placements);
        Ok(())
    }

    /// The objects that lie here.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// What a center has said that it holds of another.
    fn said(&self, holder: &CenterName, source: &CenterName) -> anyhow::Result<Vec<(Minute, Mirrored)>> {
        let Some((_, reader, checkpoint)) = self.log(holder)? else { return Ok(Vec::new()) };
        Ok(mirrored(&reader, Self::view(&reader, &checkpoint)?, source)?)
    }

    fn holding(
        &self,
        charter: &Charter,
        source: &CenterName,
        holder: &CenterName,
        receipts: &BTreeMap<CenterName, SignedCheckpoint>,
        now: UtcMicros,
    ) -> anyhow::Result<Option<Holding>> {
        let member = charter.member(holder).context("a center of the charter")?;
        let key = member.keys().map_err(anyhow::Error::msg)?.mirror;
        let said = self.said(holder, source)?;
        let mut newest = said.last().map(|(at, mirrored)| (mirrored.size, at.start()));
        // What it has cosigned is newer than what it has entered: the receipt that it gave this center, or the copy that lies here.
        let own = self.center.genesis.center();
        let cosigned = if *source == own {
            receipts.get(holder).cloned()
        } else if *holder == own {
            self.log(source)?.map(|(_, _, checkpoint)| checkpoint)
        } else {
            None
        };
        if let Some(cosigned) = cosigned
            && let Ok(Some(seconds)) = cosigned.cosigned_at(&key)
            && newest.is_none_or(|(size, _)| size <= cosigned.size())
        {
            newest = Some((cosigned.size(), UtcMicros::from_seconds(seconds.cast_signed())));
        }
        Ok(newest.map(|(entries, at)| Holding {
            center: holder.to_string(),
            site: member.site.clone(),
            entries,
            since: said.first().map(|(at, _)| at.end().min(now).to_string()),
            verified: Some(at.to_string()),
        }))
    }

    fn object(
        &self,
        charter: &Charter,
        object: &str,
        as_of: Option<UtcMicros>,
        now: UtcMicros,
    ) -> anyhow::Result<ObjectPlacement> {
        let source: CenterName =
            object.split('/').next().and_then(|center| center.parse().ok()).with_context(|| {
                format!(
                    "`{object}` is no object's name: it begins with its center's, such as shanghai-1/batch/…"
                )
            })?;
        let path = ObjectPath::from(object);
        let (names, reader, checkpoint) = self.log(&source)?.with_context(|| {
            format!("the log of {source} does not lie here: ask a center that holds a copy")
        })?;
        let found = trace(&self.objects, &names, &reader, Self::view(&reader, &checkpoint)?, &path)?;
        let Some(Trace { entered, removed }) = found else {
            bail!("no entry of {source}'s log names {object}");
        };
        let mut copies = Vec::new();
        let origin = charter.member(&source).context("a center of the charter")?;
        // Entries speak of minutes: a copy was there at the latest by the end of the one, and at least up to the start of the other.
        copies.push((origin, entered.at.end().min(now), removed.as_ref().map(|(told, _)| told.at.start())));
        for holder in charter.centers.iter().filter(|holder| holder.name != source) {
            let said = self.said(&holder.name, &source)?;
            let first = |index: u64| said.iter().find(|(_, held)| held.size > index).map(|(at, _)| *at);
            let until = removed.as_ref().and_then(|(told, _)| first(told.index));
            if let Some(since) =
                first(entered.index).filter(|_| removed.is_none() || until != first(entered.index))
            {
                copies.push((holder, since.end().min(now), until.map(Minute::start)));
            }
        }
        let own = self.center.genesis.center();
        let was_there = |since: &UtcMicros, until: &Option<UtcMicros>| {
            as_of.is_none_or(|at| *since <= at && until.is_none_or(|until| at < until))
        };
        let mut holdings = Vec::new();
        for (member, since, until) in copies.into_iter().filter(|(_, since, until)| was_there(since, until)) {
            let is_on_this_disk =
                if member.name == own { Some(self.objects.read(&path)?.is_some()) } else { None };
            holdings.push(ObjectHolding {
                center: member.name.to_string(),
                site: member.site.clone(),
                since: since.to_string(),
                until: until.map(|at| at.to_string()),
                is_on_this_disk,
            });
        }
        Ok(ObjectPlacement {
            object: object.to_owned(),
            as_of: as_of.map(|at| at.to_string()),
            entered: entered.at.start().to_string(),
            entry: entered.index,
            removed: removed
                .map(|(told, kind)| format!("{kind} at {}, entry {}", told.at.start(), told.index)),
            copies: holdings,
        })
    }

    /// Names and log key of the copy of a center that lies here.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn copy(&self, center: &CenterName) -> anyhow::Result<(Names, ledger::VerifierKey)> {
        let in_force =
            self.charters.in_force().context("there is no charter: this center holds copies of nobody")?;
        let member = in_force
            .charter
            .member(center)
            .with_context(|| format!("no center {center} is in the charter"))?;
        Ok((Names::new(center.clone()), member.keys().map_err(anyhow::Error::msg)?.log))
    }
}
