//! A line for work that has no parts to count.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The pause between frames of moving parts.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Shown until it is dropped, and only if stderr is a terminal.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn new(text: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner()
            .with_style(style())
            .with_message(text.into());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}").expect("the template is valid")
}
