//! The vehicles' data keys: drawn at random, wrapped with age (X25519) for the center's identity, one small object each.
//!
//! The format stands in `docs/formats/keyring.md`. The age crate draws its own ephemeral keys and the identity from the operating
//! system; data keys and nonces come from the [`Entropy`] that is passed in.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use bytes::Bytes;
use model::{Entropy, KeyPeriod, VehicleId};
use parking_lot::Mutex;

use crate::{Created, Error, Names, Objects};

/// Keys kept unwrapped in memory, in two generations that each fill a hash table of 2^17 places: more than the vehicles of a
/// gateway's connections (`limits.connections_max`) and of a large import, because unwrapping takes about 0.1 ms a key.
/// About 23 MiB when full.
const KEYS_CACHED_MAX: usize = 229_376;

/// Threads that wrap or unwrap many keys side by side. More would take processors from the vehicles that are being served.
const THREADS_MAX: usize = 4;
/// Fewer keys than this are not worth a thread.
const KEYS_A_THREAD_MIN: usize = 64;

/// What stands before a data key inside its age file: kind and version.
const PLAIN_PREFIX: &[u8] = b"domicile data key 1\n";

/// A vehicle's data key of one period.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

impl DataKey {
    fn draw(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        Self(key)
    }

    /// The cipher for frames, whose nonces are counted.
    pub(crate) fn frame_cipher(&self) -> LessSafeKey {
        self.cipher(b"domicile frame 1")
    }

    /// The cipher for small texts, whose nonces are drawn: a key of its own, so that the two kinds can't collide.
    fn small_cipher(&self) -> LessSafeKey {
        self.cipher(b"domicile small 1")
    }

    fn cipher(&self, purpose: &[u8]) -> LessSafeKey {
        let mut bytes = [0; 32];
        Salt::new(HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[purpose], KeyLength)
            .and_then(|okm| okm.fill(&mut bytes))
            .expect("32 bytes are within HKDF's limit");
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes are AES-256's key length"))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(hidden)")
    }
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// The center's identity: opens every wrapped key of the keyring.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

impl Identity {
    /// Draws a new identity (from the operating system's randomness, by the age crate).
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Reads the text of `keys/center.age`: one line `AGE-SECRET-KEY-1…`, other lines starting with `#`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let what = || {
            "keys/center.age must hold one line AGE-SECRET-KEY-1…; restore the file from its backup"
                .to_owned()
        };
        match (lines.next(), lines.next()) {
            (Some(line), None) => {
                age::x25519::Identity::from_str(line).map(Self).map_err(|_| Error::Keyring { what: what() })
            }
            _ => Err(Error::Keyring { what: what() }),
        }
    }

    /// The text of `keys/center.age`: secret.
    pub fn to_text(&self) -> String {
        format!("# public key: {}\n{}\n", self.recipient(), self.0.to_string().expose_secret())
    }

    /// The public half, `age1…`: what other centers wrap keys for.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }
}

/// Another center's public half: what keys are wrapped for that it is handed.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl Recipient {
    /// Reads `age1…`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let what =
            || Error::Keyring { what: "a center's recipient must be an age recipient, age1…".to_owned() };
        age::x25519::Recipient::from_str(text).map(Self).map_err(|_| what())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

/// The vehicles' data keys in the store. Clones share the cache.
#[derive(Clone)]
pub struct Keyring {
    shared: Arc<Shared>,
}

struct Shared {
    objects: Objects,
    names: Names,
    identity: Identity,
    entropy: Arc<dyn Entropy>,
    cache: Mutex<Cache>,
}

impl Keyring {
    /// The keyring of a center's store, for the identity that it is wrapped for. Nothing is read yet.
    pub fn new(objects: Objects, names: Names, identity: Identity, entropy: Arc<dyn Entropy>) -> Self {
        Self { shared: Arc::new(Shared { objects, names, identity, entropy, cache: Mutex::default() }) }
    }

    /// A keyring of another center's keys that lies in memory alone.
    pub fn in_memory(names: Names, identity: Identity, entropy: Arc<dyn Entropy>) -> Self {
        let objects = Objects::new(Arc::new(object_store::memory::InMemory::new()));
        Self::new(objects, names, identity, entropy)
    }

