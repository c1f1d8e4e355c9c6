//! Announcements: publishes those of this node's jobs, and judges those of others.

use std::{num::NonZeroU32, time::Instant};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use libp2p::{Multiaddr, PeerId, gossipsub, kad};
use myriad_core::Peer;

use super::{ANNOUNCE_SOON, Actor, jobs::Judgement};
use crate::{
    behaviour::JOBS_TOPIC,
    messages::Event,
    peer::{id_of, peer_of},
    providers::{self, ANNOUNCE_EVERY, REQUESTERS_KEY},
    reach::Informant,
    record,
    wire::{ANNOUNCEMENT_BYTES_MAX, Announcement, Notice, Request, Role, decode, encode, sequence},
};

/// Announcements that one neighbour may bring in a second, over a while; ten times as many at once.
/// Two thousand open jobs need this many, and it limits what a stream of new identities can
/// announce.
const NEWS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

pub(super) fn news_limiter() -> DefaultKeyedRateLimiter<PeerId> {
    let burst = NEWS_PER_SECOND.saturating_mul(NonZeroU32::new(10).expect("not zero"));
    RateLimiter::keyed(Quota::per_second(NEWS_PER_SECOND).allow_burst(burst))
}

/// Greetings in a second that have a number of their own. Peers may greet as often as they like,
/// and at this pace the numbers of one start last for ten years.
const GREETING_NUMBERS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

pub(super) fn greeting_numbers() -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(GREETING_NUMBERS_PER_SECOND))
}

/// The verdict on an announcement.
enum Verdict {
    /// It is to be acted on. The addresses are those at which the requester says that it is
    /// reached.
    New(Vec<Multiaddr>),
    Old,
    Invalid,
}

impl Actor {
    pub(super) fn provide(&mut self) {
        if let Err(e) = self
            .swarm
            .behaviour_mut()
            .kad
            .start_providing(kad::RecordKey::new(&REQUESTERS_KEY))
        {
            tracing::warn!("the hash table does not take this requester's record: {e}");
        }
    }

    /// A peer says that it has jobs, and this node is to tell others.
    pub(super) fn provided(&mut self, mut record: kad::ProviderRecord) {
        if record.key.as_ref() != REQUESTERS_KEY || self.limiter.check_key(&record.provider).is_err() {
            return;
        }
        // The words of one peer must not make the answer to all too long to be read, or lead others
        // astray.
        let calls_from = self.calls_from(&record.provider);
        record.addresses = self.learn(record.provider, record.addresses, Informant::Itself(&calls_from));
        // A requester without a public address names none here, and its neighbours may still reach
        // it.
        if let Some(peer) = self
            .peers
            .get(&record.provider)
            .filter(|_| record.addresses.is_empty())
        {
            record.addresses.clone_from(&peer.addresses);
        }
        let store = self.swarm.behaviour_mut().kad.store_mut();
        providers::keep(store, record, Instant::now());
    }

