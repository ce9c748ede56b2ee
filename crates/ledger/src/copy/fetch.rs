//! Fetching objects side by side, each held against its commitment before it is stored.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use object_store::path::Path;
use parking_lot::Mutex;

use super::{Copy, Followed, Source};
use crate::Error;
use crate::entry::{Commitment, ObjectName, Opening};

/// Objects that are asked for at once: a large one keeps one of these back, and the others go on. What they hold lies in memory.
pub const OBJECTS_AT_ONCE: usize = 8;

/// Objects that are made durable together.
const OBJECTS_A_GROUP: usize = 4 * OBJECTS_AT_ONCE;

/// What became of an object.
enum Fetched {
    /// It lies here already, and is what it should be.
    Here,
    /// It was fetched.
    New(Bytes, Opening),
    /// The source does not have it.
    Absent,
}

impl Copy {
    /// Fetches what is not here yet and makes it durable. What the source does not have is remembered as absent.
    pub(super) fn fetch(
        &mut self,
        source: &dyn Source,
        wanted: &[(ObjectName, Commitment)],
        followed: &mut Followed,
    ) -> Result<(), Error> {
        for group in wanted.chunks(OBJECTS_A_GROUP) {
            let fetched = side_by_side(group, self.at_once, |(name, commitment)| {
                self.fetch_one(source, name, commitment)
            })?;
            let (mut objects, mut openings) = (Vec::new(), Vec::new());
            for ((name, commitment), fetched) in group.iter().zip(fetched) {
                match fetched {
                    Fetched::Here => {
                        self.absent.remove(name.as_str());
                    }
                    Fetched::New(content, opening) => {
                        self.absent.remove(name.as_str());
                        followed.objects += 1;
                        followed.bytes += content.len() as u64;
                        openings.push((self.opening(name)?, Bytes::from(opening.to_text())));
                        objects.push((name.path(), content));
                    }
                    Fetched::Absent => {
                        self.absent.insert(name.as_str().to_owned(), *commitment);
                    }
                }
            }
            self.objects.create_many(objects)?;
            self.objects.create_many(openings)?;
        }
        Ok(())
    }

    fn fetch_one(
        &self,
        source: &dyn Source,
        name: &ObjectName,
        commitment: &Commitment,
    ) -> Result<Fetched, Error> {
        let (path, opening_path) = (name.path(), self.opening(name)?);
        let here = self.objects.read(&path)?;
        let opening = self.objects.read(&opening_path)?;
        if let (Some(content), Some(opening)) = (&here, &opening)
            && Opening::parse(opening)
                .is_ok_and(|opening| opening.commit(name.as_str(), content) == *commitment)
        {
            return Ok(Fetched::Here);
        }
        let Some((content, opening)) = source.object(&path)? else { return Ok(Fetched::Absent) };
        if opening.commit(name.as_str(), &content) != *commitment {
            return Err(Error::corrupt(name, "what was sent is not what the log names"));
        }
        // What a crash cut short, or a disk has damaged.
        self.objects.delete(&path)?;
        self.objects.delete(&opening_path)?;
        Ok(Fetched::New(content, opening))
    }

    fn opening(&self, name: &ObjectName) -> Result<Path, Error> {
        self.names
            .opening(&name.path())
            .ok_or_else(|| Error::corrupt(name, "an entry names an object of another center"))
    }
}

/// Does `work` on each item, on `at_once` threads; gives the results in the items' order, or the first error.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    if let [one] = items {
        return Ok(vec![work(one)?]);
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<R, Error>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = work(item);
            if result.is_err() {
                // The others end with what they are at.
                next.store(items.len(), Ordering::Relaxed);
            }
            done.lock().push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.min(items.len()) {
            // A thread that can't be had is done without.
            let _ = std::thread::Builder::new().name("mirror-fetch".to_owned()).spawn_scoped(scope, run);
        }
        run();
    });
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
