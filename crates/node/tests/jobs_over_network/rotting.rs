//! A requester's disk that damages accepted proofs while the job runs: they are made again, and the
//! job is done.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;

/// Where the pretended proofs are on a node's disk.
fn proofs(dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(dir.join("blobs")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files
        .filter(|file| file.metadata().is_ok_and(|meta| meta.len() == PROOF_BYTES as u64))
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "blob"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_proofs_that_rot_on_the_disk_are_made_again() {
    const SEGMENTS: u32 = 3;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let slow = Pretender::new(Duration::from_millis(1500), Fault::None);
    let first = Prover::start(&at, slow);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let job = tokio::task::spawn_local(request(network, events, ask_once(31, SEGMENTS)));
            let two = async {
                // A prover may begin the next task before its proof has been fetched.
                while first.begun() < SEGMENTS as usize || proofs(dir.path()).len() < 2 {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(PATIENCE, two).await.unwrap();
            // The last one is being proven; the others are here, and nobody else has them any more.
            first.kill();
            let there = proofs(dir.path());
            assert_eq!(there.len(), 2);
            for path in there {
                let mut proof = fs::read(&path).unwrap();
                proof[PROOF_BYTES / 2] ^= 1;
                fs::write(&path, proof).unwrap();
            }
            let second = Prover::start(&at, honest());
            let outcome = timeout(PATIENCE, job).await.unwrap().unwrap();
            outcome.result.unwrap();
            let again: Vec<TaskId> = outcome
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Reopened { task, reason } if reason.contains("damaged") => Some(*task),
                    _ => None,
                })
                .collect();
            assert_eq!(again.len(), 2, "{again:?}");
            for (task, times) in outcome.accepted {
                assert_eq!(times, 1 + usize::from(again.contains(&task)), "{task}");
            }
            second.stop().await;
        })
        .await;
}
