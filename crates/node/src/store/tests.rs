//! What a store keeps, and what it refuses.

use super::*;

fn accepted() -> Accepted {
    // A root has no constructor outside the engine, and needs none: it decodes from what it encodes to.
    let root = "[1,2,3,4,5,6,7,8]";
    let json = format!(
        r#"{{"initial_pc":0,"final_pc":4,"initial_root":{root},"final_root":{root},"exit_code":null}}"#
    );
    Accepted {
        boundary: serde_json::from_str(&json).unwrap(),
        proof: vec![1, 2, 3],
    }
}

fn open(data: &Path, job: u8) -> Result<Store, StoreError> {
    Store::open(data, JobId([job; 32]), open_blobs(data, 1 << 20).unwrap())
}

#[test]
fn proofs_are_found_again_unless_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let key = TaskKey::segment(0, 10);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), None);
    let blob = store.put(key, &accepted()).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
    assert_eq!(store.get(TaskKey::segment(0, 11)).unwrap(), None);
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()), "after another start");

    let name = blob.blob.to_string();
    let path = dir
        .path()
        .join("blobs")
        .join(&name[..2])
        .join(format!("{name}.blob"));
    fs::write(path, [1, 2, 4]).unwrap();
    assert_eq!(store.get(key).unwrap(), None);
    assert_eq!(store.entry(key).unwrap(), None, "it was removed");
    store.put(key, &accepted()).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    assert!(matches!(open(dir.path(), 7), Err(StoreError::Busy { .. })));
    assert!(open(dir.path(), 8).is_ok());
    drop(store);
    assert!(open(dir.path(), 7).is_ok());
}

#[test]
fn newer_and_damaged_journals_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    let newer = |transaction: &redb::WriteTransaction| {
        transaction
            .open_table(META)?
            .insert(VERSION_KEY, JOURNAL_VERSION + 1)?;
        Ok(())
    };
    store.write(newer).unwrap();
    let path = store.path.clone();
    drop(store);
    let error = open(dir.path(), 7).err().unwrap();
    assert!(
        error.to_string().contains("version 2, and this build reads 1"),
        "{error}"
    );

    fs::write(&path, vec![7; 10_000]).unwrap();
    let error = open(dir.path(), 7).err().unwrap();
    assert!(error.to_string().contains("journal.redb"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open_blobs(file.path(), 1), Err(StoreError::Blobs(_))));
    let blobs = tempfile::tempdir().unwrap();
    let blobs = open_blobs(blobs.path(), 1).unwrap();
    assert!(matches!(
        Store::open(file.path(), JobId([7; 32]), blobs),
        Err(StoreError::Write { .. })
    ));
}
