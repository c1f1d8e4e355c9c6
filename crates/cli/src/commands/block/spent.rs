//! A block's instructions and trace cells, by kinds of operations.

use std::{cmp::Reverse, fmt::Write};

use myriad_engine::{Account, Spent};
use myriad_evm::accounting::Kind;
use serde::Serialize;

use crate::terminal::{BOLD, DIM, GREEN, count};

/// Columns of the longest bar.
const BAR: usize = 20;

/// The cost of one kind of operations.
#[derive(Serialize)]
pub struct KindReport {
    kind: &'static str,
    /// The number of times that it began.
    times: u64,
    instructions: u64,
    instructions_per_gas: f64,
    cells: u64,
    cells_per_gas: f64,
    /// Its share of all cells.
    share: f64,
}

/// The kinds that occur, the most expensive first. Together they are the whole account.
pub fn kinds(account: &Account, gas: u64) -> Vec<KindReport> {
    let mut by_kind = [Spent::default(); Kind::ALL.len()];
    for (label, spent) in account.spent.iter().enumerate() {
        // The guest has no other kinds.
        let kind = if label < by_kind.len() { label } else { 0 };
        by_kind[kind].times += spent.times;
        by_kind[kind].instructions += spent.instructions;
        by_kind[kind].cells += spent.cells;
    }
    let all = account.cells().max(1) as f64;
    let gas = gas.max(1) as f64;
    let kinds = Kind::ALL.iter().zip(by_kind);
    let mut kinds: Vec<_> = kinds
        .filter(|(_, spent)| spent.instructions > 0)
        .map(|(kind, spent)| KindReport {
            kind: kind.name(),
            times: spent.times,
            instructions: spent.instructions,
            instructions_per_gas: spent.instructions as f64 / gas,
            cells: spent.cells,
            cells_per_gas: spent.cells as f64 / gas,
            share: spent.cells as f64 / all,
        })
        .collect();
    kinds.sort_by_key(|kind| Reverse(kind.cells));
    kinds
}

/// The kinds for people, one to a line, and all of them in the last.
pub fn table(kinds: &[KindReport]) -> String {
    let mut text = format!(
        "  {DIM}{:27} {:>15} {:>8} {:>BAR$}   {:>14} {:>8}{DIM:#}\n",
        "spent on", "trace cells", "per gas", "", "instructions", "per gas"
    );
    let longest = kinds
        .iter()
        .map(|kind| kind.share)
        .fold(f64::MIN_POSITIVE, f64::max);
    for kind in kinds {
        let _ = writeln!(
            text,
            "  {BOLD}{:27}{BOLD:#} {:>15} {:>8.1} {}   {:>14} {:>8.3} {:>5.1} %",
            kind.kind,
            count(kind.cells),
            kind.cells_per_gas,
            bar(kind.share / longest),
            count(kind.instructions),
            kind.instructions_per_gas,
            100.0 * kind.share,
        );
    }
    let sum = |part: fn(&KindReport) -> u64| kinds.iter().map(part).sum::<u64>();
    let per_gas = |part: fn(&KindReport) -> f64| kinds.iter().map(part).sum::<f64>();
    let _ = writeln!(
        text,
        "  {DIM}{:27}{DIM:#} {:>15} {:>8.1} {:>BAR$}   {:>14} {:>8.3}",
        "all",
        count(sum(|kind| kind.cells)),
        per_gas(|kind| kind.cells_per_gas),
        "",
        count(sum(|kind| kind.instructions)),
        per_gas(|kind| kind.instructions_per_gas),
    );
    text
}

/// A part of the longest bar, in halves of a column, and nothing but blanks behind it.
fn bar(part: f64) -> String {
    let halves = (part * 2.0 * BAR as f64).round() as usize;
    let (whole, half) = (halves / 2, halves % 2);
    let bar = "━".repeat(whole) + if half > 0 { "╸" } else { "" };
    let rest = BAR.saturating_sub(whole + half);
    format!("{GREEN}{bar}{GREEN:#}{}", " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let spent = |times, instructions, cells| Spent {
            times,
            instructions,
            cells,
        };
        let mut all = vec![Spent::default(); Kind::ALL.len() + 2];
        all[Kind::Other as usize] = spent(0, 10, 100);
        all[Kind::Keccak as usize] = spent(7, 40, 6_000);
        all[Kind::Interpreter as usize] = spent(1, 300, 3_000);
        // A kind that is not known.
        all[Kind::ALL.len() + 1] = spent(2, 50, 900);
        Account {
            spent: all,
            public_values: Vec::new(),
        }
    }

    #[test]
    fn kinds_are_the_whole_account_and_the_most_expensive_is_first() {
        let account = account();
        let kinds = kinds(&account, 100);
        let shown: Vec<_> = kinds.iter().map(|kind| (kind.kind, kind.cells)).collect();
        assert_eq!(
            shown,
            [("Keccak", 6_000), ("interpreter", 3_000), ("other", 1_000)]
        );
        let sum = |part: fn(&KindReport) -> u64| kinds.iter().map(part).sum::<u64>();
        assert_eq!(sum(|kind| kind.cells), account.cells());
        assert_eq!(sum(|kind| kind.instructions), account.instructions());
        assert!((kinds.iter().map(|kind| kind.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((kinds[0].cells_per_gas - 60.0).abs() < 1e-9);
    }

    #[test]
    fn lines_are_aligned() {
        let text = anstream::adapter::strip_str(&table(&kinds(&account(), 100))).to_string();
        let ends = |word: &str| {
            let place = |line: &str| line.find(word).map(|at| line[..at + word.len()].chars().count());
            text.lines().find_map(place).unwrap()
        };
        assert_eq!(ends("6,000"), ends("trace cells"));
        assert_eq!(ends("10,000"), ends("trace cells"));
        assert_eq!(ends("300"), ends("instructions"));
        assert!(text.contains(&"━".repeat(BAR)), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}
