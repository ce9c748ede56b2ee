//! A compare-and-swap register in the object store, with epochs: whoever claimed it last is the one writer.
//!
//! The object is `{"epoch":N,"owner":"…"}`. On one machine a lock on the data folder keeps a second process out; the register
//! does so where two machines reach one store.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{Created, Error, Objects};

/// Rounds in which a claim may lose against others before it gives up.
const CLAIM_ROUNDS_MAX: u32 = 16;

/// A claim on a prefix.
#[derive(Clone, Debug)]
pub struct Register {
    objects: Objects,
    name: Path,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    epoch: u64,
    owner: String,
}

impl Register {
    /// Claims the register for a new epoch; every earlier claimant is fenced from then on. `owner` is for people.
    pub fn claim(objects: &Objects, name: Path, owner: &str) -> Result<Self, Error> {
        let mut seen = 0;
        for _ in 0..CLAIM_ROUNDS_MAX {
            let current = objects.read_version(&name)?;
            let epoch = match &current {
                Some((bytes, _)) => parse(&name, bytes)?.epoch + 1,
                None => 1,
            };
            seen = epoch;
            let content = Content { epoch, owner: owner.to_owned() };
            let bytes = Bytes::from(serde_json::to_vec(&content).expect("a number and a text are JSON"));
            let won = match &current {
                Some((_, version)) => objects.replace(&name, bytes, version)?.is_some(),
                None => objects.create(&name, bytes)? == Created::New,
            };
            if won {
                return Ok(Self { objects: objects.clone(), name, epoch });
            }
        }
        Err(Error::Fenced { epoch: seen })
    }

    /// The epoch of this claim.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Fails with [`Error::Fenced`] once another has claimed the register.
    pub fn check(&self) -> Result<(), Error> {
        let Some(bytes) = self.objects.read(&self.name)? else {
            return Err(Error::corrupt(&self.name, "the register was deleted"));
        };
        let epoch = parse(&self.name, &bytes)?.epoch;
        if epoch == self.epoch { Ok(()) } else { Err(Error::Fenced { epoch }) }
    }
}

fn parse(name: &Path, bytes: &[u8]) -> Result<Content, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::corrupt(name, error.to_string()))
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::Register;
    use crate::{Error, Objects};

    #[test]
    fn a_later_claim_fences_the_earlier_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::local(folder.path()).expect("a store");
        let first = Register::claim(&objects, Path::from("c/writer.json"), "first").expect("a claim");
        first.check().expect("the only claimant holds it");
        let second = Register::claim(&objects, Path::from("c/writer.json"), "second").expect("a claim");
        assert_eq!((first.epoch(), second.epoch()), (1, 2));
        assert!(matches!(first.check(), Err(Error::Fenced { epoch: 2 })));
        second.check().expect("the last claimant holds it");
    }

    #[test]
    fn claims_at_the_same_time_get_different_epochs() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::local(folder.path()).expect("a store");
        let mut epochs: Vec<u64> = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..4)
                .map(|_| {
                    scope
                        .spawn(|| Register::claim(&objects, Path::from("writer.json"), "x").expect("a claim"))
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().expect("no panic").epoch()).collect()
        });
        epochs.sort_unstable();
        assert_eq!(epochs, [1, 2, 3, 4]);
    }
}
