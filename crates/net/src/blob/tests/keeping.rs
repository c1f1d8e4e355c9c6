//! The folder of a store: the files that are kept, those that have to go, and those that survive
//! damage and a second process.

use std::fs;

use super::*;

/// A store for `quota` bytes, and the blobs that were put there: of 1000 bytes each, in order.
fn filled(quota: u64, count: u8) -> (TempDir, BlobStore, Vec<BlobRef>) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), quota).unwrap();
    let blobs = (0..count)
        .map(|number| store.put(&[number; 1000]).unwrap())
        .collect();
    (dir, store, blobs)
}

fn which(store: &BlobStore, blobs: &[BlobRef]) -> Vec<usize> {
    (0..blobs.len())
        .filter(|&number| store.contains(&blobs[number].blob))
        .collect()
}

#[test]
fn what_is_put_is_there_after_a_restart() {
    let (dir, store, blobs) = filled(u64::MAX, 3);
    let file = store.layout().whole(&blobs[0].blob);
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(store.put(&[0; 1000]).unwrap(), blobs[0]);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
    assert_eq!(store.used_bytes(), 3000);
    assert_eq!(files_below(dir.path()).len(), 3);

    fs::write(dir.path().join("notes.txt"), "not a blob").unwrap();
    fs::write(file.with_extension("txt"), "not a blob").unwrap();
    drop(store);
    let store = BlobStore::open(dir.path(), u64::MAX).unwrap();
    assert_eq!(store.used_bytes(), 3000);
    assert_eq!(store.held(10).len(), 3);
    for (number, blob) in blobs.iter().enumerate() {
        assert_eq!(store.get(*blob).unwrap(), Some(vec![number as u8; 1000]));
    }
    let latest: Vec<_> = [blobs[2], blobs[1]].map(|blob| blob.blob).to_vec();
    assert_eq!(store.held(2), latest);
    assert_eq!(
        store
            .get(BlobRef {
                bytes: 999,
                ..blobs[0]
            })
            .unwrap(),
        None
    );
    assert!(store.contains(&blobs[0].blob));

    store.remove(&blobs[1].blob).unwrap();
    store.remove(&blobs[1].blob).unwrap();
    assert_eq!(which(&store, &blobs), [0, 2]);
    assert_eq!(store.used_bytes(), 2000);
    assert_eq!(files_below(dir.path()).len(), 4);
}

#[test]
fn released_blobs_go_first_and_then_those_unused_for_longest() {
    let (_dir, store, blobs) = filled(4000, 4);
    store.get(blobs[0]).unwrap().unwrap();
    store.release(&blobs[2].blob);
    store.release(&blobs[3].blob);
    let pin = store.pin(&blobs[3].blob);
    store.put(&[10; 1000]).unwrap();
    assert_eq!(which(&store, &blobs), [0, 1, 3]);
    store.put(&[11; 1000]).unwrap();
    assert_eq!(which(&store, &blobs), [0, 3]);
    store.put(&[12; 2000]).unwrap();
    assert_eq!(which(&store, &blobs), [3]);
    assert_eq!(store.used_bytes(), 4000);
    drop(pin);
    store.put(&[13; 3000]).unwrap();
    assert_eq!(which(&store, &blobs), [0_usize; 0]);
    assert_eq!(store.used_bytes(), 3000);
}

/// The quota may shrink because something else takes the disk.
#[test]
fn a_quota_may_shrink_and_grow_again() {
    let (_dir, store, blobs) = filled(4000, 4);
    let pin = store.pin(&blobs[0].blob);
    assert_eq!(store.room_bytes(), 3000);
    store.set_quota(2500).unwrap();
    assert_eq!(which(&store, &blobs), [0, 3]);
    assert_eq!((store.quota_bytes(), store.room_bytes()), (2500, 1500));
    // Pinned blobs stay, whatever the quota is.
    store.set_quota(10).unwrap();
    assert_eq!(which(&store, &blobs), [0]);
    assert_eq!(store.room_bytes(), 0);
    assert!(matches!(store.put(&[9; 100]), Err(BlobError::Quota { .. })));
    store.set_quota(4000).unwrap();
    store.put(&[9; 3000]).unwrap();
    drop(pin);
}

