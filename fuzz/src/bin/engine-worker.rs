//! The engine child in which `tests/programs.rs` executes programs: where one does harm, it is this
//! process that ends.
//!
//! Its argument is the folder of the key cache. With another one, it makes the keys.

#![forbid(unsafe_code)]

use std::env;

use myriad_engine::worker::{KeyAccess, ServeError, ServeOptions};
use myriad_openvm::serve;

/// The VM's memory, of which little is touched, and the marks of metering. A program may ask for
/// any amount beside it, and is refused.
const DATA_BYTES_MAX: u64 = 3 << 30;

fn main() -> Result<(), ServeError> {
    let mut args = env::args_os().skip(1);
    let keys = args.next().unwrap_or_default().into();
    let makes_keys = args.next().is_some();
    serve(&ServeOptions {
        keys,
        access: if makes_keys {
            KeyAccess::Make
        } else {
            KeyAccess::Read
        },
        data_bytes_max: (!makes_keys).then_some(DATA_BYTES_MAX),
        memory_max: None,
        // Fuzzing looks at what a program does, so nothing is forbidden to it.
        unconfined: true,
    })
}
