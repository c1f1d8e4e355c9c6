//! Amounts of memory, as people write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The smallest budget. A process of OpenVM's engine with an empty segment takes 0.11 GiB of it,
/// and one with a large program 0.3.
pub const MEMORY_BUDGET_MIN: MemoryBudget = MemoryBudget(1 << 29);

/// Bytes of real memory (resident set) that one proving process may use at its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryBudget(u64);

impl MemoryBudget {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for MemoryBudget {
    type Err = String;

    /// Reads `2GiB`, `1500 MiB`, `4GB` or plain bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            other => return Err(format!("unknown unit `{other}`; write bytes, MB, MiB, GB or GiB")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not an amount of memory; write for instance 2GiB"))?;
        let budget = Self((number * scale as f64) as u64);
        if budget < MEMORY_BUDGET_MIN {
            return Err(format!(
                "{budget} is too little; the least is {MEMORY_BUDGET_MIN}"
            ));
        }
        Ok(budget)
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}
