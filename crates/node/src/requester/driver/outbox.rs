//! Sends what the driver says to peers: answers, notices and receipts.

use std::{sync::Arc, time::Duration};

use myriad_core::Peer;
use myriad_net::{
    AskError, Network, Reply, SignedReceipt, short_name,
    wire::{Notice, Request, Response},
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

/// Notices and receipts that are on their way at once; what is more waits.
const SENT_AT_ONCE: usize = 256;

pub(super) struct Outbox {
    network: Network,
    /// The peer that is being answered, with what it waits for.
    caller: Option<(Peer, Reply)>,
    permits: Arc<Semaphore>,
    sending: TaskTracker,
}

impl Outbox {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            caller: None,
            permits: Arc::new(Semaphore::new(SENT_AT_ONCE)),
            sending: TaskTracker::new(),
        }
    }

    /// A peer waits for the reply to its request, until [`Self::end_reply`].
    pub(super) fn begin_reply(&mut self, peer: Peer, reply: Reply) {
        self.caller = Some((peer, reply));
    }

    /// Answers the peer, if it is the one that waits; whether it was.
    pub(super) fn answer(&mut self, peer: Peer, response: Response) -> bool {
        match self.caller.take_if(|(caller, _)| *caller == peer) {
            Some((_, reply)) => {
                reply.send(response);
                true
            }
            None => false,
        }
    }

    /// Nothing more is said to the peer that waits; if nothing was, it hears that it was heard.
    pub(super) fn end_reply(&mut self) {
        if let Some((_, reply)) = self.caller.take() {
            reply.send(Response::Received);
        }
    }

    /// Tells a peer something, whether it hears it or not: all that is told also follows from the
    /// answers to what it asks.
    pub(super) fn notify(&self, peer: Peer, notice: Notice) {
        let (network, permits) = (self.network.clone(), Arc::clone(&self.permits));
        self.sending.spawn(async move {
            let _permit = permits.acquire().await;
            if let Err(e) = network.ask(peer, Request::Notice(notice)).await
                && e != AskError::Unreachable
            {
                tracing::debug!("prover {} was told in vain: {e}", short_name(peer));
            }
        });
    }

    /// Wakes a peer. `declined` is called if it says that it does not come.
    pub(super) fn wake(&self, peer: Peer, declined: impl FnOnce() + Send + 'static) {
        let (network, permits) = (self.network.clone(), Arc::clone(&self.permits));
        self.sending.spawn(async move {
            let _permit = permits.acquire().await;
            let answer = network.ask(peer, Request::Notice(Notice::Wake)).await;
            if matches!(answer, Ok(Response::Refused(_))) {
                declined();
            }
        });
    }

    /// Sends a receipt to its prover. `sent` hears whether it has arrived.
    pub(super) fn send_receipt(
        &self,
        signed: SignedReceipt,
        sent: impl FnOnce(SignedReceipt, bool) + Send + 'static,
    ) {
        let (network, permits) = (self.network.clone(), Arc::clone(&self.permits));
        self.sending.spawn(async move {
            let _permit = permits.acquire().await;
            let notice = Notice::Receipt(Box::new(signed.clone()));
            let answer = network.ask(signed.receipt.prover, Request::Notice(notice)).await;
            let arrived = answer.is_ok();
            sent(signed, arrived);
        });
    }

    /// Waits until all that was said is heard, but no longer than `most`: a peer that does not hear
    /// it will find out.
    pub(super) async fn close(&self, most: Duration) {
        self.sending.close();
        let _ = timeout(most, self.sending.wait()).await;
    }
}
