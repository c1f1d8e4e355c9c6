//! The targets: what is decoded, what is valid, and what must hold.

use std::{fmt::Debug, fs, path::Path, sync::LazyLock};

use myriad_core::{Arities, Blob, JobId, NodeId, Peer, Standing, TaskId, TaskRef};
use myriad_cost::profile::Profile;
use myriad_engine::{Boundary, Input, Plan, Program, Segment, VmConfig};
use myriad_evm::{
    StatelessInput,
    host::{
        BlockFile,
        batch::batch_file,
        chain_config,
        replay::replay_bytes,
        sample::{self, Replayed, SampleSpec},
    },
    validate,
};
use myriad_net::{
    Receipt, SignedReceipt,
    blob::{self, BlobRef, BlobStore, FetchLimits, ServeLimits},
    wire::{
        ANNOUNCEMENT_BYTES_MAX, Announcement, Bounded, Contact, FRAME_BYTES_MAX, Hello, Lease, Notice,
        OfferMessage, PROTOCOL_VERSION, Refused, Request, Response, Returned, Role, Source, Sources, Spent,
        Why, Work, decode, encode,
    },
};
use myriad_node::{
    JournalEntry, JournalPlan,
    prover::{Status, StatusFile},
    records::Jobs,
};
use myriad_sim::fleet::ScenarioFile;
use serde::{Serialize, de::DeserializeOwned};

use crate::{rpc, streams::Fed};

/// Something that decodes bytes from outside.
pub struct Target {
    pub name: &'static str,
    /// Valid inputs.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Decodes an input; whether it was one. Panics where what must hold does not.
    pub run: fn(&[u8]) -> bool,
    /// How many inputs are tried where nothing else is said: fewer of what takes longer.
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
        target("request", requests, message::<Request>, 100_000),
        target("response", responses, message::<Response>, 100_000),
        target("hello", hellos, message::<Hello>, 100_000),
        target("announcement", announcements, announced, 100_000),
        target("blob-request", blob_requests, blob_request, 2_000),
        target("blob-answer", blob_answers, blob_answer, 1_000),
        target("openvm-toml", openvm_tomls, openvm_toml, 5_000),
        target("elf", elves, program, 1_000),
        target("vmexe", vmexes, program, 1_000),
        target("input", inputs, input, 50_000),
        target("input-blob", input_blobs, postcard_of::<Input>, 50_000),
        target("segment", segments, postcard_of::<Segment>, 50_000),
        target("block-file", block_files, block_file, 1_000),
        target("replay", replays, replay, 300),
        target("stateless-input", stateless_inputs, stateless_input, 500),
        target("chain-config", chain_configs, chain, 20_000),
        target("rpc-answer", rpc_answers, rpc_answer, 200),
        target("job-record", records, record, 1_000),
        target("journal-row", journal_rows, journal_row, 20_000),
        target("status", statuses, status, 2_000),
        target("profile", profiles, profile, 2_000),
        target("scenario", scenarios, scenario, 2_000),
    ]
}

/// What decodes also encodes, and decodes to the same again.
fn message<T: Serialize + DeserializeOwned + Bounded + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = decode::<T>(bytes, FRAME_BYTES_MAX) else {
        return false;
    };
    let again = encode(&message, FRAME_BYTES_MAX).expect("it was no larger than this");
    assert_eq!(decode::<T>(&again, FRAME_BYTES_MAX).as_ref(), Ok(&message));
    true
}

fn announced(bytes: &[u8]) -> bool {
    decode::<Announcement>(bytes, ANNOUNCEMENT_BYTES_MAX).is_ok()
}

fn encoded<T: Serialize>(messages: &[T]) -> Vec<Vec<u8>> {
    let encode = |message| encode(message, FRAME_BYTES_MAX).expect("a sample is small");
    messages.iter().map(encode).collect()
}

const JOB: JobId = JobId([0xaa; 32]);

fn task(task: TaskId) -> TaskRef {
    TaskRef { job: JOB, task }
}

fn blob_ref() -> BlobRef {
    BlobRef::of(b"a proof")
}

fn announcement() -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job: JOB,
        requester: Peer([0xbb; 32]),
        sequence: 1_700_000_000_000,
        open: true,
        engine: [0xcc; 32],
        instructions: 7_000_000,
        memory_min: 1 << 30,
        bytes: 3_000_000,
        record: vec![7; 300],
    }
}

