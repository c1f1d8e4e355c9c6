//! Real proofs of each kind are byte for byte those of OpenVM's CPU device, where both grind alike.
//! The same proofs test what this build and its children do with proofs that hold, but are not good
//! enough.
//!
//! This target proves as `engine` has it compiled, and compiles the proving of OpenVM's device
//! alone: a type of its own for engines would compile everything that is generic over them.

mod changed_prover;
mod requirements;
mod spoilt;
mod stock;

use std::{fs, path::Path};

use myriad_engine::{Input, Level, MemoryBudget, Segment, VerifyError, worker::Failure};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_openvm::{KeyCache, Program, Verifier, devices, probe};
use stock::{CHIPS, COMPARED, both};

/// A few rounds of `fibonacci`, which are cut into three segments.
const ROUNDS: u64 = 300;
const INSTRUCTIONS: u64 = 1000;
/// Instructions of a segment from the middle of a block.
const BLOCK_INSTRUCTIONS: u64 = 20_000;
const BUDGET: MemoryBudget = MemoryBudget::from_bytes(4 << 30);

struct Job {
    program: Program,
    keys: KeyCache,
    input: Input,
    segments: Vec<Segment>,
}

fn guest(file: &str) -> Vec<u8> {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/");
    fs::read(format!("{guests}{file}")).unwrap()
}

impl Job {
    /// A job with the plan's one segment, which is to be parted.
    fn new(elf: &str, openvm_toml: Option<&str>, input: Vec<u8>) -> Self {
        let openvm_toml = openvm_toml.map(|file| String::from_utf8(guest(file)).unwrap());
        let program = Program::load(&guest(elf), openvm_toml.as_deref()).unwrap();
        let keys = KeyCache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys"));
        keys.ensure(program.config()).unwrap();
        let input = Input::from_bytes(input).unwrap();
        let plan = devices::plan(&program, &keys, &input, BUDGET, u64::MAX).unwrap();
        Self {
            program,
            keys,
            input,
            segments: plan.segments,
        }
    }

    /// Has one segment from each of these instructions on; the last one ends where the plan's does.
    /// Traces may have more room than they need.
    fn cut(&mut self, starts: &[u64]) {
        let [whole] = self.segments.as_slice() else {
            panic!("it is one segment");
        };
        let ends = starts.iter().skip(1).chain([&whole.num_insns]);
        let segment = |(index, (&start, &end)): (usize, (&u64, &u64))| {
            let mut segment = whole.clone();
            segment.index = index as u32;
            (segment.instret_start, segment.num_insns) = (start, end - start);
            segment.last = index + 1 == starts.len();
            segment
        };
        self.segments = starts.iter().zip(ends).enumerate().map(segment).collect();
    }

    /// As a child proves it.
    fn segment(&self, segment: &Segment, verifier: &Verifier) -> Result<Vec<u8>, Failure> {
        devices::prove_and_verify(&self.program, &self.keys, &self.input, segment, verifier)
    }

    fn node(&self, level: Level, children: &[Vec<u8>], verifier: &Verifier) -> Result<Vec<u8>, Failure> {
        devices::aggregate_and_verify(&self.program, &self.keys, level, children, verifier)
    }

    fn final_proof(
        &self,
        level: Level,
        top: &[u8],
        last_segment: &[u8],
        verifier: &Verifier,
    ) -> Result<Vec<u8>, Failure> {
        devices::finish_and_verify(&self.program, &self.keys, level, top, last_segment, verifier)
    }
}

fn job() -> Job {
    let mut job = Job::new("fibonacci.elf", None, ROUNDS.to_le_bytes().to_vec());
    job.cut(&[0, INSTRUCTIONS, 2 * INSTRUCTIONS]);
    job
}

/// A segment from the middle of a block, with instructions of OpenVM's extensions.
fn block() -> Job {
    let spec = SampleSpec {
        txs: 2,
        seed: 0,
        ..SampleSpec::default()
    };
    let input = sample::generate(&spec).unwrap().to_input().unwrap().encode();
    let mut job = Job::new("evm-block.elf", Some("evm-block.openvm.toml"), input);
    let mut segment = job.segments.swap_remove(job.segments.len() / 2);
    segment.instret_start += segment.num_insns / 2;
    (segment.num_insns, segment.last) = (BLOCK_INSTRUCTIONS, false);
    job.segments = vec![segment];
    job
}

#[test]
fn the_commitment_to_a_program_is_that_of_openvm() {
    let Job { program, keys, .. } = job();
    let verifier = Verifier::new(&program, &keys).unwrap();
    assert_eq!(
        devices::program_commitment(&verifier),
        devices::stock_commitment(&program, &keys).unwrap()
    );
}

#[test]
fn segments_nodes_of_every_kind_and_final_proofs_are_those_of_openvm() {
    let job = job();
    let verifier = Verifier::new(&job.program, &job.keys).unwrap();
    let node =
        |level, children: &[Vec<u8>]| probe::with(both, || job.node(level, children, &verifier)).unwrap();
    // OpenVM's device takes several times as long, so it makes one proof of each kind.
    let mut proofs = vec![probe::with(both, || job.segment(&job.segments[0], &verifier)).unwrap()];
    let others = job.segments[1..].iter();
    proofs.extend(others.map(|segment| job.segment(segment, &verifier).unwrap()));
    let last = &proofs[2];
    let leaves = [
        node(Level::LEAF, &proofs[..2]),
        job.node(Level::LEAF, &proofs[2..], &verifier).unwrap(),
    ];
    let internal = node(Level::INTERNAL_FOR_LEAF, &leaves);
    let top = node(Level::INTERNAL_RECURSIVE, std::slice::from_ref(&internal));
    // A node over its own kind.
    let made = probe::with(both, || {
        job.final_proof(Level::INTERNAL_RECURSIVE, &top, last, &verifier)
    });
    made.map(drop).unwrap();
    assert_eq!(COMPARED.get(), 5);

    spoilt::is_not_handed_out(&job, &verifier, (&leaves[1], &proofs[2..]), (&top, last));
    // All levels from the third on share a key.
    let above = verifier.node(Level::new(4).unwrap(), &top);
    assert!(matches!(above, Err(VerifyError::OtherKeys { .. })), "{above:?}");
    let nodes = [
        (Level::LEAF, leaves[0].as_slice()),
        (Level::INTERNAL_FOR_LEAF, &internal),
        (Level::INTERNAL_RECURSIVE, &top),
    ];
    requirements::are_checked(verifier, &proofs[0], &nodes);
}

#[test]
fn a_segment_of_a_block_is_that_of_openvm() {
    let job = block();
    let verifier = Verifier::new(&job.program, &job.keys).unwrap();
    let segment = &job.segments[0];
    probe::with(both, || job.segment(segment, &verifier)).unwrap();
    let chips = CHIPS.take();
    assert!(chips.iter().any(|chip| chip.contains("Keccakf")), "{chips:?}");
    assert_eq!(COMPARED.get(), 1);
}
