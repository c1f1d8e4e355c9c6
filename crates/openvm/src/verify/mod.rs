//! Verifies proofs of every kind, from anywhere.

mod above;

use std::borrow::Borrow;

use myriad_engine::{
    Boundary, FinalProof, KeyError, Level, NODE_PROOF_BYTES_MAX, ProofOf, Root, SEGMENT_PROOF_BYTES_MAX,
    Shown, Statement, VerifyError,
};
use myriad_swirl::SwirlEngine;
use myriad_system::MemoryTree;
use openvm_circuit::{
    arch::{
        CONNECTOR_AIR_ID, MERKLE_AIR_ID, PROGRAM_AIR_ID, PROGRAM_CACHED_TRACE_INDEX,
        hasher::poseidon2::vm_poseidon2_hasher,
    },
    system::{
        connector::VmConnectorPvs,
        memory::{AddressMap, dimensions::MemoryDimensions, merkle::MemoryMerklePvs},
        program::trace::compute_exe_commit,
    },
};
use openvm_sdk::{F, SC, types::VerificationBaselineJson};
use openvm_stark_backend::{
    StarkEngine,
    keygen::types::MultiStarkVerifyingKey,
    p3_field::{PrimeCharacteristicRing, PrimeField32},
    proof::Proof,
};
use openvm_verify_stark_host::{
    pvs::{
        CONSTRAINT_EVAL_AIR_ID, CONSTRAINT_EVAL_CACHED_INDEX, VERIFIER_PVS_AIR_ID, VM_PVS_AIR_ID,
        VerifierBasePvs, VkCommit, VmPvs,
    },
    verify_vm_stark_proof_decoded,
    vk::{VerificationBaseline, VmStarkVerifyingKey},
};

use crate::{
    KeyCache, Program,
    circuit::Circuit,
    final_proof,
    keys::{KeySet, VkCommits},
    program::{caught, commitment},
    proof_bytes,
    prove::SegmentProof,
};

type Digest = [F; 8];
type Vk = MultiStarkVerifyingKey<SC>;

/// Verifies the proofs of one program. It is made once, and then shared between threads.
pub struct Verifier {
    app: Vk,
    leaf: Vk,
    internal_for_leaf: Vk,
    final_proof: VmStarkVerifyingKey,
    commits: VkCommits,
    pub(crate) program_commit: Digest,
    memory_dimensions: MemoryDimensions,
    start_pc: u32,
    start_root: Root,
}

impl Verifier {
    /// Computes what proofs of `program` must say, making its keys if they are not cached.
    ///
    /// # Errors
    /// See [`KeyCache::ensure`].
    pub fn new(program: &Program, cache: &KeyCache) -> Result<Self, KeyError> {
        Self::of_keys(program, cache.load(program.config())?)
    }

    /// The verifier of a program, by the keys of its configuration.
    pub(crate) fn of_keys(program: &Program, keys: KeySet) -> Result<Self, KeyError> {
        let params = keys.app.app_vm_pk.get_params();
        let committed =
            caught(|| commitment::commit(&program.exe().program, <SwirlEngine>::new(params).device()))
                .and_then(|made| made)
                .map_err(|reason| KeyError::Keygen { reason })?;
        let program_commit: Digest = committed.commitment;
        drop(committed);

        let system = program.config().vm().as_ref();
        let memory_dimensions = system.memory_config.memory_dimensions();
        let hasher = vm_poseidon2_hasher();
        // The system may refuse the whole memory of a guest, and OpenVM panics then.
        let start_root: Digest = caught(|| {
            let mut memory = AddressMap::new(system.memory_config.addr_spaces.clone());
            memory.set_from_sparse(&program.exe().init_memory);
            MemoryTree::new(memory_dimensions).update(&memory)
        })
        .and_then(|root| root)
        .map_err(|reason| KeyError::Keygen { reason })?;
        let pc_start = program.exe().pc_start;
        let baseline = VerificationBaseline {
            app_exe_commit: compute_exe_commit(&hasher, &program_commit, &start_root, F::from_u32(pc_start)),
            memory_dimensions,
            num_user_pvs: system.num_public_values,
            app_vk_commit: keys.commits.app,
            leaf_vk_commit: keys.commits.leaf,
            internal_for_leaf_vk_commit: keys.commits.internal_for_leaf,
            internal_recursive_vk_commit: keys.commits.internal_recursive,
            expected_def_hook_commit: None,
        };
        Ok(Self {
            app: keys.app.app_vm_pk.vm_pk.get_vk(),
            leaf: keys.leaf.get_vk(),
            internal_for_leaf: keys.internal_for_leaf.get_vk(),
            final_proof: VmStarkVerifyingKey {
                mvk: keys.internal_recursive.get_vk(),
                baseline,
            },
            commits: keys.commits,
            program_commit,
            memory_dimensions,
            start_pc: pc_start,
            start_root: root(start_root),
        })
    }

