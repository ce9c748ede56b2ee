//! What every connection needs: the rooms that it asks, the limits that it keeps, and how it is told who may come in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{Assurance, Clock, ConnectionId, Protocol, UtcMicros, Vin};
use parking_lot::Mutex;
use policy::{Admission, Certificate, Facts, Refusal, Rules, Signature, Transport, VehicleFacts, Via};
use registry::Registry;
use store::{AppendRefused, CommitWaiter, Journal};
use wire::center::Observation;
use wire::tesla::{CertificateFacts, CertificateRefusal, Identity, Issuer, certificate};

use super::away::Away;
use super::connections::{Connection, Connections};
use super::dialogue::Moment;
use super::diary::{Diary, Entry};
use crate::observe::Metrics;
use crate::settings::Limits;

/// Times that a stale decision is taken anew for one frame. Each takes a change of the registry in between; more in a row than
/// this is a defect.
pub(crate) const DECISIONS_MAX: u32 = 16;

/// How metrics call a frame that is acknowledged and not stored because it speaks of a time that was erased.
pub(crate) const ERASED: &str = "erased";

/// What every connection needs.
pub(crate) struct Gate {
    pub(crate) journal: Journal,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: Arc<Connections>,
    /// Whether a drill keeps vehicles out.
    pub(crate) away: Away,
    pub(crate) diary: Arc<Diary>,
    /// What admission is decided by; another country pack changes it while connections are there.
    rules: ArcSwap<Rules>,
    pub(crate) limits: Limits,
    /// Issuers that the operator names, and what their certificates stand for.
    pub(crate) issuers: Vec<Issuer>,
    /// Nobody waits for observations; the journal wants a place to tell all the same.
    observed: Arc<CommitWaiter>,
    /// For looking at the times in frames of vehicles of which something was erased; they are few.
    looking: Mutex<wire::Context>,
}

/// The rooms and settings of a [`Gate`].
pub(crate) struct Parts {
    pub(crate) journal: Journal,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) diary: Arc<Diary>,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) looking: wire::Context,
}

/// What a connection shows of itself when it asks to be admitted.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) vin: &'a Vin,
    pub(crate) transport: Transport,
    pub(crate) via: Via,
    pub(crate) certified: &'a Certified,
    pub(crate) iccid: Option<&'a [u8]>,
    pub(crate) signature: Signature,
}

/// What a connection's client certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Certified {
    /// There is none.
    Absent,
    /// It names a vehicle.
    Vehicle(Vin),
    /// Nobody knows its issuer.
    UnknownIssuer,
    /// It is no vehicle's.
    NotAVehicle,
}

impl Certified {
    fn as_fact(&self) -> Certificate<'_> {
        match self {
            Self::Absent => Certificate::Absent,
            Self::Vehicle(vin) => Certificate::Names(vin),
            Self::UnknownIssuer => Certificate::UnknownIssuer,
            Self::NotAVehicle => Certificate::NotAVehicle,
        }
    }
}

