//! Limits of a replay file.

/// Most bytes of JSON of a replay file, gzipped or not. A block has some 110 KB; parsed, the JSON
/// takes a few times its size.
pub const REPLAY_BYTES_MAX: u64 = 128 << 20;
/// Most accounts, and most slots, that a replay file may list. Each becomes a path in the synthetic
/// tries.
pub const LEAVES_MAX: usize = 1 << 14;
/// Most accounts and slots together that the blocks may touch: as many as may be listed. Each
/// becomes a path in the synthetic tries, of six full branches for an account, which are 3 KB.
pub(super) const TOUCHED_MAX: usize = 2 * LEAVES_MAX;
