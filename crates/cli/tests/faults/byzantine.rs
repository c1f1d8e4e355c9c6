//! Provers that hand in real proofs of something else, and proofs that are nearly right. The requester's own verifier
//! sees through each of them, only their makers are to blame, and the one honest prover of seven does the job.
//!
//! What dishonest provers can do without proofs is in `four_of_five_are_byzantine_and_the_job_gets_done` of `myriad-node`.

use std::{fs, path::Path, process::Stdio, sync::mpsc::channel};

use myriad_engine::{Input, Segment};
use myriad_net::{
    short_name,
    wire::{Lease, Refused, Response, Why, Work},
};
use tokio::time::{Duration, sleep};

use crate::{
    LISTEN, LISTENING, MEMORY, ROUNDS, guest, keys,
    peer::{Stranger, engine, patiently},
    process::{Process, myriad},
    wait_for, wait_for_stage, with_keys,
};

/// What is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Of another segment.
    Replayed,
    /// Of this segment of another execution: that of the same program on another input.
    OtherInput,
    /// The right one, but for a bit in the middle.
    Flipped,
    /// The first half of the right one.
    Truncated,
    /// As many bytes as the right one has.
    Garbage,
}

impl Proof {
    const ALL: [Self; 5] = [
        Self::Replayed,
        Self::OtherInput,
        Self::Flipped,
        Self::Truncated,
        Self::Garbage,
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

/// Real proofs of a segment: the right one, and that of the same instructions with another input.
fn prove(image: &[u8], segment: &Segment) -> (Vec<u8>, Vec<u8>) {
    let mut engine = engine();
    let mut of = |rounds| {
        engine.load(image.to_vec(), None, input(rounds)).unwrap();
        engine.prove(segment).unwrap().0
    };
    (of(ROUNDS), of(ROUNDS + 1000))
}

/// Whether the requester says that it will never have anything to do with this prover again.
async fn is_banned(stranger: &Stranger) -> bool {
    matches!(
        stranger.offer().await,
        Some(Response::Refused(Refused { why: Why::Banned, .. }))
    )
}

async fn hand_in_wrong_proofs(dir: &Path, requester: &str) -> Vec<String> {
    let mut strangers = Vec::new();
    for proof in Proof::ALL {
        let stranger = Stranger::join(&dir.join(format!("{proof:?}")), requester).await;
        strangers.push((proof, stranger));
    }
    // It does nothing at all, which is no proof of lying.
    let silent = Stranger::join(&dir.join("Silent"), requester).await;

    // This one's segment is proven in earnest. The next one has the other segment: of what somebody has, copies are given only when
    // there is nothing else.
    let (_, first) = &strangers[1];
    let lease = first.lease().await;
    let asked = segment(&lease);
    let (_, replays) = &strangers[0];
    let other = replays.lease().await;
    assert_ne!(other.task, lease.task);
    silent.lease().await;
    let image = fs::read(guest("fibonacci")).unwrap();
    assert_eq!(first.fetch(&lease.sources.program).await, image);
    let proving = tokio::task::spawn_blocking(move || prove(&image, &asked));
    let (right, other_input) = tokio::select! {
        proofs = proving => proofs.unwrap(),
        () = first.renew(&lease) => panic!("the proofs are not done"),
        () = replays.renew(&other) => panic!("the proofs are not done"),
    };
    assert_ne!(right, other_input);

    for (proof, stranger) in &strangers {
        let leased = match proof {
            Proof::OtherInput => lease.clone(),
            Proof::Replayed => other.clone(),
            _ => stranger.lease().await,
        };
        let bytes = match proof {
            Proof::Replayed => right.clone(),
            Proof::OtherInput => other_input.clone(),
            Proof::Flipped => {
                let mut flipped = right.clone();
                flipped[right.len() / 2] ^= 1;
                flipped
            }
            Proof::Truncated => right[..right.len() / 2].to_vec(),
            Proof::Garbage => vec![7; right.len()],
        };
        assert!(!is_banned(stranger).await, "{proof:?} has done nothing yet");
        stranger.submit(&leased, &bytes).await;
        let seen_through = async {
            while !is_banned(stranger).await {
                sleep(Duration::from_millis(200)).await;
            }
        };
        patiently(&format!("{proof:?} is banned"), seen_through).await;
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
    let (tell, requester_said) = channel();
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
    let requester = Process::start(1, command, &dir.join("requester.log"), tell);
    let line = wait_for(&requester_said, LISTENING);
    let (_, address) = line.split_once(LISTENING).unwrap();
    wait_for_stage(&requester_said, "announce");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut liars = runtime.block_on(hand_in_wrong_proofs(&dir, address));

    let (tell, _prover_said) = channel();
    let mut command = myriad();
    command
        .args(["prover", "--memory", MEMORY, "--nice", "0", "--no-mdns"])
        .args(["--listen", LISTEN, "--bootstrap", address, "--keys"])
        .arg(keys())
        .arg("--data-dir")
        .arg(dir.join("prover"));
    let honest = Process::start(2, command, &dir.join("prover.log"), tell);
    let status = requester.wait();
    honest.kill();
    assert!(status.success(), "{status}");

    let log = fs::read_to_string(dir.join("requester.log")).unwrap();
    let mut banned: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            line.split_once("prover ")?
                .1
                .split_once(" is banned")
                .map(|(name, _)| name)
        })
        .collect();
    liars.sort();
    banned.sort_unstable();
    assert_eq!(banned, liars, "these and nobody else");
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
