//! The display while a job is being proven: bars on a terminal, plain lines elsewhere, and nothing
//! if JSON is asked for and nobody looks. All of it goes to stderr. The proving commands give a
//! [`Progress`] to [`myriad_node::local::run`]. Several jobs at once have a [`Several`].

mod bars;
mod estimate;
mod plain;
mod prover_lines;
mod several;
mod spinner;
mod styles;
mod worlds;

use std::io::{self, IsTerminal};

use myriad_engine::MemoryBudget;
use myriad_node::{Event, Observer};

use bars::Bars;
use plain::Plain;
pub use several::Several;
pub use spinner::Spinner;
pub use worlds::Worlds;

/// Shows the events of a run.
pub struct Progress {
    view: View,
}

enum View {
    Bars(Box<Bars>),
    Plain(Plain),
    Silent,
}

impl Progress {
    /// The display that fits stderr; `memory` is what each child may take.
    pub fn new(json: bool, memory: MemoryBudget) -> Self {
        let view = if io::stderr().is_terminal() {
            View::Bars(Box::new(Bars::new(memory)))
        } else if json {
            View::Silent
        } else {
            View::Plain(Plain::default())
        };
        Self { view }
    }

    /// Takes the display off the screen, from another thread too.
    pub fn clearer(&self) -> Box<dyn Fn() + Send> {
        match &self.view {
            View::Bars(bars) => bars.clearer(),
            View::Plain(_) | View::Silent => Box::new(|| {}),
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event) {
        match &mut self.view {
            View::Bars(bars) => bars.event(event),
            View::Plain(plain) => plain.event(event),
            View::Silent => {}
        }
    }
}
