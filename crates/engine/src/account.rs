//! The account of an execution: what its instructions were spent on.

use serde::{Deserialize, Serialize};

/// The cost under one label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The number of times that the label began.
    pub times: u64,
    /// Instructions executed.
    pub instructions: u64,
    /// Cells of the rows that these fill in the traces of the VM's chips. Cells without a single
    /// instruction as their cause are not counted: tables, the hashes of memory, and rows that
    /// round a height up to a power of two.
    pub cells: u64,
}

/// The account of an execution, by label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The costs by label. Work without a label is under 0; work inside of several is under the
    /// innermost.
    pub spent: Vec<Spent>,
    /// The values that the program revealed.
    pub public_values: Vec<u8>,
}

impl Account {
    /// Instructions executed, of all labels.
    pub fn instructions(&self) -> u64 {
        self.spent.iter().map(|spent| spent.instructions).sum()
    }

    /// Cells, of all labels.
    pub fn cells(&self) -> u64 {
        self.spent.iter().map(|spent| spent.cells).sum()
    }
}
