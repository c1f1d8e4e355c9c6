//! Compares `myriad prove` with the OpenVM SDK's own `Sdk::prove`: the same program, input, cores
//! and memory limit, one after the other in one run.
//!
//! ```text
//! cargo build --release
//! cargo bench --workspace --bench against_sdk -- [NAME ELF OPENVM_TOML INPUT_FILE]... [--memory-gib 4] [--tries 6]
//! ```
//!
//! Without programs it takes the fibonacci guest with 2 M instructions and the demo's block;
//! `fibonacci` or `sample-block` alone takes one of them. `-` stands for no `openvm.toml`.
//!
//! Each side is a separate process with warm keys. The SDK's are made before its clock starts, and
//! an `execute` caches Myriad's. The peak memory of Myriad is that of its largest process.
//!
//! The SDK knows no limit for the memory of its process. So it first gets the widest tree and
//! segments as large as Myriad's, and then less, until the process stays below the limit; see
//! [`SDK_CHOICES`]. The last of these runs counts. `--tries` is the number of choices that are
//! tried. If the process stays below the limit with none of them, the fastest run counts, and its
//! peak shows that it was above Myriad's limit.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use myriad_evm::host::sample::{self, SampleSpec};
use myriad_openvm::VmConfig;
use openvm_sdk::{
    Sdk, StdIn,
    config::{AggregationSystemParams, AggregationTreeConfig, AppConfig},
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_sdk::config::app_params_with_100_bits_security;
use openvm_transpiler::{elf::Elf, openvm_platform::memory::MEM_SIZE};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The SDK's settings, from the best for its time to the least for its memory.
const SDK_CHOICES: [SdkChoice; 6] = [
    SdkChoice::new(4, 2, 1.0),
    SdkChoice::new(1, 2, 1.0),
    SdkChoice::new(4, 2, 0.75),
    SdkChoice::new(1, 2, 0.75),
    SdkChoice::new(1, 2, 0.5),
    SdkChoice::new(1, 2, 0.35),
];

/// Three children for an internal node pass 4 GiB with every program; one would never end.
#[derive(Clone, Copy)]
struct SdkChoice {
    children_leaf: usize,
    children_internal: usize,
    /// Its segments, as a share of Myriad's.
    segment_share: f64,
}

impl SdkChoice {
    const fn new(children_leaf: usize, children_internal: usize, segment_share: f64) -> Self {
        Self {
            children_leaf,
            children_internal,
            segment_share,
        }
    }
}

struct Subject {
    name: String,
    elf: PathBuf,
    openvm_toml: Option<PathBuf>,
    input: PathBuf,
}

/// The cost of one side.
struct Cost {
    wall_s: f64,
    peak_bytes: u64,
    segments: u64,
}

fn main() -> Fallible<()> {
    // Cargo starts benchmarks in the folder of the crate; paths are those of the workspace.
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let mut memory_gib = 4.0;
    let mut tries = SDK_CHOICES.len();
    let mut only = None;
    let mut subjects = Vec::new();
    let scratch = tempfile::tempdir()?;
    while let Some(arg) = args.next() {
        let mut next = || args.next().ok_or("a program is NAME ELF OPENVM_TOML INPUT_FILE");
        match arg.as_str() {
            // Run as the SDK's side, in a process of its own.
            "sdk" => {
                let (elf, toml, input) = (next()?, next()?, next()?);
                let largest = next()?.parse()?;
                let tree = AggregationTreeConfig {
                    num_children_leaf: next()?.parse()?,
                    num_children_internal: next()?.parse()?,
                };
                return sdk(elf.as_ref(), &toml, input.as_ref(), largest, tree);
            }
            "--memory-gib" => memory_gib = next()?.parse()?,
            "--tries" => tries = next()?.parse::<usize>()?.clamp(1, SDK_CHOICES.len()),
            FIBONACCI | SAMPLE_BLOCK => only = Some(arg),
            _ => {
                let (elf, toml, input) = (next()?, next()?, next()?);
                let openvm_toml = (toml != "-").then(|| toml.into());
                subjects.push(Subject {
                    name: arg,
                    elf: elf.into(),
                    openvm_toml,
                    input: input.into(),
                });
            }
        }
    }
    if subjects.is_empty() {
        let built_in = [fibonacci(scratch.path())?, sample_block(scratch.path())?];
        let wanted = |subject: &Subject| only.as_ref().is_none_or(|only| *only == subject.name);
        subjects.extend(built_in.into_iter().filter(wanted));
    }
    println!(
        "| program | instructions | Sdk::prove s | myriad prove s | ratio | Sdk segments | Sdk peak MiB | myriad segments | myriad peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for subject in &subjects {
        let (instructions, largest) = plan(subject, scratch.path(), memory_gib)?;
        let sdk = sdk_within(subject, largest, memory_gib, &SDK_CHOICES[..tries])?;
        let myriad = run_myriad(subject, scratch.path(), memory_gib)?;
        println!(
            "| {} | {instructions} | {:.1} | {:.1} | {:.2} | {} | {} | {} | {} |",
            subject.name,
            sdk.wall_s,
            myriad.wall_s,
            myriad.wall_s / sdk.wall_s,
            sdk.segments,
            sdk.peak_bytes >> 20,
            myriad.segments,
            myriad.peak_bytes >> 20,
        );
    }
    Ok(())
}

const FIBONACCI: &str = "fibonacci";
const SAMPLE_BLOCK: &str = "sample-block";

fn fibonacci(scratch: &Path) -> Fallible<Subject> {
    // About 15 instructions a round.
    let input = scratch.join(FIBONACCI);
    fs::write(&input, 133_000u64.to_le_bytes())?;
    Ok(Subject {
        name: FIBONACCI.into(),
        elf: "guests/elf/fibonacci.elf".into(),
        openvm_toml: None,
        input,
    })
}

/// The block of `myriad demo`.
fn sample_block(scratch: &Path) -> Fallible<Subject> {
    let spec = SampleSpec {
        txs: 2,
        seed: 0,
        ..SampleSpec::default()
    };
    let input = scratch.join(SAMPLE_BLOCK);
    fs::write(&input, sample::generate(&spec)?.to_input()?.encode())?;
    Ok(Subject {
        name: SAMPLE_BLOCK.into(),
        elf: "guests/elf/evm-block.elf".into(),
        openvm_toml: Some("guests/elf/evm-block.openvm.toml".into()),
        input,
    })
}

/// Instructions in all and in the largest segment, as Myriad plans it; this also makes its keys.
fn plan(subject: &Subject, scratch: &Path, memory_gib: f64) -> Fallible<(u64, u64)> {
    let json = myriad(subject, "execute", scratch, memory_gib)?;
    let segments = json["segments"].as_array().ok_or("execute gives no segments")?;
    let largest = segments
        .iter()
        .filter_map(|s| s["num_insns"].as_u64())
        .max()
        .ok_or("no segment has a size")?;
    Ok((
        json["instructions"]
            .as_u64()
            .ok_or("execute gives no instructions")?,
        largest,
    ))
}

fn run_myriad(subject: &Subject, scratch: &Path, memory_gib: f64) -> Fallible<Cost> {
    let json = myriad(subject, "prove", scratch, memory_gib)?;
    Ok(Cost {
        wall_s: json["wall_s"].as_f64().ok_or("prove gives no time")?,
        peak_bytes: json["peak_memory_bytes"]
            .as_u64()
            .ok_or("prove gives no memory")?,
        segments: json["segments"].as_u64().ok_or("prove gives no segments")?,
    })
}

fn myriad(subject: &Subject, verb: &str, scratch: &Path, memory_gib: f64) -> Fallible<serde_json::Value> {
    // The bench lies in target/release/deps, the binary above it.
    let binary = env::current_exe()?
        .ancestors()
        .nth(2)
        .ok_or("no target folder")?
        .join("myriad");
    let mut command = Command::new(&binary);
    command
        .arg(verb)
        .arg(&subject.elf)
        .arg("--input-bytes")
        .arg(&subject.input);
    command.arg("--data-dir").arg(scratch.join("data")).arg("--json");
    command.args(["--memory", &format!("{memory_gib}GiB")]);
    if let Some(toml) = &subject.openvm_toml {
        command.arg("--config").arg(toml);
    }
    if verb == "prove" {
        command.arg("--out").arg(scratch);
    }
    let output = command
        .output()
        .map_err(|e| format!("{}: {e}; cargo build --release makes it", binary.display()))?;
    if !output.status.success() {
        return Err(format!("myriad {verb}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs the SDK with less and less, until its process stays below the limit.
fn sdk_within(subject: &Subject, largest: u64, memory_gib: f64, choices: &[SdkChoice]) -> Fallible<Cost> {
    let limit = (memory_gib * f64::from(1 << 30)) as u64;
    let mut fastest: Option<Cost> = None;
    for &choice in choices {
        let cost = run_sdk(subject, largest, choice)?;
        eprintln!(
            "{}: Sdk::prove with leaves of {} and segments of {} %: {:.1} s, {} segments, peak {} MiB",
            subject.name,
            choice.children_leaf,
            choice.segment_share * 100.0,
            cost.wall_s,
            cost.segments,
            cost.peak_bytes >> 20,
        );
        if cost.peak_bytes <= limit {
            return Ok(cost);
        }
        if fastest
            .as_ref()
            .is_none_or(|fastest| cost.wall_s < fastest.wall_s)
        {
            fastest = Some(cost);
        }
    }
    Ok(fastest.ok_or("nothing was tried")?)
}

fn run_sdk(subject: &Subject, largest: u64, choice: SdkChoice) -> Fallible<Cost> {
    let toml = subject.openvm_toml.as_deref().unwrap_or(Path::new("-"));
    let largest = (largest as f64 * choice.segment_share) as u64;
    let output = Command::new(env::current_exe()?)
        .arg("sdk")
        .args([&subject.elf, toml, &subject.input])
        .args([largest.to_string(), choice.children_leaf.to_string()])
        .arg(choice.children_internal.to_string())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().skip_while(|&word| word != "sdk:").skip(1);
    let mut number = || words.next().and_then(|w| w.parse::<f64>().ok());
    match (number(), number(), number()) {
        (Some(wall_s), Some(peak), Some(segments)) => Ok(Cost {
            wall_s,
            peak_bytes: peak as u64,
            segments: segments as u64,
        }),
        _ => Err(format!("Sdk::prove: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The SDK's side: proves with segments of at most `largest` instructions, and prints its cost.
fn sdk(elf: &Path, toml: &str, input: &Path, largest: u64, tree: AggregationTreeConfig) -> Fallible<()> {
    let (vm, config) = match toml {
        "-" => (SdkVmConfig::riscv32(), VmConfig::riscv32()),
        path => {
            let text = fs::read_to_string(path)?;
            (SdkVmConfig::from_toml(&text)?, VmConfig::from_toml(&text)?)
        }
    };
    // The one that Myriad takes for this configuration, so that the proofs are alike.
    let height = config.log_stacked_height();
    let elf = Elf::decode(&fs::read(elf)?, MEM_SIZE as u32).map_err(|e| e.to_string())?;
    let mut stdin = StdIn::default();
    stdin.write_bytes(&fs::read(input)?);

    let build = |limit: usize| {
        let mut vm = vm.clone().optimize();
        vm.system.config.set_segmentation_max_memory(limit);
        Sdk::builder()
            .app_config(AppConfig::new(vm, app_params_with_100_bits_security(height)))
            .agg_params(AggregationSystemParams::default())
            .agg_tree_config(tree)
            .build()
    };
    let (mut low, mut high) = (256usize << 20, 4usize << 30);
    let mut segments = 0;
    for _ in 0..8 {
        let limit = low.midpoint(high);
        let sdk = build(limit)?;
        let exe = sdk.convert_to_exe(elf.clone())?;
        let (_, planned) = sdk.execute_metered(exe, stdin.clone())?;
        if planned.iter().all(|segment| segment.num_insns <= largest) {
            (low, segments) = (limit, planned.len());
        } else {
            high = limit;
        }
    }
    let sdk = build(low)?;
    let exe = sdk.convert_to_exe(elf)?;
    let _keys = Arc::clone(&sdk.agg_prover());
    let start = Instant::now();
    sdk.prove(exe, stdin, &[])?;
    let wall = start.elapsed();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("the system does not tell the peak memory")?
        .parse()?;
    println!("sdk: {} {} {segments}", wall.as_secs_f64(), peak << 10);
    Ok(())
}
