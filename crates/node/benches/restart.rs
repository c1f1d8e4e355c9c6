//! The time from the start of a requester until its first lease, with the journal of a job of
//! 10,000 tasks, every other segment of which is proven. The time that the network needs to bring a
//! prover is not in it.
//!
//! ```text
//! cargo bench --workspace --bench restart [-- SEGMENTS]
//! ```

use std::{error::Error, fs, path::Path};

use myriad_engine::{EngineFacts, FinalForm, Input, Loaded, MemoryBudget, worker::WorkerConfig};
use myriad_node::{Fleet, Job, Options, restart};

/// With the leaves of four and the wider nodes of 8 GiB that makes 10,000 tasks.
const SEGMENTS: u32 = 7_270;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let segments = args.next().map_or(Ok(SEGMENTS), |text| text.parse())?;
    let elf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/elf/fibonacci.elf");
    let dir = tempfile::tempdir()?;
    let job = Job {
        name: "restart".into(),
        image: fs::read(elf)?,
        program_config: None,
        input: Input::from_bytes(vec![0; 8])?,
        loaded: Loaded::pretended(),
        verify: String::new(),
    };
    let options = Options {
        data_dir: dir.path().to_owned(),
        final_form: FinalForm::Small,
        out_dir: dir.path().to_owned(),
        memory: MemoryBudget::from_bytes(8 << 30),
        children: 1,
        max_instructions: u64::MAX,
        deadline: None,
        priority: 0,
        fleet: Fleet::Network { provers: 8 },
        keep_jobs: None,
        worker: WorkerConfig {
            engine: EngineFacts::pretended(),
            command: "none".into(),
            args: Vec::new(),
            keys: dir.path().join("keys"),
            threads: 1,
        },
    };
    let root = "[1,2,3,4,5,6,7,8]";
    let boundary = serde_json::from_str(&format!(
        r#"{{"initial_pc":0,"final_pc":4,"initial_root":{root},"final_root":{root},"exit_code":null}}"#
    ))?;
    restart::leave_journal(&job, &options, segments, boundary)?;
    println!("| tasks | accepted | from start to first lease, ms |");
    println!("|---|---|---|");
    for _ in 0..ROUNDS {
        let (tasks, done, took) = restart::restart(&job, &options)?;
        println!("| {tasks} | {done} | {:.0} |", took.as_secs_f64() * 1e3);
    }
    Ok(())
}
