//! A second and a further center of a country: made ready with an invitation, vouched for by the country, and opened by its package.

use std::path::Path;

use ledger::{SigningKey, VerifierKey};
use model::UtcMicros;
use store::{Created, Identity, Names, Objects};

use super::{
    Birth, Center, CenterError, Genesis, NewCenter, PublicKeys, Role, SignedPack, check_abroad, file_error,
    fingerprint, host_names, make_folder, write_access,
};
use crate::charter::{Charter, Invitation, JoinRequest, Member, Package, State, pin_of_pem, sha256};
use crate::peer::identity::PeerIdentity;
use crate::pki::{self, Authority, write_new};
use crate::settings::{self, Settings};
use crate::world::World;

/// The invitation that a folder was made ready with.
const INVITATION: &str = "join/invitation.json";
/// The request that its package answers.
const REQUEST: &str = "join/request.note";

/// Makes a folder ready to join: keys, the authority of its vehicles, settings. It is no center yet. Gives its signed request.
pub(crate) fn prepare(
    folder: &Path,
    new: &NewCenter,
    invitation: &Invitation,
    address: &str,
    world: &World,
) -> Result<String, CenterError> {
    let wrong = |what: String| CenterError::Join { path: folder.join(INVITATION), what };
    if invitation.country != new.country.to_string() {
        return Err(wrong(format!(
            "it is {}'s invitation, and --country says {}: a cluster never crosses a border",
            invitation.country, new.country
        )));
    }
    let country_key =
        VerifierKey::parse(&invitation.country_vkey).map_err(|error| wrong(error.to_string()))?;
    if country_key.name() != format!("{}.domicile/country", invitation.cluster) {
        return Err(wrong("its country_vkey is not named after its cluster".to_owned()));
    }
    if folder.exists() && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CenterError::Exists(folder.to_owned()));
    }
    for name in ["", "join", "keys", "pki", "policy", "registry", "run"] {
        make_folder(&folder.join(name))?;
    }
    let now = world.clock.now();
    let identity = Identity::generate();
    write_new(&folder.join("keys/center.age"), identity.to_text().as_bytes(), 0o600)?;
    let vehicle_ca = pki::new_vehicle_authority(now)?;
    vehicle_ca.write(&folder.join("pki/vehicle-ca.pem"), &folder.join("pki/vehicle-ca.key"))?;
    let (server_key, server_public_key) = pki::new_key_pair()?;
    write_new(&folder.join("pki/server.key"), server_key.as_bytes(), 0o600)?;
    write_new(&folder.join("pki/server-ca.pem"), invitation.server_ca.as_bytes(), 0o644)?;
    write_new(&folder.join("domicile.toml"), settings::written().as_bytes(), 0o600)?;
    let make = |role: Role| role.read_or_make(folder, &invitation.cluster, &new.center, &*world.entropy);
    let (log, mirror) = (make(Role::Log)?, make(Role::Mirror)?);
    write_new(&Role::Country.public(folder), format!("{country_key}\n").as_bytes(), 0o644)?;
    write_access(folder)?;
    let request = JoinRequest {
        country: invitation.country.clone(),
        cluster: invitation.cluster.clone(),
        created_at: now.to_string(),
        member: Member {
            name: new.center.clone(),
            site: new.site.clone(),
            state: State::Joining,
            address: address.to_owned(),
            capacity_bytes: 0,
            log_vkey: log.verifier().to_string(),
            mirror_vkey: mirror.verifier().to_string(),
            recipient: identity.recipient(),
            peer_sha256: PeerIdentity::make(folder, now)?.sha256(),
            // The country signs the genesis when it vouches for it: this is of what was asked for.
            genesis_sha256: sha256(""),
            vehicle_ca: vehicle_ca.certificate,
        },
        hosts: host_names(&new.hosts),
        server_public_key,
    };
    let signed = request
        .sign(&log)
        .map_err(|error| CenterError::Key { path: Role::Log.private(folder), what: error.to_string() })?;
    let json = serde_json::to_string_pretty(invitation).expect("texts are JSON");
    write_new(&folder.join(INVITATION), json.as_bytes(), 0o600)?;
    write_new(&folder.join(REQUEST), signed.as_bytes(), 0o600)?;
    Ok(signed)
}

/// The genesis of a center that asks to join, as the country signs it.
pub(crate) fn vouch(center: &Center, request: &JoinRequest) -> Result<Genesis, CenterError> {
    let wrong = |what: String| CenterError::Join { path: center.folder.join(REQUEST), what };
    let key = |vkey: &str| VerifierKey::parse(vkey).map_err(|error| wrong(error.to_string()));
    let birth = Birth {
        country: center.genesis.country(),
        cluster: center.genesis.cluster().to_owned(),
        center: request.member.name.clone(),
        site: request.member.site.clone(),
        created_at: request.created_at.clone(),
        server_ca_sha256: center.genesis.server_ca_sha256.clone(),
        vehicle_ca_sha256: fingerprint(&request.member.vehicle_ca)?,
    };
    let keys = PublicKeys {
        country: center.genesis.country_key(),
        log: key(&request.member.log_vkey)?,
        mirror: key(&request.member.mirror_vkey)?,
    };
    // Read again as the new center will: keys must be named as its own must be.
    Genesis::parse(&Genesis::new(birth, &keys).to_text()).map_err(wrong)
}

