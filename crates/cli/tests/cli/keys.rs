//! The messages about keys of the first run on a data folder.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::common::{guest, myriad};

/// The seconds since its start that stand before a line of progress, and the rest of it.
fn milestone(line: &str) -> Option<(f64, &str)> {
    let (seconds, text) = line.strip_prefix('[')?.split_once(" s] ")?;
    Some((seconds.trim().parse().ok()?, text))
}

/// The time that keys take to be made is told as that, and is no part of the execution, which takes
/// far less.
#[test]
fn the_time_of_making_keys_is_not_that_of_the_execution() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = myriad([
        "prove",
        &guest("fibonacci"),
        "--input",
        "0x01e8030000",
        "--data-dir",
    ]);
    command.arg(dir.path()).arg("--out").arg(dir.path());
    let mut prove = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = None;
    let mut made = None;
    let mut executing = None;
    let mut planned = None;
    for line in BufReader::new(prove.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((at, text)) = milestone(&line) else {
            continue;
        };
        match text {
            "preparing keys" => begun = Some(at),
            "executing the program" => executing = Some(at),
            text if text.starts_with("keys made, in ") => made = Some(at),
            text if text.contains(" instructions in ") => {
                planned = Some(at);
                break;
            }
            _ => {}
        }
    }
    // Proving itself is tested elsewhere.
    prove.kill().unwrap();
    prove.wait().unwrap();
    let [Some(begun), Some(made), Some(executing), Some(planned)] = [begun, made, executing, planned] else {
        panic!("{begun:?}, {made:?}, {executing:?}, {planned:?}")
    };
    assert!(begun <= made && made <= executing && executing <= planned);
    let (keys, execution) = (made - begun, planned - executing);
    assert!(keys > 1.0, "keys in {keys} s");
    // The program has 15,000 instructions.
    assert!(
        execution < keys / 2.0,
        "keys in {keys} s, and execution in {execution} s"
    );
}
