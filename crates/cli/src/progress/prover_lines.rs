//! The lines of provers on a terminal, above a footer.

use indicatif::{MultiProgress, ProgressBar};

use super::{
    spinner::TICK,
    styles::{template, took},
};

/// The most provers with a line of their own: a screen has no room for all provers of a large
/// fleet.
const LINES_MAX: usize = 8;

/// A line for each prover, as far as the screen has room: further provers are not shown.
pub(super) struct ProverLines {
    screen: MultiProgress,
    /// The line below them.
    footer: ProgressBar,
    /// The width of their names, in characters.
    width: usize,
    lines: Vec<ProgressBar>,
}

impl ProverLines {
    /// None yet.
    pub(super) fn above(footer: &ProgressBar, screen: &MultiProgress, width: usize) -> Self {
        Self {
            screen: screen.clone(),
            footer: footer.clone(),
            width,
            lines: Vec::new(),
        }
    }

    /// Ensures that there are lines for this many provers.
    pub(super) fn ensure(&mut self, count: usize) {
        while self.lines.len() < count.min(LINES_MAX) {
            let line = self
                .screen
                .insert_before(&self.footer, ProgressBar::new_spinner());
            line.set_prefix(format!("prover {}", self.lines.len() + 1));
            self.lines.push(line);
            self.rest(self.lines.len() - 1, "idle");
        }
    }

    /// The place may have been that of a prover that is gone.
    pub(super) fn joined(&mut self, prover: usize, name: &str) {
        self.ensure(prover + 1);
        if let Some(line) = self.lines.get(prover) {
            line.set_prefix(format!("…{name}"));
        }
        self.rest(prover, "idle");
    }

    /// The prover's line says what it is at.
    pub(super) fn start(&self, prover: usize, task: String) {
        if let Some(line) = self.lines.get(prover) {
            let name = format!("{{prefix:{}.dim}}", self.width);
            line.set_style(template(&format!("  {name} {{msg}} {{took:.dim}}")).with_key("took", took));
            line.set_message(task);
            line.reset_elapsed();
            line.enable_steady_tick(TICK);
        }
    }

    /// The prover's line says why it has no task.
    pub(super) fn rest(&self, prover: usize, word: &'static str) {
        if let Some(line) = self.lines.get(prover) {
            line.disable_steady_tick();
            line.set_style(template(&format!("  {{prefix:{}.dim}} {{msg:.dim}}", self.width)));
            line.set_message(word);
            line.tick();
        }
    }

    pub(super) fn clear(&self) {
        self.lines.iter().for_each(ProgressBar::finish_and_clear);
    }
}
