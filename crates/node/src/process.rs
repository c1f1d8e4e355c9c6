//! Reads from `/proc` how a process is doing, by its number.

use std::{fs, time::Duration};

/// Fields of `stat`, counted from the one after the process's name: user time, which system time
/// follows, and when it started.
const USER_TIME_FIELD: usize = 11;
const STARTED_FIELD: usize = 19;
/// The kernel shows times in hundredths of a second, whatever it counts in itself.
const TICK: Duration = Duration::from_millis(10);

/// The start of a process, in ticks since the start of the system. With its number, that names the
/// process for as long as the system runs. None if there is no such process, or if the system does
/// not say (Linux does).
pub(crate) fn started(pid: u32) -> Option<u64> {
    fields_from(pid, STARTED_FIELD)?.first().copied()
}

/// CPU time of a process and all its threads, to hundredths of a second; none where there is no
/// such process.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let fields = fields_from(pid, USER_TIME_FIELD)?;
    let ticks = fields.first()?.checked_add(*fields.get(1)?)?;
    Some(TICK * u32::try_from(ticks).ok()?)
}

/// Memory of a process that is in RAM, in bytes; none where there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// Two fields of `stat`, from this one on.
fn fields_from(pid: u32, first: usize) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may have spaces and brackets in it; nothing after it has.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields = rest.split_whitespace().skip(first).take(2);
    fields.map(|field| field.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn processes_that_start_later_say_so() {
        let own = started(std::process::id()).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(started(child.id()).unwrap() >= own);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(started(child.id()), None);
    }

    #[test]
    fn a_process_is_measured() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let mut sum = 0u64;
        while cpu_time(own).unwrap() < before + Duration::from_millis(30) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(resident_bytes(own).unwrap() > 1 << 20);
        assert_eq!(cpu_time(0), None);
        assert_eq!(resident_bytes(0), None);
    }
}
