//! Drivers: they bring the engine, the disk and the machine together to finish a job.
//!
//! [`local`] is the requester that proves with engine children on its own machine. It keeps every
//! accepted proof in a [`Store`], so that the same request goes on where it stopped.

pub mod local;
mod store;

pub use store::{Store, StoreError, job_id};
