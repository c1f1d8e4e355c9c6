//! Blobs between peers: the request for one, and the answer.

use myriad_net::blob::{self, BlobRef, BlobStore, FetchLimits, ServeLimits};
use tempfile::TempDir;

use super::scratch;
use crate::streams::Fed;

/// Waits for what is there at once.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime of one thread").block_on(work)
}

/// A blob of three groups, and where it is.
fn shared() -> (TempDir, BlobStore, BlobRef) {
    let dir = scratch();
    let store = BlobStore::open(dir.path(), 1 << 20).expect("it opens");
    let bytes: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).take(40_000).collect();
    let blob = store.put(&bytes).expect("there is room");
    (dir, store, blob)
}

/// A frame with the request for bytes of the blob.
fn framed_request(blob: BlobRef, from: u64, until: u64) -> Vec<u8> {
    let body = postcard::to_stdvec(&(blob.blob.0, blob.bytes, from, until)).expect("plain data");
    [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
}

pub(super) fn blob_requests() -> Vec<Vec<u8>> {
    let (_dir, _, blob) = shared();
    vec![
        framed_request(blob, 0, blob.bytes),
        framed_request(blob, 16 << 10, 32 << 10),
        framed_request(BlobRef::of(b"another"), 0, 7),
    ]
}

pub(super) fn blob_request(bytes: &[u8]) -> bool {
    thread_local!(static SHARED: (TempDir, BlobStore, BlobRef) = shared());
    SHARED.with(|(_, store, blob)| {
        let mut stream = Fed::new(bytes);
        let served = block_on(blob::serve(store, &mut stream, &ServeLimits::default()));
        // The blob, its hashes, and an answer.
        assert!(stream.heard.len() as u64 <= 2 * blob.bytes + 1024);
        served.is_ok()
    })
}

pub(super) fn blob_answers() -> Vec<Vec<u8>> {
    let (_dir, store, blob) = shared();
    let request = framed_request(blob, 0, blob.bytes);
    let mut stream = Fed::new(&request);
    block_on(blob::serve(&store, &mut stream, &ServeLimits::default())).expect("it is there");
    vec![stream.heard]
}

/// Nothing but the blob itself is kept under its name, whatever is answered.
pub(super) fn blob_answer(bytes: &[u8]) -> bool {
    let (_dir, _, want) = shared();
    let dir = scratch();
    let store = BlobStore::open(dir.path(), 1 << 20).expect("it opens");
    let mut stream = Fed::new(bytes);
    let fetched = block_on(blob::fetch(
        &store,
        want,
        &mut stream,
        &FetchLimits::default(),
        |_| {},
    ));
    let there = store.get(want).expect("the disk serves");
    assert_eq!(there.is_some(), fetched.is_ok());
    assert!(there.is_none_or(|bytes| BlobRef::of(&bytes) == want));
    fetched.is_ok()
}
