//! The speed that this machine claims and the memory that it offers: measured by `myriad bench`, or
//! else those of an unmeasured machine.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use myriad_core::{EngineId, EngineName, Kind};
use myriad_cost::{
    model::{Below, CostModel, FitError, ProgramModel},
    profile::{Profile, ProfileError},
    reference,
};
use thiserror::Error;

use super::Limits;

/// The file that `myriad bench` writes into the data folder: for the engine of older builds, the
/// one that they read.
pub fn profile_file(engine: EngineName) -> String {
    if engine == EngineName::of_older_builds() {
        return "profile.json".into();
    }
    format!("profile-{engine}.json")
}

/// A machine offers at least this part of its lent memory, whatever was measured. If tasks seem to
/// take more than twice what the engine expects, something else was measured.
const MEMORY_SHARE_MIN: f64 = 0.5;
/// A task may take this many times as long as the largest one should: this machine may be busy with
/// its owner's work, may never have been measured, and programs differ. The limit frees this
/// machine from a requester that never lets go.
const LONGEST_FACTOR: f64 = 20.0;
/// The time to make and load the keys of a configuration, in seconds of one reference core.
const KEYS_WORK_S: f64 = 60.0;
/// However slow the machine, no task is worth more than a day.
const LONGEST_MAX_S: f64 = 24.0 * 3600.0;
/// Nodes over more children than this do not count: no circuit has room for them.
const CHILDREN_MAX: u32 = 4;

/// The speed of a machine, until its work shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Seconds of a reference core's work for each of one of its own.
    pub core_speed: f64,
    /// Seconds of a reference core's work that it does in a second.
    pub speed: f64,
    /// The part of the memory lent that tasks may be expected to take: less than all where they
    /// were seen to take more than the engine expects.
    pub memory_share: f64,
}

/// A calibration, and the profile that it follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    pub calibration: Calibration,
    /// The engine that measured.
    pub engine: EngineName,
    pub path: PathBuf,
}

/// Why the profile of an engine is not used.
#[derive(Debug, Error)]
pub enum CalibrationError {
    #[error("the profile {} is not used: {source}{}", path.display(), here(*engine))]
    Profile {
        path: PathBuf,
        engine: EngineName,
        source: ProfileError,
    },
    #[error("the profile {} is not used: {source}{}", path.display(), here(*engine))]
    Fit {
        path: PathBuf,
        engine: EngineName,
        source: FitError,
    },
    #[error(
        "the profile {} is not used: it is of another engine ({actual}; this machine has {expected}); measure again with \
         `{}`",
        path.display(), bench_command(*engine)
    )]
    Engine {
        path: PathBuf,
        engine: EngineName,
        actual: String,
        expected: String,
    },
}

/// The command that measures with an engine.
fn bench_command(engine: EngineName) -> String {
    if engine == EngineName::of_older_builds() {
        return "myriad bench".into();
    }
    format!("myriad bench --engine {engine}")
}

/// The command of an engine whose errors name that of another.
fn here(engine: EngineName) -> String {
    if engine == EngineName::of_older_builds() {
        return String::new();
    }
    format!("; of this engine, that is `{}`", bench_command(engine))
}

impl Calibration {
    /// The calibration of a machine of which nothing is known: its cores are those of the
    /// reference.
    pub fn unmeasured(threads: usize) -> Self {
        Self {
            core_speed: 1.0,
            speed: threads as f64,
            memory_share: 1.0,
        }
    }

    /// The measured calibration of a machine with these engines, on so many threads: of the first
    /// engine whose profile in the data folder can be used. Also says why those before it cannot.
    pub fn measured(
        data_dir: &Path,
        engines: &[EngineId],
        threads: usize,
    ) -> (Option<Calibrated>, Vec<CalibrationError>) {
        let mut unused = Vec::new();
        for id in engines {
            let path = data_dir.join(profile_file(id.name));
            if !path.exists() {
                continue;
            }
            match Self::measured_by(id, &path, threads) {
                Ok(calibration) => {
                    let engine = id.name;
                    let measured = Calibrated {
                        calibration,
                        engine,
                        path,
                    };
                    return (Some(measured), unused);
                }
                Err(error) => unused.push(error),
            }
        }
        (None, unused)
    }

