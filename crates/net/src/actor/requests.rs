//! Greetings and requests: the questions and answers of peers, and bytes that are not a message.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use libp2p::{
    PeerId,
    request_response::{self, Message, OutboundFailure, ResponseChannel},
};

use super::{Actor, UNANSWERED_MAX, clock_ahead_ms, now_ms, peers::Connected, strikes::Strike};
use crate::{
    messages::{AskError, Command, Event, Reply},
    wire::{Garbage, Hello, Notice, PROTOCOL_VERSION, Refused, Request, Response, Why, WireError, shortened},
};

/// By then the limiter has room for at least one more request of the peer.
const TOO_FAST_RETRY: Duration = Duration::from_secs(1);
/// By then most of the requests that fill the node have their answers.
const BUSY_RETRY: Duration = Duration::from_secs(2);

impl Actor {
    pub(super) fn hello_event(&mut self, event: request_response::Event<Result<Hello, Garbage>, Hello>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Err(garbage),
                    ..
                } => self.strike(peer, &garbage.0),
                // A peer that greets without end gets no answer.
                Message::Request { .. } if self.limiter.check_key(&peer).is_err() => {}
                Message::Request {
                    request: Ok(hello),
                    channel,
                    ..
                } => {
                    let answer = self.greeting();
                    let _ = self.swarm.behaviour_mut().hello.send_response(channel, answer);
                    self.greeted(peer, hello);
                }
                Message::Response { response, .. } => self.greeted(peer, response),
            },
            request_response::Event::OutboundFailure { peer, error, .. } => {
                tracing::debug!("peer {peer} was greeted in vain: {error}");
                self.strike_if_garbage(peer, &error);
            }
            _ => {}
        }
    }

    pub(super) fn greeted(&mut self, id: PeerId, hello: Hello) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if hello.version != PROTOCOL_VERSION {
            let (theirs, build) = (hello.version, hello.build.clone());
            let first = peer.hello.replace(hello).is_none();
            // Otherwise a peer could fill a screen with it.
            if first {
                self.send(id, |peer| Event::OtherVersion { peer, theirs, build });
            }
            self.tell_shared(id);
            return;
        }
        if let Some(before) = &peer.hello
            && before.boot != hello.boot
        {
            return self.started_again(id, &hello);
        }
        let origin = peer.origin;
        let first = peer.hello.is_none();
        let jobs = hello.jobs.clone();
        peer.hello = Some(hello.clone());
        self.tell_shared(id);
        if first {
            let clock_ahead_ms = clock_ahead_ms(&hello, now_ms());
            self.send(id, |peer| Event::Greeted {
                peer,
                hello,
                origin,
                clock_ahead_ms,
            });
        }
        for job in jobs {
            self.handle_announcement(&id, job);
        }
    }

    pub(super) fn task_event(&mut self, event: request_response::Event<Result<Request, Garbage>, Response>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Err(garbage),
                    ..
                } => self.strike(peer, &garbage.0),
                Message::Request {
                    request: Ok(request),
                    channel,
                    ..
                } => self.handle_request(peer, request, channel),
                Message::Response { request_id, response } => {
                    self.shared.count_message();
                    if let Some(answer) = self.pending_requests.remove(&request_id) {
                        let _ = answer.send(Ok(response));
                    }
                }
            },
            request_response::Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                self.strike_if_garbage(peer, &error);
                if let Some(answer) = self.pending_requests.remove(&request_id) {
                    let _ = answer.send(Err(ask_error(error)));
                }
            }
            _ => {}
        }
    }

    fn strike_if_garbage(&mut self, peer: PeerId, error: &OutboundFailure) {
        if let OutboundFailure::Io(e) = error
            && e.kind() == std::io::ErrorKind::InvalidData
        {
            self.strike(peer, &e.to_string());
        }
    }

    /// A peer sent an invalid message.
    pub(super) fn strike(&mut self, id: PeerId, what: &str) {
        let Strike::Out { instead } = self.strikes.add(id, Instant::now()) else {
            tracing::debug!("peer {id} sent an invalid message: {what}");
            return;
        };
        tracing::warn!("peer {id} is shut out, after another invalid message: {what}");
        self.redial.forget(&id);
        let blocked = &mut self.swarm.behaviour_mut().blocked;
        blocked.block_peer(id);
        if let Some(other) = instead {
            blocked.unblock_peer(other);
        }
        let _ = self.swarm.disconnect_peer_id(id);
    }

    fn handle_request(&mut self, id: PeerId, request: Request, channel: ResponseChannel<Response>) {
        self.shared.count_message();
        let refusal = if self.limiter.check_key(&id).is_err() {
            Some((
                Why::TooFast,
                "more requests than one peer may make".to_owned(),
                Some(TOO_FAST_RETRY),
            ))
        } else if !self.peers.get(&id).is_some_and(Connected::is_compatible) {
            Some((
                Why::NotServed,
                format!("not a node of protocol version {PROTOCOL_VERSION}"),
                None,
            ))
        } else if self.unanswered.load(Ordering::Relaxed) >= UNANSWERED_MAX {
            Some((Why::NotNow, "too busy".to_owned(), Some(BUSY_RETRY)))
        } else {
            None
        };
        if let Some((why, reason, retry)) = refusal {
            let reason = shortened(reason);
            let refused = Response::Refused(Refused {
                why,
                reason,
                retry_ms: retry.map(|retry| retry.as_millis() as u64),
            });
            return self.command(Command::Answer {
                channel,
                response: refused,
            });
        }
        if let Request::Notice(Notice::Job(job)) = request {
            self.command(Command::Answer {
                channel,
                response: Response::Received,
            });
            return self.handle_announcement(&id, *job);
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let reply = Reply::new(channel, self.answers.clone(), Arc::clone(&self.unanswered));
        self.send(id, |peer| Event::Request { peer, request, reply });
    }
}

fn ask_error(error: OutboundFailure) -> AskError {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => AskError::Unreachable,
        OutboundFailure::Timeout => AskError::Timeout,
        OutboundFailure::UnsupportedProtocols => AskError::NoNode,
        OutboundFailure::Io(e) => match e.get_ref().and_then(|e| e.downcast_ref::<WireError>()) {
            Some(e) => AskError::Garbage(e.to_string()),
            None => AskError::Broken(e.to_string()),
        },
    }
}
