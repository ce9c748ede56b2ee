//! A center's folder: what lies in it, who may read it, its keys and its genesis.
//!
//! `genesis.json` says which country, cluster and center the folder is, and `genesis.sig` is the country key's signature over it.
//! Both stand in the store, under the center's name, and in the folder itself, so that a store that is not there (a disk not
//! mounted) is told apart from a new one, and another center's store from ours.

mod genesis;
mod join;
mod keys;
mod pack;
pub(crate) mod residency;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ledger::SigningKey;
use model::{CenterName, Country, GatewayName, UtcMicros};
use sha2::{Digest, Sha256};
use store::{Created, Identity, Names, Objects};

pub(crate) use genesis::{Birth, Genesis, PublicKeys};
pub(crate) use join::{prepare, vouch};
pub(crate) use keys::Role;
pub(crate) use pack::{Packs, SignedPack};

use crate::pki::{self, Authority, PkiError};
use crate::settings::{self, Settings, SettingsError};
use crate::world::World;

/// The gateway that a center's own program is.
const GATEWAY: &str = "gw";

/// Why a center's folder can't be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CenterError {
    #[error("{} exists and is not empty; a center's folder is made once, give another --dir", .0.display())]
    Exists(PathBuf),
    #[error("{} is no center's folder; `domicile init --country CN --center NAME --dir {}` makes one", .0.display(), .0.display())]
    Missing(PathBuf),
    #[error("{} may be read by others (mode {mode:o}); it holds keys: chmod {wanted:o} {}", path.display(), path.display())]
    Permissions { path: PathBuf, mode: u32, wanted: u32 },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}: {what}", path.display())]
    Genesis { path: PathBuf, what: String },
    #[error("{name}: {what}")]
    Charter { name: String, what: String },
    #[error("{}: {what}", path.display())]
    Join { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    Key { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    Pack { path: PathBuf, what: String },
    #[error(
        "the store {} holds center {center} of {country}, cluster {cluster}; this folder is of {own_country}, cluster {own_cluster}: \
         a store belongs to one country and one cluster, and nothing of another may lie in it",
        store.display()
    )]
    Abroad {
        store: PathBuf,
        center: String,
        country: String,
        cluster: String,
        own_country: Country,
        own_cluster: String,
    },
    #[error("the store {} has no genesis of center {center}: is its disk mounted? If it is lost, restore it from a backup", store.display())]
    StoreMissing { store: PathBuf, center: CenterName },
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a new center is to be.
#[derive(Debug, Clone)]
pub(crate) struct NewCenter {
    pub(crate) country: Country,
    pub(crate) center: CenterName,
    pub(crate) site: String,
    /// Host names and addresses that vehicles reach it by, beside this machine's own.
    pub(crate) hosts: Vec<String>,
}

/// An opened center's folder.
#[derive(Debug, Clone)]
pub(crate) struct Center {
    pub(crate) folder: PathBuf,
    pub(crate) genesis: Genesis,
    pub(crate) settings: Settings,
}

impl Center {
    /// Makes a center's folder with keys, certificates, settings and genesis. The genesis in the folder is written last: a folder
    /// without it is not a center's.
    pub(crate) fn create(folder: &Path, new: &NewCenter, world: &World) -> Result<Self, CenterError> {
        let is_empty = |folder: &Path| folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        if folder.exists() && !is_empty(folder) {
            return Err(CenterError::Exists(folder.to_owned()));
        }
        for name in ["", "keys", "pki", "policy", "registry", "run"] {
            make_folder(&folder.join(name))?;
        }
        let now = world.clock.now();
        let identity = Identity::generate();
        pki::write_new(&folder.join("keys/center.age"), identity.to_text().as_bytes(), 0o600)?;
        let (server_ca, vehicle_ca) = make_certificates(folder, &new.hosts, now)?;
        let path = folder.join("domicile.toml");
        pki::write_new(&path, settings::written().as_bytes(), 0o600)?;
        let mut cluster = [0_u8; 16];
        world.entropy.fill(&mut cluster);
        let cluster = hex(&cluster);
        let (country_key, keys) = make_keys(folder, &cluster, &new.center, world)?;
        let birth = Birth {
            country: new.country,
            cluster,
            center: new.center.clone(),
            site: new.site.clone(),
            created_at: now.to_string(),
            server_ca_sha256: fingerprint(&server_ca.certificate)?,
            vehicle_ca_sha256: fingerprint(&vehicle_ca.certificate)?,
        };
        let genesis = Genesis::new(birth, &keys);
        SignedPack::builtin(new.country, &country_key)?.write(folder)?;
        write_access(folder)?;
        let settings = Settings::load(folder, &*world.environment)?;
        let signature = sign(&genesis, &country_key, folder)?;
        let store = settings.store_folder(folder);
        let objects = Objects::local(&store)?;
        let names = Names::new(new.center.clone());
        check_abroad(&objects, &store, &genesis)?;
        for (name, text) in [(names.genesis_signature(), &signature), (names.genesis(), &genesis.to_text())] {
            match objects.create(&name, text.clone().into_bytes())? {
                Created::New => {}
                Created::Exists => return Err(CenterError::Exists(store)),
            }
        }
        pki::write_new(&folder.join("genesis.sig"), signature.as_bytes(), 0o600)?;
        pki::write_new(&folder.join("genesis.json"), genesis.to_text().as_bytes(), 0o600)?;
        Ok(Self { folder: folder.to_owned(), genesis, settings })
    }

