//! Provers that speak the protocol as it is and do what they want: each is seen through, the blame
//! is theirs and nobody else's, and the job gets done while four of five are like that.
//!
//! Proofs that are wrong in other ways than these are in `liars_are_banned_and_nobody_else`; blobs
//! that are not what their hash says, and bytes that are no message, in the tests of `myriad-net`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use myriad_core::Peer;
use myriad_net::{
    blob::BlobRef,
    short_name,
    wire::{Lease, OfferMessage, Request, Response, Spent, Work},
};
use tokio::task::JoinHandle;

use super::*;
use crate::testbed::{MEMORY, engine, segment_proof};

/// The fault of a prover: it does this instead of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Nothing at all.
    Silent,
    /// Is always at it, and never done.
    Trickles,
    /// Sends bytes of the right length.
    Garbage,
    /// The right proof, but for the second half.
    Truncated,
    /// The right proof, but for one bit.
    Flipped,
    /// The right proof of another segment.
    Replayed,
    /// The right proof of this segment for another input.
    OtherInput,
    /// Says that it has the right proof, and has not.
    Withheld,
    /// Says that its proof has more bytes than any has.
    Oversize,
    /// Takes one lease after the other, as many as it gets.
    Hoards,
    /// Has all the memory and speed that there are, by its own account.
    Boasts,
}

impl Habit {
    const ALL: [Self; 11] = [
        Self::Silent,
        Self::Trickles,
        Self::Garbage,
        Self::Truncated,
        Self::Flipped,
        Self::Replayed,
        Self::OtherInput,
        Self::Withheld,
        Self::Oversize,
        Self::Hoards,
        Self::Boasts,
    ];

    /// Whether what it sends shows that it lies. The others may just be slow, or have lost their
    /// connection.
    fn is_proof_of_lying(self) -> bool {
        matches!(
            self,
            Self::Garbage
                | Self::Truncated
                | Self::Flipped
                | Self::Replayed
                | Self::OtherInput
                | Self::Oversize
        )
    }
}

struct Byzantine {
    peer: Peer,
    habit: Habit,
    acted: Arc<AtomicBool>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Byzantine {
    fn start(at: &[String], requester: Peer, habit: Habit) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, mut events) = start(dir.path(), Role::Prover, at);
        let acted: Arc<AtomicBool> = Arc::default();
        let peer = network.peer();
        let task = tokio::spawn({
            let acted = Arc::clone(&acted);
            async move {
                // It ignores the answer.
                tokio::spawn(async move {
                    while let Some(event) = events.recv().await {
                        if let myriad_net::Event::Request { reply, .. } = event {
                            reply.send(Response::Received);
                        }
                    }
                });
                loop {
                    misbehave(&network, requester, habit, &acted).await;
                    sleep(Duration::from_millis(500)).await;
                }
            }
        });
        Self {
            peer,
            habit,
            acted,
            task,
            _dir: dir,
        }
    }
}

