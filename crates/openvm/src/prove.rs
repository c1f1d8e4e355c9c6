//! Proves one segment from the program, the input and the segment alone.
//!
//! The state at the start of the segment is not sent. It is computed again, at tens of millions of
//! instructions a second, which is cheaper than moving a memory image.

use myriad_engine::{Input, KeyError, ProveError, Segment};
use myriad_system::{HashRecords, KeptBytes, LeanVmBuilder};
use openvm_circuit::{
    arch::{
        ExitCode, PreflightExecutionOutput, VirtualMachine, VmInstance,
        hasher::poseidon2::vm_poseidon2_hasher,
    },
    system::memory::merkle::public_values::UserPublicValuesProof,
};
use openvm_sdk::{DefaultStarkEngine, F, SC};
use openvm_stark_backend::{
    StarkEngine,
    codec::{Decode, Encode},
    proof::Proof,
    prover::{DeviceDataTransporter, ProvingContext},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::DIGEST_SIZE;
use tracing::info_span;

use crate::{
    KeyCache, Program,
    backend::{Backend, ProvingEngine},
    heights,
    memory::is_memory_hash_chip,
    own_engine::OwnEngine,
    program::{caught, commitment},
    proof_bytes,
    stdin::stdin,
};

pub(crate) type PublicValuesProof = UserPublicValuesProof<DIGEST_SIZE, F>;

/// A segment proof as it is sent and stored.
///
/// The last segment's also shows which public values its final memory holds, since only its prover
/// has that memory.
pub(crate) struct SegmentProof {
    pub stark: Proof<SC>,
    pub public_values: Option<PublicValuesProof>,
}

impl SegmentProof {
    pub(crate) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = self.stark.encode_to_vec()?;
        bytes.push(u8::from(self.public_values.is_some()));
        if let Some(public_values) = &self.public_values {
            public_values.encode::<SC, _>(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Decodes bytes from anywhere.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, String> {
        let reader = &mut bytes;
        let fail = |e: std::io::Error| e.to_string();
        let stark = proof_bytes::decode_first(reader)?;
        let public_values = match u8::decode(reader).map_err(fail)? {
            0 => None,
            1 => Some(PublicValuesProof::decode::<SC, _>(reader).map_err(fail)?),
            other => {
                return Err(format!(
                    "byte {other} where 0 or 1 says whether public values follow"
                ));
            }
        };
        match reader.len() {
            0 => Ok(Self { stark, public_values }),
            rest => Err(format!("{rest} bytes follow its end")),
        }
    }
}

/// Proves segments of one program, one after the other, on whatever input.
///
/// To make it commits to the program, which takes a good part of a second. Keep it.
pub(crate) struct SegmentProver<E = OwnEngine> {
    /// OpenVM's VM, which is bound to OpenVM's own device, but does not commit or prove with it.
    instance: VmInstance<DefaultStarkEngine, LeanVmBuilder>,
    own: E,
    hashes: MemoryHashes,
    kept: KeptBytes,
}

/// The part that the VM's context of a segment lacks: the chip of the hashes of memory.
struct MemoryHashes {
    records: HashRecords,
    air: usize,
}

impl MemoryHashes {
    fn add_to(&self, context: &mut ProvingContext<Backend>) {
        if let Some(hashes) = self.records.take_context() {
            let place = context.per_trace.partition_point(|(air, _)| *air < self.air);
            context.per_trace.insert(place, (self.air, hashes));
        }
    }
}

impl SegmentProver {
    /// OpenVM's own commitment to the program, for comparison.
    pub(crate) fn stock_commitment(&self, program: &Program) -> [F; DIGEST_SIZE] {
        let committed = self.instance.vm.commit_program_on_device(&program.exe().program);
        committed.commitment
    }
}

impl<E: ProvingEngine> SegmentProver<E> {
    pub(crate) fn new(program: &Program, keys: &KeyCache) -> Result<Self, ProveError> {
        let key = keys.get(program.config())?.app.app_vm_pk;
        let make = || {
            let span = info_span!("vm.make").entered();
            let own = E::new(key.get_params());
            let stock = DefaultStarkEngine::new(key.get_params());
            let device_key = stock.device().transport_pk_to_device(&key.vm_pk);
            let mut names = key.vm_pk.per_air.iter().map(|pk| pk.air_name.as_str());
            let hashes = MemoryHashes {
                records: HashRecords::default(),
                air: names
                    .position(is_memory_hash_chip)
                    .ok_or("the VM has no chip for hashes of memory")?,
            };
            let builder = LeanVmBuilder {
                hashes: hashes.records.clone(),
                ..LeanVmBuilder::default()
            };
            let kept = builder.kept.clone();
            let made = VirtualMachine::new(stock, builder, key.vm_config.clone(), device_key);
            let vm = made.map_err(|e| e.to_string())?;
            drop(span);
            let committed = {
                let _span = info_span!("program.commit").entered();
                commitment::commit(&program.exe().program, own.device())?
            };
            let _span = info_span!("vm.load").entered();
            let made = VmInstance::new(vm, program.exe().clone(), committed);
            let instance = made.map_err(|e| e.to_string())?;
            Ok(Self {
                instance,
                own,
                hashes,
                kept,
            })
        };
        caught(make)
            .and_then(|made| made)
            .map_err(|reason| KeyError::Keygen { reason }.into())
    }

    /// Bytes that it keeps of the memory of the program, as it was at the start of the last
    /// segment.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept.get()
    }

    #[expect(clippy::too_many_lines, reason = "the steps of a proof, in their order")]
    pub(crate) fn prove(
        &mut self,
        program: &Program,
        input: &Input,
        segment: &Segment,
    ) -> Result<Vec<u8>, ProveError> {
        let index = segment.index;
        let mismatch = |reason: String| ProveError::Mismatch {
            segment: index,
            reason,
        };
        let vm = &mut self.instance.vm;
        let trace_heights = heights::decode(&segment.details).map_err(mismatch)?;
        if trace_heights.len() != vm.num_airs() {
            return Err(mismatch(format!(
                "it has {} trace heights, the VM has {} chips",
                trace_heights.len(),
                vm.num_airs()
            )));
        }
        caught(|| {
            let reach = info_span!("segment.reach").entered();
            let state = vm
                .executor()
                .instance(program.exe())
                .map_err(|e| mismatch(e.to_string()))?
                .execute(stdin(input), Some(segment.instret_start))
                .map_err(|e| {
                    mismatch(format!(
                        "instruction {} is not reached: {e}",
                        segment.instret_start
                    ))
                })?;
            drop(reach);
            vm.transport_init_memory_to_device(&state.memory);
            let PreflightExecutionOutput {
                system_records,
                record_arenas,
                to_state,
            } = vm
                .execute_preflight(
                    &mut self.instance.interpreter,
                    state,
                    Some(segment.num_insns),
                    &trace_heights,
                )
                .map_err(|e| mismatch(e.to_string()))?;
            let ends = system_records.exit_code == Some(ExitCode::Success as u32);
            let final_memory = ends.then_some(to_state.memory);
            let mut context = vm
                .generate_proving_ctx(system_records, record_arenas)
                .map_err(|e| mismatch(e.to_string()))?;
            {
                let _span = info_span!("system.hashes").entered();
                self.hashes.add_to(&mut context);
            }
            let stark = self.own.prove(vm.pk(), context).map_err(|e| ProveError::Failed {
                segment: index,
                reason: e.to_string(),
            })?;
            if final_memory.is_some() != segment.last {
                let ends = if segment.last { "does not end" } else { "ends" };
                return Err(mismatch(format!("the program {ends} in it")));
            }
            let public_values = final_memory.map(|memory| {
                let config = program.config().vm().as_ref();
                UserPublicValuesProof::compute(
                    config.memory_config.memory_dimensions(),
                    config.num_public_values,
                    &vm_poseidon2_hasher(),
                    &memory.memory,
                    vm.memory_top_tree()
                        .expect("a proven segment has left its memory tree"),
                )
            });
            SegmentProof { stark, public_values }
                .encode()
                .map_err(|e| ProveError::Failed {
                    segment: index,
                    reason: e.to_string(),
                })
        })
        .unwrap_or_else(|reason| {
            Err(ProveError::Failed {
                segment: index,
                reason,
            })
        })
    }
}
