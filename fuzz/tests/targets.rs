//! Runs the targets.
//!
//! ```text
//! cargo test --release --workspace --test targets                                        what CI runs
//! MYRIAD_FUZZ_TARGET=request MYRIAD_FUZZ_TIMES=1000 MYRIAD_FUZZ_SEED=7 \
//!     cargo test --release --workspace --test targets -- --nocapture                     longer, of one target
//! ```
//!
//! The input is written to a file before each run. The file stays if the run ends in a panic, or
//! with the process: put it into `fuzz/corpus/TARGET/`, and it is tried first from then on.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use myriad_fuzz::{Mutator, Target, all, setting};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The rounds of each target in CI, which take half a minute for all of them.
const TIMES: u64 = 10;
/// The most that decoding may allocate beside the memory that the process has: more than any limit
/// of a decoder, and much less than a believed length would take.
const ALLOCATED_MAX: u64 = 1 << 30;

/// Has the system refuse more memory than this from now on, so that the process ends at the input
/// that wanted it.
fn limit_memory() {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = data.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let allowed = kib.expect("a number of KiB") * 1024 + ALLOCATED_MAX;
    let (_, most) = getrlimit(Resource::RLIMIT_DATA).expect("it can be asked");
    setrlimit(Resource::RLIMIT_DATA, allowed.min(most), most).expect("less is allowed");
}

fn corpus(target: &Target) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files
}

/// A target that is being run.
struct Run<'a> {
    target: &'a Target,
    dir: &'a Path,
    last: File,
}

impl Run<'_> {
    /// Runs an input; where it panics, says which it was.
    fn try_one(&self, bytes: &[u8], what: &str) -> bool {
        let length = (bytes.len() as u64).to_le_bytes();
        self.last.write_all_at(&length, 0).expect("there is room");
        self.last
            .write_all_at(bytes, length.len() as u64)
            .expect("there is room");
        panic::catch_unwind(AssertUnwindSafe(|| (self.target.run)(bytes))).unwrap_or_else(|_| {
            let name = self.target.name;
            let saved = self.dir.join(format!("{name}.failed"));
            fs::write(&saved, bytes).expect("there is room");
            panic!("{what} of target {name} fails; it is in {}", saved.display())
        })
    }
}

#[test]
fn nearly_right_bytes_are_refused_and_do_no_harm() {
    let only = env::var("MYRIAD_FUZZ_TARGET").ok();
    let times = setting("MYRIAD_FUZZ_TIMES", TIMES);
    let seed = setting("MYRIAD_FUZZ_SEED", 1);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&dir).expect("there is room");
    let targets = all();
    let chosen = targets
        .iter()
        .filter(|target| only.as_deref().is_none_or(|only| only == target.name));
    limit_memory();
    let mut ran = 0;
    for target in chosen {
        let run = Run {
            target,
            dir: &dir,
            last: File::create(dir.join(format!("{}.last", target.name))).expect("there is room"),
        };
        let samples = (target.samples)();
        for sample in &samples {
            assert!(
                run.try_one(sample, "a sample"),
                "a sample of {} is not valid",
                target.name
            );
        }
        for file in corpus(target) {
            let bytes = fs::read(&file).expect("it can be read");
            run.try_one(&bytes, &file.display().to_string());
        }
        let mut mutator = Mutator::new(seed);
        let mut decoded = 0_u64;
        let executions = u64::from(target.executions) * times;
        for number in 0..executions {
            let input = mutator.input(&samples);
            let what = format!("input {number} of MYRIAD_FUZZ_SEED={seed}");
            decoded += u64::from(run.try_one(&input, &what));
        }
        eprintln!(
            "{:16} {executions:>9} inputs, {decoded:>8} of them valid",
            target.name
        );
        assert!(decoded < executions, "nothing that was changed was refused");
        ran += 1;
    }
    assert!(ran > 0, "there is no target {only:?}");
}
