//! Requester and provers as processes, with real proofs, killed with SIGKILL at every stage of a
//! job again and again.
//!
//! ```text
//! cargo test --release --workspace --test faults                                       what CI runs
//! MYRIAD_FAULTS_KILLS=300 MYRIAD_FAULTS_SEED=7 cargo test --release --workspace --test faults -- --nocapture
//! ```
//!
//! The logs of the processes decide which one is killed, and when. Each time that the requester is
//! dead, the test reads its journal: every proof that it has called accepted must still be there,
//! and must still be the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use myriad_fuzz::{Rng, setting};
use myriad_net::blob::BlobRef;
use myriad_node::records::{Jobs, State};

use crate::{
    LISTEN, MEMORY, ROUNDS, SILENCE_MAX, bootstrap, guest, keys,
    process::{Process, Said, all_end, field, myriad},
    with_keys,
};

/// Kills that CI makes at least.
const KILLS: usize = 30;
const PROVERS: usize = 2;
/// Rounds that take longer to execute than this test does.
const ENDLESS_ROUNDS: u64 = 10_000_000_000;
/// The instructions of such a job for which a prover lends its machine: what is executed of it
/// while a loaded machine proves two segments is more than a prover takes by default.
const INSTRUCTIONS_MAX: &str = "1000000000000";
/// Times that a requester dies whose plan is being made, and proofs that become durable before
/// each.
const HALF_PLANNED: usize = 3;
const PROOFS_EACH: usize = 2;
/// How long a child may take to see that its node is gone.
const ORPHAN_MAX: Duration = Duration::from_secs(20);

/// The moment in the life of a task at which a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It is announced, and not executed yet.
    Execute,
    Announce,
    Lease,
    Submit,
    Verify,
    Persist,
    Persisted,
    Aggregate,
    /// Any word of the final task, besides the stage that the word is of.
    FinalTask,
    /// The final proof, or the file to verify it with, is written for the user.
    Write,
    ProverLease,
    ProverProving,
    ProverSubmit,
}

impl Stage {
    /// All stages, each with the number of its victims in a job.
    const ALL: [(Self, usize); 13] = [
        (Self::Execute, 1),
        (Self::Announce, 2),
        (Self::Lease, 2),
        (Self::Submit, 4),
        (Self::Verify, 5),
        (Self::Persist, 4),
        (Self::Persisted, 3),
        (Self::Aggregate, 2),
        (Self::FinalTask, 3),
        (Self::Write, 2),
        (Self::ProverLease, 2),
        (Self::ProverProving, 2),
        (Self::ProverSubmit, 3),
    ];

    /// The stages that a line of the requester tells of.
    fn of_requester(line: &str) -> Vec<Self> {
        let Some(stage) = field(line, "stage") else {
            return Vec::new();
        };
        let task = field(line, "task").unwrap_or_default();
        let is_final = task == "the final proof";
        let own = match stage {
            "herald" => Some(Self::Execute),
            "announce" => Some(Self::Announce),
            "lease" if task.starts_with("segment") => Some(Self::Lease),
            "lease" if !is_final => Some(Self::Aggregate),
            "claim" => Some(Self::Submit),
            "verify" => Some(Self::Verify),
            "persist" => Some(Self::Persist),
            "persisted" => Some(Self::Persisted),
            "write" => Some(Self::Write),
            _ => None,
        };
        is_final
            .then_some(Self::FinalTask)
            .into_iter()
            .chain(own)
            .collect()
    }

    fn of_prover(line: &str) -> Option<Self> {
        match field(line, "stage")? {
            "lease" => Some(Self::ProverLease),
            "prove" => Some(Self::ProverProving),
            "proven" => Some(Self::ProverSubmit),
            _ => None,
        }
    }
}

/// A job with all nodes that take part in it.
struct Nodes {
    dir: PathBuf,
    program: PathBuf,
    input: String,
    bootstrap: String,
    lines: Sender<Said>,
    heard: Receiver<Said>,
    started: usize,
    requester: Option<Process>,
    provers: Vec<Option<Process>>,
    left: BTreeMap<Stage, usize>,
    made: BTreeMap<Stage, usize>,
    rng: Rng,
    /// The journal's entries at the last look.
    journal: BTreeMap<[u8; 32], BlobRef>,
    /// Tasks whose proofs are durable, by what requesters have said.
    kept: BTreeSet<String>,
}

