//! The encodings, byte for byte, which peers of other builds rely on. `docs/PROTOCOL.md` has the
//! same vectors.

use myriad_core::{Blob, EngineId, JobId, NodeId, Peer, TaskId, TaskRef};

use super::*;
use crate::blob::BlobRef;

fn task() -> TaskRef {
    TaskRef {
        job: JobId([0xaa; 32]),
        task: TaskId::Node(NodeId { level: 2, index: 300 }),
    }
}

fn blob(byte: u8, bytes: u64) -> BlobRef {
    BlobRef {
        blob: Blob([byte; 32]),
        bytes,
    }
}

fn check<T>(message: &T, hex: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + Bounded + PartialEq + std::fmt::Debug,
{
    let bytes = encode(message, FRAME_BYTES_MAX).unwrap();
    assert_eq!(hex::encode(&bytes), hex.replace(' ', ""));
    assert_eq!(decode::<T>(&bytes, FRAME_BYTES_MAX).as_ref(), Ok(message));
    for end in 0..bytes.len() {
        assert!(
            decode::<T>(&bytes[..end], FRAME_BYTES_MAX).is_err(),
            "cut to {end} bytes"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode::<T>(&longer, FRAME_BYTES_MAX).is_err(), "a byte too many");
}

const AA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The name `openvm` of an engine, and its fingerprint.
const OPENVM: &str = "06 6f70656e766d";

fn engine() -> EngineId {
    EngineId {
        name: "openvm".parse().unwrap(),
        fingerprint: [0xaa; 32],
    }
}

const BB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn requests_are_encoded_as_documented() {
    let offer = Request::Offer(OfferMessage {
        memory: 4 << 30,
        threads: 2,
        speed: 2000,
        engines: vec![engine().name],
        holds: vec![Blob([0xbb; 32])],
    });
    check(&offer, &format!("00 8080808010 02 d00f 01 {OPENVM} 01{BB}"));
    let renew = Request::Renew {
        task: task(),
        progress: 500,
    };
    check(&renew, &format!("01 {AA} 01 02 ac02 f403"));
    let submit = Request::Submit {
        task: task(),
        proof: blob(0xbb, 630_732),
        spent: Spent {
            wall_ms: 1000,
            cpu_ms: 2000,
            memory_bytes: 1 << 30,
        },
    };
    check(
        &submit,
        &format!("02 {AA} 01 02 ac02 {BB} ccbf26 e807 d00f 8080808004"),
    );
    let returned = Request::Return {
        task: task(),
        why: Returned::Failed { message: "no".into() },
    };
    check(&returned, &format!("03 {AA} 01 02 ac02 02 02 6e6f"));
    let surplus = Request::Return {
        task: task(),
        why: Returned::Surplus,
    };
    check(&surplus, &format!("03 {AA} 01 02 ac02 03"));
    check(&Request::Notice(Notice::Wake), "04 00");
    let verdict = Request::Notice(Notice::Verdict {
        task: task(),
        accepted: true,
        reason: String::new(),
    });
    check(&verdict, &format!("04 02 {AA} 01 02 ac02 01 00"));
    let prepare = Request::Prepare {
        job: JobId([0xaa; 32]),
        holds: vec![Blob([0xbb; 32])],
    };
    check(&prepare, &format!("05 {AA} 01 {BB}"));
}

#[test]
fn responses_are_encoded_as_documented() {
    check(&Response::Received, "03");
    check(&Response::Extended { lease_ms: 60_000 }, "02 e0d403");
    let refused = Response::Refused(Refused {
        why: Why::Memory,
        reason: "more".into(),
        retry_ms: Some(5000),
    });
    check(&refused, "01 01 04 6d6f7265 01 8827");
    let source = |byte| Source {
        blob: blob(byte, 1000),
        holders: vec![Contact {
            peer: Peer([0xaa; 32]),
            addresses: vec!["/ip4/10.0.0.1/tcp/1".into()],
        }],
    };
    let sources = Sources {
        program: source(0xbb),
        program_config: None,
        input: source(0xbb),
        engine: engine(),
    };
    let lease = Response::Lease(Box::new(Lease {
        task: task(),
        lease_ms: 60_000,
        work_ms: 38_000,
        memory: 2 << 30,
        sources: sources.clone(),
        instructions: 2_000_000,
        work: Work::Segment(vec![1, 2, 3]),
    }));
    let address = "13 2f6970342f31302e302e302e312f7463702f31";
    let source = format!("{BB} e807 01 {AA} 01 {address}");
    let hex = format!(
        "00 {AA} 01 02 ac02 e0d403 f0a802 8080808008 {source} 00 {source} {OPENVM} {AA} 80897a 00 03 010203"
    );
    check(&lease, &hex);
    let files = Response::Files(Box::new(sources));
    check(&files, &format!("04 {source} 00 {source} {OPENVM} {AA}"));
}

#[test]
fn greetings_and_announcements_are_encoded_as_documented() {
    let announcement = Announcement {
        version: 4,
        job: JobId([0xaa; 32]),
        requester: Peer([0xbb; 32]),
        sequence: sequence(7, 300),
        open: true,
        engine: engine(),
        extent: Some(Extent {
            instructions: 7_100_000,
            memory_min: 1 << 30,
        }),
        bytes: 3_000_000,
        record: vec![],
    };
    let said = format!("04 {AA} {BB} ac82808070 01 {OPENVM} {AA} 01 e0acb103 8080808004 c08db701 00");
    check(&announcement, &said);
    let unplanned = Announcement {
        extent: None,
        ..announcement.clone()
    };
    check(
        &unplanned,
        &format!("04 {AA} {BB} ac82808070 01 {OPENVM} {AA} 00 c08db701 00"),
    );
    let hello = Hello {
        version: 4,
        build: "myriad 0.1.0".into(),
        engines: vec![engine()],
        role: Role::Prover,
        jobs: vec![announcement],
        boot: 300,
        clock_ms: 1_700_000_000_000,
    };
    check(
        &hello,
        &format!("04 0c 6d797269616420302e312e30 01 {OPENVM} {AA} 01 01 {said} ac02 80d095ffbc31"),
    );
}

#[test]
fn what_exceeds_its_bounds_is_refused() {
    let bytes_of = |message: &Request| postcard::to_stdvec(message).unwrap();
    let refused = |message: Request| decode::<Request>(&bytes_of(&message), FRAME_BYTES_MAX).unwrap_err();
    let offer = Request::Offer(OfferMessage {
        memory: 0,
        threads: 0,
        speed: 0,
        engines: Vec::new(),
        holds: vec![Blob([0; 32]); task::HOLDS_MAX + 1],
    });
    assert!(matches!(
        refused(offer),
        WireError::Bound {
            actual: 65,
            allowed: 64,
            ..
        }
    ));
    let offer = Request::Offer(OfferMessage {
        memory: 0,
        threads: 0,
        speed: 0,
        engines: vec![engine().name; ENGINES_MAX + 1],
        holds: Vec::new(),
    });
    assert!(matches!(refused(offer), WireError::Bound { actual: 9, .. }));
    let hello = Hello {
        version: PROTOCOL_VERSION,
        build: String::new(),
        engines: vec![engine(); ENGINES_MAX + 1],
        role: Role::Prover,
        jobs: Vec::new(),
        boot: 0,
        clock_ms: 0,
    };
    let hello = decode::<Hello>(&postcard::to_stdvec(&hello).unwrap(), FRAME_BYTES_MAX);
    assert!(matches!(hello, Err(WireError::Bound { actual: 9, .. })));
    // A name that no engine has: an offer with one of a letter more than there may be.
    let mut offer = vec![0, 0, 0, 0, 1, 17];
    offer.extend([b'x'; 17]);
    offer.push(0);
    let name = decode::<Request>(&offer, FRAME_BYTES_MAX).unwrap_err();
    assert!(matches!(name, WireError::Syntax(_)), "{name}");
    let prepare = Request::Prepare {
        job: JobId([0; 32]),
        holds: vec![Blob([0; 32]); task::HOLDS_MAX + 1],
    };
    assert!(matches!(refused(prepare), WireError::Bound { actual: 65, .. }));
    let text = Request::Return {
        task: task(),
        why: Returned::Failed {
            message: "x".repeat(TEXT_BYTES_MAX + 1),
        },
    };
    assert!(matches!(refused(text), WireError::Bound { .. }));
    let huge = Request::Submit {
        task: task(),
        proof: blob(0, u64::MAX),
        spent: Spent::default(),
    };
    assert!(matches!(refused(huge), WireError::Bound { .. }));
    assert!(matches!(
        decode::<Request>(&vec![0; FRAME_BYTES_MAX + 1], FRAME_BYTES_MAX),
        Err(WireError::Size { .. })
    ));
    // A list that claims to be endless takes no memory before its elements are there.
    assert!(decode::<Request>(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], FRAME_BYTES_MAX).is_err());
}

#[test]
fn what_a_lease_names_is_bounded() {
    let contact = |addresses: usize, bytes: usize| Contact {
        peer: Peer([0xaa; 32]),
        addresses: vec!["x".repeat(bytes); addresses],
    };
    let lease = |source: &Source, work: Work| {
        let lease = Response::Lease(Box::new(Lease {
            task: task(),
            lease_ms: 1,
            work_ms: 1,
            memory: 1,
            sources: Sources {
                program: source.clone(),
                program_config: Some(source.clone()),
                input: source.clone(),
                engine: engine(),
            },
            instructions: 1,
            work,
        }));
        decode::<Response>(&postcard::to_stdvec(&lease).unwrap(), FRAME_BYTES_MAX)
    };
    let source = |holders: Vec<Contact>| Source {
        blob: blob(0xbb, 1),
        holders,
    };
    let aggregate = |children: usize, of: &Source| Work::Aggregate {
        level: 1,
        children: vec![of.clone(); children],
    };
    let most = source(vec![contact(ADDRESSES_MAX, 40); HOLDERS_MAX]);
    assert!(lease(&most, aggregate(8, &most)).is_ok());
    let small = source(Vec::new());
    assert!(lease(&small, aggregate(9, &small)).is_err());
    for bad in [
        source(vec![contact(1, 1); HOLDERS_MAX + 1]),
        source(vec![contact(ADDRESSES_MAX + 1, 1)]),
        source(vec![contact(1, ADDRESS_BYTES_MAX + 1)]),
    ] {
        let finish = Work::Finish {
            level: 1,
            top: small.clone(),
            last_segment: bad.clone(),
        };
        let files = Response::Files(Box::new(Sources {
            program: small.clone(),
            program_config: None,
            input: bad.clone(),
            engine: engine(),
        }));
        for message in [
            decode::<Response>(&postcard::to_stdvec(&files).unwrap(), FRAME_BYTES_MAX),
            lease(&bad, Work::Segment(Vec::new())),
            lease(&small, aggregate(1, &bad)),
            lease(&small, finish),
        ] {
            assert!(matches!(message, Err(WireError::Bound { .. })), "{message:?}");
        }
    }
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(shortened("short"), "short");
    let long = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(shortened(long).len(), TEXT_BYTES_MAX);
    let odd = format!("x{}", "é".repeat(TEXT_BYTES_MAX));
    assert_eq!(shortened(odd).len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn a_text_moves_no_cursor_and_makes_no_line() {
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\u{9b}31mERROR\u{202e}\0 é\u{1f600}";
    let shown = "?]0;title??[2J? ?31mERROR?? é\u{1f600}";
    let refused = Response::Refused(Refused {
        why: Why::NoWork,
        reason: hostile.into(),
        retry_ms: None,
    });
    let bytes = encode(&refused, FRAME_BYTES_MAX).unwrap();
    let Ok(Response::Refused(Refused { reason, .. })) = decode(&bytes, FRAME_BYTES_MAX) else {
        panic!("it is a refusal");
    };
    assert_eq!(reason, shown);

    let (task, reason, message) = (task(), hostile.to_owned(), hostile.to_owned());
    let failed = Returned::Failed { message };
    for request in [
        Request::Return { task, why: failed },
        Request::Return {
            task,
            why: Returned::Unwilling {
                reason: reason.clone(),
            },
        },
        Request::Notice(Notice::Revoke {
            task,
            reason: reason.clone(),
        }),
        Request::Notice(Notice::Verdict {
            task,
            accepted: false,
            reason,
        }),
    ] {
        let bytes = encode(&request, FRAME_BYTES_MAX).unwrap();
        let read: Request = decode(&bytes, FRAME_BYTES_MAX).unwrap();
        assert!(format!("{read:?}").contains(shown), "{read:?}");
    }
    // A text that is as long as it may be stays so.
    let longest = "\u{7}".repeat(TEXT_BYTES_MAX);
    let why = Returned::Failed { message: longest };
    let bytes = encode(&Request::Return { task, why }, FRAME_BYTES_MAX).unwrap();
    assert!(decode::<Request>(&bytes, FRAME_BYTES_MAX).is_ok());
}
