//! Predicts the memory of tasks, in real bytes of the proving process. OpenVM's own estimate is for
//! GPUs.

use myriad_engine::{Input, NodeMemory};
use myriad_swirl::{MemoryModel, Peak, SwirlEngine, SwirlError};
use openvm_circuit::{
    arch::{
        PROGRAM_AIR_ID, VirtualMachine, VmBuilder,
        execution_mode::{SegmentationLimits, metered::segment_ctx::SegmentationCtx},
    },
    system::program::ProgramExecutionCols,
};
use openvm_sdk::SC;
use openvm_stark_backend::{
    StarkEngine,
    memory_metering::{ProvingMemoryConfig, ProvingMemoryCounts},
    p3_field::PrimeField32,
    prover::DeviceStarkProvingKey,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{Program, VmConfig, backend::Backend, circuit::Circuit};

/// Bytes that a proving process holds beside its program, its input and its proof: code, keys,
/// lookup tables.
pub(crate) const BASE_BYTES: u64 = 104 << 20;
/// The memory of a process that only verifies proofs, beside its job.
const VERIFYING_BYTES: u64 = 320 << 20;
/// Bytes for each cell of the program's table, which stays committed to from one segment to the
/// next.
const BYTES_PER_PROGRAM_CELL: u64 = 4;
/// Threads that a segment is planned for, whatever machine proves it. Each has working memory of up
/// to 1 MiB; nothing large is there once for each thread.
const THREADS: usize = 16;
/// Stands for the peak memory of a segment that cannot be proven, because a trace is higher than it
/// may be.
pub(crate) const NO_PROOF: u64 = u64::MAX;
/// Bytes of a field element.
const BYTES_PER_CELL: u64 = 4;
/// Bytes that the device keeps of each leaf of the fraction tree.
const BYTES_PER_INTERACTION: u64 = 8;
/// Bytes for each byte of the input: the stream that the VM reads, whose elements have 4, the input
/// itself, which the process keeps for its next task, and the guest's own copy once it has read it.
/// Source: a segment of `misbehave` took 4.7 to 5.3 times more with 100 MB of input than with 20
/// MB, at the start and at the end.
pub(crate) const BYTES_PER_INPUT_BYTE: u64 = 6;
/// Whether a chip of this name shows hashes of memory.
///
/// Metering counts for it, and for the two chips that say which memory was touched, all nodes over
/// each page that is touched, before and after. That is the largest possible number: as if all of a
/// page were touched, and nothing in it were zero before or after. The prediction takes these
/// counts as they are.
pub(crate) fn is_memory_hash_chip(name: &str) -> bool {
    name.starts_with("Poseidon2PeripheryAir")
}

/// Predicts the peak memory of the process that proves a segment: the device's prediction for the
/// proof, and the memory that the process holds beside it.
///
/// The device's [`MemoryModel`] is exact, but it is not a sum over rows, and OpenVM can only cut by
/// such a sum. So cuts are made by a sum that is nearly proportional to it
/// ([`Self::segmentation`]), and the caller has to check the model's prediction for the segments.
pub(crate) struct SegmentMemory {
    device: MemoryModel,
    names: Vec<String>,
    /// Bytes that the process has without a proof.
    held_bytes: u64,
    /// Cells in a row of each chip's trace.
    widths: Vec<u64>,
    /// Bus interactions in a row of each chip's trace.
    interactions: Vec<u64>,
    /// `log2` of the most rows that a trace may have.
    log_height_max: usize,
}

/// The load of a segment on its prover, before it is turned to bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Field elements in all traces, with each height rounded up to a power of two.
    pub cells: u64,
    /// Leaves of the fraction tree.
    pub interactions: u64,
}

impl SegmentMemory {
    /// The model of a program's segments on an input.
    pub(crate) fn new<E, VB>(vm: &VirtualMachine<E, VB>, program: &Program, input: &Input) -> Self
    where
        E: StarkEngine<SC = SC, PB = Backend>,
        VB: VmBuilder<E>,
    {
        let config = vm.engine.proving_memory_config();
        let per_air = &vm.pk().per_air;
        let exe = program.exe();
        let instructions = exe.program.num_defined_instructions();
        let width = |pk: &DeviceStarkProvingKey<Backend>| pk.vk.params.width.total_width() as u64;
        let program_cells = width(&per_air[PROGRAM_AIR_ID]) * instructions.next_power_of_two() as u64;
        let interactions =
            |pk: &DeviceStarkProvingKey<Backend>| pk.vk.symbolic_constraints.interactions.len();
        Self {
            device: <SwirlEngine>::new(vm.engine.params().clone())
                .device()
                .memory_model(vm.pk()),
            names: per_air.iter().map(|pk| pk.air_name.clone()).collect(),
            held_bytes: BASE_BYTES
                + keys_bytes(program.config())
                + held_bytes(instructions, exe.init_memory.len(), 0)
                + BYTES_PER_PROGRAM_CELL * program_cells
                + BYTES_PER_INPUT_BYTE * input.byte_len() as u64,
            widths: per_air.iter().map(width).collect(),
            interactions: per_air.iter().map(|pk| interactions(pk) as u64).collect(),
            log_height_max: config.log_stacked_height,
        }
    }

