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
//! let engine: SwirlEngine = SwirlEngine::new(params);
//! let (pk, vk) = engine.keygen(&airs);
//! let pk = engine.device().transport_pk_to_device(&pk);
//! let proof = engine.prove(&pk, ctx).expect("the context satisfies the constraints");
//! engine.verify(&vk, &proof).expect("and so the proof verifies");
//! # }
//! ```
//!
//! # Memory
//!
//! [`SwirlDevice::memory_model`] predicts the memory of a proof, phase by phase. With
//! [`SwirlDevice::with_memory_limit`], the device chooses how much of the fraction tree to keep,
//! and refuses a proof that does not fit before it begins.
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