    /// Opens a center's folder: checks who may read it, reads its genesis and settings. Doesn't touch the store.
    pub(crate) fn open(folder: &Path, world: &World) -> Result<Self, CenterError> {
        let path = folder.join("genesis.json");
        if !path.exists() {
            return Err(CenterError::Missing(folder.to_owned()));
        }
        for (path, wanted) in Self::private(folder) {
            check_private(&path, wanted)?;
        }
        let text = std::fs::read_to_string(&path).map_err(file_error(&path))?;
        let wrong = |what| CenterError::Genesis { path: path.clone(), what };
        let genesis = Genesis::parse(&text).map_err(wrong)?;
        if !genesis.is_unsigned() {
            let path = folder.join("genesis.sig");
            let signature = std::fs::read_to_string(&path).map_err(file_error(&path))?;
            genesis.check_signature(&signature).map_err(wrong)?;
            if Role::Country.read_public(folder)? != genesis.country_key() {
                return Err(wrong("its country key is another than keys/country.vkey".to_owned()));
            }
        }
        let settings = Settings::load(folder, &*world.environment)?;
        Ok(Self { folder: folder.to_owned(), genesis, settings })
    }

    /// What nobody else may read, with the mode that it should have.
    pub(crate) fn private(folder: &Path) -> Vec<(PathBuf, u32)> {
        let mut paths = vec![(folder.to_owned(), 0o700)];
        for name in ["keys/center.age", "pki/vehicle-ca.key", "pki/server.key"] {
            paths.push((folder.join(name), 0o600));
        }
        // The country's key may have been taken away; those of a center from before the ledger are not made yet. The servers' authority
        // lies with the country's first center.
        let some = Role::ALL.map(|role| role.private(folder));
        let some =
            some.into_iter().chain(["pki/server-ca.key", "pki/peer.key"].map(|name| folder.join(name)));
        paths.extend(some.filter(|path| path.exists()).map(|path| (path, 0o600)));
        paths
    }

    /// The names of the center's objects.
    pub(crate) fn names(&self) -> Names {
        Names::new(self.genesis.center())
    }

    /// The gateway that this program is.
    pub(crate) fn gateway(&self) -> GatewayName {
        GATEWAY.parse().expect("a constant name that follows its rule")
    }

    /// The identity that the keyring is wrapped for.
    pub(crate) fn identity(&self) -> Result<Identity, CenterError> {
        let path = self.folder.join("keys/center.age");
        let text = std::fs::read_to_string(&path).map_err(file_error(&path))?;
        Ok(Identity::parse(&text)?)
    }

    /// The key that signs the log's checkpoints.
    pub(crate) fn log_key(&self) -> Result<SigningKey, CenterError> {
        let key = Role::Log.read_private(&self.folder)?;
        if key.verifier() != self.genesis.log_key() {
            let what = "it is another key than the genesis names: restore the one that belongs to this log"
                .to_owned();
            return Err(CenterError::Key { path: Role::Log.private(&self.folder), what });
        }
        Ok(key)
    }

    /// Holds the store's genesis against the folder's, and every other one that lies in the store against its country and cluster.
    pub(crate) fn check_store(&self, objects: &Objects) -> Result<(), CenterError> {
        let store = self.settings.store_folder(&self.folder);
        check_abroad(objects, &store, &self.genesis)?;
        let Some(bytes) = objects.read(&self.names().genesis())? else {
            return Err(CenterError::StoreMissing { store, center: self.genesis.center() });
        };
        if bytes != self.genesis.to_text().as_bytes() {
            let what =
                "the store's genesis is another than the folder's: the store belongs to another center"
                    .to_owned();
            return Err(CenterError::Genesis { path: store, what });
        }
        Ok(())
    }

