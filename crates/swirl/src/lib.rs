//! A CPU prover for SWIRL, the proof system of OpenVM 2, made for machines with little memory.
//!
//! [`SwirlDevice`] takes the place of `openvm_cpu_backend::CpuDevice`: it proves for the same
//! backend type, `CpuBackend<SC>`, with the same keys and contexts, and each proof is byte for byte
//! the one that the stock device makes of the same transcript. It differs in how it computes them:
//!
//! - it computes over packed field elements (`F::Packing`), in whatever width the build has,
//!   instead of one row and one element at a time;
//! - it compiles constraints and interactions once per proof into flat programs of registers,
//!   instead of walking them as trees for each row;
//! - it keeps no codeword: it hashes rows as it encodes them, and encodes the queried ones again;
//! - it keeps large vectors in the base field as long as possible, folds them in place, and frees
//!   them as soon as they have been used.
//!
//! [`SwirlEngine`] is the device with BabyBear and Poseidon2, as a `StarkEngine`: whatever in
//! OpenVM takes an engine with the backend type `CpuBackend<SC>` takes this one.
//!
//! ```no_run
//! use myriad_swirl::SwirlEngine;
//! use openvm_stark_backend::{StarkEngine, prover::DeviceDataTransporter};
//! # fn run(
//! #     params: openvm_stark_backend::SystemParams,
//! #     airs: Vec<openvm_stark_backend::AirRef<openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config>>,
//! #     ctx: openvm_stark_backend::prover::ProvingContext<openvm_cpu_backend::CpuBackend<openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config>>,
//! # ) {
//! let engine: SwirlEngine = SwirlEngine::new(params).with_memory_limit(1 << 30);
//! let (pk, vk) = engine.keygen(&airs);
//! let pk = engine.device().transport_pk_to_device(&pk);
//! let proof = engine.prove(&pk, ctx).expect("the context satisfies the constraints and fits the limit");
//! engine.verify(&vk, &proof).expect("and so the proof verifies");
//! # }
//! ```
//!
//! # Memory
//!
//! [`SwirlDevice::memory_model`] predicts the memory of a proof, phase by phase. With
//! [`SwirlDevice::with_memory_limit`], the device chooses how much of the fraction tree to keep,
//! and refuses a proof that does not fit before it begins. [`MemoryModel::peak_within`] predicts
//! the memory under a limit; [`Peak::with_traces`] is the figure to compare with the memory of a
//! machine. The limit holds for [`SwirlEngine`]'s `prove`. OpenVM's `Coordinator` calls the
//! device's phases one by one, keeps the traces to the end, and knows no limit.
//!
//! # Errors
//!
//! A context that is not proven gives a [`SwirlError`]. It says which trace or AIR does not fit,
//! and names the actual value and the allowed one.
//!
//! "Before anything is computed" holds for [`SwirlEngine`]'s `prove`. OpenVM's `Coordinator` has
//! committed to the traces when it calls the phase that checks them, and panics itself if the key
//! does not have the AIR of a trace.
//!
//! | error | cause | found |
//! |---|---|---|
//! | `Airs`, `Context` | traces, public values or cached parts do not fit the key | before anything is computed |
//! | `Params` | the key was made for other parameters than the device's | before anything is computed |
//! | `Height`, `Heights` | a height is no power of two, or the heights pass a limit of the key | before anything is computed |
//! | `Width` | the traces fill more stacked columns than the parameters allow | before anything is computed |
//! | `Memory` | a proof that keeps as little as possible takes more than the limit | before anything is computed |
//! | `Commit` | the traces do not fit the stacked matrix | while they are committed to |
//! | `Interactions` | the interactions do not balance | after the fraction sums |
//! | `Unsatisfied` | a trace breaks a constraint | after the sumcheck of the constraints |
//! | `Point` | a caller of `prove_openings` gave too few coordinates | before anything is opened |
//! | `Reduction`, `Opening` | OpenVM's checks of the last two phases | in these phases |
//!
//! # Threads
//!
//! All phases compute on the rayon pool of the calling thread, and start no threads of their own.
//! `ThreadPool::install` chooses the pool. More threads take more memory: each has working memory
//! of its own, and [`MemoryModel::peak`] takes their number. A proof on one thread and a proof on
//! many have the same bytes, but for the grinding.
//!
//! # Grinding and determinism
//!
//! The transcript grinds, not the device. With several threads, OpenVM's transcripts take the first
//! proof-of-work witness that any thread finds, so two proofs of one context may differ there and
//! in all that follows. Both are valid. With a transcript that takes the smallest witness, such as
//! that of `tests/device/common/transcript.rs`, a proof follows from its context alone, and has the
//! bytes of OpenVM's device with that transcript.
//!
//! # In OpenVM
//!
//! - Nodes: `InnerCpuProver::agg_prove::<SwirlEngine>` proves with this engine.
//! - Segments: a `VmInstance` executes, and makes the context, with the engine that it is bound to.
//!   [`SwirlEngine`] proves that context with the VM's key (`vm.pk()`). The commitment to the
//!   program is `TraceCommitter::commit` of [`SwirlDevice`]. `crates/openvm/src/prove.rs` is an
//!   example of all three.
//! - Commitments: their data lack the codeword, and mostly the stacked columns. So OpenVM's device
//!   cannot open what [`SwirlDevice`] committed to. [`SwirlDevice`] opens what OpenVM's device
//!   committed to with the same parameters.
//!
//! # Measure it
//!
//! ```text
//! cargo bench -p myriad-swirl --bench phases                                     time of each phase, beside the machine's bounds
//! cargo bench --workspace --bench devices                                        whole proofs, beside OpenVM's device
//! cargo test --release -p myriad-swirl --features count-memory --test memory     memory of each phase, beside the model
//! ```
//!
//! # The phases of a proof
//!
//! | module | what it does |
//! |---|---|
//! | `commit` | stacks the traces, encodes the stacked columns, hashes the rows of the codeword |
//! | `gkr` | sums the fractions of all bus interactions and proves the sum layer by layer |
//! | `constraints` | reduces constraints and interactions to claims about columns, by sumcheck |
//! | `opening` | reduces these claims to one about the stacked columns, and opens it with WHIR |

#![warn(unreachable_pub)]

mod commit;
mod constraints;
mod context;
mod device;
mod engine;
mod error;
mod gkr;
mod memory;
mod opening;
mod packed;
mod prover;

pub use device::SwirlDevice;
pub use engine::SwirlEngine;
pub use error::SwirlError;
pub use memory::{MemoryModel, Peak};
pub use packed::{PackedConfig, PackedField};
