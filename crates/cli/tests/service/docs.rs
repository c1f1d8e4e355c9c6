//! The lines of `docs/SERVICE.md`, run by the shell that a reader has.

use std::{env, path::Path, process::Stdio};

use crate::serve::{Service, clean, data_folder};

const PAGE: &str = include_str!("../../../../docs/SERVICE.md");
/// The address that the page has.
const ADDRESS: &str = "http://127.0.0.1:8080";

/// The blocks that are marked to be run, in their order.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "```sh run" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

pub fn every_line_of_the_page_does_what_it_says() {
    let blocks = blocks(PAGE);
    assert_eq!(blocks.len(), 9, "blocks are run that are marked `sh run`");
    let dir = tempfile::tempdir().unwrap();
    let data = data_folder(dir.path());
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    std::os::unix::fs::symlink(guests.canonicalize().unwrap(), dir.path().join("guests")).unwrap();

    let service = Service::start(dir.path(), &data);
    let page = blocks.join("\n");
    assert!(page.contains(ADDRESS));
    let script = format!("set -eux\n{}\n", page.replace(ADDRESS, &service.url()));
    let binary = Path::new(env!("CARGO_BIN_EXE_myriad")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), env::var("PATH").unwrap());
    let run = clean("sh", dir.path(), &data)
        .args(["-c", &script])
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, trace) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    let log = service.log();
    let all = format!("stdout:\n{out}\ntrace:\n{trace}\nservice:\n{log}");
    assert!(run.status.success(), "{all}");
    // What the pipes of the page would hide.
    for said in [
        "\"name\": \"fibonacci\"",
        "\"state\":\"done\"",
        "\"state\": \"done\"",
        "\"kind\": \"unauthorized\"",
        "myriad_jobs{state=\"done\"} 1",
        "dashboard",
    ] {
        assert!(out.contains(said), "no {said:?} in\n{all}");
    }
    let key = trace
        .lines()
        .find_map(|line| line.strip_prefix("+ KEY="))
        .expect("the page makes a key");
    assert!(!log.contains(key), "the log has a key:\n{log}");
    service.stop();
}

pub fn only_marked_blocks_are_run() {
    let page = "a\n```sh\nno\n```\n```sh run\nyes\nmore\n```\n```text\n```sh runs\n```\n";
    assert_eq!(blocks(page), ["yes\nmore"]);
}
