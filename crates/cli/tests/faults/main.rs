//! Processes of `myriad` with real proofs, and all that can happen to them: [`kills`], other provers that hand in real proofs
//! of what they were not asked for ([`byzantine`]), and requesters whose programs are bombs ([`malicious`]).
//!
//! One test at a time: each has the machine to itself.

#![cfg(target_os = "linux")]

mod byzantine;
mod full_disk;
mod kills;
mod malicious;
mod peer;
mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use process::{Process, Said, myriad};

/// Longer than any silence of a job that goes on, on a machine that does other work too: a task takes half a minute.
const SILENCE_MAX: Duration = Duration::from_secs(400);
/// Enough for the narrowest tree.
const MEMORY: &str = "2500MiB";
/// Rounds of the fibonacci guest, about 15 instructions each: two segments at [`MEMORY`].
const ROUNDS: u64 = 20_000;
const LISTEN: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// What a node logs before the address that it was given.
const LISTENING: &str = "listening on ";

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // That another test failed says nothing about this one.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../guests/elf/{name}.elf"))
}

/// The keys, which are the same for all and from one run to the next.
fn keys() -> PathBuf {
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys");
    fs::create_dir_all(&keys).unwrap();
    keys
}

/// A data folder with these keys.
fn with_keys(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    std::os::unix::fs::symlink(keys(), dir.join("keys")).unwrap();
}

/// A peer that helps others to find each other, and its address.
fn bootstrap(dir: &Path) -> (Process, String) {
    let (tell, heard) = channel();
    let mut command = myriad();
    command
        .args(["bootstrap", "--no-mdns", "--listen", LISTEN, "--data-dir"])
        .arg(dir.join("bootstrap"));
    let process = Process::start(0, command, &dir.join("bootstrap.log"), tell);
    let line = wait_for(&heard, "--bootstrap ");
    let (_, address) = line.split_once("--bootstrap ").unwrap();
    (process, address.trim().to_owned())
}

/// The next line with this text that a process logs.
fn wait_for(heard: &Receiver<Said>, text: &str) -> String {
    loop {
        let (_, line) = heard.recv_timeout(SILENCE_MAX).unwrap();
        let line = line.unwrap_or_else(|| panic!("the process has ended without {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}
