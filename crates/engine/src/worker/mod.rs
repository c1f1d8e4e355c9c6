//! The engine in a child process.
//!
//! ```text
//!  caller                                    child: `myriad engine-worker`
//!  ──────                                    ──────────────────────────────
//!  Worker::spawn ─────── starts ───────────▶ serve
//!  load ──────────────── Load ─────────────▶ keeps program and input, and keys where only the input is another
//!  plan ──────────────── Plan ─────────────▶ executes, cuts        ──▶ Plan
//!  boundaries ────────── Boundaries ───────▶ re-executes           ──▶ boundary of each segment
//!  prove ─────────────── Prove ────────────▶ re-executes, proves   ──▶ proof bytes
//!  aggregate, finish ─── Aggregate, Finish ▶ aggregates            ──▶ proof bytes
//!  drop or kill ──────── closes stdin ─────▶ ends at once, also in the middle of a proof
//! ```
//!
//! Requests and answers are frames on the child's stdin and stdout: a length of 4 bytes, little
//! endian, and that many bytes of postcard. One request is answered before the next is sent. What
//! the guest program prints would land among the frames, so the child gives it a stdout of its own,
//! keeps the end of it, and quotes it in errors. The child opens no socket.

mod client;
mod output;
mod protocol;
mod serve;
mod usage;

pub use client::{Death, Stopper, Worker, WorkerConfig, WorkerError};
pub use protocol::{FRAME_BYTES_MAX, Failure};
pub use serve::{ServeError, ServeOptions, serve};
pub use usage::Usage;
