//! The content of a block file, at a glance: `inspect` shows it, and the commands that have written
//! one.

use std::path::Path;

use myriad_evm::host::inspect::{BlockSummary, TransactionTypes};
use myriad_net::text::printable;

use crate::{
    error::Error,
    report::Rows,
    terminal::{self, bytes, count, plural},
};

/// The most characters of a file's description that are shown.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// Prints a summary of a block file.
///
/// # Errors
/// [`Error::Stdout`]
pub fn show(path: &Path, summary: &BlockSummary, json: bool) -> Result<(), Error> {
    if json {
        return terminal::print_json(summary).map_err(Error::Stdout);
    }
    let kind = kind(summary.synthetic);
    let mut rows = Rows::plain(&format!(
        "{}: {} {} of chain {}{kind}",
        path.display(),
        noun(summary.blocks),
        numbers(summary.number, summary.blocks),
        summary.chain_id
    ));
    rows.row("hash", &summary.block_hash.to_string());
    rows.row("rules", &rules(summary.fork.as_deref(), summary.chain_built_in));
    rows.row("time", &format!("{} (Unix)", summary.timestamp));
    let share = 100.0 * summary.gas_used as f64 / summary.gas_limit.max(1) as f64;
    rows.row(
        "gas",
        &format!(
            "{} of {} ({share:.0} %)",
            count(summary.gas_used),
            count(summary.gas_limit)
        ),
    );
    rows.row(
        "transactions",
        &transactions(summary.transactions, &summary.transaction_types),
    );
    if summary.blobs > 0 {
        rows.row("blobs", &summary.blobs.to_string());
    }
    rows.row("withdrawals", &summary.withdrawals.to_string());
    let parent = if summary.parent_header_known {
        ""
    } else {
        ", header not known: cannot be proven"
    };
    rows.row("parent", &format!("{}{parent}", summary.parent_hash));
    rows.row("state before", &summary.parent_state_root.to_string());
    rows.row("state after", &summary.state_root.to_string());
    rows.row("block size", &bytes(summary.block_bytes as u64));
    let witness = &summary.witness;
    for (name, number, noun, size) in [
        ("witness", witness.state_nodes, "trie node", witness.state_bytes),
        ("", witness.codes, "code", witness.code_bytes),
        ("", witness.headers, "header", witness.header_bytes),
    ] {
        rows.row(name, &format!("{}, {}", plural(number, noun), bytes(size as u64)));
    }
    if let Some(description) = &summary.description {
        rows.row("description", &printable(description, DESCRIPTION_CHARS_MAX));
    }
    rows.print()
}

/// The noun for this many blocks.
pub(super) fn noun(blocks: usize) -> &'static str {
    if blocks > 1 { "blocks" } else { "block" }
}

/// The number of a block, or those of a batch from its first one to its last.
pub(super) fn numbers(last: u64, blocks: usize) -> String {
    match blocks as u64 {
        1 => last.to_string(),
        // A header can say anything.
        blocks => format!("{} to {last}", last.saturating_sub(blocks - 1)),
    }
}

/// The words after the name of a made-up block.
pub(super) fn kind(synthetic: bool) -> &'static str {
    if synthetic { " (synthetic)" } else { "" }
}

/// The rules for a block, and their source.
pub(super) fn rules(fork: Option<&str>, built_in: bool) -> String {
    match (fork, built_in) {
        (Some(fork), true) => format!("{fork}, built in"),
        (Some(fork), false) => format!("{fork}, by the file's chainConfig"),
        (None, _) => "not supported: before the Merge or after Osaka".into(),
    }
}

fn transactions(total: usize, types: &TransactionTypes) -> String {
    let parts: Vec<String> = [
        (types.legacy, "legacy"),
        (types.eip2930, "EIP-2930"),
        (types.eip1559, "EIP-1559"),
        (types.eip4844, "EIP-4844"),
        (types.eip7702, "EIP-7702"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, name)| format!("{number} {name}"))
    .collect();
    if parts.is_empty() {
        total.to_string()
    } else {
        format!("{total} ({})", parts.join(", "))
    }
}
