//! `myriad status`: shows the activity of the provers of a data folder.

use std::time::Duration;

use myriad_core::EngineName;
use myriad_node::prover::{Status, StatusFile};
use serde::Serialize;

use crate::{
    activity::activity,
    args::ShowStatus,
    error::Error,
    report::Rows,
    settings::Settings,
    terminal::{self, bytes, count, duration, now_s, plural},
};

#[derive(Serialize)]
struct Document<'a> {
    running: bool,
    #[serde(flatten)]
    status: &'a Status,
}

pub fn run(args: &ShowStatus) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let folders = StatusFile::running(&settings.data_dir);
    if args.data.json {
        // The document is about the first prover if there are several.
        let (status, running) = StatusFile::read(&folders[0])?;
        return terminal::print_json(&Document {
            running,
            status: &status,
        })
        .map_err(Error::Stdout);
    }
    for folder in &folders {
        let (status, running) = StatusFile::read(folder)?;
        show(&status, running)?;
    }
    Ok(())
}

fn show(status: &Status, running: bool) -> Result<(), Error> {
    let now = now_s();
    let ago = |then: u64| duration(Duration::from_secs(now.saturating_sub(then)));
    let mut rows = Rows::plain(if running {
        "This machine is lent"
    } else {
        "No prover is running; this is the state of the last one"
    });
    rows.row("name", &status.peer);
    let engines: Vec<&str> = status.engines.iter().map(EngineName::as_str).collect();
    rows.row("engines", &engines.join(", "));
    rows.row("now", &activity(&status.activity));
    for remark in &status.remarks {
        rows.row("note", remark);
    }
    let times = format!(
        "started {} ago, last heard of {} ago",
        ago(status.started),
        ago(status.updated)
    );
    rows.row("times", &times);
    rows.row(
        "network",
        &format!(
            "{} connected nodes, {} requesters, {} open jobs",
            status.peers, status.requesters, status.jobs
        ),
    );
    rows.row(
        "proofs",
        &format!(
            "{} accepted, {} rejected, {} failed, {} under way",
            status.accepted, status.rejected, status.failed, status.submitted
        ),
    );
    let (received, sent) = (bytes(status.blob_bytes_in), bytes(status.blob_bytes_out));
    for earned in &status.earned {
        let work = duration(Duration::from_millis(earned.work_ms));
        let instructions = count(earned.instructions);
        rows.row(
            "signed for",
            &format!(
                "{} with {instructions} instructions, {work} of work, by {}",
                plural(earned.tasks as usize, "proof"),
                earned.requester
            ),
        );
    }
    rows.row("moved", &format!("{received} received, {sent} sent"));
    let (memory, disk) = (bytes(status.memory_bytes), bytes(status.disk_lent_bytes));
    let used = bytes(status.disk_used_bytes);
    rows.row(
        "lent",
        &format!("{memory} of memory; {disk} of disk, of which {used} are used"),
    );
    rows.print()
}
