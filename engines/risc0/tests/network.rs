//! A whole job over the network: `myriad` proves a program of two segments on two provers of this
//! machine, one of whose children is killed, and a stock verifier accepts the receipt.
//!
//! `myriad` is built in another workspace, so the variable MYRIAD names the binary.

#[path = "../src/samples.rs"]
#[allow(dead_code, reason = "the unit tests have more programs")]
mod samples;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use risc0_binfmt::ProgramBinary;
use risc0_zkos_v1compat::V1COMPAT_ELF;
use risc0_zkvm::{Receipt, compute_image_id};

/// What a lift takes, and a segment of 2^17 rows fits it.
const MEMORY: &str = "1700MiB";
/// A program of one such segment and a short one, with three cycles for each step.
const STEPS: u32 = 36_000;
/// A child that has computed for so long is in the middle of a proof: to load a program takes less
/// than one second, and a proof of 2^17 rows more than sixty. In clock ticks of 10 ms.
const PROVING_TICKS: u64 = 1_000;
/// The exit code of `myriad verify` for a proof that shows nothing.
const REFUSED: i32 = 3;

fn myriad(dir: &Path, args: &[&str]) -> Command {
    let binary = std::env::var_os("MYRIAD").expect("MYRIAD is the path of the binary `myriad`");
    let mut command = Command::new(fs::canonicalize(&binary).unwrap());
    command
        .args(args)
        .args(["--engine-risc0", env!("CARGO_BIN_EXE_myriad-engine-risc0")])
        .current_dir(dir)
        .env("MYRIAD_DATA_DIR", dir.join("data"));
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    myriad(dir, args).output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

/// The CPU time of a process in clock ticks, if it is a child of this engine whose keys are in the
/// folder.
fn engine_ticks(pid: &str, dir: &Path) -> Option<u64> {
    let of = Path::new("/proc").join(pid);
    let command = fs::read(of.join("cmdline")).ok()?;
    let mut args = command.split(|&byte| byte == 0);
    let binary = args.next()?;
    let inside = dir.as_os_str().as_encoded_bytes();
    if binary != env!("CARGO_BIN_EXE_myriad-engine-risc0").as_bytes()
        || !args.any(|arg| arg.starts_with(inside))
    {
        return None;
    }
    let stat = fs::read_to_string(of.join("stat")).ok()?;
    // The fields after the name: the state, the parent, and at places 11 and 12 user and system
    // time.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    fields.get(11)?.parse().ok()
}

/// Kills a child that proves, once there is one.
fn kill_a_child(dir: &Path, mut over: impl FnMut() -> Option<ExitStatus>) {
    loop {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if engine_ticks(&pid, dir).is_some_and(|ticks| ticks > PROVING_TICKS) {
                assert!(
                    Command::new("kill")
                        .args(["-9", &pid])
                        .status()
                        .unwrap()
                        .success()
                );
                return;
            }
        }
        assert_eq!(over(), None, "the job has ended before a child was killed");
        sleep(Duration::from_millis(100));
    }
}

fn written(dir: &Path) -> PathBuf {
    dir.join("program.risc0.receipt")
}

#[test]
#[ignore = "it needs the binary `myriad`: MYRIAD names it"]
fn a_job_whose_child_is_killed_ends_with_a_receipt() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network");
    let dir = dir.as_path();
    // What a run left that was cut off.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).unwrap();
    let elf = samples::elf();
    fs::write(dir.join("program.elf"), &elf).unwrap();
    fs::write(dir.join("input"), STEPS.to_le_bytes()).unwrap();
    let prove = [
        "prove",
        "program.elf",
        "--engine",
        "risc0",
        "--input-bytes",
        "input",
        "--provers",
        "2",
        "--memory",
        MEMORY,
    ];
    let mut proving = myriad(dir, &prove)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    kill_a_child(dir, || proving.try_wait().unwrap());
    let proven = proving.wait_with_output().unwrap();
    assert!(proven.status.success(), "{}", text(&proven));

    let file = fs::read(written(dir)).unwrap();
    let receipt: Receipt = bincode::deserialize(&file).unwrap();
    let program = ProgramBinary::new(&elf, V1COMPAT_ELF).encode();
    receipt.verify(compute_image_id(&program).unwrap()).unwrap();
    assert_eq!(receipt.journal.bytes, samples::JOURNAL);

    let verify = ["verify", "program.risc0.receipt", "--program", "program.elf"];
    let verified = run(dir, &verify);
    assert!(verified.status.success(), "{}", text(&verified));
    let mut spoilt = file;
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    fs::write(written(dir), &spoilt).unwrap();
    let refused = run(dir, &verify);
    assert_eq!(refused.status.code(), Some(REFUSED), "{}", text(&refused));
    fs::remove_dir_all(dir).unwrap();
}
