//! A country of three centers, made once by the code of the commands, from which every simulation begins; and the next versions of its
//! charter.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ledger::SigningKey;
use model::{CenterName, UtcMicros};
use store::ObjectPath;
use tempfile::TempDir;

use super::world::folder_in_memory;
use crate::center::{Center, NewCenter, Role, prepare};
use crate::charter::{Change, Charter, JoinRequest, Staged, State};
use crate::world::World;

/// The centers, the first of which signs.
pub(super) const CENTERS: [&str; 3] = ["shanghai-1", "beijing-1", "chengdu-1"];

/// Settings that differ from what is written: small batches, since each machine's disk lies in memory.
const SETTINGS: [(&str, &str); 4] = [
    ("frame_bytes_max = 1000000", "frame_bytes_max = 16000"),
    ("batch_bytes_max = 16777216", "batch_bytes_max = 65536"),
    ("bytes_max = 1073741824", "bytes_max = 4194304"),
    ("networks = []", "networks = [\"10.0.0.0/8\"]"),
];

/// A country.
pub(super) struct Country {
    folder: TempDir,
    key: SigningKey,
    /// The first version of the charter, which names all centers, and the second, which makes them active.
    pub(super) notes: Vec<String>,
    pub(super) charter: Charter,
}

impl Country {
    /// Makes the centers' folders, with real keys and certificates. `replication`: in how many centers everything lies.
    pub(super) fn found(name: &str, replication: u32, settings: &[(&str, &str)], world: &World) -> Self {
        let folder = folder_in_memory();
        let country = name.parse().expect("a country");
        let new = |center: &str| NewCenter {
            country,
            center: center.parse().expect("a center's name"),
            site: format!("site of {center}"),
            hosts: Vec::new(),
        };
        let path = |center: &str| folder.path().join(center);
        let replication = format!("replication = {replication}");
        let set = |center: &str, number: usize| {
            let address = format!("address = \"10.0.0.{}:8701\"", number + 1);
            let mut changes: Vec<(&str, &str)> = SETTINGS.to_vec();
            changes.extend([("replication = 2", replication.as_str()), ("address = \"\"", address.as_str())]);
            changes.extend(settings);
            change_settings(&path(center), &changes);
        };
        Center::create(&path(CENTERS[0]), &new(CENTERS[0]), world).expect("the first center");
        set(CENTERS[0], 0);
        let first = Center::open(&path(CENTERS[0]), world).expect("the first center");
        let invitation = first.invitation().expect("an invitation");
        let mut staged = Staged::default();
        for (number, center) in CENTERS.iter().enumerate().skip(1) {
            let address = format!("10.0.0.{}:8701", number + 1);
            let request =
                prepare(&path(center), &new(center), &invitation, &address, world).expect("prepared");
            staged.changes.push(Change::Add { request });
        }
        let key = Role::Country.read_private(&first.folder).expect("the country's key");
        let at = world.clock.now();
        let charter = staged.next(&first, None, at.to_string()).expect("a first charter");
        let note = charter.sign(&key).expect("a signed charter");
        for (number, center) in CENTERS.iter().enumerate().skip(1) {
            let Some(Change::Add { request }) = staged.changes.get(number - 1) else { continue };
            let request = JoinRequest::open(request).expect("a request");
            let package = first.package(&request, vec![note.clone()], &key, at).expect("a package");
            Center::join(&path(center), &package, world).expect("joined");
            set(center, number);
        }
        let mut country = Self { folder, key, notes: vec![note], charter };
        let active = CENTERS[1..].iter().map(|center| (*center, State::Active)).collect::<Vec<_>>();
        let (charter, note) = country.next(&country.charter, &active, at, world);
        country.charter = charter;
        country.notes.push(note);
        country
    }

    /// The next version of the charter, and it signed: these centers are to do something else.
    pub(super) fn next(
        &self,
        before: &Charter,
        states: &[(&str, State)],
        at: UtcMicros,
        world: &World,
    ) -> (Charter, String) {
        let first = Center::open(&self.folder.path().join(CENTERS[0]), world).expect("the first center");
        let change =
            |(center, state): &(&str, State)| Change::State { center: (*center).to_owned(), state: *state };
        let staged = Staged { changes: states.iter().map(change).collect() };
        let charter = staged.next(&first, Some(before), at.to_string()).expect("a next charter");
        let note = charter.sign(&self.key).expect("a signed charter");
        (charter, note)
    }

    /// A folder of a center as it was when it joined, at another place, and what lies in its store.
    pub(super) fn copy(&self, center: &CenterName, to: &Path) -> Vec<(ObjectPath, Bytes)> {
        let from = self.folder.path().join(center.as_str());
        let mut objects = Vec::new();
        copy_folder(&from, to, &from, &mut objects);
        objects
    }
}

fn change_settings(folder: &Path, changes: &[(&str, &str)]) {
    let path = folder.join("domicile.toml");
    let mut text = std::fs::read_to_string(&path).expect("settings");
    for (from, to) in changes {
        assert!(text.contains(from), "the settings say {from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(&path, text).expect("settings");
}

fn copy_folder(from: &Path, to: &Path, top: &Path, objects: &mut Vec<(ObjectPath, Bytes)>) {
    use std::os::unix::fs::DirBuilderExt;

    std::fs::DirBuilder::new().mode(0o700).create(to).expect("a folder");
    for entry in from.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        let target: PathBuf = to.join(path.file_name().expect("a name"));
        let store = top.join("store");
        if path == store {
            read_objects(&path, &store, objects);
        } else if path.is_dir() {
            copy_folder(&path, &target, top, objects);
        } else {
            std::fs::copy(&path, &target).expect("a copied file");
        }
    }
}

fn read_objects(folder: &Path, store: &Path, objects: &mut Vec<(ObjectPath, Bytes)>) {
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_objects(&path, store, objects);
        } else {
            let name = path.strip_prefix(store).expect("below the store").to_str().expect("a name");
            objects.push((ObjectPath::from(name), std::fs::read(&path).expect("an object").into()));
        }
    }
}
