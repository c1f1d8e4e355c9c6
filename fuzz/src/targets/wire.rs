//! Messages between peers.

use std::fmt::Debug;

use myriad_core::{Blob, EngineId, NodeId, Peer, TaskId, TaskRef};
use myriad_net::{
    Receipt, SignedReceipt,
    wire::{
        ANNOUNCEMENT_BYTES_MAX, Announcement, Bounded, Contact, Extent, FRAME_BYTES_MAX, Hello, Lease,
        Notice, OfferMessage, PROTOCOL_VERSION, Refused, Request, Response, Returned, Role, Source, Sources,
        Spent, Why, Work, decode, encode,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{JOB, blob_ref};

/// A message that decodes also encodes, and decodes to the same again.
pub(super) fn message<T: Serialize + DeserializeOwned + Bounded + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = decode::<T>(bytes, FRAME_BYTES_MAX) else {
        return false;
    };
    let again = encode(&message, FRAME_BYTES_MAX).expect("it was no larger than this");
    assert_eq!(decode::<T>(&again, FRAME_BYTES_MAX).as_ref(), Ok(&message));
    true
}

pub(super) fn announced(bytes: &[u8]) -> bool {
    decode::<Announcement>(bytes, ANNOUNCEMENT_BYTES_MAX).is_ok()
}

fn engine_id() -> EngineId {
    EngineId {
        name: "openvm".parse().expect("it is a name"),
        fingerprint: [0xcc; 32],
    }
}

fn encoded<T: Serialize>(messages: &[T]) -> Vec<Vec<u8>> {
    let encode = |message| encode(message, FRAME_BYTES_MAX).expect("a sample is small");
    messages.iter().map(encode).collect()
}

fn task(task: TaskId) -> TaskRef {
    TaskRef { job: JOB, task }
}

fn announcement() -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job: JOB,
        requester: Peer([0xbb; 32]),
        sequence: 1_700_000_000_000,
        open: true,
        engine: engine_id(),
        extent: Some(Extent {
            instructions: 7_000_000,
            memory_min: 1 << 30,
        }),
        bytes: 3_000_000,
        record: vec![7; 300],
    }
}

pub(super) fn requests() -> Vec<Vec<u8>> {
    let segment = task(TaskId::Segment(3));
    let node = task(TaskId::Node(NodeId { level: 2, index: 300 }));
    encoded(&[
        Request::Offer(OfferMessage {
            memory: 4 << 30,
            threads: 2,
            speed: 2000,
            engines: vec![engine_id().name],
            holds: vec![Blob([1; 32]), Blob([2; 32])],
        }),
        Request::Renew {
            task: segment,
            progress: 500,
        },
        Request::Submit {
            task: node,
            proof: blob_ref(),
            spent: Spent {
                wall_ms: 1000,
                cpu_ms: 2000,
                memory_bytes: 1 << 30,
            },
        },
        Request::Return {
            task: task(TaskId::Final),
            why: Returned::Failed {
                message: "it does not work here".into(),
            },
        },
        Request::Return {
            task: segment,
            why: Returned::Surplus,
        },
        Request::Notice(Notice::Verdict {
            task: node,
            accepted: false,
            reason: "no".into(),
        }),
        Request::Notice(Notice::Obsolete {
            proofs: vec![Blob([1; 32]); 4],
        }),
        Request::Notice(Notice::Job(Box::new(announcement()))),
        Request::Notice(Notice::Wake),
        Request::Prepare {
            job: JOB,
            holds: vec![Blob([1; 32]), Blob([2; 32])],
        },
        Request::Notice(Notice::Revoke {
            task: segment,
            reason: "another one was faster".into(),
        }),
        Request::Notice(Notice::Receipt(Box::new(SignedReceipt {
            receipt: Receipt {
                requester: Peer([0xbb; 32]),
                prover: Peer([0xdd; 32]),
                task: segment,
                proof: Blob([1; 32]),
                instructions: 655_000,
                work_ms: 27_000,
                accepted: 1_700_000_000,
            },
            signature: vec![7; 64],
        }))),
    ])
}

fn source() -> Source {
    Source {
        blob: blob_ref(),
        holders: vec![Contact {
            peer: Peer([7; 32]),
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        }],
    }
}

pub(super) fn responses() -> Vec<Vec<u8>> {
    let lease = |work| {
        Response::Lease(Box::new(Lease {
            task: task(TaskId::Final),
            lease_ms: 60_000,
            work_ms: 30_000,
            memory: 3 << 30,
            sources: Sources {
                program: source(),
                program_config: Some(source()),
                input: source(),
                engine: engine_id(),
            },
            instructions: 7_000_000,
            work,
        }))
    };
    encoded(&[
        lease(Work::Segment(vec![1; 200])),
        lease(Work::Aggregate {
            level: 2,
            children: vec![source(), source()],
        }),
        lease(Work::Finish {
            level: 3,
            top: source(),
            last_segment: source(),
        }),
        Response::Refused(Refused {
            why: Why::NotNow,
            reason: "ask again".into(),
            retry_ms: Some(500),
        }),
        Response::Extended { lease_ms: 1000 },
        Response::Received,
        Response::Files(Box::new(Sources {
            program: source(),
            program_config: Some(source()),
            input: source(),
            engine: engine_id(),
        })),
    ])
}

pub(super) fn hellos() -> Vec<Vec<u8>> {
    encoded(&[Hello {
        version: PROTOCOL_VERSION,
        build: "myriad 0.1.0".into(),
        engines: vec![engine_id()],
        role: Role::Requester,
        jobs: vec![announcement(), announcement()],
        boot: 1_700_000_000,
        clock_ms: 1_700_000_000_000,
    }])
}

pub(super) fn announcements() -> Vec<Vec<u8>> {
    let executed = Announcement {
        extent: None,
        ..announcement()
    };
    encoded(&[announcement(), executed])
}