impl Gate {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { journal, registry, clock, metrics, connections, diary, rules, limits, issuers, looking } =
            parts;
        let looking = Mutex::new(looking);
        let observed = Arc::new(CommitWaiter::new());
        let rules = ArcSwap::from_pointee(rules);
        Self {
            journal,
            registry,
            clock,
            metrics,
            connections,
            away: Away::default(),
            diary,
            rules,
            limits,
            issuers,
            observed,
            looking,
        }
    }

    /// Now, by both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment { utc: self.clock.now(), monotonic: self.clock.monotonic() }
    }

    /// Takes decisions by these rules from now on.
    pub(crate) fn decide_by(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// What decisions are taken by.
    pub(crate) fn rules(&self) -> Rules {
        **self.rules.load()
    }

    /// Decides whether a vehicle is admitted on a connection, on the registry as it stands now.
    pub(crate) fn admit(
        &self,
        connection: ConnectionId,
        claim: &Claim<'_>,
    ) -> Result<(Admission, Arc<VehicleFacts>), Refusal> {
        let (version, vehicle) = self.registry.look(claim.vin);
        let holder = vehicle.as_ref().and_then(|vehicle| self.connections.holder(vehicle.id, connection));
        let admission = policy::admit(&Facts {
            rules: &self.rules.load(),
            version,
            vin: claim.vin,
            vehicle: vehicle.as_deref(),
            transport: claim.transport,
            via: claim.via,
            certificate: claim.certified.as_fact(),
            iccid: claim.iccid,
            signature: claim.signature,
            holder,
        })?;
        Ok((admission, vehicle.ok_or(Refusal::UnknownVehicle)?))
    }

    /// Whether all that a frame says is of a time that was erased for its vehicle: sent again, forwarded late, or replayed. A frame
    /// whose times can't be read (encrypted, damaged) is not.
    pub(crate) fn is_of_erased_time(
        &self,
        admission: &Admission,
        protocol: Protocol,
        bytes: &[u8],
        received_at: UtcMicros,
    ) -> bool {
        let Some(until) = admission.erased_until() else { return false };
        let newest = wire::newest(protocol, bytes, received_at, &mut self.looking.lock());
        newest.is_some_and(|newest| newest < until)
    }

    /// Counts a refusal and writes it into the diary of the vehicle that it concerns.
    pub(crate) fn refused(&self, connection: &Connection, vin: Option<&Vin>, refusal: Refusal) {
        self.metrics.refused(connection.protocol, refusal.code());
        tracing::info!(connection = %connection.id, protocol = connection.protocol.as_str(), reason = refusal.code(),
            "refused");
        if let Some(vin) = vin {
            self.note(connection, vin, "refused", refusal.code(), &[]);
        }
    }

    /// Writes into a vehicle's diary: as an event through the journal where it is registered, in memory alone where not.
    /// `more` are further details, name and value.
    pub(crate) fn note(
        &self,
        connection: &Connection,
        vin: &Vin,
        kind: &'static str,
        code: &'static str,
        more: &[(&str, &str)],
    ) {
        let entry = Entry {
            time: self.clock.now(),
            kind,
            code,
            protocol: connection.protocol,
            connection: Some(connection.id),
            peer: Some(connection.peer),
            vin: *vin,
        };
        let (version, vehicle) = self.registry.look(vin);
        let Some(vehicle) = vehicle else {
            self.diary.stranger(entry);
            return;
        };
        if !self.diary.registered(entry) {
            return;
        }
        let assurance = connection.assurance().map(Assurance::as_str);
        let observation = Observation {
            kind,
            code,
            protocol: connection.protocol,
            from: Some(connection.peer),
            assurance,
            more,
        };
        self.journal_observation(vin, vehicle, version, connection.id, &observation);
    }

    fn journal_observation(
        &self,
        vin: &Vin,
        vehicle: Arc<VehicleFacts>,
        version: policy::RegistryVersion,
        connection: ConnectionId,
        observation: &Observation<'_>,
    ) {
        let bytes = observation.encode();
        let (mut vehicle, mut version) = (vehicle, version);
        for _ in 0..DECISIONS_MAX {
            let frame = policy::observe(&vehicle, version).frame(self.clock.now(), connection, &bytes);
            match self.journal.append(frame, &self.observed) {
                Err(AppendRefused::Stale) => {
                    let (newer, Some(found)) = self.registry.look(vin) else { return };
                    (vehicle, version) = (found, newer);
                }
                // A journal that takes nothing takes no notes either; the diary in memory has it.
                _ => return,
            }
        }
    }

    /// What a client certificate, verified by TLS, says by the rules for its issuer.
    pub(crate) fn certified(&self, end_entity: Option<&[u8]>) -> (Certified, Option<Identity>) {
        let Some(der) = end_entity else { return (Certified::Absent, None) };
        match identity(der, &self.issuers) {
            Ok(identity) if identity.device_type.is_vehicle() => {
                let certified = identity.device_id.parse().map_or(Certified::NotAVehicle, Certified::Vehicle);
                (certified, Some(identity))
            }
            Ok(identity) => (Certified::NotAVehicle, Some(identity)),
            Err(CertificateRefusal::UnknownIssuer) => (Certified::UnknownIssuer, None),
            Err(_) => (Certified::NotAVehicle, None),
        }
    }
}

