//! `myriad block execute`

use myriad_engine::Input;
use myriad_evm::Outcome;
use serde::Serialize;

use super::spent::{self, KindReport};
use crate::{
    args::ExecuteBlock,
    blocks::{BlockReport, read, title, validated},
    error::Error,
    execution::plan_and_account,
    report::Rows,
    settings::Settings,
    terminal::{self, YELLOW, count, duration, hex0x, plural},
};

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    block: BlockReport,
    instructions: u64,
    instructions_per_gas: f64,
    segments: usize,
    /// Cells of the rows that the instructions fill. Tables, the hashes of memory, and the rounding
    /// of heights are left out.
    cells: u64,
    cells_per_gas: f64,
    /// The kinds of operations, with their instructions and cells, the most expensive first.
    spent: Vec<KindReport>,
    /// Checks that were not made, since the parent's header is not known.
    skipped: &'a [&'static str],
    public_values: String,
    wall_s: f64,
}

pub fn run(args: &ExecuteBlock) -> Result<(), Error> {
    let settings = Settings::load(&args.run)?;
    let (outcome, input, variant) = validated(&args.files, &read(&args.files)?)?;
    let input = Input::from_bytes(input).map_err(|source| Error::Input {
        path: args.files[0].clone(),
        source,
    })?;
    let (plan, usage, account) = plan_and_account(&variant.load()?, input, &settings)?;
    check_agreement(&plan.public_values, &outcome)?;
    check_agreement(&account.public_values, &outcome)?;
    let spent = spent::kinds(&account, outcome.gas_used);

    let per_gas = plan.instructions as f64 / outcome.gas_used.max(1) as f64;
    if args.run.data.json {
        let report = Report {
            block: BlockReport::of(&outcome),
            instructions: plan.instructions,
            instructions_per_gas: per_gas,
            segments: plan.segments.len(),
            cells: account.cells(),
            cells_per_gas: account.cells() as f64 / outcome.gas_used.max(1) as f64,
            spent,
            skipped: &outcome.skipped,
            public_values: hex0x(&plan.public_values),
            wall_s: usage.wall.as_secs_f64(),
        };
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    let mut rows = Rows::new(&format!(
        "{}: valid, natively and in the zkVM alike",
        title(&outcome)
    ));
    rows.row("hash", &outcome.block_hash.to_string());
    rows.row("state before", &outcome.parent_state_root.to_string());
    rows.row("state after", &outcome.state_root.to_string());
    rows.row("transactions", &outcome.transactions.to_string());
    rows.row("gas used", &count(outcome.gas_used));
    rows.row(
        "instructions",
        &format!("{}, {per_gas:.1} per gas", count(plan.instructions)),
    );
    rows.row(
        "segments",
        &format!("{} for {} per child", plan.segments.len(), settings.memory),
    );
    rows.row("public values", &hex0x(&plan.public_values));
    rows.row("time", &format!("{} in the zkVM", duration(usage.wall)));
    if !outcome.skipped.is_empty() {
        let number = plural(outcome.skipped.len(), "check");
        rows.row(
            "skipped",
            &format!(
                "{YELLOW}{number}{YELLOW:#}, for want of the parent's header: {}",
                outcome.skipped.join(", ")
            ),
        );
    }
    terminal::print(&format!("{}\n{}", rows.text(), spent::table(&spent))).map_err(Error::Stdout)
}

/// The guest and the native code are the same code, and have to say the same.
fn check_agreement(revealed: &[u8], outcome: &Outcome) -> Result<(), Error> {
    if revealed != outcome.public_values.as_slice() {
        return Err(Error::Disagreement {
            actual: hex0x(revealed),
            expected: outcome.public_values.to_string(),
        });
    }
    Ok(())
}