impl Center {
    /// What a new center needs to know.
    pub(crate) fn invitation(&self) -> Result<Invitation, CenterError> {
        Ok(Invitation {
            country: self.genesis.country().to_string(),
            cluster: self.genesis.cluster().to_owned(),
            country_vkey: self.genesis.country_vkey.clone(),
            server_ca: self.server_ca()?,
            networks: self.settings.peer.networks.clone(),
        })
    }

    /// The package of a center that joins: `charters` are all versions, the last names it.
    pub(crate) fn package(
        &self,
        request: &JoinRequest,
        charters: Vec<String>,
        key: &SigningKey,
        now: UtcMicros,
    ) -> Result<Package, CenterError> {
        let genesis = vouch(self, request)?;
        let pki = self.folder.join("pki");
        let authority = Authority::open(&pki.join("server-ca.pem"), &pki.join("server-ca.key"))?;
        let pack = SignedPack::read(&self.folder)?;
        Ok(Package {
            genesis: genesis.to_text(),
            genesis_signature: super::sign(&genesis, key, &self.folder)?,
            charters,
            server_certificate: authority.server_of(&request.hosts, &request.server_public_key, now)?,
            pack: pack.text,
            pack_signature: pack.signature,
        })
    }

    /// Makes a prepared folder a center. The genesis in the folder is written last: a folder without it is not a center's, and this can
    /// be called again.
    pub(crate) fn join(folder: &Path, package: &Package, world: &World) -> Result<Self, CenterError> {
        let wrong = |what: String| CenterError::Join { path: folder.to_owned(), what };
        if folder.join("genesis.json").exists() {
            return Err(CenterError::Exists(folder.to_owned()));
        }
        let read =
            |name: &str| std::fs::read_to_string(folder.join(name)).map_err(file_error(&folder.join(name)));
        let invitation: Invitation = serde_json::from_str(&read(INVITATION)?)
            .map_err(|error| wrong(format!("{INVITATION}: {error}")))?;
        let request = JoinRequest::open(&read(REQUEST)?).map_err(wrong)?;
        let genesis =
            Genesis::parse(&package.genesis).map_err(|what| wrong(format!("the genesis: {what}")))?;
        if genesis.country_vkey != invitation.country_vkey
            || genesis.country().to_string() != invitation.country
            || genesis.cluster() != invitation.cluster
        {
            return Err(wrong("the package is of another country or cluster than the invitation".to_owned()));
        }
        genesis
            .check_signature(&package.genesis_signature)
            .map_err(|what| wrong(format!("the genesis: {what}")))?;
        let own = &request.member;
        let said = (genesis.center(), &genesis.log_vkey, &genesis.mirror_vkey);
        if said != (own.name.clone(), &own.log_vkey, &own.mirror_vkey) {
            return Err(wrong("the package is another center's: its keys are not this folder's".to_owned()));
        }
        check_charters(package, &genesis, own).map_err(wrong)?;
        let key = pki::public_key_pin(&package.server_certificate)?;
        if Some(key) != pin_of_pem(&request.server_public_key) {
            return Err(wrong("the server's certificate is for another key than pki/server.key".to_owned()));
        }
        let pack = SignedPack { text: package.pack.clone(), signature: package.pack_signature.clone() };
        pack.clone().check(&genesis).map_err(|what| wrong(format!("the country pack: {what}")))?;
        pack.write(folder)?;
        pki::replace_file(&folder.join("pki/server.pem"), package.server_certificate.as_bytes(), 0o644)?;
        let settings = Settings::load(folder, &*world.environment)?;
        let store = settings.store_folder(folder);
        let objects = Objects::local(&store)?;
        check_abroad(&objects, &store, &genesis)?;
        let names = Names::new(genesis.center());
        let charters =
            (1..).zip(&package.charters).map(|(version, note)| (names.charter(version), note.clone()));
        let documents = [
            (names.genesis_signature(), package.genesis_signature.clone()),
            (names.genesis(), package.genesis.clone()),
        ];
        for (name, text) in documents.into_iter().chain(charters) {
            let there = match objects.create(&name, text.clone().into_bytes())? {
                Created::New => continue,
                Created::Exists => objects.read(&name)?,
            };
            if there.as_deref() != Some(text.as_bytes()) {
                return Err(CenterError::Exists(store));
            }
        }
        pki::replace_file(&folder.join("genesis.sig"), package.genesis_signature.as_bytes(), 0o600)?;
        pki::replace_file(&folder.join("genesis.json"), package.genesis.as_bytes(), 0o600)?;
        Ok(Self { folder: folder.to_owned(), genesis, settings })
    }
}

/// The charter's versions follow each other, and the last names this center, with its own keys.
fn check_charters(package: &Package, genesis: &Genesis, own: &Member) -> Result<(), String> {
    let mut before: Option<Charter> = None;
    for note in &package.charters {
        let charter = Charter::open(note, genesis).map_err(|what| format!("the charter: {what}"))?;
        charter.check_follows(before.as_ref()).map_err(|what| format!("the charter: {what}"))?;
        before = Some(charter);
    }
    let last = before.ok_or("the package holds no charter")?;
    let member = last.member(&own.name).ok_or("the charter does not name this center")?;
    let expected = Member { genesis_sha256: sha256(&package.genesis), state: member.state, ..own.clone() };
    if *member != expected {
        return Err("the charter says otherwise of this center than its request".to_owned());
    }
    Ok(())
}
