//! The cost of the network: `myriad prove --provers 1` against `myriad prove` with one child, with
//! the same program, threads and keys, one after the other in one run.
//!
//! ```text
//! cargo bench --workspace --bench overhead -- [ROUNDS]
//! ```

use std::{env, error::Error, fs, path::Path, process::Command};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
/// About 600,000 instructions.
const ROUNDS_OF_GUEST: u64 = 40_000;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = env::args()
        .skip(1)
        .find(|arg| arg != "--bench")
        .map_or(Ok(2), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let input = scratch.path().join("input");
    fs::write(&input, ROUNDS_OF_GUEST.to_le_bytes())?;
    // Both find the keys made.
    let data = scratch.path().join("data");
    myriad("execute", &input, &data, &[])?;
    println!("| prove, 1 child, s | prove --provers 1, s | ratio |");
    println!("|---|---|---|");
    let threads = std::thread::available_parallelism()?.to_string();
    for _ in 0..rounds {
        let alone = myriad(
            "prove",
            &input,
            &data,
            &["--children", "1", "--threads", &threads],
        )?;
        forget(&data)?;
        let network = myriad(
            "prove",
            &input,
            &data,
            &["--provers", "1", "--children", "1", "--threads", &threads],
        )?;
        forget(&data)?;
        println!("| {alone:.1} | {network:.1} | {:.3} |", network / alone);
    }
    Ok(())
}

/// Seconds of wall time, as the command itself counts them; 0 where it says none.
fn myriad(verb: &str, input: &Path, data: &Path, more: &[&str]) -> Result<f64, Box<dyn Error>> {
    let output = Command::new(env!("CARGO_BIN_EXE_myriad"))
        .args([verb, PROGRAM, "--json", "--memory", "4GiB", "--input-bytes"])
        .arg(input)
        .arg("--data-dir")
        .arg(data)
        .args(more)
        .args(if verb == "prove" { &["--out"][..] } else { &[] })
        .args((verb == "prove").then_some(data))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(json["wall_s"].as_f64().unwrap_or(0.0))
}

/// Proofs of the last run are not to be found by the next.
fn forget(data: &Path) -> Result<(), Box<dyn Error>> {
    for part in ["jobs", "blobs", "cluster"] {
        let dir = data.join(part);
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
    }
    Ok(())
}