impl Nodes {
    /// A job of so many rounds, which nobody is at yet.
    fn new(dir: &Path, bootstrap: &str, rounds: u64, seed: u64) -> Self {
        let (lines, heard) = channel();
        with_keys(&dir.join("requester"));
        Self {
            dir: dir.to_owned(),
            program: guest("fibonacci"),
            input: format!("0x01{}", hex::encode(rounds.to_le_bytes())),
            bootstrap: bootstrap.to_owned(),
            lines,
            heard,
            started: 0,
            requester: None,
            provers: (0..PROVERS).map(|_| None).collect(),
            left: BTreeMap::new(),
            made: BTreeMap::new(),
            rng: Rng(seed),
            journal: BTreeMap::new(),
            kept: BTreeSet::new(),
        }
    }

    fn number(&mut self) -> usize {
        self.started += 1;
        self.started
    }

    fn start_requester(&mut self) {
        let mut command = myriad();
        command
            .args(["prove", &self.program.to_string_lossy(), "--input", &self.input])
            .args(["--network", "--fleet", "2", "--memory", MEMORY, "--no-mdns"])
            .args(["--listen", LISTEN, "--bootstrap", &self.bootstrap])
            .arg("--data-dir")
            .arg(self.dir.join("requester"))
            .arg("--out")
            .arg(self.dir.join("out"));
        let number = self.number();
        let log = self.dir.join("requester.log");
        self.requester = Some(Process::start(number, command, &log, self.lines.clone()));
    }

    fn start_prover(&mut self, place: usize) {
        let mut command = myriad();
        command
            .args(["prover", "--memory", MEMORY, "--nice", "0", "--no-mdns"])
            .args(["--max-instructions", INSTRUCTIONS_MAX])
            .args(["--listen", LISTEN, "--bootstrap", &self.bootstrap])
            .arg("--keys")
            .arg(keys())
            .arg("--data-dir")
            .arg(self.dir.join(format!("prover-{place}")));
        let number = self.number();
        let log = self.dir.join(format!("prover-{place}.log"));
        self.provers[place] = Some(Process::start(number, command, &log, self.lines.clone()));
    }

    /// Whether this stage is to take its victim now.
    fn strikes(&mut self, stage: Stage) -> bool {
        let left = self.left.get_mut(&stage).filter(|left| **left > 0);
        // Some other time, now and then: so that not always the first task meets its fate. A job
        // has only two moments of the last kind.
        let now = stage == Stage::Write || !self.rng.number().is_multiple_of(4);
        let Some(left) = left.filter(|_| now) else {
            return false;
        };
        *left -= 1;
        *self.made.entry(stage).or_default() += 1;
        true
    }

    /// Runs the job to its end, however many nodes die on the way.
    fn run(&mut self) {
        (0..PROVERS).for_each(|place| self.start_prover(place));
        self.start_requester();
        loop {
            let heard = self.heard.recv_timeout(SILENCE_MAX);
            let (number, line) = heard.expect("the job goes on");
            if self
                .requester
                .as_ref()
                .is_some_and(|process| process.number == number)
            {
                match line {
                    Some(line) => self.requester_said(&line),
                    None => break,
                }
            } else if let Some(place) = self.place_of(number) {
                let line = line.expect("a prover does not end by itself");
                self.prover_said(place, &line);
            }
        }
        let status = self.requester.take().unwrap().wait();
        assert!(status.success(), "{status}");
        self.look_at_journal();
        self.provers.iter_mut().for_each(|prover| {
            prover.take().unwrap().kill();
        });
    }

    fn place_of(&self, number: usize) -> Option<usize> {
        self.provers
            .iter()
            .position(|prover| prover.as_ref().is_some_and(|process| process.number == number))
    }

    fn requester_said(&mut self, line: &str) {
        let task = || field(line, "task").expect("the stage is one of a task");
        match field(line, "stage") {
            Some("lease") => assert!(
                !self.kept.contains(task()),
                "{} is given out again, and its proof is durable",
                task()
            ),
            Some("persisted") => {
                assert!(
                    self.kept.insert(task().to_owned()),
                    "{} was accepted twice",
                    task()
                );
            }
            _ => {}
        }
        for stage in Stage::of_requester(line) {
            if self.strikes(stage) {
                self.kill_requester();
                self.start_requester();
                return;
            }
        }
    }

    fn kill_requester(&mut self) {
        let orphans = self.requester.take().unwrap().kill();
        assert!(all_end(&orphans, ORPHAN_MAX), "a child outlives its requester");
        self.look_at_journal();
    }

