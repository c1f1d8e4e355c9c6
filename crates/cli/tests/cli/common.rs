//! Running the binary.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use myriad_engine::worker::{Worker, WorkerConfig};
use myriad_node::{KEYS_MEMORY_MIN, make_keys};
use serde_json::Value;

pub const DONE: i32 = 0;
pub const FAILED: i32 = 1;
pub const USAGE: i32 = 2;
pub const PROOF_INVALID: i32 = 3;

/// A run that has ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The command `myriad` with a data folder that keeps its keys from one test run to the next.
pub fn myriad<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    binary(Path::new(env!("CARGO_BIN_EXE_myriad")), args)
}

/// The same with a copy of the binary.
pub fn binary<S: AsRef<std::ffi::OsStr>>(path: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(path);
    // A developer's own settings must not count in tests.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_BACKTRACE");
    // This is not the workspace, where a developer's own myriad.toml may lie.
    command
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("MYRIAD_DATA_DIR", data_dir())
        .args(args);
    command
}

pub fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("data")
}

/// Runs it to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    finish(&mut myriad(args))
}

pub fn finish(command: &mut Command) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
    Run {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

impl Run {
    /// Demands an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        assert!(
            !self.stderr.contains("panicked at src/"),
            "a panic of the binary: {}",
            self.stderr
        );
        self
    }

    /// Demands that stderr says something.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in stderr:\n{}",
            self.stderr
        );
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is not one JSON document ({e}):\n{}", self.stdout))
    }
}

/// An engine child of the binary. It works with the keys that are there.
pub fn engine_child(keys: &Path, more: &[&str]) -> Worker {
    Worker::spawn(&worker_config(keys, more)).unwrap()
}

/// An engine child of the binary that finds the keys of a program without `openvm.toml`.
pub fn plain_engine_child(keys: &Path, more: &[&str]) -> Worker {
    make_keys(&worker_config(keys, &[]), KEYS_MEMORY_MIN, None).unwrap();
    engine_child(keys, more)
}

pub fn worker_config(keys: &Path, more: &[&str]) -> WorkerConfig {
    let args = [&["engine-worker", "--keys", keys.to_str().unwrap()], more].concat();
    WorkerConfig {
        engine: myriad_openvm::facts(),
        command: env!("CARGO_BIN_EXE_myriad").into(),
        args: args.into_iter().map(str::to_owned).collect(),
        keys: keys.into(),
        threads: 1,
    }
}

/// A committed guest.
pub fn guest(name: &str) -> String {
    format!("{}/../../guests/elf/{name}.elf", env!("CARGO_MANIFEST_DIR"))
}
