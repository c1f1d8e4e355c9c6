//! Requesters whose files come so slowly that a prover would wait for them for ever.

use myriad_net::wire::Returned;

use super::*;
use crate::{
    holding::{Grip, Holder, until},
    link::Link,
};

/// Bytes of the input that the lease names: the most that provers lend for here, and half a minute
/// on the link.
const INPUT_BYTES: usize = 1 << 20;
const BYTES_PER_SECOND: u32 = 32 << 10;

/// The files still come, and the lease is over: the prover gives it back, and its engine has not
/// begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_fetches_no_longer_than_its_lease_lasts() {
    let grip = Grip {
        lease_ms: 2000,
        extends_ms: None,
        answers_after: Duration::ZERO,
        input_bytes: INPUT_BYTES,
    };
    let holder = Holder::start(0x61, grip).await;
    let link = Link::to(&holder.at, Some(BYTES_PER_SECOND));
    let prover = Prover::start(&[link.address()], honest());
    until("it gives up", || !holder.returns().is_empty()).await;
    let returns = holder.returns();
    let [Returned::Unwilling { reason }] = returns.as_slice() else {
        panic!("{returns:?}");
    };
    let came = reason
        .strip_suffix(" bytes of its files had come")
        .and_then(|reason| reason.rsplit(' ').next())
        .map(|came| came.parse::<usize>().unwrap());
    assert!(reason.contains("its lease ran out"), "{reason}");
    assert!(
        came.is_some_and(|came| (1..INPUT_BYTES).contains(&came)),
        "{reason}"
    );
    assert_eq!(prover.begun(), 0, "there is nothing to prove");
    prover.stop().await;
}
