//! What a segment needs in memory: real bytes of the proving process, not OpenVM's estimate for GPUs.

use std::{fmt, str::FromStr};

use openvm_circuit::arch::{
    PROGRAM_AIR_ID, VirtualMachine, VmBuilder,
    execution_mode::{SegmentationLimits, metered::segment_ctx::SegmentationCtx},
};
use openvm_stark_backend::{
    StarkEngine,
    memory_metering::{ProvingMemoryConfig, ProvingMemoryCounts},
    p3_field::PrimeField32,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use serde::{Deserialize, Serialize};

use crate::{VmConfig, aggregate::Circuit};

/// The smallest budget that any program can be proven with: below it the lookup tables alone do not fit.
pub const MEMORY_BUDGET_MIN: MemoryBudget = MemoryBudget(1 << 30);

/// Bytes of real memory (resident set) that one proving process may use at its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryBudget(u64);

impl MemoryBudget {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for MemoryBudget {
    type Err = String;

    /// Reads `2GiB`, `1500 MiB`, `4GB` or plain bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            other => return Err(format!("unknown unit `{other}`; write bytes, MB, MiB, GB or GiB")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not an amount of memory; write for instance 2GiB"))?;
        let budget = Self((number * scale as f64) as u64);
        if budget < MEMORY_BUDGET_MIN {
            return Err(format!(
                "{budget} is too little; the least is {MEMORY_BUDGET_MIN}"
            ));
        }
        Ok(budget)
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}

/// Peak of a process whose segment is empty: keys, lookup tables, the guest's memory.
const BASE_BYTES: u64 = 660 << 20;
/// Bytes for each cell of the program's table, beside what each cell takes: the trees over it.
const BYTES_PER_PROGRAM_CELL: u64 = 16;
/// Bytes for each cell of the traces and of their code word: a field element, and what is made of it while the
/// constraints are evaluated, which is more for the wide chips of extensions. With the rows that their chips really
/// had, 18 segments of two blocks took 0 to 5 % less than follows, from 15 to 150 million cells; those
/// of `fibonacci` and `misbehave` 2 to 5 %.
const BYTES_PER_CELL_PLAIN: f64 = 5.0;
const BYTES_PER_CELL_EXTENDED: f64 = 5.6;
/// Bytes for each leaf of the fraction tree: its own 32, those of the levels above, and the copies
/// that the sum-check folds.
const BYTES_PER_INTERACTION: u64 = 160;
/// Bytes for each byte of the input: the stream that the VM reads, whose elements have 4, the input itself, which
/// the process keeps for its next task, and the guest's own copy once it has read it. Source: a segment of
/// `misbehave` took 4.7 to 5.3 times more with 100 MB of input than with 20 MB, at the start and at the end.
const BYTES_PER_INPUT_BYTE: u64 = 6;
/// The chip that hashes memory. Metering counts the hashes of all nodes over each page that is touched, before and
/// after; not all of a page is touched, and equal hashes are one row: there were 0.27 to 0.5 of these rows in
/// every segment measured.
///
/// The two chips that say which memory was touched are counted in the same way, but have up to all of
/// those rows where memory is written from end to end, as when the input is read. They are taken at their word: at
/// half of it, such segments had a fraction tree of twice the length that was expected.
const MEMORY_HASH_CHIP: &str = "Poseidon2PeripheryAir";
/// A power of two, so that it is all the same whether a height is rounded up to one before or after.
const MEMORY_HASH_EXCESS: u32 = 2;

/// Predicts the peak memory of the process that proves a segment.
///
/// The prover holds the traces of all chips (`cells` field elements), their Reed-Solomon code
/// word, and the tree of fractions of its interactions, whose length is rounded up to a power of two.
/// The coefficients are fitted to measured peaks by `cargo bench --workspace --bench memory`.
pub(crate) struct CostModel {
    names: Vec<String>,
    /// Cells of the program's table, which every segment has.
    program_cells: u64,
    input_bytes: u64,
    /// Cells in a row of each chip's trace.
    widths: Vec<u64>,
    /// Bus interactions in a row of each chip's trace.
    interactions: Vec<u64>,
    /// What each chip's metered height is divided by.
    excess: Vec<u32>,
    bytes_per_cell: f64,
    config: ProvingMemoryConfig,
}

/// What the prover holds for a segment, before it is turned to bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Field elements in all traces, with each height rounded up to a power of two.
    pub cells: u64,
    /// Leaves of the fraction tree.
    pub interactions: u64,
}

/// The most that a segment may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Leaves of the fraction tree: a power of two, as the tree takes as much memory as if it were filled up to one.
    pub leaves: u64,
    /// Field elements in all traces; not 0, as the lookup tables have some.
    pub cells: u64,
    /// Rows of a chip.
    pub height: u32,
}

