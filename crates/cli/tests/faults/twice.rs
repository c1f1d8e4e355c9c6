//! Commands that run at once with one data folder.

use std::{fs, path::PathBuf, sync::mpsc::channel};

use crate::{
    LISTEN, MEMORY, guest,
    process::{Process, myriad},
    wait_for_stage, with_keys,
};

/// Both requesters join the network; nobody proves anything here.
pub fn two_requesters_with_one_data_folder_are_two_peers() {
    // Kept if this fails.
    let dir = tempfile::tempdir().unwrap().keep();
    with_keys(&dir);
    let start = |number: usize| {
        let (lines, heard) = channel();
        let mut command = myriad();
        command
            .arg("prove")
            .arg(guest("fibonacci"))
            .args(["--input", &format!("0x01{number:02x}00000000000000")])
            .args(["--network", "--memory", MEMORY, "--no-mdns"])
            .args(["--listen", LISTEN, "--data-dir"])
            .arg(&dir)
            .arg("--out")
            .arg(dir.join(number.to_string()));
        let log = dir.join(format!("requester-{number}.log"));
        let process = Process::start(number, command, &log, lines);
        wait_for_stage(&heard, "announce");
        process
    };
    let first = start(1);
    let second = start(2);
    let key = |dir: PathBuf| fs::read(dir.join("identity")).unwrap();
    assert_ne!(key(dir.clone()), key(dir.join("requesters/2")));
    // A name is had by one at a time, and taken up again.
    first.kill();
    let third = start(3);
    assert!(!dir.join("requesters/3").exists());
    second.kill();
    third.kill();
    fs::remove_dir_all(&dir).unwrap();
}