    /// Gives a center from before the ledger its keys, its country pack and a signed genesis; any other is left as it is. Call it
    /// where the folder's lock is held. A crash between its steps is made good by the next call: the folder's genesis is
    /// replaced last.
    pub(crate) fn adopt(self, objects: &Objects, world: &World) -> Result<Self, CenterError> {
        if !self.genesis.is_unsigned() {
            return Ok(self);
        }
        let (names, folder) = (self.names(), self.folder.clone());
        // The program from before the ledger knew no packs.
        make_folder(&folder.join("policy"))?;
        let (country_key, keys) = make_keys(&folder, &self.genesis.cluster, &self.genesis.center(), world)?;
        let genesis = self.genesis.adopt(&keys);
        let signature = sign(&genesis, &country_key, &folder)?;
        let store = self.settings.store_folder(&folder);
        let Some((bytes, version)) = objects.read_version(&names.genesis())? else {
            return Err(CenterError::StoreMissing { store, center: self.genesis.center() });
        };
        if bytes == self.genesis.to_text().as_bytes() {
            let replaced = objects.replace(&names.genesis(), genesis.to_text().into(), &version)?;
            if replaced.is_none() {
                let what = "somebody else wrote the store's genesis meanwhile".to_owned();
                return Err(CenterError::Genesis { path: store, what });
            }
        } else if bytes != genesis.to_text().as_bytes() {
            let what =
                "the store's genesis is another than the folder's: the store belongs to another center"
                    .to_owned();
            return Err(CenterError::Genesis { path: store, what });
        }
        let _either_way = objects.create(&names.genesis_signature(), signature.clone().into_bytes())?;
        if !folder.join("policy/pack.toml").exists() {
            SignedPack::builtin(genesis.country(), &country_key)?.write(&folder)?;
        }
        write_access(&folder)?;
        for (name, text) in [("genesis.sig", &signature), ("genesis.json", &genesis.to_text())] {
            pki::replace_file(&folder.join(name), text.as_bytes(), 0o600)?;
        }
        tracing::info!("adopted a center from before the ledger: its genesis is signed now");
        Ok(Self { genesis, ..self })
    }

    /// The authority for vehicles.
    pub(crate) fn vehicle_authority(&self) -> Result<Authority, PkiError> {
        let pki = self.folder.join("pki");
        Authority::open(&pki.join("vehicle-ca.pem"), &pki.join("vehicle-ca.key"))
    }

    /// The certificate of the authority for vehicles, as PEM.
    pub(crate) fn vehicle_ca(&self) -> Result<String, CenterError> {
        let path = self.folder.join("pki/vehicle-ca.pem");
        std::fs::read_to_string(&path).map_err(file_error(&path))
    }

    /// The key that says what is held of others.
    pub(crate) fn mirror_key(&self) -> Result<SigningKey, CenterError> {
        let key = Role::Mirror.read_private(&self.folder)?.as_cosigner();
        if key.verifier() != self.genesis.mirror_key() {
            let what =
                "it is another key than the genesis names: restore the one that belongs to this center"
                    .to_owned();
            return Err(CenterError::Key { path: Role::Mirror.private(&self.folder), what });
        }
        Ok(key)
    }

    /// The certificate that vehicles verify this center's server with, as PEM.
    pub(crate) fn server_ca(&self) -> Result<String, CenterError> {
        let path = self.folder.join("pki/server-ca.pem");
        std::fs::read_to_string(&path).map_err(file_error(&path))
    }

    /// Renews the server's certificate when it is about to expire, for the same names: from the country's authority for servers where
    /// its key is here, else by asking those that have it (`elsewhere` takes the certificate and gives a new one for the same key, PEM
    /// both). Gives whether it did. A certificate that the operator has put elsewhere is the operator's to renew.
    ///
    /// # Errors
    /// Also [`PkiError::Foreign`] and [`PkiError::Useless`], and whatever `elsewhere` gives.
    pub(crate) fn renew_server_certificate(
        &self,
        now: UtcMicros,
        elsewhere: &dyn Fn(&str) -> Result<String, PkiError>,
    ) -> Result<bool, PkiError> {
        let pki = self.folder.join("pki");
        let (certificate, key) = (pki.join("server.pem"), pki.join("server.key"));
        if self.folder.join(&self.settings.tesla.certificate) != certificate {
            return Ok(false);
        }
        let (expires, hosts) = pki::inspect_file(&certificate)?;
        if expires > now.plus_micros(pki::RENEWAL_DAYS * UtcMicros::PER_DAY) {
            return Ok(false);
        }
        if !pki.join("server-ca.key").exists() {
            let used = pki::read(&certificate)?;
            let renewed = elsewhere(&used)?;
            pki::check_renewed(&renewed, &used, &pki::read(&pki.join("server-ca.pem"))?, now)?;
            pki::replace_file(&certificate, renewed.as_bytes(), 0o644)?;
            return Ok(true);
        }
        let authority = Authority::open(&pki.join("server-ca.pem"), &pki.join("server-ca.key"))?;
        authority.server(&hosts, now)?.replace(&certificate, &key)?;
        Ok(true)
    }

