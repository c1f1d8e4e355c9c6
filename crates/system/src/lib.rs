//! The system chips of OpenVM's virtual machine, made for machines with little memory.
//!
//! OpenVM's own chips copy all of the guest's memory before each segment (512 MiB, however little
//! of it a program uses), and hash all of it again, one chunk after the other, into a tree that
//! keeps each node. These chips keep the pages that are not zero, and hash only the changes since
//! the last segment, many chunks at once.
//!
//! [`LeanVmBuilder`] stands where `openvm_sdk_config::SdkVmCpuBuilder` stands. The traces are those
//! that OpenVM's chips make, so the keys are the same, and a verifier sees no difference. The trace
//! of the hashes is not in the context that the virtual machine makes:
//! [`HashRecords::take_context`] gives it.
//!
//! | module | what it does |
//! |---|---|
//! | `tree` | follows memory: the pages that are not zero, and the Merkle tree over them |
//! | `touched` | what a segment touched, as the boundary chip shows it |
//! | `paths` | the way from there to the root, as the Merkle chip shows it |
//! | `records` | the hashes of both, as the chip of the hashes shows them |
//! | `chips` | the three chips together, in the place of OpenVM's |

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod chips;
mod hash;
mod paths;
mod records;
mod touched;
mod tree;

pub use chips::{KeptBytes, LeanSystem, LeanVmBuilder};
pub use records::HashRecords;
pub use tree::MemoryTree;

use openvm_circuit::system::memory::CHUNK;
use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::p3_field::Field;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};

/// The configuration of OpenVM's virtual machine.
type SC = BabyBearPoseidon2Config;
type Backend = CpuBackend<SC>;
/// A node of the Merkle tree over memory.
pub type Digest = [F; CHUNK];
/// As many field elements as the processor computes with at once.
type Lanes = <F as Field>::Packing;