    /// The statement that proofs of the program must make.
    pub fn statement(&self) -> Statement {
        let json = VerificationBaselineJson::from(self.final_proof.baseline.clone());
        Statement {
            start_pc: self.start_pc,
            start_root: self.start_root,
            program_commitment: json.app_exe_commit.to_string(),
            baseline: serde_json::to_vec_pretty(&json).expect("a baseline has a JSON form"),
        }
    }

    /// Verifies a proof of any kind, and returns the facts that it shows.
    ///
    /// # Errors
    /// See [`VerifyError`]; the bytes may be anything.
    pub fn verify(&self, of: &ProofOf, proof: &[u8]) -> Result<Shown, VerifyError> {
        match of {
            ProofOf::Segment { public_values } => {
                let boundary = self.segment(proof, public_values.as_deref())?;
                Ok(Shown::Piece(boundary))
            }
            ProofOf::Node(level) => self.node(*level, proof).map(Shown::Piece),
            ProofOf::Final { public_values } => {
                let shown = self.final_proof(proof)?;
                if let Some(expected) = public_values {
                    same_public_values(&shown.public_values, expected)?;
                }
                Ok(Shown::Whole(shown))
            }
        }
    }

    /// Verifies a segment proof; `public_values` are those that the last segment has to reveal, and
    /// none for any other.
    ///
    /// It does *not* show that the segment belongs to an input, since a proof does not commit to
    /// its input: compare the [`Boundary`] with those of the neighbours. It also checks that a leaf
    /// can be made over the proof.
    ///
    /// # Errors
    /// See [`VerifyError`]; the bytes may be anything.
    pub fn segment(&self, proof: &[u8], public_values: Option<&[u8]>) -> Result<Boundary, VerifyError> {
        check_size("a segment proof", proof.len(), SEGMENT_PROOF_BYTES_MAX)?;
        caught(|| self.segment_inner(proof, public_values))
            .unwrap_or_else(|reason| Err(VerifyError::Invalid { reason }))
    }

