//! A final proof for which nothing has to be proven is made by the requester itself.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_prover_gets_a_final_proof_that_the_requester_makes() {
    const SEGMENTS: u32 = 3;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let wanted = Request {
        own_final: true,
        ..ask(41, SEGMENTS)
    };
    let outcome = timeout(PATIENCE, request(network, events, wanted)).await.unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    let begun = |of: TaskId| {
        let starts = |event: &&Event| matches!(event, Event::Started { task, .. } if *task == of);
        outcome.events.iter().filter(starts).count()
    };
    assert_eq!(begun(TaskId::Segment(0)), 1);
    assert_eq!(begun(TaskId::Final), 0);
    assert_eq!(prover.begun(), tree(SEGMENTS).task_count() - 1);
    let notices = |event: &&Event| matches!(event, Event::Notice { text } if text.contains("provers fail"));
    assert_eq!(outcome.events.iter().filter(notices).count(), 0);
}
