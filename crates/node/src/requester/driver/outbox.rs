//! Sends what the driver says to peers: answers, notices and receipts.

use std::{future::Future, time::Duration};

use myriad_core::Peer;
use myriad_net::{
    AskError, Network, Reply, SignedReceipt, short_name,
    wire::{Notice, Request, Response},
};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::sending::Sending;

pub(super) struct Outbox {
    network: Network,
    /// The peer that is being answered, with the reply for which it waits.
    caller: Option<(Peer, Reply)>,
    sending: Sending,
}

impl Outbox {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            caller: None,
            sending: Sending::default(),
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

    /// Ends the reply to the waiting peer. If nothing was said, the peer hears that its request has
    /// arrived.
    pub(super) fn end_reply(&mut self) {
        if let Some((_, reply)) = self.caller.take() {
            reply.send(Response::Received);
        }
    }

    /// Sends a notice to a peer, which may be lost: the answers to the peer's own requests say the
    /// same. `of_job` is let go of when it has arrived, or was given up.
    pub(super) fn notify(&self, peer: Peer, notice: Notice, of_job: Option<TaskTrackerToken>) {
        self.sending.send(peer, self.asks(peer, notice), move |answer| {
            drop(of_job);
            if let Some(Err(e)) = answer
                && e != AskError::Unreachable
            {
                tracing::debug!("prover {} did not get a notice: {e}", short_name(peer));
            }
        });
    }

    /// Wakes a peer. `declined` is called if the peer says that it does not come.
    pub(super) fn wake(&self, peer: Peer, declined: impl FnOnce() + Send + 'static) {
        self.sending.send(peer, self.asks(peer, Notice::Wake), |answer| {
            if matches!(answer, Some(Ok(Response::Refused(_)))) {
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
        let prover = signed.receipt.prover;
        let asks = self.asks(prover, Notice::Receipt(Box::new(signed.clone())));
        self.sending.send(prover, asks, |answer| {
            let arrived = matches!(answer, Some(Ok(_)));
            sent(signed, arrived);
        });
    }

    fn asks(
        &self,
        peer: Peer,
        notice: Notice,
    ) -> impl Future<Output = Result<Response, AskError>> + Send + 'static {
        let network = self.network.clone();
        async move { network.ask(peer, Request::Notice(notice)).await }
    }

    /// Waits until all messages have arrived, but no longer than `most`: a peer that misses one
    /// will find out.
    pub(super) async fn close(&self, most: Duration) {
        self.sending.close(most).await;
    }
}
