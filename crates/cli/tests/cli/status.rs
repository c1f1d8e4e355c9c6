//! `myriad status`, of provers whose data folders were made here.

use myriad_node::prover::{Status, StatusFile};

use crate::common::{DONE, finish, myriad};

const REMARK: &str = "3008 of the 10240 MiB of --disk can be used";

#[test]
fn what_a_prover_remarks_is_shown_to_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = StatusFile::claim(dir.path()).unwrap();
    let status = Status {
        peer: "somebody".into(),
        remarks: vec![REMARK.into(), "the requester's clock is 3 h ahead".into()],
        ..Status::default()
    };
    file.write(&status).unwrap();
    let run = |more: &[&str]| {
        let mut command = myriad(["status"]);
        finish(command.args(more).env("MYRIAD_DATA_DIR", dir.path())).exits(DONE)
    };
    let shown = run(&[]).stdout;
    assert!(shown.contains("This machine is lent"), "{shown}");
    for remark in &status.remarks {
        assert!(shown.contains(remark), "no {remark:?} in:\n{shown}");
    }
    assert_eq!(run(&["--json"]).json()["remarks"][0], REMARK);

    // The lock goes with the process.
    drop(file);
    assert!(run(&[]).stdout.contains("No prover is running"));
}