    /// Has OpenVM cut an execution where the rows of a segment come to more than `bytes`: the rows
    /// of their stacked cells, and of the fraction tree that is there beside them.
    ///
    /// OpenVM's own measure is made for GPUs, which have other limits: with it, segments came out
    /// anywhere from half the budget to all of it. Here, OpenVM's numbers for cells are the bytes
    /// of rows, and everything else in its formula is as little as it can be. The phase with the
    /// fraction tree takes most in almost every segment.
    pub(crate) fn segmentation(&self, bytes: u64) -> SegmentationCtx {
        let (counting, max_memory) = self.limit(bytes);
        let chips = self.widths.len();
        let row_bytes = self.widths.iter().zip(&self.interactions);
        let row_bytes = row_bytes.map(|(cells, interactions)| {
            (BYTES_PER_CELL * cells + BYTES_PER_INTERACTION * interactions) as usize
        });
        SegmentationCtx::new(
            self.names.clone(),
            row_bytes.collect(),
            self.interactions.iter().map(|&count| count as usize).collect(),
            vec![false; chips],
            vec![0; chips],
            SegmentationLimits {
                max_trace_height_bits: self.log_height_max as u8,
                max_memory,
                // The limit of the proof system, which is far above what memory allows.
                max_interactions: F::ORDER_U32,
            },
            counting,
        )
    }

    /// Has OpenVM cut for this many bytes from now on.
    pub(crate) fn cut_for(&self, bytes: u64, segmentation: &mut SegmentationCtx) {
        segmentation.set_max_memory(self.limit(bytes).1);
    }

    /// What OpenVM is to make of rows, and its limit for this many bytes of them.
    fn limit(&self, bytes: u64) -> (ProvingMemoryConfig, usize) {
        let counting = ProvingMemoryConfig {
            base_field_size: 1,
            extension_degree: 0,
            digest_size: 0,
            log_blowup: 0,
            l_skip: 0,
            log_stacked_height: 0,
            k_whir: 0,
            max_constraint_degree: 0,
            cache_stacked_matrix: false,
            cache_rs_code_matrix: false,
            zerocheck_save_memory: true,
        };
        let rows = bytes.saturating_sub(self.held_bytes) as usize;
        // One interaction, since the formula has a constant part for any number but zero.
        let max_memory = counting.estimate(ProvingMemoryCounts::new(0, rows, 1, 0)).total;
        (counting, max_memory)
    }

    pub(crate) fn load(&self, trace_heights: &[u32]) -> Load {
        Load {
            cells: over_rows(trace_heights, &self.widths),
            interactions: over_rows(trace_heights, &self.interactions),
        }
    }

    /// Expected peak memory of the process that proves a segment of these heights, in bytes;
    /// [`NO_PROOF`] where no proof has such heights.
    pub(crate) fn peak_bytes(&self, trace_heights: &[u32]) -> u64 {
        match self.peak(trace_heights) {
            Ok(peak) => self.held_bytes + peak.with_traces() as u64,
            Err(_) => NO_PROOF,
        }
    }

    /// The reason for which no proof has such heights.
    pub(crate) fn misfit(&self, trace_heights: &[u32]) -> String {
        match self.peak(trace_heights) {
            Ok(peak) => format!("a segment takes {} bytes", peak.with_traces()),
            Err(e) => e.to_string(),
        }
    }

    fn peak(&self, trace_heights: &[u32]) -> Result<Peak, SwirlError> {
        let heights: Vec<usize> = trace_heights.iter().map(|&height| height as usize).collect();
        self.device.peak(&heights, THREADS)
    }
}

/// The sum over all rows of all chips of `of_row`, which has a number for each chip.
fn over_rows(trace_heights: &[u32], of_row: &[u64]) -> u64 {
    let rows = |&height: &u32| match height {
        0 => 0,
        height => u64::from(height).next_power_of_two(),
    };
    trace_heights
        .iter()
        .map(rows)
        .zip(of_row)
        .map(|(rows, each)| rows * each)
        .sum()
}

/// Peak memory in MiB of a process that aggregates 1, 2, ... children, for each circuit, without
/// the parts of the job that it holds. The numbers are 4 to 16 % above the measurements of `cargo
/// bench --workspace --bench memory -- --tree 4,3,3` and `--tree 1,1,3`. The nodes below count: the
/// peaks of internal-for-leaf nodes are over leaves of four.
struct NodePeaks {
    leaf: [u64; 4],
    internal_for_leaf: [u64; 3],
    internal_recursive: [u64; 3],
    /// [`Self::internal_recursive`] where the internal-for-leaf nodes of the tree have one child
    /// each.
    internal_recursive_over_ones: [u64; 3],
}

/// The peaks of programs on plain RV32IM. Measured with the fibonacci guest are 244 to 508, 324 to
/// 778, 233 and 361, and 221 to 371.
const PLAIN_PEAKS_MIB: NodePeaks = NodePeaks {
    leaf: [280, 360, 520, 560],
    internal_for_leaf: [360, 620, 830],
    internal_recursive: [270, 400, 520],
    internal_recursive_over_ones: [260, 370, 420],
};