    fn measured_by(id: &EngineId, path: &Path, threads: usize) -> Result<Self, CalibrationError> {
        let (path, engine) = (path.to_owned(), id.name);
        let profile = match Profile::load(&path) {
            Ok(profile) => profile,
            Err(source) => {
                return Err(CalibrationError::Profile { path, engine, source });
            }
        };
        let named = |name, fingerprint: &str| format!("`{name}` {fingerprint}");
        let actual = named(profile.engine_name, &profile.engine);
        let expected = named(id.name, &hex::encode(id.fingerprint));
        if actual != expected {
            return Err(CalibrationError::Engine {
                path,
                engine,
                actual,
                expected,
            });
        }
        Self::of(&profile, threads).map_err(|source| CalibrationError::Fit { path, engine, source })
    }

    fn of(profile: &Profile, threads: usize) -> Result<Self, FitError> {
        let beside = CostModel::fit(profile)?.speed_beside(reference::model(), threads as u32);
        let segments = profile.programs.iter().flat_map(|program| &program.segments);
        // A segment that was cut for a budget has to fit into it.
        let shares = segments.map(|s| s.budget_bytes as f64 / s.measured.peak_bytes as f64);
        Ok(Self {
            core_speed: beside.core_speed,
            speed: beside.speed,
            memory_share: shares.fold(1.0, f64::min).max(MEMORY_SHARE_MIN),
        })
    }

    /// The time that no task of these engines exceeds that fits into these limits: making keys,
    /// executing to the start of the last segment, and proving as much as there is memory for.
    /// Follows from what was measured, and from nothing that a requester says.
    pub(super) fn longest(&self, limits: &Limits, engines: &[EngineId]) -> Duration {
        let all = reference::model().programs();
        let is_measured = |name| all.iter().any(|program| program.engine() == name);
        // Of an engine that nobody has measured, any task may be.
        let any = !engines.iter().all(|id| is_measured(id.name));
        let has = |name| any || engines.iter().any(|id| id.name == name);
        let programs: Vec<&ProgramModel> = all.iter().filter(|program| has(program.engine())).collect();
        let memory = limits.memory.bytes() as f64;
        let proving = programs.iter().map(|program| largest_s(program, memory));
        let executing = programs
            .iter()
            .map(|program| program.execution_s(limits.max_instructions as f64));
        let alone = KEYS_WORK_S + executing.fold(0.0, f64::max);
        let seconds = proving.fold(0.0, f64::max) / self.speed + alone / self.core_speed;
        Duration::from_secs_f64((LONGEST_FACTOR * seconds).min(LONGEST_MAX_S))
    }

    /// The offered part of the memory that is lent, in bytes.
    pub(super) fn memory_offered(&self, lent_bytes: u64) -> u64 {
        (lent_bytes as f64 * self.memory_share) as u64
    }
}

