//! Aggregation trees on paper: the shapes of their tasks, what no schedule of one ends before, and when one ends by list
//! scheduling.

mod bound;
mod list_schedule;
mod shape;

pub use shape::{Shape, shape};

pub(crate) use list_schedule::{ClassTimes, KINDS, Timeline, Times};
pub(crate) use shape::outline;
