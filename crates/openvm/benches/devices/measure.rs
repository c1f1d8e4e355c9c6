//! The cost of a proof by phase: an engine that is measured, and a subscriber that follows its
//! spans.

use std::{cell::RefCell, collections::BTreeMap, fs, sync::Mutex, time::Instant};

use myriad_openvm::devices::{Backend, ProvingEngine};
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

/// A span that is measured, by OpenVM's name for it, by our device's, or by the engine's.
struct Known {
    span: &'static str,
    phase: &'static str,
    /// Whether it is one of the three phases of a proof, whose peaks are measured. Their clocks
    /// reset the peak of the process, so no such span is open inside another one.
    has_peak: bool,
}

const fn of_proof(span: &'static str, phase: &'static str) -> Known {
    Known {
        span,
        phase,
        has_peak: true,
    }
}

const fn around(span: &'static str, phase: &'static str) -> Known {
    Known {
        span,
        phase,
        has_peak: false,
    }
}

/// The phase after the constraints is the openings.
const KNOWN: [Known; 14] = [
    of_proof("prover.main_trace_commit", COMMIT),
    of_proof("prover.rap_constraints", CONSTRAINTS),
    of_proof("prove_zerocheck_and_logup", CONSTRAINTS),
    around("keys.read", "read the keys"),
    around("vm.make", "make the VM"),
    around("circuit.make", "make the circuit"),
    around("program.commit", "commit to the program"),
    around("vm.load", "translate the program"),
    around("segment.reach", "execute up to the segment"),
    around("vm.transport_init_memory", "follow memory to its start"),
    around("execute_preflight", "execute it with records"),
    around("trace_gen", "make the traces"),
    around("system.traces", "of these, the system's"),
    around("compile", "compile constraints"),
];

/// The phases around a proof in their order, those of [`KNOWN`] and those that [`timed`] measures.
pub const AROUND: [&str; 15] = [
    LOAD,
    "read the keys",
    "make the VM",
    "make the circuit",
    "commit to the program",
    "translate the program",
    "execute up to the segment",
    "follow memory to its start",
    "execute it with records",
    "make the traces",
    "of these, the system's",
    PROOF,
    "compile constraints",
    VERIFIER,
    VERIFY,
];
pub const LOAD: &str = "load the program";
pub const VERIFIER: &str = "make the verifier";
pub const VERIFY: &str = "verify the proof";

fn known(span: &str) -> Option<usize> {
    KNOWN.iter().position(|known| known.span == span)
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
        Self::of_time()
    }

    /// Leaves the peak as it is.
    fn of_time() -> Self {
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

    fn without_peak(self) -> Cost {
        Cost {
            peak_bytes: 0,
            ..self.stop()
        }
    }
}

/// Works, and notes what that takes as a phase.
pub fn timed<T>(phase: &str, work: impl FnOnce() -> T) -> T {
    let clock = Clock::of_time();
    let done = work();
    note(phase, clock.without_peak());
    done
}

/// The last cost of a phase counts: that of the outermost span, and of the task itself.
fn note(phase: &str, cost: Cost) {
    RUN.lock().unwrap().insert(phase.into(), cost);
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
        metadata.is_span() && known(metadata.name()).is_some()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // Spans of one name are one to us: the outermost ends last.
        Id::from_u64(known(span.metadata().name()).map_or(0, |known| known as u64) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        let known = &KNOWN[span.into_u64() as usize - 1];
        let clock = if known.has_peak {
            Clock::start()
        } else {
            Clock::of_time()
        };
        OPEN.with_borrow_mut(|open| open.push((known.phase, clock)));
    }

    fn exit(&self, span: &Id) {
        let known = &KNOWN[span.into_u64() as usize - 1];
        let popped = OPEN.with_borrow_mut(Vec::pop);
        if let Some((phase, clock)) = popped {
            note(
                phase,
                if known.has_peak {
                    clock.stop()
                } else {
                    clock.without_peak()
                },
            );
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
