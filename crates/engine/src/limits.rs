//! The most bytes of everything that comes to an engine or from it, whichever engine it is. An
//! engine may allow less.

/// The most bytes of a program file. The EVM block guest has under 3 MB as an ELF, and 40 MB as a
/// `.vmexe`.
pub const PROGRAM_BYTES_MAX: usize = 128 << 20;

/// The most bytes of the text that configures a program's virtual machine. The `openvm.toml` of the
/// EVM block guest has 727.
pub const CONFIG_BYTES_MAX: usize = 64 << 10;

/// The most segments into which an execution may be cut: as many as the planner plans for. A plan
/// of that many takes some 100 MB with OpenVM's account of each.
pub const SEGMENTS_MAX: usize = 200_000;

/// The most bytes of that part of a segment's description that only its engine reads. OpenVM's has
/// up to 5 for each of some hundred chips.
pub const SEGMENT_DETAILS_BYTES_MAX: usize = 7 << 10;

/// The most bytes of a plan, with the details of all its segments.
pub const PLAN_BYTES_MAX: usize = 64 << 20;

/// The most bytes that a program reveals. OpenVM's programs reveal 4 KiB at most, and 32 bytes
/// mostly.
pub const PUBLIC_VALUES_BYTES_MAX: usize = 64 << 10;

/// The most bytes of a segment proof; OpenVM's have 0.5 to 1.5 MB.
pub const SEGMENT_PROOF_BYTES_MAX: usize = 16 << 20;

/// The most bytes of a proof of the aggregation tree; OpenVM's have under 1 MB.
pub const NODE_PROOF_BYTES_MAX: usize = 8 << 20;

/// The most bytes of the file of a final proof. OpenVM's has about 0.6 MB.
pub const FINAL_PROOF_BYTES_MAX: usize = 8 << 20;

/// The most labels by which an account counts. A label is one byte of a mark.
pub const LABELS_MAX: usize = 256;

/// The most children of a node.
pub const CHILDREN_MAX: usize = 8;
