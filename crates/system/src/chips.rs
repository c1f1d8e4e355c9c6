//! The chips together, and the builder that puts them in the place of OpenVM's.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use openvm_circuit::{
    arch::{AirInventory, ChipInventoryError, MatrixRecordArena, SystemConfig, VmBuilder, VmChipComplex},
    primitives::Chip,
    system::{
        SystemChipComplex, SystemRecords,
        connector::VmConnectorChip,
        memory::{CHUNK, online::GuestMemory},
        poseidon2::Poseidon2PeripheryChip,
    },
};
use openvm_cpu_backend::CpuDevice;
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::{
    EngineDeviceCtx, StarkEngine,
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::*,
    prover::{AirProvingContext, CommittedTraceData},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use tracing::info_span;

use crate::{Backend, Digest, HashRecords, MemoryTree, SC, paths::Paths, touched};

type Arena = MatrixRecordArena<F>;

/// Builds the chips of a virtual machine as `SdkVmCpuBuilder` does, with [`LeanSystem`] for those
/// of the system.
#[derive(Clone, Default)]
pub struct LeanVmBuilder {
    /// The place for the context of the hashes, which the virtual machine's own lacks.
    pub hashes: HashRecords,
    /// The place for the bytes that the chips keep.
    pub kept: KeptBytes,
}

/// The place where the chips of a virtual machine say how much memory they keep from one segment to
/// the next.
#[derive(Clone, Default)]
pub struct KeptBytes(Arc<AtomicU64>);

impl KeptBytes {
    /// Bytes of the copy of the program's memory and of the tree over it; zero before the first
    /// segment.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<E> VmBuilder<E> for LeanVmBuilder
where
    E: StarkEngine<SC = SC, PB = Backend, PD = CpuDevice<SC>>,
{
    type VmConfig = SdkVmConfig;
    type RecordArena = Arena;
    type SystemChipInventory = LeanSystem;

    fn create_chip_complex(
        &self,
        config: &SdkVmConfig,
        circuit: AirInventory<SC>,
        device: &EngineDeviceCtx<E>,
    ) -> Result<VmChipComplex<SC, Arena, Backend, LeanSystem>, ChipInventoryError> {
        let VmChipComplex { system, inventory } =
            VmBuilder::<E>::create_chip_complex(&SdkVmCpuBuilder, config, circuit, device)?;
        let hasher = inventory.find_chip::<Arc<Poseidon2PeripheryChip<F>>>().next();
        let hasher = Arc::clone(hasher.ok_or_else(|| ChipInventoryError::ChipNotFound {
            name: "Poseidon2PeripheryChip".into(),
        })?);
        let config: &SystemConfig = config.as_ref();
        Ok(VmChipComplex {
            system: LeanSystem {
                program: None,
                connector: system.connector_chip,
                memory: MemoryTree::new(config.memory_config.memory_dimensions()),
                hasher,
                hashes: self.hashes.clone(),
                kept: self.kept.clone(),
                top: Vec::new(),
            },
            inventory,
        })
    }
}

/// The chips of the system: program, connector, boundary and Merkle tree of memory.
///
/// It follows memory from one segment to the next: it takes the pages that the program has used,
/// and an eighth for the tree over them.
pub struct LeanSystem {
    program: Option<CommittedTraceData<Backend>>,
    connector: VmConnectorChip<F>,
    /// Over memory as it was at the start of the segment.
    memory: MemoryTree,
    /// The chip that proves the hashes. OpenVM's; it is told none, so that it makes no trace.
    hasher: Arc<Poseidon2PeripheryChip<F>>,
    hashes: HashRecords,
    kept: KeptBytes,
    /// The nodes above the address spaces at the end of the segment, as a heap.
    top: Vec<Digest>,
}

impl SystemChipComplex<Arena, Backend> for LeanSystem {
    fn load_program(&mut self, program: CommittedTraceData<Backend>) {
        self.program = Some(program);
    }

    /// # Panics
    /// Memory whose cells are not bytes is in use; see [`MemoryTree::update`].
    fn transport_init_memory_to_device(&mut self, memory: &GuestMemory) {
        let updated = self.memory.update(&memory.memory);
        self.kept.0.store(self.memory.kept_bytes(), Relaxed);
        if let Err(reason) = updated {
            panic!("{reason}");
        }
    }

    fn generate_proving_ctx(
        &mut self,
        records: SystemRecords<F>,
        _: Vec<Arena>,
    ) -> Vec<AirProvingContext<Backend>> {
        let _span = info_span!("system.traces").entered();
        let program = self.program.clone().expect("a program was loaded");
        let program = program_context(program, &records.filtered_exec_frequencies);
        self.connector.begin(records.from_state);
        self.connector.end(records.to_state, records.exit_code);
        let connector = Chip::<(), Backend>::generate_proving_ctx(&self.connector, ());

        let chunks = touched::chunks(&self.memory, records.touched_memory);
        let leaves = touched::leaves(&self.memory, &chunks);
        let boundary = AirProvingContext::simple_no_pis(touched::boundary_trace(&chunks, &leaves));
        let paths = Paths::new(&self.memory, &leaves);
        drop(leaves);
        let whole = |cells: Digest| [cells, [F::ZERO; CHUNK]];
        let of_chunks = chunks
            .par_iter()
            .flat_map_iter(|chunk| [whole(chunk.before), whole(chunk.after)]);
        self.hashes.put(&self.hasher, of_chunks.chain(paths.pairs()));
        drop(chunks);
        let roots = paths.roots().concat();
        let merkle = AirProvingContext::simple(paths.trace(), roots);
        self.top = paths.top;
        vec![program, connector, boundary, merkle]
    }

    fn memory_top_tree(&self) -> Option<&[Digest]> {
        (!self.top.is_empty()).then_some(self.top.as_slice())
    }
}

fn program_context(program: CommittedTraceData<Backend>, executed: &[u32]) -> AirProvingContext<Backend> {
    let mut counts = F::zero_vec(program.height());
    counts
        .iter_mut()
        .zip(executed)
        .for_each(|(cell, &count)| *cell = F::from_u32(count));
    AirProvingContext {
        cached_mains: vec![program],
        common_main: RowMajorMatrix::new(counts, 1),
        public_values: Vec::new(),
    }
}
