//! The openings of commitments: made once for each object, durable before the entry.

use std::sync::Arc;

use bytes::Bytes;
use model::Entropy;
use object_store::path::Path;
use store::{Created, Names, Objects};

use crate::Error;
use crate::entry::Opening;

/// Openings that are made durable at a time where many are needed.
const OPENINGS_AT_ONCE: usize = 1_024;

pub(super) struct Openings {
    objects: Objects,
    names: Names,
    entropy: Arc<dyn Entropy>,
}

impl Openings {
    pub(super) fn new(objects: Objects, names: Names, entropy: Arc<dyn Entropy>) -> Self {
        Self { objects, names, entropy }
    }

    /// The opening of an object; a fresh one is durable when this returns. One that a crash left is taken: it has opened nothing.
    pub(super) fn of(&self, object: &Path) -> Result<Opening, Error> {
        let name = self.name(object)?;
        if let Some(opening) = self.read(&name)? {
            return Ok(opening);
        }
        let opening = self.draw();
        match self.objects.create(&name, Bytes::from(opening.to_text()))? {
            Created::New => Ok(opening),
            Created::Exists => {
                self.read(&name)?.ok_or_else(|| Error::corrupt(&name, "it was there and is gone"))
            }
        }
    }

    /// Makes the openings of many objects durable at once, where they are missing: one flush is cheaper than many.
    pub(super) fn prepare(&self, objects: &[Path]) -> Result<(), Error> {
        for some in objects.chunks(OPENINGS_AT_ONCE) {
            let mut missing = Vec::new();
            for object in some {
                let name = self.name(object)?;
                if self.objects.read(&name)?.is_none() {
                    missing.push((name, Bytes::from(self.draw().to_text())));
                }
            }
            if missing.len() > 1 {
                self.objects.create_many(missing)?;
            }
        }
        Ok(())
    }

    /// Whether an object has one.
    pub(super) fn exists(&self, object: &Path) -> Result<bool, Error> {
        Ok(self.objects.read(&self.name(object)?)?.is_some())
    }

    /// Deletes an object and then its opening.
    pub(super) fn delete_with_object(&self, object: &Path) -> Result<(), Error> {
        let name = self.name(object)?;
        // The data goes first: an opening without its object opens nothing.
        self.objects.delete(object)?;
        self.objects.delete(&name)?;
        Ok(())
    }

    fn name(&self, object: &Path) -> Result<Path, Error> {
        self.names
            .opening(object)
            .ok_or_else(|| Error::malformed("object name", "it lies under the prefix of another center"))
    }

    fn read(&self, name: &Path) -> Result<Option<Opening>, Error> {
        let Some(text) = self.objects.read(name)? else { return Ok(None) };
        Opening::parse(&text).map(Some).map_err(|rule| Error::corrupt(name, rule.to_string()))
    }

    fn draw(&self) -> Opening {
        let mut random = [0; 32];
        self.entropy.fill(&mut random);
        Opening::new(random)
    }
}
