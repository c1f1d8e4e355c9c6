//! `myriad block prove --each`, without the proving.

use std::fs;

use crate::common::{DONE, FAILED, USAGE, run};

/// Nothing is proven if it is not clear what is wanted.
#[test]
fn blocks_that_are_proven_one_by_one_have_different_names_and_a_priority_each() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (block, second, namesake) = (at("block.json"), at("second.json"), at("other/block.json"));
    run(["block", "sample", "--txs", "1", "--out", &block]).exits(DONE);
    fs::create_dir(at("other")).unwrap();
    fs::copy(&block, &namesake).unwrap();
    fs::copy(&block, &second).unwrap();
    run(["block", "prove", "--each", &block, &namesake])
        .exits(USAGE)
        .says("would both be block.stark.proof");
    run(["block", "prove", "--each", &block, &second, "--priority", "1,2,3"])
        .exits(USAGE)
        .says("--priority has 3 numbers, and there are 2 files");
    run(["block", "prove", &block, "--priority", "1"])
        .exits(USAGE)
        .says("--each");
    let missing = ["block", "prove", "--each", &block, "nowhere.json", "--json"];
    let refused = run(missing).exits(FAILED).json();
    assert_eq!(refused["kind"], "file");
}
