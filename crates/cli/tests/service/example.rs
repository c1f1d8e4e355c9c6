//! `docs/examples/submit.py`, run against a service.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::serve::{Service, clean, data_folder};

/// Whether Python has what the example needs.
pub fn is_runnable() -> bool {
    let mut python = Command::new("python3");
    python
        .args(["-c", "import requests"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

pub fn the_example_submits_follows_and_downloads() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().unwrap();
    let data = data_folder(dir.path());
    let program = repository.join("guests/elf/fibonacci.elf");
    let number = dir.path().join("number");
    fs::write(&number, 10_000_u32.to_le_bytes()).unwrap();
    let proof = dir.path().join("fibonacci.stark.proof");

    let service = Service::start(dir.path(), &data);
    let run = |key_file: PathBuf| {
        clean("python3", dir.path(), &data)
            .arg(repository.join("docs/examples/submit.py"))
            .args([
                "--url",
                &service.url(),
                "--idempotency-key",
                "order-7",
                "--key-file",
            ])
            .arg(key_file)
            .arg("--program")
            .arg(&program)
            .arg("--input")
            .arg(&number)
            .arg("--out")
            .arg(&proof)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "myr_wrong").unwrap();
    let refused = run(wrong);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.starts_with("error: ") && !proof.exists(), "{words}");

    // The second one finds the job of the first one, and its proof.
    for _ in 0..2 {
        let done = run(data.join("gateway/cookie"));
        let (out, words) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        let all = format!("{out}\n{words}\nservice:\n{}", service.log());
        assert!(done.status.success(), "{all}");
        assert!(
            out.contains("verify it with: myriad verify") && proof.is_file(),
            "{all}"
        );
        assert!(dir.path().join("fibonacci.baseline.json").is_file(), "{all}");
        let verified = clean(env!("CARGO_BIN_EXE_myriad"), dir.path(), &data)
            .arg("verify")
            .arg(&proof)
            .arg("--program")
            .arg(&program)
            .output()
            .unwrap();
        assert!(verified.status.success(), "{verified:?}\n{all}");
        fs::remove_file(&proof).unwrap();
    }
    service.stop();
}
