//! What is signed: the genesis, the log's heads, and what witnesses say of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Options, Report, Store, judged};
use crate::reader::Head;
use crate::{Error, Hash, LogReader, Note, SignedCheckpoint, VerifierKey, cosignature};

/// The heads of a log that could be believed.
pub(super) struct Heads {
    /// What the walk goes to: the larger of the two.
    size: u64,
    root: Hash,
    /// The entries of the last commit.
    staged: Vec<Vec<u8>>,
    published: Option<SignedCheckpoint>,
    newest: SignedCheckpoint,
    /// Roots that the tree must have had at a size, and where that is said.
    said: Vec<(u64, Hash, String)>,
    /// Whether it is another center's copy.
    pub(super) is_copy: bool,
}

impl Heads {
    /// Reads the register and the published checkpoint; `None` where neither can be believed.
    pub(super) fn read(
        store: &Store<'_>,
        options: &Options,
        report: &mut Report,
    ) -> Result<Option<Self>, Error> {
        let reader = LogReader::new(store.objects.clone(), store.names.ledger(), store.log_key.clone());
        let published_place = store.log_file("checkpoint");
        let head_place = store.log_file("head.json");
        // The published one first: by the time that the register is read it can only have been overtaken.
        let published = known(judged(reader.checkpoint())?, published_place.as_ref(), report);
        let head = known(judged(reader.head())?, head_place.as_ref(), report);
        if head.is_none() && !options.is_copy && store.read(&head_place)?.is_none() {
            report.find(&head_place, "the log's register is missing");
        }
        let (newest, staged) = match (&head, &published) {
            (Some(Head { checkpoint, staged, .. }), _) => (checkpoint.clone(), staged.clone()),
            (None, Some(published)) => (published.clone(), Vec::new()),
            (None, None) => return Ok(None),
        };
        let mut said = vec![(newest.size(), newest.root(), head_place.to_string())];
        match &published {
            Some(published) if published.size() > newest.size() => {
                report.find(
                    &head_place,
                    format!("it is behind the published checkpoint of {}", published.size()),
                );
            }
            Some(published) => said.push((published.size(), published.root(), published_place.to_string())),
            None if store.read(&published_place)?.is_none() => {
                // With a quorum nothing is published before the first witnesses have answered.
                if options.quorum == 0 && newest.size() > staged.len() as u64 {
                    report.find(&published_place, "the published checkpoint is missing");
                } else {
                    report.pending.push(published_place.to_string());
                }
            }
            None => {}
        }
        if let Some(published) = &published {
            check_quorum(published, options, published_place.as_ref(), report);
        }
        check_last_seen(store.log_key, options, newest.size(), &mut said, report);
        let size = newest.size();
        Ok(Some(Self {
            size,
            root: newest.root(),
            staged,
            published,
            newest,
            said,
            is_copy: options.is_copy,
        }))
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn root(&self) -> Hash {
        self.root
    }

    /// The size up to which every tile must lie there: what was committed before the last commit, and what is published.
    pub(super) fn written_size(&self) -> u64 {
        let before = self.size - (self.staged.len() as u64).min(self.size);
        before.max(self.published_size().unwrap_or(0))
    }

    pub(super) fn published_size(&self) -> Option<u64> {
        self.published.as_ref().map(SignedCheckpoint::size).filter(|size| *size <= self.size)
    }

    /// The published checkpoint, or the last signed one where none is published.
    pub(super) fn newest_published(&self) -> &str {
        self.published.as_ref().unwrap_or(&self.newest).note()
    }

    /// An entry of the last commit, by its index.
    pub(super) fn staged(&self, index: u64) -> Option<&[u8]> {
        let first = self.size.checked_sub(self.staged.len() as u64)?;
        let number = usize::try_from(index.checked_sub(first)?).ok()?;
        self.staged.get(number).map(Vec::as_slice)
    }

    /// Holds the tree of a size against what is signed of that size.
    pub(super) fn check_root(&self, size: u64, root: impl Fn() -> Hash, report: &mut Report) {
        for (_, said, place) in self.said.iter().filter(|(of, _, _)| *of == size) {
            if *said != root() {
                report.find(
                    place,
                    format!("it signs another tree of {size} entries than those that are there"),
                );
            }
        }
    }
}

/// What was read, or the finding that it can't be.
fn known<T>(read: Result<Option<T>, String>, place: &str, report: &mut Report) -> Option<T> {
    read.unwrap_or_else(|what| {
        report.find(place, what);
        None
    })
}

fn check_quorum(published: &SignedCheckpoint, options: &Options, place: &str, report: &mut Report) {
    let Ok(note) = Note::parse(published.note()) else { return };
    let mut cosigned = 0;
    for witness in &options.witnesses {
        match cosignature::verify(witness, &note) {
            Ok(Some(_)) => cosigned += 1,
            Ok(None) => {}
            Err(error) => report.find(place, error.to_string()),
        }
    }
    if cosigned < options.quorum {
        report.find(
            place,
            format!("{cosigned} of the {} witnesses that are asked for have cosigned it", options.quorum),
        );
    }
}

fn check_last_seen(
    key: &VerifierKey,
    options: &Options,
    size: u64,
    said: &mut Vec<(u64, Hash, String)>,
    report: &mut Report,
) {
    const PLACE: &str = "the last seen checkpoint";
    let Some(note) = &options.last_seen else { return };
    match SignedCheckpoint::open(note, key) {
        Ok(seen) if seen.size() > size => {
            let what = format!("it has {} entries and the log {size}: the log was rolled back", seen.size());
            report.find(PLACE, what);
        }
        Ok(seen) if seen.size() == 0 => {}
        Ok(seen) => said.push((seen.size(), seen.root(), PLACE.to_owned())),
        Err(error) => report.find(PLACE, error.to_string()),
    }
}

/// Holds the genesis against the country's signature.
pub(super) fn check_genesis(store: &Store<'_>, options: &Options, report: &mut Report) -> Result<(), Error> {
    let (place, signed) = (store.names.genesis(), store.names.genesis_signature());
    let Some(genesis) = store.read(&place)? else {
        report.find(&place, "the genesis is missing");
        return Ok(());
    };
    let key = match country_key(&genesis, options) {
        Ok(key) => key,
        Err(what) => {
            report.find(&place, what);
            return Ok(());
        }
    };
    let Some(key) = key else {
        report
            .note(&place, "it is from before genesis documents were signed: its entry alone vouches for it");
        return Ok(());
    };
    let Some(note) = store.read(&signed)? else {
        report.find(&signed, "the genesis's signature is missing");
        return Ok(());
    };
    let wanted = format!("domicile genesis v1\n{}\n", STANDARD.encode(Sha256::digest(&genesis)));
    let note = std::str::from_utf8(&note).map_err(|_| "it is no text".to_owned());
    let note = note.and_then(|note| Note::parse(note).map_err(|error| error.to_string()));
    match note
        .and_then(|note| Ok((note.verified_by(&key).map_err(|error| error.to_string())?.is_some(), note)))
    {
        Ok((true, note)) if note.text() == wanted => {}
        Ok((true, _)) => report.find(&place, format!("it is not the document that {signed} signs")),
        Ok((false, _)) => report.find(&signed, format!("it is not signed by {}", key.name())),
        Err(what) => report.find(&signed, what),
    }
    Ok(())
}

/// The country's key: the one that is given, which the genesis must not contradict, or the one that the genesis names.
fn country_key(genesis: &[u8], options: &Options) -> Result<Option<VerifierKey>, String> {
    let genesis: serde_json::Value =
        serde_json::from_slice(genesis).map_err(|error| format!("it is no JSON: {error}"))?;
    let named = match genesis.get("country_vkey") {
        None => None,
        Some(vkey) => {
            let vkey = vkey.as_str().ok_or("its country_vkey is no text")?;
            Some(VerifierKey::parse(vkey).map_err(|error| format!("its country_vkey: {error}"))?)
        }
    };
    match (&options.country_key, named) {
        (Some(given), Some(named)) if *given != named => {
            Err("it names another country key than the one that was given".to_owned())
        }
        (Some(given), _) => Ok(Some(given.clone())),
        (None, named) => Ok(named),
    }
}
