//! The targets: for each, the decoder, valid samples, and what must hold.

mod blobs;
mod blocks;
mod engine;
mod files;
mod wire;

use std::fmt::Debug;

use myriad_core::JobId;
use myriad_engine::{Input, Segment};
use myriad_net::{
    blob::BlobRef,
    wire::{Hello, Request, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

pub use engine::VMEXE;

/// Something that decodes bytes from outside.
pub struct Target {
    pub name: &'static str,
    /// Valid inputs.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Decodes an input; true if it was valid. Panics if a valid one breaks a rule.
    pub run: fn(&[u8]) -> bool,
    /// The number of inputs that are tried by default: fewer where one takes longer.
    pub executions: u32,
}

/// All of them.
pub fn all() -> Vec<Target> {
    let target = |name, samples, run, executions| Target {
        name,
        samples,
        run,
        executions,
    };
    vec![
        target("request", wire::requests, wire::message::<Request>, 100_000),
        target("response", wire::responses, wire::message::<Response>, 100_000),
        target("hello", wire::hellos, wire::message::<Hello>, 100_000),
        target("announcement", wire::announcements, wire::announced, 100_000),
        target("blob-request", blobs::blob_requests, blobs::blob_request, 2_000),
        target("blob-answer", blobs::blob_answers, blobs::blob_answer, 1_000),
        target("openvm-toml", engine::openvm_tomls, engine::openvm_toml, 5_000),
        target("elf", engine::elves, engine::program, 1_000),
        target("vmexe", engine::vmexes, engine::program, 1_000),
        target("input", engine::inputs, engine::input, 50_000),
        target("input-blob", engine::input_blobs, postcard_of::<Input>, 50_000),
        target("segment", engine::segments, postcard_of::<Segment>, 50_000),
        target("block-file", blocks::block_files, blocks::block_file, 1_000),
        target("replay", blocks::replays, blocks::replay, 300),
        target(
            "stateless-input",
            blocks::stateless_inputs,
            blocks::stateless_input,
            500,
        ),
        target("chain-config", blocks::chain_configs, blocks::chain, 20_000),
        target("rpc-answer", blocks::rpc_answers, blocks::rpc_answer, 200),
        target("job-record", files::records, files::record, 1_000),
        target("journal-row", files::journal_rows, files::journal_row, 20_000),
        target("status", files::statuses, files::status, 2_000),
        target("profile", files::profiles, files::profile, 2_000),
        target("scenario", files::scenarios, files::scenario, 2_000),
    ]
}

/// A value that decodes also encodes, and decodes to the same again.
fn postcard_of<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = postcard::from_bytes::<T>(bytes) else {
        return false;
    };
    let again = postcard::to_stdvec(&value).expect("plain data");
    assert_eq!(postcard::from_bytes::<T>(&again).as_ref(), Ok(&value));
    true
}

fn posted<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data")
}

/// A folder for what one input makes, in memory where the system has such a folder: what is
/// written to be durable would otherwise wait for the disk at each of thousands of inputs, for
/// minutes where the disk is busy.
fn scratch() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a folder")
}

const JOB: JobId = JobId([0xaa; 32]);

fn blob_ref() -> BlobRef {
    BlobRef::of(b"a proof")
}
