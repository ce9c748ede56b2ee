//! A compare-and-swap register in the object store, with epochs: whoever claims it last is the one writer.

use object_store::path::Path;

use crate::{Error, Objects};

/// A claim on a prefix.
#[derive(Clone, Debug)]
pub struct Register {
    objects: Objects,
    name: Path,
    epoch: u64,
}

impl Register {
    /// Claims the register for a new epoch; every earlier claimant is fenced from then on.
    pub fn claim(objects: &Objects, name: Path, owner: &str) -> Result<Self, Error> {
        let _ = (objects, name, owner);
        unimplemented!()
    }

    /// The epoch of this claim.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Fails with [`Error::Fenced`] once another has claimed the register.
    pub fn check(&self) -> Result<(), Error> {
        let _ = (&self.objects, &self.name);
        unimplemented!()
    }
}