fn requests() -> Vec<Vec<u8>> {
    let segment = task(TaskId::Segment(3));
    let node = task(TaskId::Node(NodeId { level: 2, index: 300 }));
    encoded(&[
        Request::Offer(OfferMessage {
            memory: 4 << 30,
            threads: 2,
            speed: 2000,
            holds: vec![Blob([1; 32]), Blob([2; 32])],
        }),
        Request::Renew {
            task: segment,
            progress: 500,
        },
        Request::Submit {
            task: node,
            proof: blob_ref(),
            spent: Spent {
                wall_ms: 1000,
                cpu_ms: 2000,
                memory_bytes: 1 << 30,
            },
        },
        Request::Return {
            task: task(TaskId::Final),
            why: Returned::Failed {
                message: "it does not work here".into(),
            },
        },
        Request::Return {
            task: segment,
            why: Returned::Surplus,
        },
        Request::Notice(Notice::Verdict {
            task: node,
            accepted: false,
            reason: "no".into(),
        }),
        Request::Notice(Notice::Obsolete {
            proofs: vec![Blob([1; 32]); 4],
        }),
        Request::Notice(Notice::Job(Box::new(announcement()))),
        Request::Notice(Notice::Wake),
        Request::Notice(Notice::Revoke {
            task: segment,
            reason: "another one was faster".into(),
        }),
        Request::Notice(Notice::Receipt(Box::new(SignedReceipt {
            receipt: Receipt {
                requester: Peer([0xbb; 32]),
                prover: Peer([0xdd; 32]),
                task: segment,
                proof: Blob([1; 32]),
                instructions: 655_000,
                work_ms: 27_000,
                accepted: 1_700_000_000,
            },
            signature: vec![7; 64],
        }))),
    ])
}

fn source() -> Source {
    Source {
        blob: blob_ref(),
        holders: vec![Contact {
            peer: Peer([7; 32]),
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        }],
    }
}

fn responses() -> Vec<Vec<u8>> {
    let lease = |work| {
        Response::Lease(Box::new(Lease {
            task: task(TaskId::Final),
            lease_ms: 60_000,
            work_ms: 30_000,
            memory: 3 << 30,
            sources: Sources {
                program: source(),
                openvm_toml: Some(source()),
                input: source(),
                engine: [0xcc; 32],
                instructions: 7_000_000,
            },
            work,
        }))
    };
    encoded(&[
        lease(Work::Segment(vec![1; 200])),
        lease(Work::Aggregate {
            level: 2,
            children: vec![source(), source()],
        }),
        lease(Work::Finish {
            level: 3,
            top: source(),
            last_segment: source(),
        }),
        Response::Refused(Refused {
            why: Why::NotNow,
            reason: "ask again".into(),
            retry_ms: Some(500),
        }),
        Response::Extended { lease_ms: 1000 },
        Response::Received,
    ])
}

fn hellos() -> Vec<Vec<u8>> {
    encoded(&[Hello {
        version: PROTOCOL_VERSION,
        build: "myriad 0.1.0".into(),
        engine: [0xcc; 32],
        role: Role::Requester,
        jobs: vec![announcement(), announcement()],
        boot: 1_700_000_000,
        clock_ms: 1_700_000_000_000,
    }])
}

fn announcements() -> Vec<Vec<u8>> {
    encoded(&[announcement()])
}

/// Waits for what is there at once.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime of one thread").block_on(work)
}

