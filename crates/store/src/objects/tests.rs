use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::{Created, Objects, wait};
use crate::Error;

fn objects() -> (Objects, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Objects::local(folder.path()).expect("a store"), folder)
}

fn names(objects: &Objects) -> Vec<String> {
    let found: Vec<_> = wait(objects.object_store().list(None).try_collect()).expect("a listing");
    let mut names: Vec<String> =
        found.into_iter().map(|meta: object_store::ObjectMeta| meta.location.into()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_create_never_overwrites() {
    let (objects, _folder) = objects();
    let name = Path::from("c/control/1.json");
    assert_eq!(objects.create(&name, Bytes::from("one")).expect("a put"), Created::New);
    assert_eq!(objects.create(&name, Bytes::from("two")).expect("a put"), Created::Exists);
    assert_eq!(objects.read(&name).expect("a read").as_deref(), Some(b"one".as_slice()));
    assert_eq!(objects.read(&Path::from("c/none")).expect("a read"), None);
    objects.delete(&name).expect("a deletion");
    objects.delete(&name).expect("deleting nothing is no error");
    assert_eq!(objects.read(&name).expect("a read"), None);
}

#[test]
fn a_replace_fails_when_another_came_first() {
    let (objects, _folder) = objects();
    let name = Path::from("c/register");
    assert_eq!(objects.create(&name, Bytes::from("0")).expect("a put"), Created::New);
    let (_, version) = objects.read_version(&name).expect("a read").expect("it is there");
    let newer =
        objects.replace(&name, Bytes::from("1"), &version).expect("a put").expect("nobody came first");
    assert_eq!(objects.replace(&name, Bytes::from("2"), &version).expect("a put"), None);
    assert!(objects.replace(&name, Bytes::from("3"), &newer).expect("a put").is_some());
    assert_eq!(objects.read(&name).expect("a read").as_deref(), Some(b"3".as_slice()));
    objects.delete(&name).expect("a deletion");
    assert_eq!(objects.replace(&name, Bytes::from("4"), &newer).expect("a put"), None, "it is gone");
}

#[test]
fn many_objects_are_created_at_once_and_existing_ones_stay() {
    let (objects, folder) = objects();
    assert_eq!(objects.create(&Path::from("c/k/7"), Bytes::from("old")).expect("a put"), Created::New);
    let many = (0..200).map(|number| (Path::from(format!("c/k/{number}")), Bytes::from("new"))).collect();
    objects.create_many(many).expect("puts");
    assert_eq!(objects.list(&Path::from("c/k")).expect("a listing").len(), 200);
    assert_eq!(objects.read(&Path::from("c/k/7")).expect("a read").as_deref(), Some(b"old".as_slice()));
    assert_eq!(objects.read(&Path::from("c/k/8")).expect("a read").as_deref(), Some(b"new".as_slice()));
    let staged = std::fs::read_dir(folder.path().join(".staging")).expect("the staging folder").count();
    assert_eq!(staged, 0);
}

#[test]
fn unfinished_uploads_are_never_seen_and_go_at_the_next_start() {
    let (objects, folder) = objects();
    let store = objects.object_store();
    let name = Path::from("c/lake/signals/part.parquet");
    let mut upload = wait(store.put_multipart(&name)).expect("an upload");
    wait(upload.put_part(PutPayload::from_static(b"first "))).expect("a part");
    wait(upload.put_part(PutPayload::from_static(b"second"))).expect("a part");
    assert_eq!(names(&objects), Vec::<String>::new());
    wait(upload.complete()).expect("it completes");
    assert_eq!(objects.read(&name).expect("a read").as_deref(), Some(b"first second".as_slice()));

    let mut aborted = wait(store.put_multipart(&Path::from("c/other"))).expect("an upload");
    wait(aborted.put_part(PutPayload::from_static(b"part"))).expect("a part");
    std::fs::write(folder.path().join(".staging/put#99"), b"what a crash left").expect("a file");
    std::mem::forget(aborted);
    let again = Objects::local(folder.path()).expect("a store");
    assert_eq!(names(&again), ["c/lake/signals/part.parquet"]);
    assert_eq!(std::fs::read_dir(folder.path().join(".staging")).expect("a folder").count(), 0);
}

#[test]
fn calls_work_on_the_threads_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let (objects, _folder) = objects();
    runtime.block_on(async {
        let name = Path::from("c/a");
        assert_eq!(objects.create(&name, Bytes::from("1")).expect("a put"), Created::New);
        let (_, version) = objects.read_version(&name).expect("a read").expect("it is there");
        assert!(objects.replace(&name, Bytes::from("2"), &version).expect("a put").is_some());
        objects.object_store().copy(&name, &Path::from("d/b")).await.expect("a copy");
        objects.delete(&name).expect("a deletion");
        assert_eq!(objects.list(&Path::from("d")).expect("a listing").len(), 1);
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), b"").expect("a file");
    let refused = Objects::local(&folder.path().join("file/store")).map(|_| ());
    assert!(matches!(refused, Err(Error::Disk { .. })));
}

#[test]
fn many_reads_in_one_task_of_a_runtime_come_to_an_end() {
    let (objects, _folder) = objects();
    let name = Path::from("c/control/1.json");
    let _ = objects.create(&name, Bytes::from("one")).expect("a put");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    // A task may poll 128 times before it must yield; this one never does.
    runtime.block_on(async {
        for _ in 0..400 {
            assert!(objects.read(&name).expect("a read").is_some());
        }
    });
}
