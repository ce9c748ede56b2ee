use std::sync::LazyLock;

use model::{Assurance, ConnectionId, Country, KeyPeriod, Protocol, UtcMicros, VehicleId, Vin};

use crate::{
    Admission, Certificate, Facts, Iccid, Refusal, RegistryVersion, Rules, Signature, Transport,
    VehicleFacts, VehicleState, Via, admit, observe,
};

static OWN: LazyLock<Vin> = LazyLock::new(|| vin("LRW3E7FA8MC000001"));
static OTHER: LazyLock<Vin> = LazyLock::new(|| vin("LRW3E7FA8MC000002"));
const ICCID: &str = "89860012345678901234";

fn vin(text: &str) -> Vin {
    text.parse().expect("a VIN")
}

fn vehicle() -> VehicleFacts {
    VehicleFacts {
        id: VehicleId::from_bytes(b"vabcdefghijk23456").expect("an id"),
        key: KeyPeriod(3),
        country: "CN".parse().expect("a country"),
        state: VehicleState::Active,
        iccid: Some(ICCID.parse().expect("an ICCID")),
        public_key: None,
        erased_until: None,
    }
}

fn rules() -> Rules {
    Rules {
        country: "CN".parse::<Country>().expect("a country"),
        pack: "cn-2026.1".parse().expect("a version"),
        require_tls: false,
        require_signature: false,
    }
}