/// A blob of three groups, and where it is.
fn shared() -> (tempfile::TempDir, BlobStore, BlobRef) {
    let dir = tempfile::tempdir().expect("a folder");
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

fn blob_requests() -> Vec<Vec<u8>> {
    let (_dir, _, blob) = shared();
    vec![
        framed_request(blob, 0, blob.bytes),
        framed_request(blob, 16 << 10, 32 << 10),
        framed_request(BlobRef::of(b"another"), 0, 7),
    ]
}

fn blob_request(bytes: &[u8]) -> bool {
    thread_local!(static SHARED: (tempfile::TempDir, BlobStore, BlobRef) = shared());
    SHARED.with(|(_, store, blob)| {
        let mut stream = Fed::new(bytes);
        let served = block_on(blob::serve(store, &mut stream, &ServeLimits::default()));
        // The blob, its hashes, and an answer.
        assert!(stream.heard.len() as u64 <= 2 * blob.bytes + 1024);
        served.is_ok()
    })
}

fn blob_answers() -> Vec<Vec<u8>> {
    let (_dir, store, blob) = shared();
    let request = framed_request(blob, 0, blob.bytes);
    let mut stream = Fed::new(&request);
    block_on(blob::serve(&store, &mut stream, &ServeLimits::default())).expect("it is there");
    vec![stream.heard]
}

/// Whatever is answered, nothing but the blob itself is kept under its name.
fn blob_answer(bytes: &[u8]) -> bool {
    let (_dir, _, want) = shared();
    let dir = tempfile::tempdir().expect("a folder");
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

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guests/elf")
        .join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn openvm_tomls() -> Vec<Vec<u8>> {
    vec![
        guest("evm-block.openvm.toml"),
        guest("evm-block-precompiles.openvm.toml"),
        b"[app_vm_config.rv32i]\n[app_vm_config.io]\n".to_vec(),
    ]
}

fn openvm_toml(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    VmConfig::from_toml(&text).is_ok()
}

fn elves() -> Vec<Vec<u8>> {
    vec![guest("fibonacci.elf"), guest("misbehave.elf")]
}

fn program(bytes: &[u8]) -> bool {
    Program::load(bytes, None).is_ok()
}

fn inputs() -> Vec<Vec<u8>> {
    vec![
        b"0x0110270000".to_vec(),
        br#"{"input": ["0x0110270000", "0x0201000000"]}"#.to_vec(),
    ]
}

fn input(bytes: &[u8]) -> bool {
    let Ok(input) = Input::parse(bytes) else {
        return false;
    };
    // Each byte takes two digits.
    assert!(2 * input.byte_len() <= bytes.len());
    true
}

/// A program as OpenVM writes it.
pub const VMEXE: &[u8] = include_bytes!("../samples/fibonacci.vmexe");

fn vmexes() -> Vec<Vec<u8>> {
    vec![VMEXE.to_vec()]
}

/// What decodes also encodes, and decodes to the same again.
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

/// As blobs have inputs.
fn input_blobs() -> Vec<Vec<u8>> {
    let parsed = |text: Vec<u8>| posted(&Input::parse(&text).expect("a sample"));
    inputs().into_iter().map(parsed).collect()
}

fn a_segment() -> Segment {
    Segment {
        index: 3,
        instret_start: 300_000,
        num_insns: 100_000,
        trace_heights: vec![0, 1 << 16, 1 << 20],
        last: false,
        cells: 40_000_000,
        interactions: 9_000_000,
        peak_bytes: 2 << 30,
    }
}

fn segments() -> Vec<Vec<u8>> {
    vec![posted(&a_segment())]
}

/// A row of each table that a requester keeps, with the number of its table before it.
fn journal_rows() -> Vec<Vec<u8>> {
    // A root has no constructor outside the engine, and needs none: it decodes from what it encodes to.
    let root = [1, 2, 3, 4, 5, 6, 7, 8];
    let boundary: Boundary = serde_json::from_value(serde_json::json!({
        "initial_pc": 0, "final_pc": 4, "initial_root": root, "final_root": root, "exit_code": 0,
    }))
    .expect("a boundary");
    let entry = JournalEntry {
        proof: blob_ref(),
        boundary,
    };
    let plan = JournalPlan {
        memory_bytes: 4 << 30,
        engine: [0xcc; 32],
        arities: Arities {
            leaf: 1,
            internal_for_leaf: 2,
            internal_recursive: 2,
        },
        plan: Plan {
            segments: vec![a_segment(); 2],
            public_values: vec![7; 32],
            instructions: 200_000,
        },
    };
    let standing = Standing {
        accepted: 3,
        banned: Some("it lied".into()),
        ..Standing::default()
    };
    let rows = [
        posted(&entry),
        posted(&plan),
        posted(&vec![boundary; 2]),
        posted(&(TaskId::Segment(3), Peer([7; 32]))),
        posted(&standing),
    ];
    let numbered = |(table, row): (u8, Vec<u8>)| [vec![table], row].concat();
    (0..).zip(rows).map(numbered).collect()
}

fn journal_row(bytes: &[u8]) -> bool {
    let Some((table, row)) = bytes.split_first() else {
        return false;
    };
    match table {
        0 => postcard_of::<JournalEntry>(row),
        1 => postcard_of::<JournalPlan>(row),
        2 => postcard_of::<Vec<Boundary>>(row),
        3 => postcard_of::<(TaskId, Peer)>(row),
        4 => postcard_of::<Standing>(row),
        _ => false,
    }
}

/// The answer to each method, with the method's number before it.
fn rpc_answers() -> Vec<Vec<u8>> {
    let file = sample_block();
    let numbered = |(number, method): (u8, &str)| [vec![number], rpc::answer(&file, method)].concat();
    (0..).zip(rpc::METHODS).map(numbered).collect()
}

fn rpc_answer(bytes: &[u8]) -> bool {
    thread_local!(static NODE: rpc::Node = rpc::Node::start(sample_block()));
    let Some((&number, body)) = bytes.split_first() else {
        return false;
    };
    let method = rpc::METHODS.get(usize::from(number));
    method.is_some_and(|method| NODE.with(|node| node.import(method, body)))
}

/// What `myriad simulate --example` prints.
fn scenarios() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report/scenarios/ten-rollups.toml");
    vec![
        include_bytes!("../../crates/cli/src/commands/simulate/example.toml").to_vec(),
        fs::read(path).expect("it is part of the report"),
    ]
}

fn scenario(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| ScenarioFile::parse(text).is_ok())
}

