//! The country pack of a center: `policy/pack.toml` in its folder, with the country key's signature `policy/pack.sig` beside it.
//!
//! What is signed is a note (C2SP signed-note) of four lines: what it is, the country, the pack's version, and the SHA-256 of the
//! pack's bytes in base64.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ledger::{Note, SigningKey};
use model::Country;
use policy::{Pack, PackVersion};
use sha2::{Digest, Sha256};
use store::{Created, Names, Objects};

use super::{Center, CenterError, Genesis};
use crate::api::Problem;
use crate::api::records::schema;
use crate::pki::replace_file;

/// The first line of what is signed.
const SIGNED: &str = "domicile policy v1";

/// A pack's text with a signature, which may or may not hold.
#[derive(Clone)]
pub(crate) struct SignedPack {
    pub(crate) text: String,
    pub(crate) signature: String,
}

/// A pack whose signature and rules were checked: decisions are taken by it.
pub(crate) struct PackInForce {
    pub(crate) pack: Pack,
    pub(crate) text: String,
}

impl SignedPack {
    /// The pack that this program brings for a country, signed.
    pub(super) fn builtin(country: Country, key: &SigningKey) -> Result<Self, CenterError> {
        Self::sign(Pack::builtin(country).to_owned(), country, key)
            .map_err(|what| CenterError::Pack { path: "the built-in pack".into(), what })
    }

    /// Signs a pack that keeps its rules and is for the country.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn sign(text: String, country: Country, key: &SigningKey) -> Result<Self, String> {
        let pack = parse(&text, country)?;
        let note =
            key.sign(&signed_text(&text, country, pack.version())).map_err(|error| error.to_string())?;
        Ok(Self { text, signature: note.to_string() })
    }

    /// The pack of a folder.
    ///
    /// # Errors
    /// [`CenterError::File`] where one of the two files can't be read.
    pub(crate) fn read(folder: &Path) -> Result<Self, CenterError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(super::file_error(&path))
        };
        Ok(Self { text: read("policy/pack.toml")?, signature: read("policy/pack.sig")? })
    }

    /// Puts it into a folder in the place of the one before. The signature first: a crash in between leaves a pack that its
    /// signature does not fit, which is told from one that fits.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), CenterError> {
        replace_file(&folder.join("policy/pack.sig"), self.signature.as_bytes(), 0o600)?;
        Ok(replace_file(&folder.join("policy/pack.toml"), self.text.as_bytes(), 0o600)?)
    }

    /// Checks signature and rules.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub(crate) fn check(self, genesis: &Genesis) -> Result<PackInForce, String> {
        let pack = parse(&self.text, genesis.country())?;
        let note = Note::parse(&self.signature).map_err(|error| format!("its signature: {error}"))?;
        let signed =
            note.verify(&[genesis.country_key()]).map_err(|error| format!("its signature: {error}"))?;
        if signed.is_empty() || note.text() != signed_text(&self.text, genesis.country(), pack.version()) {
            return Err(
                "the country key signed another text than this; `domicile policy apply FILE` signs and applies a changed pack"
                    .to_owned(),
            );
        }
        Ok(PackInForce { pack, text: self.text })
    }
}

/// The packs of a center: the one in force, and those before it, which lie in the store as `policy/<number>.toml`.
pub(crate) struct Packs {
    objects: Objects,
    names: Names,
    in_force: ArcSwap<PackInForce>,
    /// The number of the one in force. Held while another is put in its place.
    number: parking_lot::Mutex<u64>,
    /// Called after a pack is durable: it is to be entered in the ledger.
    on_applied: Box<dyn Fn() + Send + Sync>,
}

impl Packs {
    /// Opens them: the folder's pack must be signed, and must be the newest that lies in the store. A store without any takes the
    /// folder's as its first.
    ///
    /// # Errors
    /// [`CenterError::Pack`] says what is wrong with the folder's pack and what to do.
    pub(crate) fn open(
        center: &Center,
        objects: &Objects,
        on_applied: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, CenterError> {
        let path = center.folder.join("policy/pack.toml");
        let wrong = |what: String| CenterError::Pack { path: path.clone(), what };
        let pack = SignedPack::read(&center.folder)?.check(&center.genesis).map_err(wrong)?;
        let names = center.names();
        let listed = objects.list(&names.packs())?;
        let number = |name| match names.kind(name) {
            store::ObjectKind::Pack(number) => Some(number),
            _ => None,
        };
        let mut newest = listed.iter().filter_map(|meta| number(&meta.location)).max().unwrap_or(0);
        let in_store = if newest == 0 { None } else { objects.read(&names.pack(newest))? };
        match in_store {
            None => {
                newest = 1;
                let _made_by_a_start_that_crashed =
                    objects.create(&names.pack(1), pack.text.clone().into_bytes())?;
            }
            Some(bytes) if bytes == pack.text.as_bytes() => {}
            Some(_) => {
                return Err(wrong(format!(
                    "it is another pack than number {newest}, which is in force; `domicile policy apply FILE` puts a pack in \
                     force, and the one in force lies in the store as {}",
                    names.pack(newest)
                )));
            }
        }
        Ok(Self {
            objects: objects.clone(),
            names,
            in_force: ArcSwap::from_pointee(pack),
            number: parking_lot::Mutex::new(newest),
            on_applied: Box::new(on_applied),
        })
    }

    /// The pack in force.
    pub(crate) fn in_force(&self) -> Arc<PackInForce> {
        self.in_force.load_full()
    }

    /// Puts another pack in force: durable in the store, then in the folder. Gives its version and number.
    ///
    /// # Errors
    /// A problem that says what is wrong with the pack or its signature, or what failed.
    pub(crate) fn apply(&self, center: &Center, signed: SignedPack) -> Result<(PackVersion, u64), Problem> {
        let pack = signed.clone().check(&center.genesis).map_err(Problem::invalid)?;
        let mut number = self.number.lock();
        if pack.text == self.in_force.load().text {
            return Err(Problem::conflict("this pack is in force already"));
        }
        let known = self.in_force.load().pack.version();
        if !pack.pack.version().replaces(&known) {
            return Err(Problem::conflict(format!(
                "pack {known} is in force: decisions name the version, so a changed pack needs a later one"
            )));
        }
        for kind in registry::RecordKind::ALL {
            schema(&pack.pack, kind)?;
        }
        let next = *number + 1;
        let created = self.objects.create(&self.names.pack(next), pack.text.clone().into_bytes());
        if created.map_err(Problem::unavailable)? == Created::Exists {
            return Err(Problem::unavailable(
                "an earlier try left a pack of this number in the store; restart the center, which says what to do",
            ));
        }
        signed.write(&center.folder).map_err(Problem::unavailable)?;
        *number = next;
        let version = pack.pack.version();
        self.in_force.store(Arc::new(pack));
        (self.on_applied)();
        Ok((version, next))
    }
}

fn parse(text: &str, country: Country) -> Result<Pack, String> {
    let pack = Pack::parse(text).map_err(|error| error.to_string())?;
    if !pack.is_for(country) {
        return Err(format!("it is not for {country}: add the country to the pack, or take another pack"));
    }
    Ok(pack)
}

fn signed_text(text: &str, country: Country, version: PackVersion) -> String {
    format!("{SIGNED}\n{country}\n{version}\n{}\n", STANDARD.encode(Sha256::digest(text)))
}