/// Seconds of one reference core for the largest task of a program that fits into so much memory.
fn largest_s(program: &ProgramModel, memory: f64) -> f64 {
    let cut = program.cut_for(memory as u64).unwrap_or(&program.cuts()[0]);
    // Beyond the largest that was measured it grows with the memory.
    let share = (memory / cut.budget_bytes as f64).max(1.0);
    let segment = program.segment(program.load(cut.instructions * share), 1).wall_s;
    let nodes = Kind::ALL.into_iter().flat_map(|kind| {
        (1..=CHILDREN_MAX).filter_map(move |children| program.node(kind, children, Below::More, 1))
    });
    nodes.map(|node| node.wall_s).fold(segment, f64::max)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use myriad_engine::EngineFacts;

    use super::*;

    /// The reference's own profile, as if this build's engine had measured it.
    fn profile() -> Profile {
        Profile {
            engine: hex::encode(EngineFacts::pretended().id.fingerprint),
            engine_name: EngineFacts::pretended().id.name,
            ..reference::profile().clone()
        }
    }

    fn measured(profile: &str) -> Result<Option<Calibration>, CalibrationError> {
        let dir = tempfile::tempdir().unwrap();
        let own = EngineFacts::pretended().id;
        fs::write(dir.path().join(profile_file(own.name)), profile).unwrap();
        let (measured, mut unused) = Calibration::measured(dir.path(), &[own], 2);
        match unused.pop() {
            Some(error) => Err(error),
            None => Ok(measured.map(|measured| measured.calibration)),
        }
    }

    #[test]
    fn a_machine_twice_as_slow_says_so() {
        let reference = measured(&profile().to_json()).unwrap().unwrap();
        assert!((reference.core_speed - 1.0).abs() < 1e-6);
        assert!(reference.speed > 1.0 && reference.speed <= 2.2, "{reference:?}");
        let mut slow = profile();
        for program in &mut slow.programs {
            let segments = program.segments.iter_mut().map(|s| &mut s.measured);
            for measured in segments.chain(program.nodes.iter_mut().map(|n| &mut n.measured)) {
                measured.wall_s *= 2.0;
                measured.cpu_s *= 2.0;
                // It waits for its cores for the same part of the time.
                measured.waited_s *= 2.0;
            }
            program.execute_instructions_per_s /= 2.0;
        }
        let slow = measured(&slow.to_json()).unwrap().unwrap();
        assert!((slow.core_speed - 0.5).abs() < 0.01, "{slow:?}");
        assert!((slow.speed / reference.speed - 0.5).abs() < 0.01, "{slow:?}");
    }

    #[test]
    fn a_machine_on_which_tasks_take_more_offers_less() {
        let mut hungry = profile();
        let sample = &mut hungry.programs[0].segments[0];
        sample.measured.peak_bytes = sample.budget_bytes * 5 / 4;
        let calibration = measured(&hungry.to_json()).unwrap().unwrap();
        assert_eq!(calibration.memory_offered(1000), 800);
        let sample = &mut hungry.programs[0].segments[0];
        sample.measured.peak_bytes = sample.budget_bytes * 50;
        assert_eq!(
            measured(&hungry.to_json()).unwrap().unwrap().memory_offered(1000),
            500
        );
    }

    #[test]
    fn no_task_may_take_longer_than_the_largest_that_fits_many_times_over() {
        let limits = |gib: u64| Limits {
            memory: myriad_engine::MemoryBudget::from_bytes(gib << 30),
            threads: 2,
            max_instructions: 10_000_000_000,
            max_input_bytes: 1 << 20,
            only: Default::default(),
            never: Default::default(),
            prefer: Default::default(),
        };
        let of = |calibration: Calibration, gib, names: &[&str]| {
            let id = |name: &&str| EngineId {
                name: name.parse().unwrap(),
                fingerprint: [0; 32],
            };
            let engines: Vec<EngineId> = names.iter().map(id).collect();
            calibration.longest(&limits(gib), &engines).as_secs_f64()
        };
        let longest = |calibration: Calibration, gib| of(calibration, gib, &["openvm"]);
        let calibration = Calibration::unmeasured(2);
        let four = longest(calibration, 4);
        // Many times what any task of 4 GiB was ever seen to take, and not the night.
        assert!((1200.0..4.0 * 3600.0).contains(&four), "{four} s");
        assert!(longest(calibration, 32) > four);
        assert!(longest(Calibration::unmeasured(1), 4) > four);
        // Another engine's tasks take longer, and those of an engine that nobody has measured may.
        let both = of(calibration, 4, &["openvm", "risc0"]);
        assert!(both > four, "{both} s");
        assert_eq!(of(calibration, 4, &["openvm", "other"]), both);
        let stopped = Calibration {
            core_speed: 0.0,
            speed: 0.0,
            memory_share: 1.0,
        };
        assert_eq!(longest(stopped, 4), LONGEST_MAX_S);
    }

    #[test]
    fn the_first_engine_with_a_profile_says_how_fast_the_machine_is() {
        let dir = tempfile::tempdir().unwrap();
        let own = EngineFacts::pretended().id;
        let other = EngineId {
            name: EngineName::of_older_builds(),
            ..own
        };
        let mut hungry = Profile {
            engine_name: other.name,
            ..profile()
        };
        let write = |engine: EngineId, profile: &Profile| {
            fs::write(dir.path().join(profile_file(engine.name)), profile.to_json()).unwrap();
        };
        let measured = |engines: &[EngineId]| {
            let (measured, unused) = Calibration::measured(dir.path(), engines, 2);
            assert!(unused.is_empty(), "{unused:?}");
            measured
        };
        assert_eq!(measured(&[other, own]), None);
        write(own, &profile());
        assert_eq!(measured(&[other]), None);
        assert_eq!(measured(&[other, own]), measured(&[own]));
        let sample = &mut hungry.programs[0].segments[0];
        sample.measured.peak_bytes = sample.budget_bytes * 5 / 4;
        write(other, &hungry);
        let share = |engines: &[EngineId]| measured(engines).unwrap().calibration.memory_share;
        assert!(share(&[other, own]) < share(&[own, other]));
        let of = |engines: &[EngineId]| measured(engines).unwrap().engine;
        assert_eq!((of(&[other, own]), of(&[own, other])), (other.name, own.name));
        assert!(
            dir.path().join("profile.json").exists(),
            "as older builds call it"
        );
    }

    #[test]
    fn what_another_engine_measured_is_not_believed() {
        let other = Profile {
            engine: "00".repeat(32),
            ..profile()
        };
        let of_other_name = Profile {
            engine_name: "other".parse().unwrap(),
            ..profile()
        };
        for other in [other, of_other_name] {
            let error = measured(&other.to_json()).unwrap_err();
            assert!(error.to_string().contains("another engine"), "{error}");
        }
        assert!(matches!(measured("{}"), Err(CalibrationError::Profile { .. })));
        let none = tempfile::tempdir().unwrap();
        let (measured, unused) = Calibration::measured(none.path(), &[EngineFacts::pretended().id], 2);
        assert!(measured.is_none() && unused.is_empty(), "{measured:?} {unused:?}");
    }

    /// A prover that was updated has a profile that counts, though that of its first engine does
    /// not any more. Each is measured again by a command of its own.
    #[test]
    fn a_profile_that_is_not_used_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let own = EngineFacts::pretended().id;
        let first = EngineId {
            name: EngineName::of_older_builds(),
            ..own
        };
        let stale = Profile {
            engine: "00".repeat(32),
            engine_name: first.name,
            ..profile()
        };
        let write = |engine: EngineId, text: &str| {
            fs::write(dir.path().join(profile_file(engine.name)), text).unwrap();
        };
        write(own, &profile().to_json());
        for (unusable, said) in [
            (stale.to_json(), "`myriad bench`"),
            ("{}".into(), "`myriad bench "),
        ] {
            write(first, &unusable);
            let (measured, unused) = Calibration::measured(dir.path(), &[first, own], 2);
            let measured = measured.unwrap();
            assert_eq!(measured.engine, own.name);
            assert_eq!(measured.path, dir.path().join("profile-pretended.json"));
            let said_of = unused.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(said_of.len(), 1);
            assert!(
                said_of[0].contains("profile.json") && said_of[0].contains(said),
                "{said_of:?}"
            );
            assert!(!said_of[0].contains("--engine"), "{said_of:?}");
        }
        // Nothing is left; and of an engine that is not the first, the command names it.
        for unusable in [
            Profile {
                engine: "00".repeat(32),
                ..profile()
            }
            .to_json(),
            "{}".into(),
        ] {
            write(own, &unusable);
            let (measured, unused) = Calibration::measured(dir.path(), &[first, own], 2);
            assert!(measured.is_none(), "{measured:?}");
            let error = unused[1].to_string();
            assert!(error.contains("`myriad bench --engine pretended`"), "{error}");
        }
    }
}
