//! The traces beside those of OpenVM's own chips, over random memory and random accesses.

use std::sync::Arc;

use myriad_system::{Digest, LeanSystem, LeanVmBuilder};
use openvm_circuit::{
    arch::{ExecutionState, MatrixRecordArena, VmBuilder, VmChipComplex, VmCircuitConfig},
    primitives::Chip,
    system::{
        SystemChipComplex, SystemChipInventory, SystemRecords, TouchedMemory,
        memory::{
            AddressMap, TimestampedValues,
            online::{GuestMemory, LinearMemory},
        },
        poseidon2::Poseidon2PeripheryChip,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::{
    StarkEngine,
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    prover::{AirProvingContext, ColMajorMatrix, CommittedTraceData, DeviceDataTransporter, TraceCommitter},
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config, BabyBearPoseidon2CpuEngine, F},
};

type Engine = BabyBearPoseidon2CpuEngine;
type Backend = CpuBackend<BabyBearPoseidon2Config>;
type Context = AirProvingContext<Backend>;

const REGISTERS: u32 = 1;
const MEMORY: u32 = 2;
const PUBLIC_VALUES: u32 = 3;
const MEMORY_BYTES: u64 = 1 << 21;
/// Address spaces, each with the bytes at its start that are touched. Memory is touched mostly
/// where programs are.
const SPACES: [(u32, u64); 4] = [
    (REGISTERS, 128),
    (MEMORY, 300_000),
    (MEMORY, MEMORY_BYTES),
    (PUBLIC_VALUES, 32),
];

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The parts of a segment that are compared.
#[derive(Debug, PartialEq)]
struct Seen {
    program: RowMajorMatrix<F>,
    connector: RowMajorMatrix<F>,
    boundary: RowMajorMatrix<F>,
    /// The rows of the roots, and all others in any order.
    roots: [Vec<F>; 2],
    paths: Vec<Vec<F>>,
    public_values: Vec<Vec<F>>,
    hashes: Vec<Vec<F>>,
    top: Vec<Digest>,
}

struct Chips<S> {
    system: S,
    /// The context of the hashes of the last segment.
    hashes: Box<dyn Fn() -> Context>,
}

/// A configuration with little memory: OpenVM's chips copy all of it.
fn config() -> SdkVmConfig {
    let mut config = SdkVmConfig::riscv32();
    config.system.config.memory_config.addr_spaces[MEMORY as usize].num_cells = MEMORY_BYTES as usize;
    config
}

fn chips<B: VmBuilder<Engine, VmConfig = SdkVmConfig>>(
    builder: &B,
) -> VmChipComplex<BabyBearPoseidon2Config, B::RecordArena, Backend, B::SystemChipInventory> {
    let config = config();
    let airs = VmCircuitConfig::<BabyBearPoseidon2Config>::create_airs(&config).unwrap();
    builder.create_chip_complex(&config, airs, &()).unwrap()
}

fn ours() -> Chips<LeanSystem> {
    let builder = LeanVmBuilder::default();
    let hashes = builder.hashes.clone();
    Chips {
        system: chips(&builder).system,
        hashes: Box::new(move || hashes.take_context().unwrap()),
    }
}

fn openvms() -> Chips<SystemChipInventory<BabyBearPoseidon2Config>> {
    let VmChipComplex { system, inventory } = chips(&SdkVmCpuBuilder);
    let hasher = inventory.find_chip::<Arc<Poseidon2PeripheryChip<F>>>().next();
    let hasher = Arc::clone(hasher.unwrap());
    Chips {
        system,
        hashes: Box::new(move || Chip::<(), Backend>::generate_proving_ctx(&hasher, ())),
    }
}

impl<S> Chips<S> {
    fn segment(&mut self, memory: &GuestMemory, touched: &TouchedMemory<F>) -> Seen
    where
        S: SystemChipComplex<MatrixRecordArena<F>, Backend>,
    {
        self.system.load_program(program());
        self.system.transport_init_memory_to_device(memory);
        let records = SystemRecords {
            from_state: ExecutionState { pc: 4, timestamp: 1 },
            to_state: ExecutionState {
                pc: 8,
                timestamp: 100,
            },
            exit_code: None,
            filtered_exec_frequencies: vec![3, 0, 5],
            touched_memory: touched.clone(),
        };
        let contexts = self.system.generate_proving_ctx(records, Vec::new());
        let public_values = contexts
            .iter()
            .map(|context| context.public_values.clone())
            .collect();
        let [program, connector, boundary, merkle]: [Context; 4] =
            contexts.try_into().unwrap_or_else(|_| panic!("four chips"));
        let mut paths = rows(merkle.common_main);
        let roots = [paths.remove(0), paths.remove(0)];
        paths.sort_unstable();
        let mut hashes = rows((self.hashes)().common_main);
        hashes.sort_unstable();
        Seen {
            program: program.common_main,
            connector: connector.common_main,
            boundary: boundary.common_main,
            roots,
            paths,
            public_values,
            hashes,
            top: self.system.memory_top_tree().unwrap().to_vec(),
        }
    }
}

fn rows(matrix: RowMajorMatrix<F>) -> Vec<Vec<F>> {
    matrix.values.chunks(matrix.width).map(<[F]>::to_vec).collect()
}

fn program() -> CommittedTraceData<Backend> {
    let engine = Engine::new(app_params_with_100_bits_security(10));
    let matrix = ColMajorMatrix::from_row_major(&RowMajorMatrix::new(F::zero_vec(40), 10));
    let trace = engine.device().transport_matrix_to_device(&matrix);
    let (commitment, data) = engine.device().commit(&[&trace]).unwrap();
    CommittedTraceData {
        commitment,
        trace,
        data: Arc::new(data),
    }
}

/// Writes into memory here and there, so that pages, blocks and chunks are full, half full and
/// empty.
fn scatter(random: &mut Random, memory: &mut AddressMap, writes: u64) {
    for _ in 0..writes {
        let (space, bytes) = SPACES[random.below(4) as usize];
        let memory = memory.mem[space as usize].as_mut_slice();
        let start = random.below(bytes) as usize;
        let end = (start + 1 + random.below(2000) as usize).min(bytes as usize);
        memory[start..end]
            .iter_mut()
            .for_each(|byte| *byte = random.below(256) as u8);
    }
}

/// Blocks of four cells that a segment read, or wrote.
fn touch(random: &mut Random, memory: &AddressMap, count: u64) -> TouchedMemory<F> {
    let mut touched: TouchedMemory<F> = Vec::new();
    for _ in 0..count {
        let (space, bytes) = SPACES[random.below(4) as usize];
        let first = random.below(bytes / 4);
        for block in first..(first + 1 + random.below(40)).min(bytes / 4) {
            let start = 4 * block as usize;
            let before = &memory.mem[space as usize].as_slice()[start..start + 4];
            let writes = random.below(2) == 1;
            let values = std::array::from_fn(|cell| {
                F::from_u8(if writes {
                    random.below(256) as u8
                } else {
                    before[cell]
                })
            });
            let timestamp = 1 + random.below(99) as u32;
            touched.push(((space, start as u32), TimestampedValues { timestamp, values }));
        }
    }
    touched.sort_unstable_by_key(|&(address, _)| address);
    touched.dedup_by_key(|&mut (address, _)| address);
    touched
}

#[test]
fn the_traces_are_those_of_openvms_chips() {
    let config = config().system.config.memory_config;
    let mut ours = ours();
    let mut random = Random(7);
    let mut memory = AddressMap::from_mem_config(&config);
    // One after the other, over memory that changes between them; the first touches nothing, of
    // empty memory.
    for (writes, touches) in [(0, 0), (0, 3), (20, 1), (3, 0), (40, 60), (0, 200)] {
        scatter(&mut random, &mut memory, writes);
        let touched = touch(&mut random, &memory, touches);
        let guest = GuestMemory::new(memory.clone());
        let openvms = openvms().segment(&guest, &touched);
        assert!(
            ours.segment(&guest, &touched) == openvms,
            "{writes} writes before it, {} blocks touched",
            touched.len()
        );
    }
}
