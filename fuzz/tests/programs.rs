//! Executes programs that are nearly right, in a child process: a crash of it is the failure.
//!
//! ```text
//! MYRIAD_FUZZ_TIMES=1000 MYRIAD_FUZZ_SEED=7 cargo test --release --workspace --test programs -- --nocapture
//! ```

use std::{fs, path::Path};

use myriad_engine::{
    Input, MemoryBudget,
    worker::{Failure, Worker, WorkerConfig, WorkerError},
};
use myriad_fuzz::{Rng, extensions, programs::Exe, setting, targets::VMEXE};
use myriad_node::{KEYS_MEMORY_MIN, make_keys};

/// The rounds of these in CI, which take some seconds.
const TIMES: u64 = 10;
const PROGRAMS: u64 = 40;
/// One in this many is executed with metering, which builds a VM each time.
const METERED_SHARE: u64 = 10;
/// Instructions of a program that are executed.
const INSTRUCTIONS_MAX: u64 = 20_000;

/// The child process that programs of a VM are executed in.
struct Child {
    config: WorkerConfig,
    worker: Worker,
    openvm_toml: Option<String>,
}

impl Child {
    fn start(openvm_toml: Option<&str>) -> Self {
        // The tests of `myriad` have their keys in the same place.
        let keys = concat!(env!("CARGO_TARGET_TMPDIR"), "/data/keys");
        let config = WorkerConfig {
            engine: myriad_openvm::facts(),
            command: env!("CARGO_BIN_EXE_engine-worker").into(),
            args: vec![keys.into()],
            keys: keys.into(),
            threads: 1,
        };
        let openvm_toml = openvm_toml.map(str::to_owned);
        make_keys(&config, KEYS_MEMORY_MIN, openvm_toml.clone()).expect("keys can be made");
        let worker = Worker::spawn(&config).expect("it was built");
        Self {
            config,
            worker,
            openvm_toml,
        }
    }

    /// Loads a program and executes its beginning. The answer may be an error.
    fn execute(&mut self, image: &[u8], metered: bool) -> Result<(), WorkerError> {
        let input = Input::from_bytes(10_000_u32.to_le_bytes().to_vec()).expect("it is small");
        self.worker.load(image, self.openvm_toml.clone(), input)?;
        if metered {
            let budget = MemoryBudget::from_bytes(4 << 30);
            self.worker.plan(budget, INSTRUCTIONS_MAX).map(drop)
        } else {
            self.worker.execute(INSTRUCTIONS_MAX).map(drop)
        }
    }
}

/// The interpreter takes an address space for an index into a list, and does not look whether it is
/// one.
#[test]
fn a_program_that_uses_other_address_spaces_is_refused_before_it_runs() {
    let mut child = Child::start(None);
    for space in [9, 255] {
        let (exe, count) = Exe::read(VMEXE).with_address_space(space);
        assert!(count > 300, "{count} loads and stores");
        for metered in [false, true] {
            let refused = child.execute(&exe.write(), metered);
            assert!(
                matches!(
                    &refused,
                    Err(WorkerError::Failed(Failure::Program(reason)))
                        if reason.contains(&format!("with e = {space}, where"))
                ),
                "address space {space}: {refused:?}"
            );
        }
    }
}

/// The child is there for the next program, or was refused memory, whatever a program is and does.
#[test]
fn programs_that_load_are_executed_and_do_no_harm() {
    let sample = Exe::read(VMEXE);
    let mut child = Child::start(None);
    child
        .execute(&sample.write(), false)
        .expect("the sample is executed");
    child.survives("program", |rng| sample.changed(rng));
}

/// The child also survives the instructions of the extensions, which read and write far more at
/// once.
#[test]
fn programs_that_use_extensions_are_executed_and_do_no_harm() {
    let mut child = Child::start(Some(extensions::OPENVM_TOML));
    for (name, sample) in extensions::samples() {
        for metered in [false, true] {
            let executed = child.execute(&sample.write(), metered);
            executed.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    child.survives("extensions", |rng| {
        let made = extensions::any(rng);
        if rng.number().is_multiple_of(8) {
            made.changed(rng)
        } else {
            made
        }
    });
}

impl Child {
    /// Executes one program after the other.
    fn survives(&mut self, name: &str, mut program: impl FnMut(&mut Rng) -> Exe) {
        let times = setting("MYRIAD_FUZZ_TIMES", TIMES);
        let seed = setting("MYRIAD_FUZZ_SEED", 1);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
        fs::create_dir_all(&dir).expect("there is room");
        let mut rng = Rng(seed);
        let (mut refused, mut ended, mut trapped) = (0, 0, 0);
        for number in 0..PROGRAMS * times {
            let image = program(&mut rng).write();
            match self.execute(&image, number.is_multiple_of(METERED_SHARE)) {
                Ok(()) => ended += 1,
                Err(WorkerError::Failed(Failure::Program(_))) => refused += 1,
                Err(WorkerError::Failed(Failure::Execute(_))) => trapped += 1,
                Err(WorkerError::Died(death)) if death.out_of_memory => {
                    trapped += 1;
                    self.worker = Worker::spawn(&self.config).expect("it was built");
                }
                Err(error) => {
                    let saved = dir.join(format!("{name}.failed"));
                    fs::write(&saved, &image).expect("there is room");
                    panic!(
                        "program {number} of MYRIAD_FUZZ_SEED={seed}, which is in {}: {error}",
                        saved.display()
                    );
                }
            }
        }
        eprintln!("{name}: {refused} refused, {ended} executed, {trapped} executed until they failed");
        assert!(refused > 0 && ended > 0 && trapped > 0);
    }
}
