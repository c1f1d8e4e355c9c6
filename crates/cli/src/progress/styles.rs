//! What the styles of several displays share.

use std::fmt::Write;

use indicatif::{ProgressState, ProgressStyle};

use crate::terminal::duration;

/// The time since a line's task began, as a key of a template.
pub(super) fn took(state: &ProgressState, out: &mut dyn Write) {
    // Writing to memory does not fail.
    let _ = write!(out, "· {}", duration(state.elapsed()));
}

/// The style that a template of this binary describes.
pub(super) fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("the template is valid")
}