impl Drop for Byzantine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for a task, and deals with it, if it gets one.
async fn misbehave(network: &Network, requester: Peer, habit: Habit, acted: &AtomicBool) {
    let boasts = habit == Habit::Boasts;
    let offer = Request::Offer(OfferMessage {
        memory: if boasts { u64::MAX } else { MEMORY },
        threads: 1,
        speed: if boasts { u32::MAX } else { 1000 },
        engines: vec![engine().name],
        holds: Vec::new(),
    });
    let Ok(Response::Lease(lease)) = network.ask(requester, offer).await else {
        return;
    };
    let Lease { task, work, .. } = *lease;
    let Work::Segment(description) = work else {
        // Its fault is about segments; other tasks it leaves undone.
        return std::future::pending().await;
    };
    acted.store(true, Ordering::SeqCst);
    let right = segment_proof(&description);
    let (job, index) = description.split_at(32);
    let blobs = network.blobs();
    let proof = match habit {
        Habit::Silent | Habit::Boasts => return std::future::pending().await,
        Habit::Hoards => return,
        Habit::Trickles => loop {
            let renew = Request::Renew { task, progress: 1 };
            let _ = network.ask(requester, renew).await;
            sleep(Duration::from_secs(1)).await;
        },
        Habit::Garbage => blobs.put(&vec![7; right.len()]).unwrap(),
        Habit::Truncated => blobs.put(&right[..right.len() / 2]).unwrap(),
        Habit::Flipped => {
            let mut flipped = right;
            flipped[1000] ^= 1;
            blobs.put(&flipped).unwrap()
        }
        Habit::Replayed => {
            let other = [job, &[index[0] ^ 1], &index[1..]].concat();
            blobs.put(&segment_proof(&other)).unwrap()
        }
        Habit::OtherInput => {
            let other = [&[0x77; 32], index].concat();
            blobs.put(&segment_proof(&other)).unwrap()
        }
        Habit::Withheld => BlobRef::of(&right),
        Habit::Oversize => BlobRef {
            bytes: 17 << 20,
            ..BlobRef::of(&right)
        },
    };
    let spent = Spent::default();
    let _ = network
        .ask(requester, Request::Submit { task, proof, spent })
        .await;
    // The next answer shows the effect.
    sleep(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_of_five_are_byzantine_and_the_job_gets_done() {
    const SEGMENTS: u32 = 32;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    // More identities of the one that does nothing, which cost it nothing.
    let habits = Habit::ALL.into_iter().chain([Habit::Silent; 5]);
    let byzantine: Vec<Byzantine> = habits
        .map(|habit| Byzantine::start(&at, network.peer(), habit))
        .collect();
    let connected = async {
        while network.peers().len() < byzantine.len() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.unwrap();
    let honest: Vec<Prover> = (0..byzantine.len() / 4)
        .map(|_| Prover::start(&at, honest()))
        .collect();

    let outcome = timeout(2 * PATIENCE, request(network, events, ask(11, SEGMENTS)));
    let outcome = outcome.await.unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    let mut banned: BTreeMap<String, usize> = BTreeMap::new();
    for event in &outcome.events {
        if let Event::Notice { text } = event
            && let Some((name, _)) = text
                .strip_prefix("prover ")
                .and_then(|text| text.split_once(" is banned"))
        {
            *banned.entry(name.to_owned()).or_default() += 1;
        }
    }
    for prover in &byzantine {
        assert!(
            prover.acted.load(Ordering::SeqCst),
            "{:?} got no task",
            prover.habit
        );
        let times = banned.remove(&short_name(prover.peer)).unwrap_or(0);
        let expected = usize::from(prover.habit.is_proof_of_lying());
        assert_eq!(times, expected, "{:?}", prover.habit);
    }
    assert!(banned.is_empty(), "nobody else is to blame: {banned:?}");
    assert!(honest.iter().all(|prover| prover.begun() > 0));
}

/// A machine that is suspended after it has said that it has a proof: nothing comes of it, and
/// nothing says so. The job is done by others while its proof is still being waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_freezes_with_a_proof_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let (thaw, frozen) = std::sync::mpsc::channel::<()>();
    let (claims, claimed) = tokio::sync::oneshot::channel();
    let freezes = std::thread::spawn({
        let (at, requester) = (at.clone(), network.peer());
        move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            let machine = runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let machine = start(dir.path(), Role::Prover, &at);
                claim(&machine.0, requester, BlobRef::of).await;
                (dir, machine)
            });
            claims.send(()).unwrap();
            // Nothing drives its connections any more.
            let _ = frozen.recv();
            runtime.block_on(async { drop(machine) });
        }
    });
    let others = async {
        claimed.await.unwrap();
        Prover::start(&at, honest())
    };
    let job = timeout(PATIENCE, request(network, events, ask(12, 1)));
    let (outcome, honest) = tokio::join!(job, others);
    let outcome = outcome.unwrap();
    all_accepted_once(&outcome, 1);
    assert!(honest.begun() > 0);
    let given_up = |event: &Event| matches!(event, Event::Retrying { .. });
    assert!(!outcome.events.iter().any(given_up));
    drop(thaw);
    freezes.join().unwrap();
}

/// A proof may pass every check though no node can be made over it. Provers that fail at it are not
/// to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_no_node_can_be_made_over_is_found_out_and_its_maker_banned() {
    const SEGMENTS: u32 = 4;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let poisons = Prover::start(&at, Pretender::new(TASK / 10, Fault::Poisons));
    let maker = short_name(poisons.peer());
    // The first segment is its.
    let others = async {
        while poisons.begun() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        (0..4)
            .map(|_| Prover::start(&at, honest()))
            .collect::<Vec<Prover>>()
    };
    let job = timeout(PATIENCE, request(network, events, ask(7, SEGMENTS)));
    let (outcome, honest) = tokio::join!(job, others);
    let outcome = outcome.unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    let notices = |text: &str| -> Vec<&String> {
        let texts = outcome.events.iter().filter_map(|event| match event {
            Event::Notice { text } => Some(text),
            _ => None,
        });
        texts.filter(|shown| shown.contains(text)).collect()
    };
    let banned = notices(" is banned: ");
    assert_eq!(banned.len(), 1, "{banned:?}");
    assert!(banned[0].contains(&maker), "{banned:?}");
    let anew = |event: &&Event| {
        matches!(
            event,
            Event::Reopened {
                task: TaskId::Segment(_),
                ..
            }
        )
    };
    let anew = outcome.events.iter().filter(anew).count();
    assert!(
        (1..=SEGMENTS as usize).contains(&anew),
        "{anew} segments were proven anew"
    );
    drop((poisons, honest));
}
