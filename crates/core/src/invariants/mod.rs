//! Checkers of what always holds. They look on from outside, in property tests and in a simulator.
//!
//! Each checker sees only the inputs and outputs, and keeps its own books, so that it does not
//! repeat a mistake of the state machine.

mod accepted;
mod banned;
mod durable;
mod fitting;
mod grown;
mod kept;
mod moving;
mod obsolete;
mod served;

use thiserror::Error;

pub use accepted::Accepted;
pub use banned::Banned;
pub use fitting::Fitting;
pub use grown::Grown;
pub use kept::Kept;
pub use moving::Moving;
pub use obsolete::Obsolete;
pub use served::Served;

use crate::{Input, Output, Requester, Time};

/// Something that must never happen has happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{rule}: {what}")]
pub struct Violation {
    /// The rule that should hold.
    pub rule: &'static str,
    /// The event that broke it.
    pub what: String,
}

/// Watches one property.
pub trait Checker {
    /// The property, in words.
    const RULE: &'static str;

    /// Sees an input before the state machine does.
    fn input(&mut self, now: Time, input: &Input);

    /// Sees an output.
    ///
    /// # Errors
    /// An error says what is wrong with the output.
    fn output(&mut self, now: Time, output: &Output) -> Result<(), String>;

    /// Looks at the state machine when it has nothing more to say.
    ///
    /// # Errors
    /// An error says what is wrong with the state.
    fn settled(&mut self, _requester: &Requester) -> Result<(), String> {
        Ok(())
    }
}

/// All checkers at once.
#[derive(Clone, Debug, Default)]
pub struct All {
    accepted: Accepted,
    banned: Banned,
    fitting: Fitting,
    grown: Grown,
    kept: Kept,
    moving: Moving,
    obsolete: Obsolete,
    served: Served,
    /// The inputs from one look at the state to the next; 0 looks after every input.
    settle_every: u32,
    inputs: u32,
}

impl All {
    /// Checkers that look at the whole state only once in this many inputs. They see everything
    /// that goes in and comes out.
    pub fn sampling(settle_every: u32) -> Self {
        Self {
            settle_every,
            ..Self::default()
        }
    }

    /// Gives `input` to `requester`, and all that comes out to the checkers and to the caller.
    ///
    /// # Errors
    /// The first violation.
    pub fn drive(
        &mut self,
        requester: &mut Requester,
        now: Time,
        input: Input,
    ) -> Result<Vec<Output>, Violation> {
        self.each(|checker| {
            checker.see_input(now, &input);
            Ok(())
        })?;
        requester.handle_input(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = requester.poll_output() {
            self.each(|checker| checker.see_output(now, &output))?;
            outputs.push(output);
        }
        self.inputs = self.inputs.wrapping_add(1);
        if self.settle_every < 2 || self.inputs.is_multiple_of(self.settle_every) {
            self.each(|checker| checker.see_settled(requester))?;
        }
        Ok(outputs)
    }

    fn each(
        &mut self,
        mut look: impl FnMut(&mut dyn Watch) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let all: [&mut dyn Watch; 8] = [
            &mut self.accepted,
            &mut self.banned,
            &mut self.fitting,
            &mut self.grown,
            &mut self.kept,
            &mut self.moving,
            &mut self.obsolete,
            &mut self.served,
        ];
        all.into_iter().try_for_each(&mut look)
    }
}

/// [`Checker`] without its constant, so that different ones fit one list.
trait Watch {
    fn see_input(&mut self, now: Time, input: &Input);
    fn see_output(&mut self, now: Time, output: &Output) -> Result<(), Violation>;
    fn see_settled(&mut self, requester: &Requester) -> Result<(), Violation>;
}

impl<C: Checker> Watch for C {
    fn see_input(&mut self, now: Time, input: &Input) {
        self.input(now, input);
    }

    fn see_output(&mut self, now: Time, output: &Output) -> Result<(), Violation> {
        self.output(now, output)
            .map_err(|what| Violation { rule: C::RULE, what })
    }

    fn see_settled(&mut self, requester: &Requester) -> Result<(), Violation> {
        self.settled(requester)
            .map_err(|what| Violation { rule: C::RULE, what })
    }
}
