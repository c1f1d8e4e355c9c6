//! The speed at which a fleet is simulated, and the memory for it: `--fleet`.

use std::{fs, path::Path, time::Instant};

use myriad_sim::fleet::{RequesterOutcome, ScenarioError, ScenarioFile, Setup, simulate};

/// Simulates a scenario, and prints what became of it and what that took on this machine.
pub fn print(path: &Path) -> Result<(), ScenarioError> {
    let file = ScenarioFile::load(path)?;
    let setup = Setup::new(file, path.parent().unwrap_or(Path::new(".")))?;
    let (start, before_s) = (Instant::now(), cpu_s());
    let outcome = simulate(&setup, |_| ());
    let took_s = start.elapsed().as_secs_f64();
    let sum = |of: fn(&myriad_sim::fleet::WorldOutcome) -> f64| outcome.worlds.iter().map(of).sum::<f64>();
    println!(
        "blocks      {} of {} proven{}",
        sum(|world| world.proven as f64),
        sum(|world| world.blocks as f64),
        if outcome.lag_grows {
            ", and they wait longer and longer"
        } else {
            ""
        }
    );
    if let Some(makespan) = &outcome.makespan_s {
        println!("makespan    {:.1} s median", makespan.median);
    }
    if let Some(lag) = &outcome.lag_s {
        println!(
            "lag         {:.1} s median, {:.1} s for 95 of 100, {:.1} s at most",
            lag.median, lag.p95, lag.most
        );
    }
    let blocks = sum(|world| world.blocks as f64).max(1.0);
    let of_requesters = |bytes: fn(&RequesterOutcome) -> u64| {
        let requesters = outcome.worlds.iter().flat_map(|world| &world.requesters);
        requesters.map(bytes).sum::<u64>() as f64
    };
    println!(
        "requester   {:.1} MB received and {:.1} MB sent for each block, {:.2} s of CPU time to verify",
        of_requesters(|requester| requester.down_bytes) / blocks / 1e6,
        of_requesters(|requester| requester.up_bytes) / blocks / 1e6,
        sum(|world| world.counts.verified_s) / blocks
    );
    println!("machines    {:.1} % at work", 100.0 * outcome.utilisation);
    let tasks = sum(|world| world.counts.tasks as f64);
    println!(
        "tasks       {tasks}, each with {:.1} messages and {:.2} s in which its files are fetched",
        sum(|world| world.counts.messages as f64) / tasks.max(1.0),
        sum(|world| world.counts.fetching_s) / tasks.max(1.0)
    );
    println!(
        "leases      {}, of which {} to machines that lacked the block's files",
        sum(|world| world.counts.leases as f64),
        sum(|world| world.counts.lacked as f64)
    );
    println!(
        "ahead       {} leases, of which {} were begun with",
        sum(|world| world.counts.ahead as f64),
        sum(|world| world.counts.begun_ahead as f64)
    );
    println!(
        "inputs sent {} by requesters themselves",
        sum(|world| world.counts.input_copies as f64)
    );
    println!(
        "wakes       {}, of which {} found the machine at another requester's task",
        sum(|world| world.counts.woken as f64),
        sum(|world| world.counts.declined as f64)
    );
    let decisions = sum(|world| world.counts.inputs as f64);
    // Other programs may take the processor meanwhile.
    let cpu_s = cpu_s().map_or(took_s, |after_s| after_s - before_s.unwrap_or(0.0));
    println!(
        "decisions   {decisions} in {cpu_s:.1} s of CPU time: {:.0} a second",
        decisions / cpu_s.max(1e-9)
    );
    if let Some(peak) = peak_mib() {
        println!("memory      {peak} MiB at the peak of this process");
    }
    Ok(())
}

/// CPU time of this process until now, by Linux, which counts it in hundredths of a second.
fn cpu_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// The most memory that this process had, by Linux.
fn peak_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}
