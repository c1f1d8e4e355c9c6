//! A client of Myriad's HTTP service (`myriad serve`): submits jobs, follows them, and gets their
//! proofs. It blocks the thread that calls it, and needs no runtime.
//!
//! ```no_run
//! use std::fs::File;
//!
//! use myriad_client::{Client, Submission};
//!
//! let client = Client::new("http://127.0.0.1:8080")?.key("myr_...")?;
//! let submitted = client.submit(&Submission::block("block.json.gz"))?;
//! let job = client.wait(&submitted.job.id)?;
//! if job.proof.is_some() {
//!     client.proof(&job.id, &mut File::create("block.stark.proof")?)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Uploads are read from their files as they are sent, and proofs are written as they come. The
//! service is not trusted: each answer is bounded before it is decoded. A proof that it gives out
//! shows nothing until it is verified.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod answer;
mod client;
mod connection;
mod error;
mod events;
mod jobs;
mod lines;
mod submission;

pub use client::Client;
pub use error::{Error, Refusal};
pub use events::{Events, Received};
pub use jobs::Jobs;
pub use myriad_api as api;
pub use submission::{Submission, Submitted, Was};