    /// Verifies a segment proof that this process has made, for the public values that it shows, if
    /// any.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub(crate) fn own_segment(&self, proof: &[u8]) -> Result<Boundary, VerifyError> {
        let decoded = SegmentProof::decode(proof).map_err(|reason| VerifyError::Malformed { reason })?;
        let shown = decoded.public_values.as_ref();
        let shown = shown.map(|shown| bytes_of(&shown.public_values)).transpose()?;
        self.segment(proof, shown.as_deref())
    }

    fn segment_inner(&self, proof: &[u8], public_values: Option<&[u8]>) -> Result<Boundary, VerifyError> {
        let proof = SegmentProof::decode(proof).map_err(|reason| VerifyError::Malformed { reason })?;
        check_stark(&self.app, &proof.stark)?;
        self.shown_by_segment(&proof, public_values)
    }

    /// The boundary that a segment proof shows, if a leaf can be made over it. The caller has
    /// verified its STARK.
    pub(crate) fn shown_by_segment(
        &self,
        proof: &SegmentProof,
        public_values: Option<&[u8]>,
    ) -> Result<Boundary, VerifyError> {
        let stark = &proof.stark;
        above::present(stark, &above::OF_SEGMENTS)?;
        let commit: Digest = stark.trace_vdata[PROGRAM_AIR_ID]
            .as_ref()
            .and_then(|v| v.cached_commitments.get(PROGRAM_CACHED_TRACE_INDEX).copied())
            .ok_or_else(|| VerifyError::Invalid {
                reason: "it does not commit to a program".into(),
            })?;
        self.check_program(commit)?;
        let connector: &VmConnectorPvs<F> = stark.public_values[CONNECTOR_AIR_ID].as_slice().borrow();
        let memory: &MemoryMerklePvs<F, 8> = stark.public_values[MERKLE_AIR_ID].as_slice().borrow();
        let boundary = Boundary {
            initial_pc: connector.initial_pc.as_canonical_u32(),
            final_pc: connector.final_pc.as_canonical_u32(),
            initial_root: root(memory.initial_root),
            final_root: root(memory.final_root),
            exit_code: above::ending(connector.is_terminate, connector.exit_code)?,
        };
        match (boundary.exit_code.is_some(), public_values) {
            (true, None) => {
                return Err(VerifyError::boundary(
                    "the end of the program",
                    "in this segment",
                    "in a later one",
                ));
            }
            (false, Some(_)) => {
                return Err(VerifyError::boundary(
                    "the end of the program",
                    "not in this segment",
                    "in it",
                ));
            }
            _ => {}
        }
        match (&proof.public_values, public_values) {
            (None, None) => {}
            (Some(shown), Some(expected)) => {
                shown
                    .verify(&vm_poseidon2_hasher(), self.memory_dimensions, memory.final_root)
                    .map_err(|e| VerifyError::Invalid {
                        reason: e.to_string(),
                    })?;
                same_public_values(&bytes_of(&shown.public_values)?, expected)?;
            }
            (shown, _) => {
                let actual = if shown.is_some() { "shown" } else { "not shown" };
                return Err(VerifyError::boundary(
                    "the public values",
                    actual,
                    "shown by the last segment and by no other",
                ));
            }
        }
        Ok(boundary)
    }

    /// Verifies a node of the aggregation tree, and that another one can be made over it.
    ///
    /// # Errors
    /// See [`VerifyError`]; the bytes may be anything.
    pub fn node(&self, level: Level, proof: &[u8]) -> Result<Boundary, VerifyError> {
        check_size(
            "a node of the aggregation tree",
            proof.len(),
            NODE_PROOF_BYTES_MAX,
        )?;
        caught(|| self.node_inner(level, proof)).unwrap_or_else(|reason| Err(VerifyError::Invalid { reason }))
    }

    fn node_inner(&self, level: Level, proof: &[u8]) -> Result<Boundary, VerifyError> {
        let proof = proof_bytes::decode(proof).map_err(|reason| VerifyError::Malformed { reason })?;
        let vk = match Circuit::of(level) {
            Circuit::Leaf => &self.leaf,
            Circuit::InternalForLeaf => &self.internal_for_leaf,
            Circuit::InternalRecursive => &self.final_proof.mvk,
        };
        check_stark(vk, &proof)?;
        self.shown_by_node(level, &proof)
    }

    /// The boundary that a node shows, if another node can be made over it. The caller has verified
    /// its STARK.
    pub(crate) fn shown_by_node(&self, level: Level, proof: &Proof<SC>) -> Result<Boundary, VerifyError> {
        above::node_present(proof)?;
        self.check_lineage(level, proof)?;
        let pvs: &VmPvs<F> = proof.public_values[VM_PVS_AIR_ID].as_slice().borrow();
        self.check_program(pvs.program_commit)?;
        Ok(Boundary {
            initial_pc: pvs.initial_pc.as_canonical_u32(),
            final_pc: pvs.final_pc.as_canonical_u32(),
            initial_root: root(pvs.initial_root),
            final_root: root(pvs.final_root),
            exit_code: above::ending(pvs.is_terminate, pvs.exit_code)?,
        })
    }

    /// Checks the keys with which the children, and their children in turn, were verified.
    ///
    /// A node exposes the commitments of the levels below it, those above are zero; the commitment
    /// of its own child is the one its constraints were evaluated with.
    fn check_lineage(&self, level: Level, proof: &Proof<SC>) -> Result<(), VerifyError> {
        let other = |reason: &str| VerifyError::OtherKeys {
            reason: reason.into(),
        };
        let (base, _) = proof.public_values[VERIFIER_PVS_AIR_ID].split_at(VerifierBasePvs::<u8>::width());
        let pvs: &VerifierBasePvs<F> = base.borrow();
        let number = u32::from(level.number());
        let unset = VkCommit {
            cached_commit: [F::ZERO; 8],
            vk_pre_hash: [F::ZERO; 8],
        };
        let from = |level: u32, commit: VkCommit<F>| if number >= level { commit } else { unset };
        let commits = &self.commits;

        if pvs.internal_flag != F::from_u32((number - 1).min(2)) {
            return Err(other("it is of another kind of node"));
        }
        if pvs.recursion_depth != F::from_u32(number.saturating_sub(2)) {
            return Err(other("it is of another depth"));
        }
        for (name, actual, expected) in [
            ("segment", pvs.app_vk_commit, commits.app),
            ("leaf", pvs.leaf_vk_commit, from(2, commits.leaf)),
            (
                "internal-for-leaf",
                pvs.internal_for_leaf_vk_commit,
                from(3, commits.internal_for_leaf),
            ),
            (
                "internal-recursive",
                pvs.internal_recursive_vk_commit,
                from(4, commits.internal_recursive),
            ),
        ] {
            if actual != expected {
                return Err(other(&format!(
                    "its {name} key is not the one that follows from this configuration"
                )));
            }
        }
        let child = match number {
            1 => commits.app,
            2 => commits.leaf,
            3 => commits.internal_for_leaf,
            _ => commits.internal_recursive,
        };
        let evaluated = proof.trace_vdata[CONSTRAINT_EVAL_AIR_ID]
            .as_ref()
            .and_then(|v| v.cached_commitments.get(CONSTRAINT_EVAL_CACHED_INDEX));
        if evaluated != Some(&child.cached_commit) {
            return Err(other("its child was verified with another key"));
        }
        Ok(())
    }

    /// Verifies a final proof (the bytes of `NAME.stark.proof`).
    ///
    /// # Errors
    /// See [`VerifyError`]; the bytes may be anything.
    pub fn final_proof(&self, proof: &[u8]) -> Result<FinalProof, VerifyError> {
        caught(|| {
            let proof = final_proof::decode(proof)?;
            let pvs: &VmPvs<F> = proof
                .inner
                .public_values
                .get(VM_PVS_AIR_ID)
                .filter(|pvs| pvs.len() == VmPvs::<u8>::width())
                .ok_or_else(|| VerifyError::Malformed {
                    reason: "it has no public values of a VM".into(),
                })?
                .as_slice()
                .borrow();
            self.check_program(pvs.program_commit)?;
            verify_vm_stark_proof_decoded(&self.final_proof, &proof).map_err(|e| VerifyError::Invalid {
                reason: e.to_string(),
            })?;
            let public_values = bytes_of(&proof.user_pvs_proof.public_values)?;
            Ok(FinalProof { public_values })
        })
        .unwrap_or_else(|reason| Err(VerifyError::Invalid { reason }))
    }

    fn check_program(&self, actual: Digest) -> Result<(), VerifyError> {
        if actual != self.program_commit {
            return Err(VerifyError::OtherProgram {
                actual: root(actual).to_string(),
                expected: root(self.program_commit).to_string(),
            });
        }
        Ok(())
    }
}