    /// Makes a key if there is none yet; durable when it returns.
    pub fn create(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<Arc<DataKey>, Error> {
        let key = Arc::new(DataKey::draw(self.shared.entropy.as_ref()));
        let wrapped = self.wrap(vehicle, period, &key)?;
        match self.shared.objects.create(&self.shared.names.key(vehicle, period), wrapped)? {
            Created::New => {
                self.shared.cache.lock().insert((vehicle, period), Arc::clone(&key));
                Ok(key)
            }
            Created::Exists => self.key(vehicle, period),
        }
    }

    /// Makes many keys, as [`Keyring::create`] but with few flushes for all; those that exist stay as they are. Nobody else may
    /// make keys of these vehicles meanwhile: the registry changes one thing at a time.
    pub fn create_many(&self, keys: &[(VehicleId, KeyPeriod)]) -> Result<(), Error> {
        // Drawn in their order, so that a simulation draws the same ones.
        let drawn: Vec<_> =
            keys.iter().map(|name| (*name, Arc::new(DataKey::draw(self.shared.entropy.as_ref())))).collect();
        let wrapped = side_by_side(&drawn, |((vehicle, period), key)| {
            let name = self.shared.names.key(*vehicle, *period);
            match self.shared.objects.read(&name)? {
                Some(_) => Ok(None),
                None => Ok(Some((name, self.wrap(*vehicle, *period, key)?))),
            }
        })?;
        let (mut objects, mut made) = (Vec::with_capacity(drawn.len()), Vec::with_capacity(drawn.len()));
        for (object, key) in wrapped.into_iter().zip(drawn) {
            if let Some(object) = object {
                objects.push(object);
                made.push(key);
            }
        }
        self.shared.objects.create_many(objects)?;
        let mut cache = self.shared.cache.lock();
        for (name, key) in made {
            cache.insert(name, key);
        }
        Ok(())
    }

    /// How many keys [`Keyring::warm`] takes at once: as many as stay in memory whatever else is asked for meanwhile.
    pub const WARMED_MAX: usize = KEYS_CACHED_MAX / 4;

    /// Unwraps keys side by side, up to [`Keyring::WARMED_MAX`] of them, so that asking for each is quick afterwards.
    /// Those that are missing stay missing.
    pub fn warm(&self, keys: &[(VehicleId, KeyPeriod)]) -> Result<(), Error> {
        let wanted: Vec<_> = {
            let mut cache = self.shared.cache.lock();
            keys.iter().filter(|name| cache.find(name).is_none()).take(Self::WARMED_MAX).collect()
        };
        side_by_side(&wanted, |(vehicle, period)| match self.key(*vehicle, *period) {
            Ok(_) | Err(Error::KeyMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        })?;
        Ok(())
    }

    /// The key; [`Error::KeyMissing`] where it was destroyed or never made.
    pub fn key(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<Arc<DataKey>, Error> {
        if let Some(key) = self.shared.cache.lock().find(&(vehicle, period)) {
            return Ok(key);
        }
        let name = self.shared.names.key(vehicle, period);
        let Some(wrapped) = self.shared.objects.read(&name)? else {
            return Err(Error::KeyMissing { name: name.to_string() });
        };
        let key = Arc::new(self.unwrap(vehicle, period, &wrapped)?);
        self.shared.cache.lock().insert((vehicle, period), Arc::clone(&key));
        Ok(key)
    }

    /// Destroys a key, durably: what was sealed under it can't be read any more. None of that name is no error.
    pub fn destroy(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<(), Error> {
        self.shared.objects.delete(&self.shared.names.key(vehicle, period))?;
        self.shared.cache.lock().remove(&(vehicle, period));
        Ok(())
    }

    /// A key wrapped for another center, which keeps it in its copy of this keyring; `None` where it was destroyed or never made.
    pub fn wrapped_for(
        &self,
        vehicle: VehicleId,
        period: KeyPeriod,
        recipient: &Recipient,
    ) -> Result<Option<Bytes>, Error> {
        match self.key(vehicle, period) {
            Ok(key) => wrap_for(&recipient.0, vehicle, period, &key).map(Some),
            Err(Error::KeyMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a key that another center has wrapped for this one; durable when it returns. One that is there stays.
    pub fn keep(&self, vehicle: VehicleId, period: KeyPeriod, wrapped: Bytes) -> Result<(), Error> {
        // What can't be opened would be found out when the other center is lost.
        self.unwrap(vehicle, period, &wrapped)?;
        let _either_way = self.shared.objects.create(&self.shared.names.key(vehicle, period), wrapped)?;
        Ok(())
    }

    /// Whether there is a key.
    pub fn has(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<bool, Error> {
        Ok(self.shared.objects.read(&self.shared.names.key(vehicle, period))?.is_some())
    }

    fn wrap(&self, vehicle: VehicleId, period: KeyPeriod, key: &DataKey) -> Result<Bytes, Error> {
        wrap_for(&self.shared.identity.0.to_public(), vehicle, period, key)
    }

    fn unwrap(&self, vehicle: VehicleId, period: KeyPeriod, wrapped: &[u8]) -> Result<DataKey, Error> {
        let name = self.shared.names.key(vehicle, period);
        let plain = age::decrypt(&self.shared.identity.0, wrapped).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => Error::Keyring {
                what: format!(
                    "{name} is wrapped for another identity than keys/center.age; restore that file"
                ),
            },
            other => Error::corrupt(&name, other.to_string()),
        })?;
        let key = plain
            .strip_prefix(PLAIN_PREFIX)
            .and_then(|rest| rest.strip_prefix(vehicle.as_bytes()))
            .and_then(|rest| rest.strip_prefix(&period.0.to_le_bytes()))
            .and_then(|rest| <[u8; 32]>::try_from(rest).ok());
        key.map(DataKey).ok_or_else(|| Error::corrupt(&name, "it holds no key of this vehicle and period"))
    }
}

fn wrap_for(
    recipient: &age::x25519::Recipient,
    vehicle: VehicleId,
    period: KeyPeriod,
    key: &DataKey,
) -> Result<Bytes, Error> {
    // Vehicle and period stand inside, so that an object put under another vehicle's name is noticed.
    let plain = [PLAIN_PREFIX, vehicle.as_bytes(), &period.0.to_le_bytes(), &key.0].concat();
    let wrapped = age::encrypt(recipient, &plain)
        .map_err(|error| Error::Keyring { what: format!("wrapping a key failed: {error}") })?;
    Ok(wrapped.into())
}

/// Does `work` on each item, on several threads where there are many; gives the results in the items' order.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let part = items.len().div_ceil(threads).max(KEYS_A_THREAD_MIN);
    let one = |part: &[T]| part.iter().map(&work).collect::<Result<Vec<R>, Error>>();
    let Some((first, rest)) = items.split_at_checked(part) else { return one(items) };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = rest
            .chunks(part)
            .map(|part| {
                let named = std::thread::Builder::new().name("keyring".to_owned());
                named.spawn_scoped(scope, || one(part)).map_err(|_| part)
            })
            .collect();
        let mut results = vec![one(first)];
        results.extend(others.into_iter().map(|other| match other {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // The system gives no thread: this one does the part.
            Err(part) => one(part),
        }));
        results
    })
    .into_iter();
    let mut all = Vec::with_capacity(items.len());
    results.try_for_each(|part| part.map(|part| all.extend(part)))?;
    Ok(all)
}

/// Keys by generation: when the younger one is full the older one goes.
#[derive(Default)]
struct Cache {
    young: HashMap<(VehicleId, KeyPeriod), Arc<DataKey>>,
    old: HashMap<(VehicleId, KeyPeriod), Arc<DataKey>>,
}

impl Cache {
    fn find(&mut self, name: &(VehicleId, KeyPeriod)) -> Option<Arc<DataKey>> {
        if let Some(key) = self.young.get(name) {
            return Some(Arc::clone(key));
        }
        let key = self.old.remove(name)?;
        self.insert(*name, Arc::clone(&key));
        Some(key)
    }

    fn insert(&mut self, name: (VehicleId, KeyPeriod), key: Arc<DataKey>) {
        if self.young.len() >= KEYS_CACHED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, key);
    }

    fn remove(&mut self, name: &(VehicleId, KeyPeriod)) {
        self.young.remove(name);
        self.old.remove(name);
    }
}

/// Seals a small text, such as the personal fields of a registry entry, under a vehicle's key: a random nonce of 12 bytes, the
/// ciphertext, a tag of 16 bytes. `context` (which field of which entry) must be the same at opening.
pub fn seal_small(key: &DataKey, context: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut body = plain.to_vec();
    key.small_cipher()
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
        .expect("a small text is within AES-GCM's length limit");
    [nonce.as_slice(), &body].concat()
}

/// Opens what [`seal_small`] made; `None` where it was tampered with, or key or context are others.
pub fn open_small(key: &DataKey, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.small_cipher().open_in_place(nonce, Aad::from(context), &mut body).ok()?;
    Some(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use model::KeyPeriod;

    use super::{Identity, Keyring, open_small, seal_small};
    use crate::fixture::{RealEntropy, vehicle};
    use crate::{Error, Names, Objects};

    fn keyring(folder: &std::path::Path, identity: &Identity) -> Keyring {
        let objects = Objects::local(folder).expect("a store");
        let names = Names::new("shanghai-1".parse().expect("a name"));
        Keyring::new(objects, names, identity.clone(), Arc::new(RealEntropy))
    }

    #[test]
    fn a_key_is_the_same_after_a_restart_and_gone_once_destroyed() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::generate();
        let first = keyring(folder.path(), &identity);
        let key = first.create(vehicle(0), KeyPeriod(0)).expect("a key");
        assert_eq!(first.create(vehicle(0), KeyPeriod(0)).expect("it exists"), key);
        assert_ne!(first.create(vehicle(0), KeyPeriod(1)).expect("a key"), key);
        first.create_many(&[(vehicle(0), KeyPeriod(0)), (vehicle(1), KeyPeriod(0))]).expect("keys");
        assert_eq!(first.key(vehicle(0), KeyPeriod(0)).expect("made first"), key, "an existing key stays");
        let identity = Identity::parse(&identity.to_text()).expect("its own text");
        let second = keyring(folder.path(), &identity);
        assert_eq!(second.key(vehicle(0), KeyPeriod(0)).expect("the key"), key);
        assert_ne!(second.key(vehicle(1), KeyPeriod(0)).expect("the key"), key);
        second.destroy(vehicle(0), KeyPeriod(0)).expect("a deletion");
        assert!(matches!(second.key(vehicle(0), KeyPeriod(0)), Err(Error::KeyMissing { .. })));
    }

    #[test]
    fn many_keys_are_made_and_unwrapped_side_by_side_as_one_by_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::generate();
        let first = keyring(folder.path(), &identity);
        let names: Vec<_> = (0..300).map(|period| (vehicle(0), KeyPeriod(period))).collect();
        let early = first.create(vehicle(0), KeyPeriod(7)).expect("a key");
        first.create_many(&names).expect("keys");
        let made: Vec<_> = names.iter().map(|name| first.key(name.0, name.1).expect("cached")).collect();
        assert_eq!(made[7], early);
        let second = keyring(folder.path(), &identity);
        second.destroy(vehicle(0), KeyPeriod(200)).expect("a deletion");
        second.warm(&names).expect("unwrapped");
        assert_eq!(second.shared.cache.lock().young.len(), 299);
        for (name, key) in names.iter().zip(&made) {
            match second.key(name.0, name.1) {
                Ok(found) => assert_eq!(&found, key),
                Err(error) => assert!(matches!(error, Error::KeyMissing { .. }) && name.1.0 == 200),
            }
        }
        let stranger = keyring(folder.path(), &Identity::generate());
        assert!(matches!(stranger.warm(&names), Err(Error::Keyring { .. })));
    }

    #[test]
    fn another_identity_and_another_vehicles_object_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::generate();
        let ours = keyring(folder.path(), &identity);
        ours.create(vehicle(0), KeyPeriod(0)).expect("a key");
        let theirs = keyring(folder.path(), &Identity::generate());
        assert!(matches!(theirs.key(vehicle(0), KeyPeriod(0)), Err(Error::Keyring { .. })));
        let names = Names::new("shanghai-1".parse().expect("a name"));
        let objects = Objects::local(folder.path()).expect("a store");
        let wrapped = objects.read(&names.key(vehicle(0), KeyPeriod(0))).expect("a read").expect("the key");
        for end in 0..wrapped.len() {
            let name = names.key(vehicle(2), KeyPeriod(u32::try_from(end).expect("small")));
            let _ = objects.create(&name, wrapped.slice(..end)).expect("a put");
            let refused = ours.key(vehicle(2), KeyPeriod(u32::try_from(end).expect("small")));
            assert!(matches!(refused, Err(Error::Corrupt { .. } | Error::Keyring { .. })), "{end} bytes");
        }
        let _ = objects.create(&names.key(vehicle(1), KeyPeriod(0)), Bytes::clone(&wrapped)).expect("a put");
        assert!(matches!(ours.key(vehicle(1), KeyPeriod(0)), Err(Error::Corrupt { .. })));
        let recipient = super::Recipient::parse(&theirs.shared.identity.recipient()).expect("a recipient");
        let handed = ours.wrapped_for(vehicle(0), KeyPeriod(0), &recipient).expect("wrapped").expect("a key");
        assert!(ours.keep(vehicle(7), KeyPeriod(0), handed.clone()).is_err(), "it is for the other center");
        assert!(theirs.keep(vehicle(7), KeyPeriod(0), handed).is_err(), "it is another vehicle's");
        assert_eq!(ours.wrapped_for(vehicle(9), KeyPeriod(0), &recipient).expect("asked"), None);
        assert!(Identity::parse("AGE-SECRET-KEY-1NONSENSE").is_err() && Identity::parse("").is_err());
    }

    #[test]
    fn a_small_text_opens_only_whole_under_its_key_and_context() {
        let folder = tempfile::tempdir().expect("a folder");
        let keyring = keyring(folder.path(), &Identity::generate());
        let key = keyring.create(vehicle(0), KeyPeriod(0)).expect("a key");
        let other = keyring.create(vehicle(1), KeyPeriod(0)).expect("a key");
        let sealed = seal_small(&key, b"vin", b"LRW3E7FS2RC000001", &RealEntropy);
        assert_eq!(open_small(&key, b"vin", &sealed).as_deref(), Some(b"LRW3E7FS2RC000001".as_slice()));
        assert_eq!(open_small(&key, b"iccid", &sealed), None);
        assert_eq!(open_small(&other, b"vin", &sealed), None);
        for end in 0..sealed.len() {
            assert_eq!(open_small(&key, b"vin", &sealed[..end]), None, "{end} bytes");
        }
    }
}