impl CostModel {
    /// Of a program with so many instructions, on a VM without extensions or with some, and of an input with so
    /// many bytes.
    pub(crate) fn new<E: StarkEngine, VB: VmBuilder<E>>(
        vm: &VirtualMachine<E, VB>,
        program_instructions: usize,
        is_plain: bool,
        input_bytes: u64,
    ) -> Self {
        let per_air = &vm.pk().per_air;
        let program_width = per_air[PROGRAM_AIR_ID].vk.params.width.total_width() as u64;
        Self {
            program_cells: program_width * program_instructions.next_power_of_two() as u64,
            input_bytes,
            names: per_air.iter().map(|pk| pk.air_name.clone()).collect(),
            widths: per_air
                .iter()
                .map(|pk| pk.vk.params.width.total_width() as u64)
                .collect(),
            interactions: per_air
                .iter()
                .map(|pk| pk.vk.symbolic_constraints.interactions.len() as u64)
                .collect(),
            excess: per_air
                .iter()
                .map(|pk| {
                    if pk.air_name.starts_with(MEMORY_HASH_CHIP) {
                        MEMORY_HASH_EXCESS
                    } else {
                        1
                    }
                })
                .collect(),
            bytes_per_cell: if is_plain {
                BYTES_PER_CELL_PLAIN
            } else {
                BYTES_PER_CELL_EXTENDED
            },
            config: vm.engine.proving_memory_config(),
        }
    }

    /// The most cells of a segment whose process stays within `bytes` with a fraction tree of so many
    /// leaves; none where the tree alone is too much.
    pub(crate) fn limits(&self, leaves: u64, bytes: u64) -> Option<Limits> {
        let for_cells = bytes.checked_sub(self.without_cells(leaves))? as f64 / self.bytes_per_cell;
        // The code word is as long as whole columns of the stacked matrix.
        let column = 1u64 << self.config.log_stacked_height;
        let cells = (for_cells as u64 / (1 + (1 << self.config.log_blowup))).checked_sub(column)?;
        Some(Limits {
            leaves,
            cells,
            height: 1 << self.config.log_stacked_height,
        })
    }

    /// Bytes of a process whose traces have no cells but those of the program's table.
    fn without_cells(&self, leaves: u64) -> u64 {
        BASE_BYTES
            + BYTES_PER_PROGRAM_CELL * self.program_cells
            + BYTES_PER_INPUT_BYTE * self.input_bytes
            + BYTES_PER_INTERACTION * leaves.next_power_of_two()
    }

    /// Has OpenVM cut an execution where a segment would pass either limit.
    ///
    /// OpenVM's own measure is made for GPUs, on which other things bind: with it, segments came out
    /// anywhere from half the budget to all of it. Its formula, which is the larger of a part that
    /// grows with the interactions and one that grows with the cells, is given other numbers here.
    pub(crate) fn segmentation(&self, limits: Limits) -> SegmentationCtx {
        let Limits {
            leaves,
            cells,
            height,
        } = limits;
        // Interactions are doubled, so that half of a row that is counted twice is a whole number.
        let weigh = |of_row: &[u64], factor: u64| -> Vec<usize> {
            let weight = |(&count, &excess): (&u64, &u32)| (factor * count / u64::from(excess)) as usize;
            of_row.iter().zip(&self.excess).map(weight).collect()
        };
        let counting = ProvingMemoryConfig {
            base_field_size: 1,
            // So large that rounding up the factor below takes less than a hundredth, and so small that no product
            // overflows.
            extension_degree: 1 << 17,
            digest_size: 0,
            log_blowup: 6,
            // Leaves next to nothing of the term for the evaluation of constraints.
            l_skip: 40,
            log_stacked_height: 0,
            k_whir: 0,
            max_constraint_degree: 0,
            cache_stacked_matrix: false,
            cache_rs_code_matrix: false,
            zerocheck_save_memory: true,
        };
        let limit = counting
            .estimate(ProvingMemoryCounts::new(0, 0, 2 * leaves as usize, 0))
            .total;
        // The code word, and the traces themselves, which count beside the interactions, too.
        let bytes_per_cell = (1u64 << counting.log_blowup) + 1;
        let cell_factor = (limit as u64).div_ceil(bytes_per_cell.saturating_mul(cells));
        let chips = self.widths.len();
        SegmentationCtx::new(
            self.names.clone(),
            weigh(&self.widths, cell_factor),
            weigh(&self.interactions, 2),
            vec![false; chips],
            vec![0; chips],
            SegmentationLimits {
                max_trace_height_bits: height.ilog2() as u8,
                max_memory: limit,
                // What a proof may have at most, which is far more than memory allows.
                max_interactions: F::ORDER_U32,
            },
            counting,
        )
    }