    pub(super) fn announce(&mut self, mut announcement: Announcement) {
        announcement.requester = peer_of(self.swarm.local_peer_id()).expect("our key is of Ed25519");
        let announcement = self.publish(announcement);
        let notice = Request::Notice(Notice::Job(Box::new(announcement.clone())));
        let provers: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is(Role::Prover))
            .map(|(&id, _)| id)
            .collect();
        // Provers that are connected need not wait for gossip to reach them.
        for prover in provers {
            self.swarm
                .behaviour_mut()
                .task
                .send_request(&prover, Ok(notice.clone()));
            self.shared.count_message();
        }
        if announcement.open {
            self.announce_next = Instant::now() + ANNOUNCE_SOON;
            self.own_jobs.insert(announcement.job, announcement);
            self.provide();
        } else {
            self.own_jobs.remove(&announcement.job);
            if self.own_jobs.is_empty() {
                let key = kad::RecordKey::new(&REQUESTERS_KEY);
                self.swarm.behaviour_mut().kad.stop_providing(&key);
            }
        }
    }

    /// Announces all open jobs to peers that may not have heard of them.
    pub(super) fn announce_again(&mut self) {
        let pause = if self.unheard {
            ANNOUNCE_SOON
        } else {
            ANNOUNCE_EVERY
        };
        self.announce_next = Instant::now() + pause;
        self.unheard = false;
        for announcement in self.own_jobs.values().cloned().collect::<Vec<_>>() {
            self.publish(announcement);
        }
        if !self.own_jobs.is_empty() {
            self.provide();
        }
    }

    /// Sends an announcement to all, with its number and our addresses as they are now.
    pub(super) fn publish(&mut self, mut announcement: Announcement) -> Announcement {
        announcement.sequence = self.next_sequence();
        announcement.record = self.own_record();
        let topic = gossipsub::IdentTopic::new(JOBS_TOPIC);
        match encode(&announcement, ANNOUNCEMENT_BYTES_MAX) {
            Ok(bytes) => match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
                Ok(_) => self.shared.count_message(),
                // It is repeated when somebody is there to hear it.
                Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => self.unheard = true,
                Err(e) => tracing::debug!("an announcement does not go out: {e}"),
            },
            Err(e) => tracing::warn!("an announcement cannot be sent: {e}"),
        }
        announcement
    }

    pub(super) fn gossip(
        &mut self,
        message: &gossipsub::Message,
        from: &PeerId,
    ) -> gossipsub::MessageAcceptance {
        use gossipsub::MessageAcceptance::{Accept, Ignore, Reject};
        let announcement: Announcement = match decode(&message.data, ANNOUNCEMENT_BYTES_MAX) {
            Ok(announcement) => announcement,
            Err(e) => {
                tracing::debug!("an announcement that is none: {e}");
                return Reject;
            }
        };
        if self.news_limiter.check_key(from).is_err() {
            return Ignore;
        }
        let author = message.source.as_ref().and_then(peer_of);
        match self.judge(&announcement, author) {
            Verdict::Invalid => Reject,
            Verdict::Old => Ignore,
            Verdict::New(addresses) => {
                self.announced_by(announcement, addresses, from);
                Accept
            }
        }
    }

    /// Acts on a peer's announcement of its own jobs.
    pub(super) fn handle_announcement(&mut self, id: &PeerId, announcement: Announcement) {
        if let Verdict::New(addresses) = self.judge(&announcement, peer_of(id)) {
            self.announced_by(announcement, addresses, id);
        }
    }

    /// The number of the next announcement.
    pub(super) fn next_sequence(&mut self) -> u64 {
        // Four billion announcements in one start take years.
        self.announced = self.announced.saturating_add(1);
        sequence(self.hello.boot, self.announced)
    }

    /// The sequence number of a greeting's jobs. A peer that greets without end gets the same one.
    pub(super) fn greeting_sequence(&mut self) -> u64 {
        match self.greeting_numbers.check() {
            Ok(()) => self.next_sequence(),
            Err(_) => sequence(self.hello.boot, self.announced),
        }
    }

    fn judge(&mut self, announcement: &Announcement, author: Option<Peer>) -> Verdict {
        let peers = &self.peers;
        let is_connected = |id: &PeerId| peers.contains_key(id);
        match self
            .jobs
            .judge(announcement, author, is_connected, Instant::now())
        {
            Judgement::Invalid => return Verdict::Invalid,
            Judgement::Old => return Verdict::Old,
            Judgement::New => {}
        }
        let Some(id) = id_of(announcement.requester) else {
            return Verdict::Invalid;
        };
        // The signature is only checked if it is news, since that takes longer than everything
        // else.
        match record::read(&announcement.record, &id) {
            Ok(addresses) => Verdict::New(addresses),
            Err(e) => {
                tracing::debug!("an announcement of {id} is not taken: {e}");
                Verdict::Invalid
            }
        }
    }

    /// Tells the node of a job, and gets in touch with the peer that has it; `from` brought the
    /// news.
    fn announced_by(&mut self, announcement: Announcement, stated: Vec<Multiaddr>, from: &PeerId) {
        let requester = id_of(announcement.requester);
        if let Some(id) = requester.filter(|_| self.role == Role::Prover && announcement.open) {
            let calls_from = self.calls_from(from);
            let by = if id == *from {
                Informant::Itself(&calls_from)
            } else {
                Informant::Forwarded(*from, &calls_from)
            };
            let addresses = self.learn(id, stated, by);
            if self
                .peers
                .get(&id)
                .is_some_and(|known| known.has_moved(&addresses))
            {
                self.dial(id, addresses.clone());
            }
            if addresses.is_empty() && !self.peers.contains_key(&id) {
                // It may be in another private network, where only the hash table knows it.
                self.unplaced = true;
            } else {
                self.want(id, addresses, by);
            }
        }
        let _ = self.events.send(Event::Announced(announcement));
    }
}
