//! What was seen lately, so that a resent row is dropped at once.
//!
//! A row is known by its vehicle and time (the key) and by a digest of the rest. The index has layers: one
//! for each chunk of rows that is not yet in a file, and two generations of rows that are. A chunk that is
//! discarded and decoded again takes its layer with it, so its rows do not count as seen; a row that another
//! chunk dropped because of it comes back with the same frame. Digests and keys have 64 bits each: at 32, the
//! hundred rows of one frame would lose a row by chance every few minutes in a large fleet. They need no
//! secret: who makes two rows of the same digest loses his own row, and keys contain the pseudonym, which
//! vehicles do not know.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use model::{Event, Position, Quality, Reading, SignalId, UtcMicros, VehicleId};

/// A vehicle and a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    pub(crate) fn new(vehicle: VehicleId, time: UtcMicros) -> Self {
        Self(mix_bytes(mix(time.0 as u64, 1), vehicle.as_bytes()))
    }
}

/// Everything else that tells a row from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) fn of_reading(reading: &Reading<'_>) -> Self {
        Self::of_signal(reading.signal, reading.value, reading.text, reading.quality)
    }

    /// Quality counts only where there is no value: the same value resent later may be of quality `clock`
    /// once and `valid` then.
    pub(crate) fn of_signal(
        signal: SignalId,
        value: Option<f64>,
        text: Option<&str>,
        quality: Quality,
    ) -> Self {
        let head =
            mix(u64::from(signal.0) | 1 << 32, value.map_or(quality as u64, |value| (value + 0.0).to_bits()));
        Self(mix_text(mix(head, u64::from(value.is_some())), text))
    }

    /// The same of a signal by its path, for rows of which the catalogue may no longer know the signal. Not comparable with
    /// [`Self::of_signal`].
    pub(crate) fn of_path(path: &str, value: Option<f64>, text: Option<&str>, quality: Quality) -> Self {
        let number = value.map_or(quality as u64, |value| (value + 0.0).to_bits());
        let head = mix(mix_text(4 << 32, Some(path)), number);
        Self(mix_text(mix(head, u64::from(value.is_some())), text))
    }

    pub(crate) fn of_position(position: &Position) -> Self {
        let bits = |number: Option<f64>| number.map_or(u64::MAX, |number| (number + 0.0).to_bits());
        let place = mix(mix(2 << 32, bits(position.latitude)), bits(position.longitude));
        Self(mix(mix(mix(place, bits(position.heading)), bits(position.speed)), u64::from(position.valid)))
    }

    pub(crate) fn of_event(event: &Event<'_>) -> Self {
        let numbers = mix(
            mix(3 << 32, event.level.map_or(u64::MAX, |level| level as u64)),
            event.ended_at.map_or(u64::MAX, |ended_at| ended_at.0 as u64),
        );
        Self(mix_text(mix_text(mix_text(numbers, Some(event.kind)), Some(event.code)), event.detail))
    }
}

/// Names a layer that is not yet in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LayerId(u64);

/// The index. Rows go to the layer begun last.
pub(crate) struct Seen {
    rows_max: usize,
    newer: Layer,
    older: Layer,
    chunks: Vec<(LayerId, Layer)>,
    next: u64,
    run: Run,
}

/// The rows of one key that are being taken.
struct Run {
    key: Option<Key>,
    start: usize,
    /// A bit for each digest's low bits, so that a row is compared only with rows that may equal it.
    filter: [u64; 16],
    /// Layers that hold the same key, by index into `chunks`; the two generations are told apart.
    earlier: Vec<usize>,
    in_newer: bool,
    in_older: bool,
}

impl Seen {
    /// A row's share of the index: its digest, and its part of a key's entries at five rows a key.
    const ROW_BYTES: usize = 20;