    pub(crate) fn load(&self, trace_heights: &[u32]) -> Load {
        let rows = |(&height, &excess): (&u32, &u32)| match height / excess {
            0 => 0,
            height => u64::from(height).next_power_of_two(),
        };
        let rows: Vec<u64> = trace_heights.iter().zip(&self.excess).map(rows).collect();
        let dot = |weights: &[u64]| rows.iter().zip(weights).map(|(rows, weight)| rows * weight).sum();
        Load {
            cells: dot(&self.widths),
            interactions: dot(&self.interactions),
        }
    }

    pub(crate) fn peak_bytes(&self, load: Load) -> u64 {
        let stacked = 1u64 << self.config.log_stacked_height;
        let code_word = load.cells.next_multiple_of(stacked) << self.config.log_blowup;
        self.without_cells(load.interactions) + (self.bytes_per_cell * (load.cells + code_word) as f64) as u64
    }
}

/// Peak memory in MiB of a process that aggregates 1, 2, ... children, for each circuit: that measured
/// for the guests by the same benchmark or in whole runs, and 3 to 8 percent more.
struct NodePeaks {
    leaf: &'static [u64],
    internal_for_leaf: [u64; 3],
    internal_recursive: [u64; 3],
    /// The same where the internal-for-leaf nodes of the tree have one child each.
    internal_recursive_over_ones: [u64; 3],
}

/// Of programs on plain RV32IM: the fibonacci guest. Not measured is a leaf of 3; internal-for-leaf
/// nodes of 3 and internal-recursive ones, which verify proofs of the same shape, are those of `evm-block`.
const PLAIN_PEAKS_MIB: NodePeaks = NodePeaks {
    leaf: &[1250, 2050, 3500, 3800],
    internal_for_leaf: [2300, 4200, 5950],
    internal_recursive: [1640, 2500, 4550],
    internal_recursive_over_ones: [1640, 2500, 2750],
};

/// Of programs with extensions, whose segment proofs are larger and have more constraints to check:
/// the EVM block guest, with keccak and secp256k1.
const EXTENDED_PEAKS_MIB: NodePeaks = NodePeaks {
    leaf: &[2500],
    internal_for_leaf: [2200, 4070, 5950],
    internal_recursive: [1640, 2500, 4550],
    internal_recursive_over_ones: [1640, 2500, 2750],
};

/// Expected peak memory of the process that makes a node, in bytes.
pub(crate) fn node_peak_bytes(
    config: &VmConfig,
    circuit: Circuit,
    children: usize,
    internal_for_leaf: usize,
) -> u64 {
    let all = if config.is_plain() {
        &PLAIN_PEAKS_MIB
    } else {
        &EXTENDED_PEAKS_MIB
    };
    let peaks: &[u64] = match circuit {
        Circuit::Leaf => all.leaf,
        Circuit::InternalForLeaf => &all.internal_for_leaf,
        Circuit::InternalRecursive if internal_for_leaf <= 1 => &all.internal_recursive_over_ones,
        Circuit::InternalRecursive => &all.internal_recursive,
    };
    peaks[children.clamp(1, peaks.len()) - 1] << 20
}
