//! The HTTP service of Myriad.
//!
//! ```text
//!  client ──▶ http ──▶ intake ──▶ Workshop ──▶ node::requester::Service
//!               ▲                 (a Job of                │
//!               │                  an upload)              │ node::Event
//!               └────────────── board ◀────────────────────┘
//!                 documents,
//!                 streams of events
//! ```
//!
//! It knows nothing of program files, blocks and zkVMs: a [`Workshop`] makes jobs of what clients
//! upload. The [`board`] is the memory of all jobs, and does no HTTP.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod board;
mod http;
mod intake;
pub mod keys;
mod limits;
mod metrics;
mod page;
mod refusal;
mod time;
mod whole;
mod workshop;

pub use http::{Config, Gateway, ServeError, TlsError, TlsFiles};
pub use limits::Limits;
pub use workshop::{Made, Upload, Workshop};
