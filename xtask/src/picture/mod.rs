//! `cargo xtask picture`: records `myriad demo` on a terminal and draws it into `docs/demo.svg`.
//!
//! The picture shows a real run, first to last, with everything that the program printed. Only the
//! time is changed: the recording plays faster than the run.

mod record;
mod svg;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{cargo, output};

/// The path where the README looks for the picture.
pub const PICTURE: &str = "docs/demo.svg";

/// Frames of the recording: enough for the bars to be seen growing, few enough for a file of some
/// tens of KiB.
const FRAMES_MAX: usize = 40;

/// Builds `myriad`, records its demo in a folder of its own, and writes the picture.
///
/// # Errors
/// A build or a demo that fails: its last screen is part of the error.
pub fn picture(repository: &Path) -> Result<()> {
    let binary = binary(repository)?;
    // Keys are made, as on the first run that a reader will see.
    let folder = Scratch::new()?;
    let recording = record::record(&binary, &["demo", "--data-dir", "data"], &folder.0)?;
    let frames = recording.thinned(FRAMES_MAX);
    let path = repository.join(PICTURE);
    std::fs::write(&path, svg::draw("myriad demo", &frames))
        .with_context(|| format!("{}", path.display()))?;
    println!(
        "{PICTURE}: {} frames of {:.0} s",
        frames.len(),
        recording.seconds()
    );
    Ok(())
}

/// The binary `myriad`, built from this checkout.
fn binary(repository: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }

    let mut build = cargo();
    build
        .args(["build", "--release", "--workspace", "--bin", "myriad"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository);
    let messages = output(&mut build)?;
    let mut built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable);
    match built.next_back() {
        Some(binary) => Ok(binary),
        None => {
            bail!("cargo built no binary `myriad`; `cargo build --release --workspace --bin myriad` says why")
        }
    }
}

/// A folder that goes away with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("myriad-picture-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays costs some megabytes, until the system clears its temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
