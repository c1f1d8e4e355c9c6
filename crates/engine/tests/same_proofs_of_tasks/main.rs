//! Real proofs of each kind are byte for byte those of OpenVM's CPU device, where both grind alike.

mod changed_prover;
#[path = "../../../swirl/tests/common/transcript.rs"]
mod transcript;

use std::{cell::Cell, fs, path::Path};

use myriad_engine::{
    Input, KeyCache, Level, MemoryBudget, Program, Segment, Verifier,
    devices::{self, Backend},
};
use myriad_swirl::SwirlEngine;
use openvm_sdk::{DefaultStarkEngine, prover::vm::new_local_prover};
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    codec::Encode,
    proof::Proof,
    prover::{
        AirProvingContext, CommittedTraceData, Coordinator, DeviceMultiStarkProvingKey, ProverDevice,
        ProvingContext,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    BabyBearPoseidon2Config as SC, BabyBearPoseidon2CpuEngine,
};
use transcript::SmallestWitness;

type Stock = BabyBearPoseidon2CpuEngine<SmallestWitness>;
type Ours = SwirlEngine<SmallestWitness>;

/// A change to the values that a prover is to prove.
type Change = fn(&mut ProvingContext<Backend>);

thread_local! {
    /// The number of proofs that were compared.
    static COMPARED: Cell<usize> = const { Cell::new(0) };
    /// The change of the prover of this thread, if it was changed.
    static CHANGE: Cell<Option<Change>> = const { Cell::new(None) };
    /// Whether this thread proves with our device alone. A type of its own for that would compile
    /// the engine once more.
    static OURS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Proves each context with both devices, and compares. OpenVM's traces of the same task are not
/// always in the same order, so that the context has to be one.
struct Both {
    stock: Stock,
    ours: Ours,
}

impl StarkEngine for Both {
    type SC = SC;
    type PB = Backend;
    type PD = <Stock as StarkEngine>::PD;
    type TS = SmallestWitness;

    fn new(params: SystemParams) -> Self {
        Self {
            stock: Stock::new(params.clone()),
            ours: Ours::new(params),
        }
    }

    fn config(&self) -> &SC {
        self.stock.config()
    }

    fn device(&self) -> &Self::PD {
        self.stock.device()
    }

    fn initial_transcript(&self) -> SmallestWitness {
        self.stock.initial_transcript()
    }

    fn prover_from_transcript(
        &self,
        transcript: SmallestWitness,
    ) -> Coordinator<SC, Backend, Self::PD, SmallestWitness> {
        self.stock.prover_from_transcript(transcript)
    }

    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<Backend>,
        mut ctx: ProvingContext<Backend>,
    ) -> Result<Proof<SC>, <Self::PD as ProverDevice<Backend, SmallestWitness>>::Error> {
        if let Some(change) = CHANGE.get() {
            change(&mut ctx);
        }
        if OURS_ALONE.get() {
            return Ok(self.ours.prove(pk, ctx).unwrap());
        }
        let ours = self.ours.prove(pk, copy(&ctx)).unwrap();
        let stock = self.stock.prove(pk, ctx)?;
        assert!(
            ours.encode_to_vec().unwrap() == stock.encode_to_vec().unwrap(),
            "the proofs differ"
        );
        COMPARED.set(COMPARED.get() + 1);
        Ok(stock)
    }
}

fn copy(ctx: &ProvingContext<Backend>) -> ProvingContext<Backend> {
    let cached = |cached: &CommittedTraceData<Backend>| CommittedTraceData {
        commitment: cached.commitment,
        trace: cached.trace.clone(),
        data: cached.data.clone(),
    };
    let of_air = |(air, trace): &(usize, AirProvingContext<Backend>)| {
        let copy = AirProvingContext {
            cached_mains: trace.cached_mains.iter().map(cached).collect(),
            common_main: trace.common_main.clone(),
            public_values: trace.public_values.clone(),
        };
        (*air, copy)
    };
    ProvingContext {
        per_trace: ctx.per_trace.iter().map(of_air).collect(),
    }
}

/// A few rounds of `fibonacci`: two segments.
const ROUNDS: u64 = 100;
const INSTRUCTIONS_FIRST: u64 = 1000;

struct Job {
    program: Program,
    keys: KeyCache,
    input: Input,
    segments: Vec<Segment>,
}

fn job() -> Job {
    let elf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
    let program = Program::load(&fs::read(elf).unwrap(), None).unwrap();
    let keys = KeyCache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys"));
    keys.ensure(program.config()).unwrap();
    let input = Input::from_bytes(ROUNDS.to_le_bytes().to_vec()).unwrap();
    let budget = MemoryBudget::from_bytes(4 << 30);
    let plan = devices::plan(&program, &keys, &input, budget, 1_000_000).unwrap();
    let [whole] = plan.segments.as_slice() else {
        panic!("it is one segment");
    };
    // Traces may have more room than they need.
    let (mut first, mut second) = (whole.clone(), whole.clone());
    (first.num_insns, first.last) = (INSTRUCTIONS_FIRST, false);
    (second.index, second.instret_start) = (1, INSTRUCTIONS_FIRST);
    second.num_insns = whole.num_insns - INSTRUCTIONS_FIRST;
    Job {
        program,
        keys,
        input,
        segments: vec![first, second],
    }
}

#[test]
fn the_commitment_to_a_program_is_that_of_openvm() {
    let Job { program, keys, .. } = job();
    let key = &devices::app_key(&program, &keys).unwrap().app_vm_pk;
    let exe = devices::exe(&program);
    let stock = new_local_prover::<DefaultStarkEngine, _>(SdkVmCpuBuilder, key, exe).unwrap();
    let verifier = Verifier::new(&program, &keys).unwrap();
    assert_eq!(
        devices::program_commitment(&verifier),
        *stock.program_commitment()
    );
}

#[test]
fn segments_nodes_of_every_kind_and_final_proofs_are_those_of_openvm() {
    let Job {
        program,
        keys,
        input,
        segments,
    } = job();
    let segment = |segment| devices::prove_segment::<Both>(&program, &keys, &input, segment).unwrap();
    let node = |level: Level, children: &[Vec<u8>]| {
        devices::aggregate::<Both>(&program, &keys, level, children).unwrap()
    };
    let proofs: Vec<Vec<u8>> = segments.iter().map(segment).collect();
    let leaf = node(Level::LEAF, &proofs);
    let internal = node(Level::INTERNAL_FOR_LEAF, &[leaf]);
    let top = node(Level::INTERNAL_RECURSIVE, &[internal]);
    // A node over its own kind.
    let proof =
        devices::finish::<Both>(&program, &keys, Level::INTERNAL_RECURSIVE, &top, &proofs[1]).unwrap();
    assert_eq!(COMPARED.get(), 6);
    let verifier = Verifier::new(&program, &keys).unwrap();
    verifier.final_proof(&proof).unwrap();
}
