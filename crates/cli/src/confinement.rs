//! Whether this kernel can confine engine children.

use std::sync::LazyLock;

use myriad_engine::worker::can_confine;

use crate::terminal;

/// Tells an engine child to continue if the kernel cannot confine it.
pub const UNCONFINED: &str = "--unconfined";

/// Checks that this kernel can confine engine children. If it cannot, a note says so, once.
///
/// # Errors
/// The missing feature, in words.
pub fn confinement() -> Result<(), &'static str> {
    static MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
        let missing = can_confine().err()?;
        terminal::note(format_args!(
            "engine children are not confined: {missing}; a program that takes over such a child could do anything that you can"
        ));
        Some(missing)
    });
    MISSING.as_deref().map_or(Ok(()), Err)
}
