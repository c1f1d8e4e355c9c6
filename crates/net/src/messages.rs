//! The messages between a node's handles and its actor. Commands go down, events come up, and each
//! request of a peer comes with the means to answer it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, request_response::ResponseChannel};
use myriad_core::Peer;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    slots::Regard,
    wire::{Announcement, Hello, Request, Response},
};

/// A command from the rest of the crate to the actor.
pub(crate) enum Command {
    Ask {
        peer: PeerId,
        request: Request,
        answer: oneshot::Sender<Result<Response, AskError>>,
    },
    Answer {
        channel: ResponseChannel<Response>,
        response: Response,
    },
    /// An announcement of a job of our own; the actor fills in the peer, the time and the
    /// addresses.
    Announce(Box<Announcement>),
    Dial {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        teller: Option<PeerId>,
        dialled: oneshot::Sender<()>,
    },
    Regard {
        peer: PeerId,
        regard: Regard,
    },
}

/// An event on the network.
#[derive(Debug)]
pub enum Event {
    /// A peer has introduced itself. It can be asked from now on.
    Greeted {
        peer: Peer,
        hello: Hello,
        /// The network that it calls from, as a number; none if its address says nothing, as on a
        /// LAN.
        origin: Option<u64>,
        /// The milliseconds that its clock is ahead of this one, less the time of the greeting on
        /// its way; below 0 where it is behind.
        clock_ahead_ms: i64,
    },
    /// A peer speaks another version of the protocol: one of the two has to be updated.
    OtherVersion { peer: Peer, theirs: u32, build: String },
    /// The last connection with a peer is gone.
    Lost { peer: Peer },
    /// A requester has a job, or does not have it any more. The requester signed this, and it is
    /// newer than the requester's earlier announcements.
    Announced(Announcement),
    /// This machine was suspended for so long; all connections are lost and opened again.
    Resumed { time: Duration },
    /// A peer asks, and waits for the reply.
    Request {
        peer: Peer,
        request: Request,
        reply: Reply,
    },
}

/// Answers a peer that waits. If it is dropped without an answer, the peer is told that the
/// connection failed.
#[derive(Debug)]
pub struct Reply {
    channel: Option<ResponseChannel<Response>>,
    commands: mpsc::UnboundedSender<Command>,
    unanswered: Arc<AtomicUsize>,
}

impl Reply {
    pub(crate) fn new(
        channel: ResponseChannel<Response>,
        commands: mpsc::UnboundedSender<Command>,
        unanswered: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            channel: Some(channel),
            commands,
            unanswered,
        }
    }

    pub fn send(mut self, response: Response) {
        if let Some(channel) = self.channel.take() {
            // Once the network has ended, nobody waits for the answer.
            let _ = self.commands.send(Command::Answer { channel, response });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    #[error("the peer cannot be reached")]
    Unreachable,
    #[error("the peer does not answer")]
    Timeout,
    #[error("the peer does not speak this protocol")]
    NoNode,
    #[error("the peer's answer is not a message: {0}")]
    Garbage(String),
    #[error("the connection broke: {0}")]
    Broken(String),
}