    /// An index of at most about so many bytes; layers of rows not yet in a file come on top, bounded by the
    /// tail's own limit.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            rows_max: bytes_max / Self::ROW_BYTES,
            newer: Layer::default(),
            older: Layer::default(),
            chunks: Vec::new(),
            next: 0,
            run: Run::new(),
        }
    }

    /// How many rows it remembers at most once they are in files.
    pub(crate) fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Begins a layer, into which rows go until another is begun.
    pub(crate) fn begin_layer(&mut self) -> LayerId {
        self.end_run();
        let id = LayerId(self.next);
        self.next += 1;
        self.chunks.push((id, Layer::default()));
        id
    }

    /// Takes a layer out, with its place among the others: its rows do not count as seen any more.
    pub(crate) fn take_layer(&mut self, id: LayerId) -> Option<(usize, Layer)> {
        self.end_run();
        let place = self.chunks.iter().position(|(each, _)| *each == id)?;
        Some((place, self.chunks.remove(place).1))
    }

    /// Puts back what [`Self::take_layer`] took; of several the one taken last comes first.
    pub(crate) fn restore_layer(&mut self, place: usize, id: LayerId, layer: Layer) {
        self.end_run();
        self.chunks.insert(place.min(self.chunks.len()), (id, layer));
    }

    /// Counts a layer's rows as being in files: they are kept until newer ones displace them.
    pub(crate) fn settle_layer(&mut self, id: LayerId) {
        if let Some((_, layer)) = self.take_layer(id) {
            self.settle(layer);
        }
    }

    /// Ends the rows of a frame: the next row looks its key up anew.
    pub(crate) fn end_run(&mut self) {
        if let (Some(key), Some((_, layer))) = (self.run.key.take(), self.chunks.last_mut()) {
            layer.close(key, self.run.start);
        }
    }

    /// Whether the row is new; a new row counts as seen from now on. Rows of the same key should come
    /// together: then the key is looked up once.
    pub(crate) fn is_new(&mut self, key: Key, digest: Digest) -> bool {
        if self.run.key != Some(key) {
            self.end_run();
            self.begin_run(key);
        }
        let Some(((_, layer), before)) = self.chunks.split_last_mut() else { return true };
        let run = &mut self.run;
        let known = run.earlier.iter().any(|&place| {
            before
                .get(place)
                .map_or_else(|| layer.holds(key, digest), |(_, earlier)| earlier.holds(key, digest))
        }) || (run.in_newer && self.newer.holds(key, digest))
            || (run.in_older && self.older.holds(key, digest));
        if known {
            return false;
        }
        let bit = 1_u64 << (digest.0 & 63);
        let word = &mut run.filter[(digest.0 >> 6 & 15) as usize];
        if *word & bit != 0 && layer.digests[run.start..].contains(&digest) {
            return false;
        }
        *word |= bit;
        layer.digests.push(digest);
        if layer.digests.len() - run.start >= Layer::RUN_LENGTH_MAX {
            // A frame with very many rows of one time: what is known of it so far goes to the set, so that no
            // row is compared with all.
            let start = run.start;
            layer.spill(key, start);
            run.filter = [0; 16];
            if !run.earlier.contains(&before.len()) {
                run.earlier.push(before.len());
            }
        }
        true
    }

    fn begin_run(&mut self, key: Key) {
        self.run.key = Some(key);
        self.run.filter = [0; 16];
        self.run.in_newer = self.newer.has(key);
        self.run.in_older = self.older.has(key);
        self.run.earlier.clear();
        for (place, (_, layer)) in self.chunks.iter().enumerate() {
            if layer.has(key) {
                self.run.earlier.push(place);
            }
        }
        self.run.start = self.chunks.last().map_or(0, |(_, layer)| layer.digests.len());
    }

    fn settle(&mut self, layer: Layer) {
        if self.newer.rows() + layer.rows() > self.rows_max / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.absorb(layer);
    }
}

impl Run {
    fn new() -> Self {
        Self { key: None, start: 0, filter: [0; 16], earlier: Vec::new(), in_newer: false, in_older: false }
    }
}

/// Rows seen: each key's digests lie in runs, chained from the newest to the oldest.
#[derive(Default)]
pub(crate) struct Layer {
    heads: HashMap<Key, u32, BuildHasherDefault<AsIs>>,
    runs: Vec<Stretch>,
    digests: Vec<Digest>,
    /// Rows of keys that have very many.
    many: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// Keys with rows in `many`.
    many_keys: HashSet<Key, BuildHasherDefault<AsIs>>,
}

struct Stretch {
    start: u32,
    length: u32,
    /// The run of the same key before this one.
    previous: Option<u32>,
    /// Rows of the chain up to here.
    chain_length: u32,
}

impl Layer {
    /// Rows of one key that are compared one by one; beyond, they go to a set.
    const RUN_LENGTH_MAX: usize = 512;

    fn rows(&self) -> usize {
        self.digests.len() + self.many.len()
    }

    fn has(&self, key: Key) -> bool {
        self.heads.contains_key(&key) || self.many_keys.contains(&key)
    }

    fn holds(&self, key: Key, digest: Digest) -> bool {
        let mut next = self.heads.get(&key).copied();
        while let Some(run) = next.and_then(|index| self.runs.get(index as usize)) {
            let start = run.start as usize;
            if self.digests[start..start + run.length as usize].contains(&digest) {
                return true;
            }
            next = run.previous;
        }
        !self.many.is_empty() && self.many.contains(&mix(key.0, digest.0))
    }

    /// Ends a run that began at `start` of the digests.
    fn close(&mut self, key: Key, start: usize) {
        let length = (self.digests.len() - start) as u32;
        if length == 0 {
            return;
        }
        let previous = self.heads.get(&key).copied();
        let before =
            previous.and_then(|index| self.runs.get(index as usize)).map_or(0, |run| run.chain_length);
        if (before + length) as usize > Self::RUN_LENGTH_MAX {
            self.spill(key, start);
            return;
        }
        self.heads.insert(key, self.runs.len() as u32);
        self.runs.push(Stretch { start: start as u32, length, previous, chain_length: before + length });
    }

    fn spill(&mut self, key: Key, start: usize) {
        self.many.extend(self.digests[start..].iter().map(|digest| mix(key.0, digest.0)));
        self.many_keys.insert(key);
        self.digests.truncate(start);
    }

    fn absorb(&mut self, other: Self) {
        // Old runs come first in `other`, so the chains keep their order.
        let mut keys: Vec<Option<Key>> = vec![None; other.runs.len()];
        for (key, head) in &other.heads {
            let mut next = Some(*head);
            while let Some(index) = next {
                keys[index as usize] = Some(*key);
                next = other.runs[index as usize].previous;
            }
        }
        for (run, key) in other.runs.iter().zip(keys) {
            let start = self.digests.len();
            let from = run.start as usize;
            self.digests.extend_from_slice(&other.digests[from..from + run.length as usize]);
            self.close(key.expect("every run is in one key's chain"), start);
        }
        self.many.extend(other.many);
        self.many_keys.extend(other.many_keys);
    }
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix_bytes(self.0, bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Folds two words into one: the two halves of their 128-bit product, each first turned by a constant of
/// about half its bits set.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
    (product as u64) ^ ((product >> 64) as u64)
}

fn mix_bytes(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = mix(start, bytes.len() as u64);
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(last))
}

fn mix_text(start: u64, text: Option<&str>) -> u64 {
    text.map_or_else(|| mix(start, 7), |text| mix_bytes(start, text.as_bytes()))
}