fn sample_block() -> BlockFile {
    let spec = SampleSpec {
        txs: 2,
        accounts: 40,
        token_holders: 20,
        ..SampleSpec::default()
    };
    sample::generate(&spec).expect("the numbers are allowed")
}

fn block_files() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("block.json");
    let file = sample_block();
    file.write(&path).expect("there is room");
    let plain = fs::read(&path).expect("it was written");
    let spec = SampleSpec {
        txs: 2,
        accounts: 40,
        token_holders: 20,
        ..SampleSpec::default()
    };
    let chain = sample::generate_chain(&spec, 2).expect("the numbers are allowed");
    let batch = batch_file(&chain).expect("they are consecutive");
    batch.write(&path).expect("there is room");
    let batch = fs::read(&path).expect("it was written");
    vec![plain, file.to_gzip().expect("to memory"), batch]
}

fn block_file(bytes: &[u8]) -> bool {
    let Ok(file) = BlockFile::from_bytes(bytes) else {
        return false;
    };
    let _ = (file.decode_blocks(), file.decode_parent(), file.chain());
    file.to_input().is_ok()
}

fn replays() -> Vec<Vec<u8>> {
    vec![REPLAYED.json.to_string().into_bytes()]
}

/// What comes of it is a batch that holds.
fn replay(bytes: &[u8]) -> bool {
    let Ok(replayed) = replay_bytes(bytes, Some(&REPLAYED.chain_config)) else {
        return false;
    };
    let input = replayed.file.to_input().expect("it was made into one before");
    validate(&input).expect("it was executed before");
    true
}

static REPLAYED: LazyLock<Replayed> =
    LazyLock::new(|| sample::replayed("PUSH 1 PUSH 0 SSTORE STOP", 2).expect("it assembles"));

fn stateless_inputs() -> Vec<Vec<u8>> {
    vec![sample_block().to_input().expect("it is valid").encode()]
}

/// A block that is not the sample is refused, unless what was changed of the witness is not needed.
fn stateless_input(bytes: &[u8]) -> bool {
    let Ok(input) = StatelessInput::decode(bytes.to_vec().into()) else {
        return false;
    };
    assert_eq!(StatelessInput::decode(input.encode().into()).as_ref(), Ok(&input));
    validate(&input).is_ok()
}

fn chain_configs() -> Vec<Vec<u8>> {
    let file = sample_block();
    let chain = file.chain().expect("it has one");
    let config = chain_config::to_geth(&chain);
    vec![serde_json::to_vec(&config).expect("plain data")]
}

fn chain(bytes: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(bytes);
    value.is_ok_and(|value| {
        let id = value.get("chainId").and_then(serde_json::Value::as_u64);
        chain_config::from_geth(&value, id.unwrap_or_default()).is_ok()
    })
}

fn records() -> Vec<Vec<u8>> {
    let file = serde_json::json!({ "blake3": JOB.to_string(), "bytes": 7 });
    let record = serde_json::json!({
        "version": 1, "name": "fibonacci", "state": "open", "begun": 1, "updated": 2, "pid": 3,
        "out_dir": "/tmp", "memory_bytes": 4_294_967_296_u64, "max_instructions": 1000,
        "fleet": { "kind": "network", "provers": 8 }, "verify": "--program x.elf",
        "program": file, "openvm_toml": null, "input": file, "done": 1, "tasks": 6,
    });
    vec![serde_json::to_vec(&record).expect("plain data")]
}

fn record(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("jobs").join(JOB.to_string());
    fs::create_dir_all(&folder).expect("there is room");
    fs::write(folder.join("job.json"), bytes).expect("there is room");
    let jobs = Jobs::of(dir.path());
    let found = jobs
        .list()
        .expect("one broken record is not the folder's failure");
    assert_eq!(found.len(), 1);
    found[0].record.is_some()
}

fn statuses() -> Vec<Vec<u8>> {
    vec![serde_json::to_vec(&Status::default()).expect("plain data")]
}

fn status(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("status.json"), bytes).expect("there is room");
    StatusFile::read(dir.path()).is_ok()
}

fn profiles() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report/profiles/epyc-2-cores.json");
    vec![fs::read(path).expect("it is part of the report")]
}

/// A profile that is taken can be fitted to, and its numbers are numbers.
fn profile(bytes: &[u8]) -> bool {
    Profile::parse(bytes).is_ok_and(|profile| profile.validate().is_ok())
}
