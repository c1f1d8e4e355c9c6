//! The cost of a proof by phase: an engine that is measured, and a subscriber that follows its
//! spans.

use std::{cell::RefCell, collections::BTreeMap, fs, sync::Mutex, time::Instant};

use myriad_engine::devices::{Backend, ProvingEngine};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProverDevice, ProvingContext},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config as SC;
use serde::{Deserialize, Serialize};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// The cost of a phase.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cost {
    pub cpu_s: f64,
    pub wall_s: f64,
    pub peak_bytes: u64,
}

/// The costs of one run's proof by phase, and the peak of its process.
#[derive(Default, Serialize, Deserialize)]
pub struct Run {
    pub phases: BTreeMap<String, Cost>,
    pub task_peak_bytes: u64,
}

pub const PROOF: &str = "proof";
pub const COMMIT: &str = "commit";
pub const CONSTRAINTS: &str = "constraints";
pub const OPENINGS: &str = "openings";

/// The phase that a span is, by either device's name for it. The phase after the constraints is the
/// openings.
fn phase_of(span: &str) -> Option<&'static str> {
    match span {
        "prover.main_trace_commit" => Some(COMMIT),
        "prover.rap_constraints" | "prove_zerocheck_and_logup" => Some(CONSTRAINTS),
        _ => None,
    }
}

pub static RUN: Mutex<BTreeMap<String, Cost>> = Mutex::new(BTreeMap::new());

/// The clock's reading when a phase began; the peak is that since then.
pub struct Clock {
    start: Instant,
    cpu_s: f64,
}

impl Clock {
    pub fn start() -> Self {
        // 5 resets the peak of the resident set; see proc(5).
        fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
        Self {
            start: Instant::now(),
            cpu_s: cpu_s(),
        }
    }

    pub fn stop(self) -> Cost {
        Cost {
            cpu_s: cpu_s() - self.cpu_s,
            wall_s: self.start.elapsed().as_secs_f64(),
            peak_bytes: peak_bytes(),
        }
    }
}

fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask what it used");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// The largest resident set since it was reset.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process may read its own state");
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    kib.expect("the state names the peak") << 10
}

/// Follows the spans that are phases. Spans of one thread alone are looked at: the one that proves.
pub struct Phases;

thread_local! {
    static OPEN: RefCell<Vec<(&'static str, Clock)>> = const { RefCell::new(Vec::new()) };
}

impl Subscriber for Phases {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && phase_of(metadata.name()).is_some()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // A phase is open once at a time, so that its place among all names is enough.
        Id::from_u64(if phase_of(span.metadata().name()) == Some(COMMIT) {
            1
        } else {
            2
        })
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        let phase = if span.into_u64() == 1 { COMMIT } else { CONSTRAINTS };
        OPEN.with_borrow_mut(|open| open.push((phase, Clock::start())));
    }

    fn exit(&self, _: &Id) {
        let popped = OPEN.with_borrow_mut(Vec::pop);
        if let Some((phase, clock)) = popped {
            RUN.lock().unwrap().insert(phase.into(), clock.stop());
            if phase == CONSTRAINTS {
                OPEN.with_borrow_mut(|open| open.push((OPENINGS, Clock::start())));
            }
        }
    }
}

/// An engine whose proofs are measured.
pub struct Measured<E>(E);

impl<E: ProvingEngine> StarkEngine for Measured<E> {
    type SC = SC;
    type PB = Backend;
    type PD = E::PD;
    type TS = E::TS;

    fn new(params: SystemParams) -> Self {
        Self(E::new(params))
    }

    fn config(&self) -> &SC {
        self.0.config()
    }

    fn device(&self) -> &E::PD {
        self.0.device()
    }

    fn initial_transcript(&self) -> E::TS {
        self.0.initial_transcript()
    }

    fn prover_from_transcript(&self, transcript: E::TS) -> Coordinator<SC, Backend, E::PD, E::TS> {
        self.0.prover_from_transcript(transcript)
    }

    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<Backend>,
        ctx: ProvingContext<Backend>,
    ) -> Result<Proof<SC>, <E::PD as ProverDevice<Backend, E::TS>>::Error> {
        let start = (Instant::now(), cpu_s());
        let proof = self.0.prove(pk, ctx);
        let openings = OPEN.with_borrow_mut(Vec::pop);
        let mut run = RUN.lock().unwrap();
        if let Some((phase, clock)) = openings {
            run.insert(phase.into(), clock.stop());
        }
        let peak_bytes = run.values().map(|cost| cost.peak_bytes).max().unwrap_or(0);
        let proof_cost = Cost {
            cpu_s: cpu_s() - start.1,
            wall_s: start.0.elapsed().as_secs_f64(),
            peak_bytes,
        };
        run.insert(PROOF.into(), proof_cost);
        proof
    }
}
