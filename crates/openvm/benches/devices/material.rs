//! The inputs of the tasks: programs, segments, and the proofs below a node.

use std::{env, fs, path::PathBuf};

use myriad_engine::{Input, Level, MemoryBudget, Plan, Segment};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_openvm::{KeyCache, Program, devices};
use myriad_swirl::SwirlEngine;

use crate::{
    Fallible,
    measure::{LOAD, timed},
};

/// Segments of the program whose tree is made.
pub const SEGMENTS: usize = 3;
const SEGMENT_INSTRUCTIONS: u64 = 655_000;
const EVM_SEGMENT_INSTRUCTIONS: u64 = 190_000;
/// This many rounds of `fibonacci` have somewhat less instructions than [`SEGMENTS`] segments.
const ROUNDS: u64 = 130_000;
/// Large enough that OpenVM's plan cuts nowhere where the benchmark does not.
const PLAN_BUDGET: MemoryBudget = MemoryBudget::from_bytes(64 << 30);

/// The inputs of tasks.
pub struct Material {
    dir: PathBuf,
    pub keys: KeyCache,
}

pub struct Subject {
    pub program: Program,
    pub input: Input,
    pub segments: Vec<Segment>,
}

impl Material {
    pub fn new() -> Fallible<Self> {
        let dir = env::temp_dir().join(format!("myriad-bench-devices-{}", env!("CARGO_PKG_VERSION")));
        fs::create_dir_all(&dir)?;
        Ok(Self {
            keys: KeyCache::new(dir.join("keys")),
            dir,
        })
    }

    pub fn fibonacci(&self) -> Fallible<Subject> {
        let elf = fs::read("guests/elf/fibonacci.elf")?;
        let program = timed(LOAD, || Program::load(&elf, None))?;
        self.keys.ensure(program.config())?;
        let input = Input::from_bytes(ROUNDS.to_le_bytes().to_vec())?;
        let plan = devices::plan(&program, &self.keys, &input, PLAN_BUDGET, u64::MAX)?;
        let segments = cut(&plan, SEGMENT_INSTRUCTIONS, SEGMENTS);
        Ok(Subject {
            program,
            input,
            segments,
        })
    }

    /// The block of `myriad demo`, and a segment from its middle.
    pub fn evm(&self) -> Fallible<Subject> {
        let toml = fs::read_to_string("guests/elf/evm-block.openvm.toml")?;
        let elf = fs::read("guests/elf/evm-block.elf")?;
        let program = timed(LOAD, || Program::load(&elf, Some(&toml)))?;
        self.keys.ensure(program.config())?;
        let spec = SampleSpec {
            txs: 2,
            seed: 0,
            ..SampleSpec::default()
        };
        let input = Input::from_bytes(sample::generate(&spec)?.to_input()?.encode())?;
        let plan = devices::plan(&program, &self.keys, &input, PLAN_BUDGET, u64::MAX)?;
        let mut segment = plan.segments[0].clone();
        segment.instret_start = plan.instructions / 2;
        segment.num_insns = EVM_SEGMENT_INSTRUCTIONS;
        segment.last = false;
        Ok(Subject {
            program,
            input,
            segments: vec![segment],
        })
    }

    /// The proof under this name, made if need be.
    fn proof(&self, name: &str, make: impl FnOnce() -> Fallible<Vec<u8>>) -> Fallible<Vec<u8>> {
        let path = self.dir.join(name);
        if let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        let bytes = make()?;
        fs::write(&path, &bytes)?;
        Ok(bytes)
    }

    /// The proof of a segment.
    pub fn segment(&self, name: &str, subject: &Subject, index: usize) -> Fallible<Vec<u8>> {
        self.proof(&format!("{name}-{index}"), || {
            let segment = &subject.segments[index];
            Ok(devices::prove_segment::<SwirlEngine>(
                &subject.program,
                &self.keys,
                &subject.input,
                segment,
            )?)
        })
    }

    /// A node over `arity` nodes of the level below, from the one with this number on. Nodes below
    /// it have one child.
    pub fn node(&self, subject: &Subject, level: Level, arity: usize, first: usize) -> Fallible<Vec<u8>> {
        let children = self.children(subject, level, arity, first)?;
        self.proof(&format!("node-{}-{arity}-{first}", level.number()), || {
            Ok(devices::aggregate::<SwirlEngine>(
                &subject.program,
                &self.keys,
                level,
                &children,
            )?)
        })
    }

    pub fn children(
        &self,
        subject: &Subject,
        level: Level,
        arity: usize,
        first: usize,
    ) -> Fallible<Vec<Vec<u8>>> {
        (first..first + arity)
            .map(|child| match Level::new(level.number() - 1) {
                Some(below) => self.node(subject, below, 1, child),
                None => self.segment("segment", subject, child),
            })
            .collect()
    }
}

/// The plan's segments, cut to this many instructions; their traces have more room than they need.
fn cut(plan: &Plan, instructions: u64, segments: usize) -> Vec<Segment> {
    (0..segments)
        .map(|index| {
            let mut segment = plan.segments[0].clone();
            segment.index = index as u32;
            segment.instret_start = index as u64 * instructions;
            segment.num_insns = instructions.min(plan.instructions - segment.instret_start);
            segment.last = index + 1 == segments;
            segment
        })
        .collect()
}