/// A digest as plain words.
pub(crate) fn root(digest: Digest) -> Root {
    Root(digest.map(|f| f.as_canonical_u32()))
}

fn check_size(what: &str, actual: usize, max: usize) -> Result<(), VerifyError> {
    if actual > max {
        return Err(VerifyError::TooLarge {
            what: what.into(),
            actual,
            max,
        });
    }
    Ok(())
}

fn check_stark(vk: &Vk, proof: &Proof<SC>) -> Result<(), VerifyError> {
    <SwirlEngine>::new(vk.inner.params.clone())
        .verify(vk, proof)
        .map_err(|e| VerifyError::Invalid {
            reason: e.to_string(),
        })?;
    above::interactions(vk, proof)
}

fn bytes_of(public_values: &[F]) -> Result<Vec<u8>, VerifyError> {
    public_values
        .iter()
        .map(|f| u8::try_from(f.as_canonical_u32()))
        .collect::<Result<_, _>>()
        .map_err(|_| VerifyError::Malformed {
            reason: "a public value is not a byte".into(),
        })
}

fn same_public_values(actual: &[u8], expected: &[u8]) -> Result<(), VerifyError> {
    if actual != expected {
        return Err(VerifyError::PublicValues {
            actual: format!("0x{}", hex::encode(actual)),
            expected: format!("0x{}", hex::encode(expected)),
        });
    }
    Ok(())
}
