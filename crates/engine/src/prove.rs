//! Proving one segment from the program, the input and the segment alone.
//!
//! The state at the start of the segment is not sent: it is computed again, at tens of millions of
//! instructions a second, which is cheaper than moving a memory image.

use openvm_circuit::{
    arch::{VmInstance, hasher::poseidon2::vm_poseidon2_hasher},
    system::memory::merkle::public_values::UserPublicValuesProof,
};
use openvm_sdk::{DefaultStarkEngine, F, SC, prover::vm::new_local_prover};
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{
    codec::{Decode, Encode},
    proof::Proof,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::DIGEST_SIZE;

use crate::{
    Input, KeyCache, Program, Segment,
    error::{KeyError, ProveError},
    program::caught,
    proof_bytes,
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

    /// Decodes what may be any bytes.
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
/// Making it commits to the program, which takes a good part of a second; keep it.
pub(crate) struct SegmentProver {
    instance: VmInstance<DefaultStarkEngine, SdkVmCpuBuilder>,
}

impl SegmentProver {
    pub(crate) fn new(program: &Program, keys: &KeyCache) -> Result<Self, ProveError> {
        let keys = keys.load(program.config())?;
        caught(|| new_local_prover(SdkVmCpuBuilder, &keys.app.app_vm_pk, program.exe().clone()))
            .and_then(|made| made.map_err(|e| e.to_string()))
            .map(|instance| Self { instance })
            .map_err(|reason| KeyError::Keygen { reason }.into())
    }

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
        if segment.trace_heights.len() != vm.num_airs() {
            return Err(mismatch(format!(
                "it has {} trace heights, the VM has {} chips",
                segment.trace_heights.len(),
                vm.num_airs()
            )));
        }
        caught(|| {
            let state = vm
                .executor()
                .instance(program.exe())
                .map_err(|e| mismatch(e.to_string()))?
                .execute(input.to_stdin(), Some(segment.instret_start))
                .map_err(|e| {
                    mismatch(format!(
                        "instruction {} is not reached: {e}",
                        segment.instret_start
                    ))
                })?;
            let (stark, final_memory) = vm
                .prove(
                    &mut self.instance.interpreter,
                    state,
                    Some(segment.num_insns),
                    &segment.trace_heights,
                )
                .map_err(|e| mismatch(e.to_string()))?;
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