/// Reads the names that identify a device from a certificate.
fn identity(der: &[u8], issuers: &[Issuer]) -> Result<Identity, CertificateRefusal> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| CertificateRefusal::NoName)?;
    let text = |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        attribute.and_then(|attribute| attribute.as_str().ok()).unwrap_or_default().to_owned()
    };
    let subject_name = text(parsed.subject().iter_common_name().next());
    let issuer_name = text(parsed.issuer().iter_common_name().next());
    let units: Vec<String> =
        parsed.subject().iter_organizational_unit().map(|unit| text(Some(unit))).collect();
    let usages: Vec<String> = match parsed.extended_key_usage() {
        Ok(Some(usage)) => {
            usage.value.other.iter().map(x509_parser::oid_registry::Oid::to_id_string).collect()
        }
        _ => Vec::new(),
    };
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let usages: Vec<&str> = usages.iter().map(String::as_str).collect();
    let facts = CertificateFacts {
        subject_name: &subject_name,
        issuer_name: &issuer_name,
        organizational_units: &units,
        key_usages: &usages,
    };
    certificate::identify(&facts, issuers)
}

/// The VIN that a certificate names which nobody has verified; for the diary alone.
pub(crate) fn claimed_vin(der: &[u8]) -> Option<Vin> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    parsed.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()
}

/// How fast one vehicle may send: a bucket that holds a minute's messages and is refilled evenly. It is kept as the one instant
/// at which it would be full again (the generic cell rate algorithm), so it costs eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    full_at: Duration,
}

impl Rate {
    /// Whether a message may be taken now; the error is the time to wait for. `per_minute_max` 0: no limit.
    pub(crate) fn room(&self, now: Duration, per_minute_max: u32) -> Result<(), Duration> {
        if per_minute_max == 0 {
            return Ok(());
        }
        let next = self.full_at.max(now) + MINUTE / per_minute_max;
        if next > now + MINUTE { Err(next - MINUTE) } else { Ok(()) }
    }

    /// Counts a message.
    pub(crate) fn take(&mut self, now: Duration, per_minute_max: u32) {
        if per_minute_max > 0 {
            self.full_at = self.full_at.max(now) + MINUTE / per_minute_max;
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// The address behind an IPv4 address that came over an IPv6 socket.
pub(crate) fn plain_address(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// For the diary: an entry about a certificate that was refused in the handshake, where the address is not known.
pub(crate) fn refused_certificate(
    time: UtcMicros,
    vin: Vin,
    protocol: Protocol,
    code: &'static str,
) -> Entry {
    Entry { time, kind: "refused", code, protocol, connection: None, peer: None, vin }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rate;

    #[test]
    fn a_minutes_messages_may_come_at_once_and_then_evenly() {
        let mut rate = Rate::default();
        let start = Duration::from_secs(1_000);
        for _ in 0..60 {
            assert_eq!(rate.room(start, 60), Ok(()));
            rate.take(start, 60);
        }
        let wait = rate.room(start, 60).expect_err("the minute is used up");
        assert_eq!(wait, start + Duration::from_secs(1));
        assert_eq!(rate.room(wait, 60), Ok(()));
        rate.take(wait, 60);
        assert!(rate.room(wait, 60).is_err());
        assert_eq!(rate.room(start + Duration::from_secs(3_600), 60), Ok(()));
        assert_eq!(rate.room(start, 0), Ok(()));
    }
}