#[test]
fn what_was_lost_is_told_once() {
    let (_dir, store, blobs) = filled(4000, 4);
    let file = |number: usize| store.layout().whole(&blobs[number].blob);
    assert!(store.take_lost().is_empty());
    // A blob that this store removes itself is not lost.
    store.remove(&blobs[3].blob).unwrap();
    fs::write(file(0), [7; 1000]).unwrap();
    fs::write(file(1), [1; 10]).unwrap();
    fs::remove_file(file(2)).unwrap();
    for blob in &blobs {
        assert_eq!(store.get(*blob).unwrap(), None);
    }
    let lost: Vec<_> = blobs[..3].iter().map(|blob| blob.blob).collect();
    assert_eq!(store.take_lost(), lost);
    assert!(!store.contains(&blobs[2].blob));
    assert!(store.take_lost().is_empty());
}

#[test]
fn where_no_room_can_be_made_nothing_is_evicted() {
    let (dir, store, blobs) = filled(4000, 4);
    let pins: Vec<_> = blobs[..2].iter().map(|blob| store.pin(&blob.blob)).collect();
    let again = store.pin(&blobs[0].blob);
    let error = store.put(&[10; 2001]).unwrap_err();
    assert!(matches!(
        error,
        BlobError::Quota {
            needed: 2001,
            used: 2000,
            allowed: 4000
        }
    ));
    assert!(error.to_string().contains("raise --disk"));
    let error = store.put(&[10; 4001]).unwrap_err();
    assert!(matches!(error, BlobError::Quota { .. }));
    assert_eq!(which(&store, &blobs), [0, 1, 2, 3]);
    assert_eq!(files_below(dir.path()).len(), 4);
    drop(pins);
    // It is still pinned once.
    store.put(&[10; 3000]).unwrap();
    assert_eq!(which(&store, &blobs), [0]);
    drop(again);
    store.put(&[11; 1001]).unwrap();
    assert_eq!(which(&store, &blobs), [0_usize; 0]);
}

#[tokio::test]
async fn half_fetched_blobs_count_and_are_evicted() {
    let bytes = sample(5 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    let quota = 5 * GROUP_BYTES;
    let dir = tempfile::tempdir().unwrap();
    let client = BlobStore::open(dir.path(), quota).unwrap();
    let small = client.put(&[1; 1000]).unwrap();
    // There must be room for all of it.
    let pin = client.pin(&small.blob);
    let error = fetch_script(&client, want, &sent).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Disk(BlobError::Quota { .. })),
        "{error}"
    );
    assert!(!error.blames_sender());
    assert_eq!(client.used_bytes(), 1000);
    drop(pin);
    // A blob that a peer announces and does not send costs no other blob its place.
    let error = fetch_script(&client, want, &sent[..10]).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken(_)), "{error}");
    assert!(client.contains(&small.blob));
    fetch_script(&client, want, &sent[..3 * GROUP]).await.unwrap_err();
    assert!(!client.contains(&small.blob));
    assert_eq!(client.used_bytes(), 2 * GROUP_BYTES);

    // It stays counted over a restart.
    let client = BlobStore::open(dir.path(), quota).unwrap();
    assert_eq!(client.used_bytes(), 2 * GROUP_BYTES);
    client.put(&vec![2; 3 * GROUP + 1]).unwrap();
    assert_eq!(client.used_bytes(), 3 * GROUP_BYTES + 1);
    assert!(!client.layout().partial(want).exists());

    // The partial file is of no use once the whole is there.
    fetch_script(&client, want, &sent[..3 * GROUP]).await.unwrap_err();
    client.put(&bytes).unwrap();
    assert_eq!(client.used_bytes(), want.bytes);
    assert_eq!(files_below(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_damaged_file_counts_as_missing() {
    let bytes = sample(2 * GROUP + 1);
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 4] = [
        |file| file[GROUP] ^= 1,
        |file| file.truncate(GROUP),
        |file| file.push(0),
        |file| file.clear(),
    ];
    for damage in damages {
        let (_dir, server, want) = store_with(&bytes);
        let path = server.layout().whole(&want.blob);
        let damaged = || {
            let mut file = bytes.clone();
            damage(&mut file);
            fs::write(&path, file).unwrap();
        };
        damaged();
        assert_eq!(server.get(want).unwrap(), None);
        assert!(!path.exists());
        assert_eq!(server.used_bytes(), 0);

        // Putting it replaces it, though a file of that name is there.
        server.put(&bytes).unwrap();
        damaged();
        server.put(&bytes).unwrap();
        assert_eq!(server.get(want).unwrap().as_ref(), Some(&bytes));

        // It is not served, even if it was before; and the peer is told no lie.
        let (_there, client) = store();
        fetch_from(&server, &client, want).await.0.unwrap();
        client.remove(&want.blob).unwrap();
        damaged();
        let (fetched, _) = fetch_from(&server, &client, want).await;
        let error = fetched.unwrap_err();
        assert!(!error.blames_sender(), "{error}");
        assert!(!path.exists());
        let (fetched, served) = fetch_from(&server, &client, want).await;
        assert!(matches!(fetched, Err(FetchError::NotFound)));
        served.unwrap();
    }
}

#[test]
fn two_processes_may_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [(); 2].map(|()| BlobStore::open(dir.path(), u64::MAX).unwrap());
    let blobs: Vec<_> = (1..40).map(|number| sample(number * 1000)).collect();
    std::thread::scope(|scope| {
        for store in &stores {
            let (blobs, dir) = (&blobs, dir.path());
            scope.spawn(move || {
                for blob in blobs {
                    store.put(blob).unwrap();
                    // A third one starts meanwhile.
                    BlobStore::open(dir, u64::MAX).unwrap();
                }
            });
        }
    });
    for store in &stores {
        for blob in &blobs {
            assert_eq!(store.get(BlobRef::of(blob)).unwrap().as_ref(), Some(blob));
        }
    }
    stores[0].remove(&BlobRef::of(&blobs[0]).blob).unwrap();
    assert_eq!(stores[1].get(BlobRef::of(&blobs[0])).unwrap(), None);
    assert_eq!(stores[1].used_bytes(), stores[0].used_bytes());
    assert_eq!(files_below(dir.path()).len(), blobs.len() - 1);
}