/// The peaks of programs with extensions. Measured with the EVM block guest, which has keccak and
/// secp256k1, are 483 to 1048, 531 to 897, and 350 to 675, all with the 115 MiB of it that the
/// process holds ([`held_bytes`]).
const EXTENDED_PEAKS_MIB: NodePeaks = NodePeaks {
    leaf: [430, 600, 650, 1000],
    internal_for_leaf: [460, 800, 840],
    internal_recursive: [280, 410, 600],
    internal_recursive_over_ones: [260, 370, 440],
};

/// The extensions of the EVM block guest whose precompiles are software: Keccak, two moduli, and a
/// curve.
const EXTENSIONS_FEW: usize = 4;

/// The peaks of programs with more of them. Measured with the EVM block guest that has instructions
/// for nearly all precompiles, eleven: leaves 799 to 1265, the others no more than with few, all
/// with the 111 MiB of it that the process holds.
const MANY_PEAKS_MIB: NodePeaks = NodePeaks {
    leaf: [750, 920, 1140, 1240],
    internal_for_leaf: [460, 800, 840],
    internal_recursive: [280, 410, 600],
    internal_recursive_over_ones: [260, 370, 440],
};

/// Bytes that the keys of a configuration with many extensions take more than those of one with
/// few.
fn keys_bytes(config: &VmConfig) -> u64 {
    if config.extensions() > EXTENSIONS_FEW {
        64 << 20
    } else {
        0
    }
}

/// Bytes that a program which is loaded takes for each of its instructions, and for each byte of
/// the memory that it starts with. A process that has loaded the EVM block guest, with 0.7 million
/// and 2.8 MB of them, has 115 MiB more than an empty one.
const BYTES_PER_INSTRUCTION: u64 = 90;
const BYTES_PER_INITIAL_BYTE: u64 = 20;

impl Program {
    /// Bytes that a process has in memory of this program and its input once it has loaded them.
    pub fn held_bytes(&self, input: &Input) -> u64 {
        let exe = self.exe();
        held_bytes(exe.program.len(), exe.init_memory.len(), input.byte_len())
    }
}

/// The memory, in bytes, that a process takes for a job which it has loaded, whatever it does for
/// it. An input of 64 MiB takes 66 MiB.
fn held_bytes(instructions: usize, initial_bytes: usize, input_bytes: usize) -> u64 {
    BYTES_PER_INSTRUCTION * instructions as u64
        + BYTES_PER_INITIAL_BYTE * initial_bytes as u64
        + input_bytes as u64
}

/// Bytes that a prover of segments takes between tasks, at most: all that a process which proves
/// holds beside its program and its input. What it keeps of the program's memory comes on top.
pub(crate) fn prover_bytes(program: &Program) -> u64 {
    let instructions = program.exe().program.num_defined_instructions();
    let cells = size_of::<ProgramExecutionCols<u8>>() * instructions.next_power_of_two();
    BASE_BYTES + keys_bytes(program.config()) + BYTES_PER_PROGRAM_CELL * cells as u64
}

/// Bytes that an aggregator takes between tasks, at most. The numbers are 20 to 33 % above what
/// `cargo bench --workspace --bench memory -- --tools` measured: 37 MiB for the leaves of a program
/// without extensions, 46 with few and 70 with many; 21 and 39 for the circuits above, which are
/// the same for all programs.
pub(crate) fn aggregator_bytes(config: &VmConfig, circuit: Circuit) -> u64 {
    let mib = match circuit {
        Circuit::Leaf => match config.extensions() {
            0 => 46,
            1..=EXTENSIONS_FEW => 56,
            _ => 84,
        },
        Circuit::InternalForLeaf => 28,
        Circuit::InternalRecursive => 48,
    };
    mib << 20
}

/// Expected peak memory, in bytes, of the processes that make nodes and final proofs of programs of
/// `config`, without the parts of the job that they hold. One that only verifies has the keys of
/// all circuits.
pub(crate) fn node_memory(config: &VmConfig) -> NodeMemory {
    let all = match config.extensions() {
        0 => &PLAIN_PEAKS_MIB,
        1..=EXTENSIONS_FEW => &EXTENDED_PEAKS_MIB,
        _ => &MANY_PEAKS_MIB,
    };
    let bytes = |mib: &[u64], circuit: Circuit| {
        assert_eq!(
            mib.len(),
            circuit.children_max(),
            "each number of children was measured"
        );
        mib.iter().map(|mib| mib << 20).collect()
    };
    NodeMemory {
        leaf: bytes(&all.leaf, Circuit::Leaf),
        internal_for_leaf: bytes(&all.internal_for_leaf, Circuit::InternalForLeaf),
        internal_recursive: bytes(&all.internal_recursive, Circuit::InternalRecursive),
        internal_recursive_over_ones: bytes(&all.internal_recursive_over_ones, Circuit::InternalRecursive),
        fast_final: VERIFYING_BYTES + keys_bytes(config),
    }
}
