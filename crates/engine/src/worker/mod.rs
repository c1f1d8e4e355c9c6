//! An engine in a child process. The frames and the confinement are the same for all engines; the
//! child's work is its own ([`Engine`]).
//!
//! ```text
//!  caller                                    child: the engine's own binary, or `myriad engine-worker`
//!  ──────                                    ──────────────────────────────
//!  Worker::spawn ─────── starts ───────────▶ serve
//!  load ──────────────── Load ─────────────▶ keeps program and input, and keys where only the input is another
//!  plan ──────────────── Plan ─────────────▶ executes, cuts        ──▶ Plan
//!  boundaries ────────── Boundaries ───────▶ re-executes           ──▶ boundary of each segment
//!  prove ─────────────── Prove ────────────▶ re-executes, proves   ──▶ proof bytes
//!  aggregate, finish ─── Aggregate, Finish ▶ aggregates            ──▶ proof bytes
//!  verify ────────────── Verify ───────────▶ verifies              ──▶ boundary, or why it is no proof
//!  drop or kill ──────── closes stdin ─────▶ ends at once, also in the middle of a proof
//! ```
//!
//! Requests and answers are frames on the child's stdin and stdout: a length of 4 bytes, little
//! endian, and that many bytes of postcard. Files follow the request that they belong to, and only
//! the child decodes them. One request is answered before the next is sent; before the answer to
//! `Plan`, segments may come as they are cut. The guest program's
//! prints would land among the frames, so the child gives it a stdout of its own, keeps the end of
//! it, and quotes it in errors.
//!
//! A child that is another binary may be of another build. By an environment variable, its caller
//! says which version of the frames and which engine it expects ([`WORKER_PROTOCOL_VERSION`]). A
//! child that has another one ends at once, and says so on stderr.
//!
//! The child gives up everything that it does not need before it reads the first request: files,
//! sockets, other processes ([`confine()`]). It can read keys and not write them. They are made
//! before, by a child that does nothing else ([`Worker::spawn_for_keys`]), sees no program and has
//! no file at all: the caller writes the keys that it answers with.

mod caller;
mod client;
mod config;
mod confine;
mod death;
mod error;
mod output;
mod protocol;
mod registry;
mod reported;
mod serve;
mod shared;
mod source;
mod usage;

pub use caller::{OtherBuild, WORKER_PROTOCOL_VERSION};
pub use client::Worker;
pub use config::{WorkerConfig, data_bytes_max};
pub use confine::{ConfineError, KeyAccess, can_confine, confine};
pub use death::Death;
pub use error::WorkerError;
pub use output::GuestOutput;
pub use protocol::Failure;
pub use registry::{Engines, NoEngine};
pub use serve::{Engine, Reports, ServeError, ServeOptions, serve};
pub use shared::Stopper;
pub use source::Source;
pub use usage::Usage;