#[test]
fn what_was_half_written_is_removed_unless_it_is_being_written() {
    let (dir, store, _) = filled(u64::MAX, 1);
    let left = dir.path().join("partial/.half-left");
    let busy = dir.path().join("partial/.half-busy");
    fs::write(&left, "half").unwrap();
    let file = fs::File::create(&busy).unwrap();
    file.lock().unwrap();
    drop(store);
    BlobStore::open(dir.path(), u64::MAX).unwrap();
    assert!(!left.exists());
    assert!(busy.exists());
    drop(file);
    BlobStore::open(dir.path(), u64::MAX).unwrap();
    assert!(!busy.exists());
}

#[test]
fn a_disk_that_does_not_take_it_is_an_error_and_leaves_nothing() {
    let (dir, store, blobs) = filled(u64::MAX, 1);
    // A file is in the place of the folder for files that are being written.
    let new = sample(1000);
    let folder = dir.path().join("partial");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let error = store.put(&new).unwrap_err();
    assert!(matches!(error, BlobError::Write { .. }), "{error}");
    assert_eq!(store.used_bytes(), 1000);
    assert_eq!(files_below(dir.path()).len(), 2);
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    store.put(&new).unwrap();
    assert_eq!(store.used_bytes(), 2000);

    // A file is where the folder of the whole store should be.
    let file = store.layout().whole(&blobs[0].blob);
    assert!(matches!(
        BlobStore::open(&file, u64::MAX),
        Err(BlobError::Write { .. })
    ));
    let too_large = vec![0; BLOB_BYTES_MAX as usize + 1];
    assert!(matches!(store.put(&too_large), Err(BlobError::TooLarge { .. })));
}

#[test]
fn a_blob_that_is_read_piece_by_piece_is_checked_before_its_end() {
    use std::io::Read;
    let (_dir, store, blobs) = filled(u64::MAX, 2);
    let mut read = Vec::new();
    store
        .reader(blobs[1])
        .unwrap()
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(read, [1; 1000]);
    let longer = BlobRef {
        bytes: 1001,
        ..blobs[1]
    };
    assert!(store.reader(longer).unwrap().is_none());

    let file = store.layout().whole(&blobs[1].blob);
    for damaged in [vec![7; 1000], vec![1; 999]] {
        let mut reader = store.reader(store.put(&[1; 1000]).unwrap()).unwrap().unwrap();
        fs::write(&file, &damaged).unwrap();
        read.clear();
        let error = reader.read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(!store.contains(&blobs[1].blob), "it can be fetched again");
    }
}