    /// Waits until the requester has said that so many more proofs are durable, all before its plan
    /// is there.
    fn until_durable(&mut self, more: usize) {
        let wanted = self.kept.len() + more;
        while self.kept.len() < wanted {
            let (number, line) = self.heard.recv_timeout(SILENCE_MAX).expect("the job goes on");
            if self
                .requester
                .as_ref()
                .is_some_and(|process| process.number == number)
            {
                let line = line.expect("the requester does not end by itself");
                assert_ne!(field(&line, "stage"), Some("settle"), "the plan is there: {line}");
                self.requester_said(&line);
            }
        }
    }

    fn prover_said(&mut self, place: usize, line: &str) {
        if Stage::of_prover(line).is_some_and(|stage| self.strikes(stage)) {
            let orphans = self.provers[place].take().unwrap().kill();
            assert!(all_end(&orphans, ORPHAN_MAX), "a child outlives its prover");
            self.start_prover(place);
        }
    }

    /// Every accepted proof is still there, and unchanged. The log's count of kept proofs may be
    /// one less: the process may have died between the two.
    fn look_at_journal(&mut self) {
        let jobs = Jobs::of(&self.dir.join("requester"));
        let Some(job) = jobs.list().unwrap().pop() else {
            // It died before it had begun.
            assert!(self.journal.is_empty());
            return;
        };
        assert!(!job.running);
        let now = jobs.accepted(job.id).unwrap();
        for (task, proof) in &self.journal {
            assert_eq!(
                now.get(task),
                Some(proof),
                "an accepted proof is lost or replaced"
            );
        }
        assert!(now.len() >= self.kept.len(), "{} of {:?}", now.len(), self.kept);
        self.journal = now;
    }
}

/// A job in which every stage takes its victims; gives how often each did.
fn job(dir: &Path, bootstrap: &str, seed: u64, place: u64) -> BTreeMap<Stage, usize> {
    // Each job is another one.
    let mut nodes = Nodes::new(dir, bootstrap, ROUNDS + place, seed.wrapping_add(place));
    nodes.left = Stage::ALL.into_iter().collect();
    nodes.run();

    let jobs = Jobs::of(&dir.join("requester"));
    let record = jobs.list().unwrap().pop().unwrap().record.unwrap();
    assert_eq!(record.state, State::Done);
    assert_eq!(
        Some(nodes.journal.len()),
        record.tasks,
        "every task has one proof"
    );
    let proof = dir.join("out/fibonacci.stark.proof");
    let verified = myriad()
        .arg("verify")
        .arg(proof)
        .args(["--program", &nodes.program.to_string_lossy(), "--data-dir"])
        .arg(dir.join("requester"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(verified.success());
    nodes.made
}

pub fn nodes_are_killed_and_the_job_is_done_and_nothing_accepted_is_proven_twice() {
    let wanted = setting("MYRIAD_FAULTS_KILLS", KILLS as u64) as usize;
    let seed = setting("MYRIAD_FAULTS_SEED", 1);
    // Kept if this fails.
    let dir = tempfile::tempdir().unwrap().keep();
    eprintln!(
        "MYRIAD_FAULTS_KILLS={wanted} MYRIAD_FAULTS_SEED={seed}, logs in {}",
        dir.display()
    );
    let (bootstrap, address) = bootstrap(&dir);
    let mut made: BTreeMap<Stage, usize> = BTreeMap::new();
    let mut place = 0;
    while made.values().sum::<usize>() < wanted || made.len() < Stage::ALL.len() {
        for (stage, times) in job(&dir.join(place.to_string()), &address, seed, place) {
            *made.entry(stage).or_default() += times;
        }
        eprintln!(
            "{} jobs, {} kills: {made:?}",
            place + 1,
            made.values().sum::<usize>()
        );
        place += 1;
    }
    bootstrap.kill();
    fs::remove_dir_all(&dir).unwrap();
}

/// Segments are proven while the execution goes on. The requester dies, and executes again: what
/// was durable is there, and is not given out again.
pub fn a_requester_that_dies_while_its_plan_is_being_made_loses_no_accepted_proof() {
    // Kept if this fails.
    let dir = tempfile::tempdir().unwrap().keep();
    let (bootstrap, address) = bootstrap(&dir);
    let mut nodes = Nodes::new(&dir, &address, ENDLESS_ROUNDS, 1);
    (0..PROVERS).for_each(|place| nodes.start_prover(place));
    for _ in 0..HALF_PLANNED {
        nodes.start_requester();
        nodes.until_durable(PROOFS_EACH);
        nodes.kill_requester();
    }
    assert!(nodes.journal.len() >= HALF_PLANNED * PROOFS_EACH);
    for prover in &mut nodes.provers {
        prover.take().unwrap().kill();
    }
    bootstrap.kill();
    fs::remove_dir_all(&dir).unwrap();
}
