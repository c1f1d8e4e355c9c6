//! Provers that hand in real proofs of something else, proofs that are nearly right, and a valid
//! one by a prover that was changed. The requester's own verifier sees through each of them, only
//! their makers are to blame, and the one honest prover of eight does the job.
//!
//! The harm that dishonest provers can do without proofs is in
//! `four_of_five_are_byzantine_and_the_job_gets_done` of `myriad-node`.

use std::{fs, path::Path, process::Stdio, sync::mpsc::channel};

use myriad_engine::{Input, Segment};
use myriad_net::{
    short_name,
    wire::{Lease, Refused, Response, Why, Work},
};
use myriad_openvm::{KeyCache, Program, changed_prover};
use tokio::time::{Duration, sleep};

use crate::{
    LISTEN, LISTENING, MEMORY, ROUNDS, guest, keys,
    peer::{Stranger, engine, patiently},
    process::{Process, field, myriad},
    wait_for, wait_for_stage, with_keys,
};

/// The proof that is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The proof of another segment.
    Replayed,
    /// The proof of this segment of another execution: of the same program on another input.
    OtherInput,
    /// The right one, but for a bit in the middle.
    Flipped,
    /// The first half of the right one.
    Truncated,
    /// As many bytes as the right one has.
    Garbage,
    /// A valid one, by a prover that was changed: its segment goes on with an exit code that no
    /// leaf can be made over.
    Unusable,
}

impl Proof {
    const ALL: [Self; 6] = [
        Self::Replayed,
        Self::OtherInput,
        Self::Flipped,
        Self::Truncated,
        Self::Garbage,
        Self::Unusable,
    ];
}

fn segment(lease: &Lease) -> Segment {
    match &lease.work {
        Work::Segment(description) => postcard::from_bytes(description).unwrap(),
        work => panic!("segments come first, and this is {work:?}"),
    }
}

fn input(rounds: u64) -> Input {
    Input::from_bytes(rounds.to_le_bytes().to_vec()).unwrap()
}

/// Real proofs of a segment.
struct Proofs {
    right: Vec<u8>,
    /// The proof of the same instructions with another input.
    other_input: Vec<u8>,
    /// See [`Proof::Unusable`].
    unusable: Vec<u8>,
}

impl Proofs {
    fn of(image: &[u8], segment: &Segment) -> Self {
        let mut engine = engine();
        let mut of = |rounds| {
            engine.load(image.to_vec(), None, input(rounds)).unwrap();
            engine.prove(segment).unwrap().0
        };
        let (right, other_input) = (of(ROUNDS), of(ROUNDS + 1000));
        drop(engine);
        let program = Program::load(image, None).unwrap();
        let keys = KeyCache::new(keys());
        let unusable =
            changed_prover::prove_suspended_with_43(&program, &keys, &input(ROUNDS), segment).unwrap();
        Self {
            right,
            other_input,
            unusable,
        }
    }

    fn to_hand_in(&self, proof: Proof) -> Vec<u8> {
        let right = &self.right;
        match proof {
            Proof::Replayed => right.clone(),
            Proof::OtherInput => self.other_input.clone(),
            Proof::Flipped => {
                let mut flipped = right.clone();
                flipped[right.len() / 2] ^= 1;
                flipped
            }
            Proof::Truncated => right[..right.len() / 2].to_vec(),
            Proof::Garbage => vec![7; right.len()],
            Proof::Unusable => self.unusable.clone(),
        }
    }
}

/// Whether the requester says that it will never have anything to do with this prover again.
async fn is_banned(stranger: &Stranger) -> bool {
    matches!(
        stranger.offer().await,
        Some(Response::Refused(Refused { why: Why::Banned, .. }))
    )
}