    /// A server's certificate of another center made anew; `None` where the country's authority for servers is not here.
    ///
    /// # Errors
    /// As [`Authority::server_again`].
    pub(crate) fn renew_for_another(
        &self,
        earlier: &str,
        now: UtcMicros,
    ) -> Result<Option<String>, PkiError> {
        let pki = self.folder.join("pki");
        if !pki.join("server-ca.key").exists() {
            return Ok(None);
        }
        let authority = Authority::open(&pki.join("server-ca.pem"), &pki.join("server-ca.key"))?;
        authority.server_again(earlier, now).map(Some)
    }

    /// Where the running center listens for commands.
    pub(crate) fn socket(folder: &Path) -> PathBuf {
        folder.join("run/domicile.sock")
    }
}

/// The center's signing keys; made where they are missing. Gives the country's, which signs what else is made, and all public ones.
fn make_keys(
    folder: &Path,
    cluster: &str,
    center: &CenterName,
    world: &World,
) -> Result<(SigningKey, PublicKeys), CenterError> {
    let make = |role: Role| role.read_or_make(folder, cluster, center, &*world.entropy);
    let (country, log, mirror) = (make(Role::Country)?, make(Role::Log)?, make(Role::Mirror)?);
    let public = PublicKeys { country: country.verifier(), log: log.verifier(), mirror: mirror.verifier() };
    Ok((country, public))
}

fn sign(genesis: &Genesis, key: &SigningKey, folder: &Path) -> Result<String, CenterError> {
    let wrong = |error: ledger::Error| CenterError::Key {
        path: Role::Country.private(folder),
        what: error.to_string(),
    };
    genesis.sign(key).map_err(wrong)
}

/// Who may what, as it is where nobody has changed it.
fn write_access(folder: &Path) -> Result<(), CenterError> {
    let path = folder.join("policy/access.cedar");
    if path.exists() {
        return Ok(());
    }
    Ok(pki::write_new(&path, policy::DEFAULT_ACCESS.as_bytes(), 0o600)?)
}

/// Refuses a store in which anything of another country or another cluster lies.
fn check_abroad(objects: &Objects, store: &Path, own: &Genesis) -> Result<(), CenterError> {
    for folder in objects.folders()? {
        let Ok(center) = folder.as_ref().parse::<CenterName>() else { continue };
        let Some(bytes) = objects.read(&Names::new(center.clone()).genesis())? else { continue };
        let wrong = |what| CenterError::Genesis { path: store.join(center.as_str()), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".to_owned()))?;
        let found = Genesis::parse(text).map_err(wrong)?;
        if found.country() != own.country() || found.cluster != own.cluster {
            return Err(CenterError::Abroad {
                store: store.to_owned(),
                center: center.to_string(),
                country: found.country().to_string(),
                cluster: found.cluster,
                own_country: own.country(),
                own_cluster: own.cluster.clone(),
            });
        }
    }
    Ok(())
}

fn make_certificates(
    folder: &Path,
    hosts: &[String],
    now: UtcMicros,
) -> Result<(pki::Issued, pki::Issued), CenterError> {
    let pki = folder.join("pki");
    let server_ca = pki::new_server_authority(now)?;
    server_ca.write(&pki.join("server-ca.pem"), &pki.join("server-ca.key"))?;
    let vehicle_ca = pki::new_vehicle_authority(now)?;
    vehicle_ca.write(&pki.join("vehicle-ca.pem"), &pki.join("vehicle-ca.key"))?;
    let authority = Authority::from_pem(&server_ca.certificate, &server_ca.key)?;
    let server = authority.server(&host_names(hosts), now)?;
    server.write(&pki.join("server.pem"), &pki.join("server.key"))?;
    Ok((server_ca, vehicle_ca))
}

/// The names that the server's certificate is for: those given, this machine's, and loopback.
fn host_names(given: &[String]) -> Vec<String> {
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    for name in given.iter().cloned().chain(Some(own).filter(|own| is_host_name(own))).chain(loopback) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A machine may be called what no certificate can say.
fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

fn make_folder(path: &Path) -> Result<(), CenterError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file_error(path))?;
    // A folder that was there before keeps its mode when it is made again.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(file_error(path))?;
    File::open(path).and_then(|folder| folder.sync_all()).map_err(file_error(path))
}

fn check_private(path: &Path, wanted: u32) -> Result<(), CenterError> {
    let mode = path.metadata().map_err(file_error(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CenterError::Permissions { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

fn fingerprint(pem: &str) -> Result<String, CenterError> {
    let unreadable = || PkiError::Unreadable { what: "the authority".to_owned() };
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    Ok(hex(&Sha256::digest(&pem.contents)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] writes, in either case; `None` for any other text, and for another number of bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> CenterError {
    move |source| CenterError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
