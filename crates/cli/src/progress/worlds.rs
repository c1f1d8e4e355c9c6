//! A bar for the worlds of a simulation.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::spinner::TICK;

/// Shown until it is dropped, and only if stderr is a terminal.
pub struct Worlds(ProgressBar);

impl Worlds {
    pub fn new(worlds: u64) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(worlds), ProgressDrawTarget::stderr()).with_style(style());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// This many worlds are done.
    pub fn done(&self, worlds: u64) {
        self.0.set_position(worlds);
    }
}

impl Drop for Worlds {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner:.cyan} simulating {bar:24.green} {pos} of {len} worlds {elapsed:.dim}",
    )
    .expect("the template is valid")
}