/// Decides on a plain claim after the caller has changed the facts.
fn decide(change: impl FnOnce(&mut Facts<'_>)) -> Result<Admission, Refusal> {
    decide_with(vehicle(), rules(), change)
}

fn decide_with(
    vehicle: VehicleFacts,
    rules: Rules,
    change: impl FnOnce(&mut Facts<'_>),
) -> Result<Admission, Refusal> {
    let mut facts = Facts {
        rules: &rules,
        version: RegistryVersion(7),
        vin: &OWN,
        vehicle: Some(&vehicle),
        transport: Transport::Plain,
        via: Via::Direct,
        certificate: Certificate::Absent,
        iccid: Some(ICCID.as_bytes()),
        signature: Signature::NotApplicable,
        holder: None,
    };
    change(&mut facts);
    admit(&facts)
}

fn refused(result: Result<Admission, Refusal>) -> &'static str {
    result.map_or_else(Refusal::code, |_| "admitted")
}

#[test]
fn the_registry_decides_who_is_admitted() {
    assert_eq!(refused(decide(|_| {})), "admitted");
    assert_eq!(refused(decide(|facts| facts.vehicle = None)), "unknown_vehicle");
    let foreign = VehicleFacts { country: "DE".parse().expect("a country"), ..vehicle() };
    assert_eq!(refused(decide_with(foreign, rules(), |_| {})), "foreign_country");
    let revoked = VehicleFacts { state: VehicleState::Revoked, ..vehicle() };
    assert_eq!(refused(decide_with(revoked, rules(), |_| {})), "revoked");
}

#[test]
fn an_admission_carries_what_it_was_decided_on() {
    let admission = decide(|_| {}).expect("admitted");
    assert_eq!(admission.vehicle(), vehicle().id);
    assert_eq!(admission.key(), KeyPeriod(3));
    assert_eq!(admission.version(), RegistryVersion(7));
    assert_eq!(admission.pack().to_string(), "cn-2026.1");
    let frame = admission.frame(UtcMicros(5), Protocol::Gbt32960, ConnectionId(9), b"##");
    assert_eq!(frame.version(), RegistryVersion(7));
    assert_eq!(frame.get().vehicle, vehicle().id);
    assert_eq!(frame.get().key, KeyPeriod(3));
    assert_eq!(frame.get().protocol, Protocol::Gbt32960);
    assert_eq!(frame.into_inner().bytes, b"##");
}

#[test]
fn what_the_identity_rests_on_is_the_strongest_that_was_shown() {
    let assurance = |change: fn(&mut Facts<'_>)| decide(change).expect("admitted").assurance();
    assert_eq!(assurance(|_| {}), Assurance::Claim);
    assert_eq!(assurance(|facts| facts.via = Via::Platform), Assurance::Platform);
    assert_eq!(assurance(|facts| facts.signature = Signature::Verified), Assurance::Signature);
    let certified = decide(|facts| facts.certificate = Certificate::Names(&OWN)).expect("admitted");
    assert_eq!(certified.assurance(), Assurance::Certificate);
    // A forwarding platform's own certificate doesn't vouch for the vehicles behind it.
    assert_eq!(
        assurance(|facts| {
            facts.via = Via::Platform;
            facts.certificate = Certificate::NotAVehicle;
        }),
        Assurance::Platform
    );
}

#[test]
fn a_certificate_must_be_a_known_issuers_a_vehicles_and_this_vehicles() {
    assert_eq!(refused(decide(|facts| facts.certificate = Certificate::UnknownIssuer)), "unknown_issuer");
    assert_eq!(refused(decide(|facts| facts.certificate = Certificate::NotAVehicle)), "not_a_vehicle");
    assert_eq!(refused(decide(|facts| facts.certificate = Certificate::Names(&OTHER))), "identity_mismatch");
}

#[test]
fn a_stranger_with_a_wrong_certificate_does_not_learn_whether_the_vin_is_registered() {
    let known = decide(|facts| facts.certificate = Certificate::Names(&OTHER));
    let unknown = decide(|facts| {
        facts.certificate = Certificate::Names(&OTHER);
        facts.vehicle = None;
    });
    assert_eq!(known, unknown);
}

#[test]
fn tls_is_required_where_it_is_set() {
    let strict = Rules { require_tls: true, ..rules() };
    assert_eq!(refused(decide_with(vehicle(), strict, |_| {})), "tls_required");
    assert_eq!(refused(decide_with(vehicle(), strict, |facts| facts.transport = Transport::Tls)), "admitted");
}

#[test]
fn a_signature_is_required_where_it_is_set_and_never_wrong() {
    let strict = Rules { require_signature: true, ..rules() };
    let keyed = || VehicleFacts { public_key: Some("a key".into()), ..vehicle() };
    let table = [
        // signature, key registered, when required, when not
        (Signature::NotApplicable, true, "admitted", "admitted"),
        (Signature::NotApplicable, false, "signature_required", "admitted"),
        (Signature::Absent, true, "signature_required", "admitted"),
        (Signature::Absent, false, "signature_required", "admitted"),
        (Signature::Unverifiable, false, "signature_required", "admitted"),
        (Signature::Verified, true, "admitted", "admitted"),
        (Signature::Invalid, true, "signature_invalid", "signature_invalid"),
    ];
    for (signature, key, when_required, otherwise) in table {
        let vehicle = || if key { keyed() } else { vehicle() };
        let set = |facts: &mut Facts<'_>| facts.signature = signature;
        assert_eq!(refused(decide_with(vehicle(), strict, set)), when_required, "{signature:?}, key: {key}");
        assert_eq!(refused(decide_with(vehicle(), rules(), set)), otherwise, "{signature:?}, key: {key}");
    }
}

#[test]
fn a_claimed_identity_must_show_the_registered_iccid() {
    let wrong = b"89860099999999999999";
    assert_eq!(refused(decide(|facts| facts.iccid = Some(wrong))), "iccid_mismatch");
    assert_eq!(refused(decide(|facts| facts.iccid = Some(b""))), "iccid_mismatch");
    assert_eq!(
        refused(decide(|facts| {
            facts.iccid = Some(wrong);
            facts.via = Via::Platform;
        })),
        "iccid_mismatch"
    );
    assert_eq!(refused(decide(|facts| facts.iccid = None)), "admitted", "a data frame carries none");
    let certified = decide(|facts| {
        facts.iccid = Some(wrong);
        facts.certificate = Certificate::Names(&OWN);
    });
    assert_eq!(refused(certified), "admitted", "a certificate is proof enough after a change of SIM card");
    let without = VehicleFacts { iccid: None, ..vehicle() };
    assert_eq!(refused(decide_with(without, rules(), |facts| facts.iccid = Some(wrong))), "admitted");
}

#[test]
fn a_second_identity_must_be_at_least_as_strong() {
    let strengths = [Assurance::Claim, Assurance::Platform, Assurance::Signature, Assurance::Certificate];
    for holder in strengths {
        for newcomer in strengths {
            let result = decide(|facts| {
                facts.holder = Some(holder);
                match newcomer {
                    Assurance::Claim => {}
                    Assurance::Platform => facts.via = Via::Platform,
                    Assurance::Signature => facts.signature = Signature::Verified,
                    Assurance::Certificate => facts.certificate = Certificate::Names(&OWN),
                }
            });
            let expected = if newcomer >= holder { "admitted" } else { "weaker_identity" };
            assert_eq!(refused(result), expected, "{newcomer:?} after {holder:?}");
        }
    }
}

#[test]
fn a_witness_writes_nothing_but_the_centers_own_observations() {
    let revoked = VehicleFacts { state: VehicleState::Revoked, ..vehicle() };
    let frame = observe(&revoked, RegistryVersion(2)).frame(UtcMicros(1), ConnectionId(1), b"{}");
    assert_eq!(frame.get().protocol, Protocol::Center);
    assert_eq!(frame.version(), RegistryVersion(2));
}

#[test]
fn an_iccid_of_nineteen_digits_matches_its_padded_form() {
    let short: Iccid = "8986001234567890123".parse().expect("an ICCID");
    assert!(short.matches(b"8986001234567890123 "));
    assert!(short.matches(b"8986001234567890123\0"));
    assert!(!short.matches(b"89860012345678901234"));
    assert_eq!(short.as_str(), "8986001234567890123");
    assert!("898600123456789012".parse::<Iccid>().is_err());
    assert!("8986001234567890123 ".parse::<Iccid>().is_err());
    assert_eq!(format!("{short:?}"), "Iccid(hidden)");
}

#[test]
fn codes_are_distinct_and_read_back() {
    for refusal in Refusal::ALL {
        assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        assert!(refusal.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(!refusal.to_string().is_empty());
    }
}
