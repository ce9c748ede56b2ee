//! Who a certificate names.

use super::super::certificate::{CertificateFacts, CertificateRefusal, DeviceType, Issuer, identify};

const PRODUCT_ISSUER: &str = "Tesla Motors GF3 Product RSA Issuing CA";

fn facts<'a>(issuer_name: &'a str, units: &'a [&'a str], usages: &'a [&'a str]) -> CertificateFacts<'a> {
    CertificateFacts {
        subject_name: "LRW3E7FA8MC000001",
        issuer_name,
        organizational_units: units,
        key_usages: usages,
    }
}

fn device_type(facts: &CertificateFacts<'_>) -> Result<DeviceType, CertificateRefusal> {
    identify(facts, &[]).map(|identity| identity.device_type)
}

#[test]
fn the_makers_vehicle_issuers_name_vehicles() {
    for issuer in ["TeslaMotors", "Tesla Issuing CA", "Tesla Motors Products CA"] {
        assert_eq!(device_type(&facts(issuer, &[], &[])), Ok(DeviceType::VehicleDevice));
    }
    let board = facts("Tesla Motors Products CA", &["Tesla Motors SN"], &[]);
    assert_eq!(device_type(&board), Ok(DeviceType::VehicleBoardDevice));
    let other = facts("Tesla Issuing CA", &["Tesla Motors SN"], &[]);
    assert_eq!(device_type(&other), Ok(DeviceType::VehicleDevice));
}

#[test]
fn product_issuers_name_devices_by_key_usage() {
    let cases = [
        ("1.3.6.1.4.1.49279.2.4.1", DeviceType::VehicleDevice),
        ("1.3.6.1.4.1.49279.2.5.1", DeviceType::VehicleDevice),
        ("1.3.6.1.4.1.49279.2.5.11", DeviceType::VehicleBoardDevice),
        ("1.3.6.1.4.1.49279.2.5.2", DeviceType::EnergyDevice),
        ("1.3.6.1.4.1.49279.2.4.12", DeviceType::DasDevice),
        ("1.3.6.1.4.1.49279.2.5.14", DeviceType::VehicleService),
        ("1.3.6.1.4.1.49279.2.5.15", DeviceType::DasService),
        ("1.3.6.1.4.1.49279.2.5.16", DeviceType::EnergyService),
        ("1.3.6.1.4.1.49279.2.5.28", DeviceType::RoboticsDevice),
    ];
    for (usage, expected) in cases {
        let usages = ["1.3.6.1.5.5.7.3.2", usage];
        assert_eq!(device_type(&facts(PRODUCT_ISSUER, &[], &usages)), Ok(expected));
        assert_eq!(expected.as_str().parse(), Ok(expected));
    }
    let usages = ["1.3.6.1.4.1.49279.2.5.2"];
    let units = [["Solar Inverter"], ["Gen3 Wall Connector"]];
    let types = units.map(|unit| device_type(&facts(PRODUCT_ISSUER, &unit, &usages)));
    assert_eq!(types, [Ok(DeviceType::SolarInverterDevice), Ok(DeviceType::WallConnectorDevice)]);
}

#[test]
fn a_product_certificate_for_something_else_names_nobody() {
    let refused = [
        &[][..],
        &["1.3.6.1.5.5.7.3.2"],
        &["1.3.6.1.4.1.49279.2.5.99"],
        &["1.3.6.1.4.1.49279.2.5.1.1"],
        &["1.3.6.1.4.1.49279.2.5.1", "1.3.6.1.4.1.49279.2.5.1.1"],
    ];
    for usages in refused {
        let refusal = device_type(&facts(PRODUCT_ISSUER, &[], usages));
        assert_eq!(refusal, Err(CertificateRefusal::UnknownKeyUsage));
    }
}

#[test]
fn an_issuer_is_known_only_when_the_operator_named_it() {
    let own = Issuer { name: "shanghai-1 vehicles".to_owned(), device_type: DeviceType::VehicleDevice };
    let certificate = facts("shanghai-1 vehicles", &[], &[]);
    assert_eq!(device_type(&certificate), Err(CertificateRefusal::UnknownIssuer));
    let identity = identify(&certificate, std::slice::from_ref(&own)).expect("a named issuer");
    assert_eq!(identity.sender_id(), "vehicle_device.LRW3E7FA8MC000001");
    assert!(!format!("{identity:?}").contains("LRW3"), "a VIN must not reach a log by accident");
    let near = facts("Shanghai-1 vehicles", &[], &[]);
    assert_eq!(identify(&near, &[own]).map(drop), Err(CertificateRefusal::UnknownIssuer));
    let stranger = Issuer { name: PRODUCT_ISSUER.to_owned(), device_type: DeviceType::VehicleDevice };
    let refusal = identify(&facts(PRODUCT_ISSUER, &[], &[]), &[stranger]).map(drop);
    assert_eq!(
        refusal,
        Err(CertificateRefusal::UnknownKeyUsage),
        "the maker's rules hold for the maker's issuers"
    );
}

#[test]
fn dots_in_the_name_become_dashes_and_names_without_use_are_refused() {
    let mut certificate = facts("TeslaMotors", &[], &[]);
    certificate.subject_name = "a.b.c";
    assert_eq!(identify(&certificate, &[]).expect("a name").device_id, "a-b-c");
    for name in ["", "a\nb", &"x".repeat(65)] {
        certificate.subject_name = name;
        assert_eq!(identify(&certificate, &[]).map(drop), Err(CertificateRefusal::NoName));
    }
}