/// Hands in a proof that is none, and waits until its requester has seen it.
async fn hand_in(proof: Proof, stranger: &Stranger, leased: &Lease, proofs: &Proofs) {
    assert!(!is_banned(stranger).await, "{proof:?} has done nothing yet");
    stranger.submit(leased, &proofs.to_hand_in(proof)).await;
    let seen_through = async {
        while !is_banned(stranger).await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    patiently(&format!("{proof:?} is banned"), seen_through).await;
}

async fn hand_in_wrong_proofs(dir: &Path, requester: &str) -> Vec<String> {
    let mut strangers = Vec::new();
    for proof in Proof::ALL {
        let stranger = Stranger::join(&dir.join(format!("{proof:?}")), requester).await;
        strangers.push((proof, stranger));
    }
    let who = |wanted| {
        let (_, stranger) = strangers.iter().find(|(proof, _)| *proof == wanted).unwrap();
        stranger
    };
    // It does nothing at all, which is no proof of lying.
    let silent = Stranger::join(&dir.join("Silent"), requester).await;

    // The segment of `changed` is proven in earnest; `replays` has the other one. Copies of a held
    // task are given only when there is nothing else.
    let (changed, replays) = (who(Proof::Unusable), who(Proof::Replayed));
    let lease = changed.lease().await;
    let asked = segment(&lease);
    assert!(!asked.last, "the first segment comes first");
    let other = replays.lease().await;
    assert_ne!(other.task, lease.task);
    let image = fs::read(guest("fibonacci")).unwrap();
    assert_eq!(changed.fetch(&lease.sources.program).await, image);
    let proving = tokio::task::spawn_blocking(move || Proofs::of(&image, &asked));
    let proofs = tokio::select! {
        proofs = proving => proofs.unwrap(),
        () = changed.renew(&lease) => panic!("the proofs are not done"),
        () = replays.renew(&other) => panic!("the proofs are not done"),
    };
    assert_ne!(proofs.right, proofs.other_input);
    assert_ne!(proofs.right, proofs.unusable);
    hand_in(Proof::Unusable, changed, &lease, &proofs).await;

    // The same segment, which is free again.
    let anew = who(Proof::OtherInput).lease().await;
    assert_eq!(anew.task, lease.task);
    silent.lease().await;
    for (proof, stranger) in &strangers {
        let leased = match proof {
            Proof::Unusable => continue,
            Proof::OtherInput => anew.clone(),
            Proof::Replayed => other.clone(),
            Proof::Flipped | Proof::Truncated | Proof::Garbage => stranger.lease().await,
        };
        hand_in(*proof, stranger, &leased, &proofs).await;
    }
    let names = strangers
        .iter()
        .map(|(_, stranger)| short_name(stranger.network.peer()));
    names.collect()
}

pub fn real_proofs_of_something_else_are_seen_through_and_their_makers_banned() {
    // Kept if this fails.
    let dir = tempfile::tempdir().unwrap().keep();
    eprintln!("logs in {}", dir.display());
    let data = dir.join("requester");
    with_keys(&data);
    let (lines, requester_said) = channel();
    let mut command = myriad();
    command
        .arg("prove")
        .arg(guest("fibonacci"))
        .args(["--input", &format!("0x01{}", hex::encode(ROUNDS.to_le_bytes()))])
        .args(["--network", "--memory", MEMORY, "--no-mdns"])
        .args(["--listen", LISTEN, "--data-dir"])
        .arg(&data)
        .arg("--out")
        .arg(&dir);
    let requester = Process::start(1, command, &dir.join("requester.log"), lines);
    let line = wait_for(&requester_said, LISTENING);
    let (_, address) = line.split_once(LISTENING).unwrap();
    wait_for_stage(&requester_said, "announce");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut liars = runtime.block_on(hand_in_wrong_proofs(&dir, address));

    let (lines, _prover_said) = channel();
    let mut command = myriad();
    command
        .args(["prover", "--memory", MEMORY, "--nice", "0", "--no-mdns"])
        .args(["--listen", LISTEN, "--bootstrap", address, "--keys"])
        .arg(keys())
        .arg("--data-dir")
        .arg(dir.join("prover"));
    let honest = Process::start(2, command, &dir.join("prover.log"), lines);
    let status = requester.wait();
    honest.kill();
    assert!(status.success(), "{status}");

    let log = fs::read_to_string(dir.join("requester.log")).unwrap();
    let bans = || log.lines().filter(|line| field(line, "stage") == Some("ban"));
    let mut banned: Vec<&str> = bans().filter_map(|line| field(line, "peer")).collect();
    liars.sort();
    banned.sort_unstable();
    assert_eq!(banned, liars, "these and nobody else");
    // The proof of the changed prover holds, and is refused for what it says.
    let unusable = "the exit code of a piece that does not end the program is 43";
    let of_unusable =
        bans().filter(|line| field(line, "reason").is_some_and(|reason| reason.contains(unusable)));
    assert_eq!(of_unusable.count(), 1);
    let verified = myriad()
        .arg("verify")
        .arg(dir.join("fibonacci.stark.proof"))
        .arg("--program")
        .arg(guest("fibonacci"))
        .arg("--data-dir")
        .arg(&data)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(verified.success());
    fs::remove_dir_all(&dir).unwrap();
}
