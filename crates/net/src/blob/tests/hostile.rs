//! Ends that lie, babble, trickle or stop.

use futures::io::AsyncReadExt;

use super::{
    request::{Response, write_frame},
    *,
};

/// A frame that holds `body`.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

#[tokio::test]
async fn nothing_that_was_changed_on_the_way_is_accepted() {
    let bytes = sample(4 * GROUP + 100);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    let answer_bytes = sent.len() - bytes.len() - 4 * 64;
    // Each byte of the answer and the pairs, of the groups some.
    let positions = (0..answer_bytes + 3 * 64)
        .chain((answer_bytes + 3 * 64..sent.len()).step_by(499))
        .chain([sent.len() - 1]);
    for position in positions {
        let (_there, client) = store();
        let mut changed = sent.clone();
        changed[position] ^= 1 << (position % 8);
        let error = fetch_script(&client, want, &changed).await.unwrap_err();
        if position >= answer_bytes {
            let FetchError::Corrupt { at } = error else {
                panic!("byte {position}: {error}")
            };
            assert!(at < want.bytes && at <= position as u64);
            assert!(error.blames_sender());
            // The part that was checked before it is kept, and is right.
            assert_eq!(client.used_bytes() % GROUP_BYTES, 0);
            let kept = std::fs::read(client.layout().partial(want)).unwrap_or_default();
            assert_eq!(kept.len() as u64, client.used_bytes());
            assert!(bytes.starts_with(&kept));
        }
        assert!(!client.contains(&want.blob), "byte {position}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_broken() {
    let bytes = sample(2 * GROUP + 1);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    for length in (0..sent.len()).step_by(771).chain([1, 4, 5, sent.len() - 1]) {
        let (_there, client) = store();
        let error = fetch_script(&client, want, &sent[..length]).await.unwrap_err();
        assert!(!error.blames_sender());
        match error {
            FetchError::Unanswered => assert_eq!(length, 0),
            FetchError::Broken(_) => assert!(length > 0),
            error => panic!("cut to {length}: {error}"),
        }
    }
}

#[tokio::test]
async fn another_blob_or_another_size_is_not_accepted() {
    let (_here, server, other) = store_with(&sample(3 * GROUP + 5));
    let (_there, client) = store();
    let sent = served(&server, other).await;
    // The right size under another hash.
    let mut want = BlobRef::of(&sample(10));
    want.bytes = other.bytes;
    let error = fetch_script(&client, want, &sent).await.unwrap_err();
    assert!(matches!(error, FetchError::Corrupt { at: 0 }), "{error}");

    for bytes in [0, 1, other.bytes - 1, other.bytes + 1, BLOB_BYTES_MAX] {
        let want = BlobRef { bytes, ..other };
        // An honest server says what is wrong.
        let (fetched, _) = fetch_from(&server, &client, want).await;
        let error = fetched.unwrap_err();
        assert!(
            matches!(error, FetchError::WrongSize { wanted, found } if wanted == bytes && found == other.bytes)
        );
        assert!(!error.blames_sender());
        // One that goes along with it is found out.
        let found = frame(&postcard::to_stdvec(&Response::Found { bytes }).unwrap());
        let answer_bytes =
            frame(&postcard::to_stdvec(&Response::Found { bytes: other.bytes }).unwrap()).len();
        // The lie ends with a byte more than there is, for the size that needs it.
        let lie = [&found, &sent[answer_bytes..], &[0]].concat();
        let error = fetch_script(&client, want, &lie).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Corrupt { .. }),
            "{bytes} bytes: {error}"
        );
    }
    // All groups but the last are right, of a size that is a byte off.
    assert_eq!(client.used_bytes(), 2 * 3 * GROUP_BYTES);

    // The client knows the size itself once the blob is there.
    fetch_from(&server, &client, other).await.0.unwrap();
    let want = BlobRef { bytes: 7, ..other };
    let error = fetch_script(&client, want, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::WrongSize { wanted: 7, .. }));

    let want = BlobRef {
        bytes: BLOB_BYTES_MAX + 1,
        ..other
    };
    let error = fetch_script(&client, want, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Disk(BlobError::TooLarge { .. })));
}

#[tokio::test]
async fn answers_are_held_to_their_limits() {
    let (_there, client) = store();
    let want = BlobRef::of(b"wanted");
    let answer = |response: &Response| frame(&postcard::to_stdvec(response).unwrap());
    let reason = |length| Response::Refused {
        reason: "x".repeat(length),
    };
    for script in [
        u32::MAX.to_le_bytes().to_vec(),
        1025_u32.to_le_bytes().to_vec(),
        frame(&[]),
        frame(&[4]),
        frame(&[0xff; 1024]),
        frame(&[1, 0]),
        answer(&reason(201)),
    ] {
        let error = fetch_script(&client, want, &script).await.unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. }), "{error}");
        assert!(error.blames_sender());
    }
    let error = fetch_script(&client, want, &answer(&reason(200)))
        .await
        .unwrap_err();
    assert!(matches!(&error, FetchError::Refused { reason } if reason.len() == 200));
    assert!(!error.blames_sender());
    let busy = Response::Busy { retry_ms: u32::MAX };
    let error = fetch_script(&client, want, &answer(&busy)).await.unwrap_err();
    assert!(matches!(error, FetchError::Busy { retry_ms: 60_000 }));
    let escape = Response::Refused {
        reason: "\u{1b}[2J".to_owned(),
    };
    let error = fetch_script(&client, want, &answer(&escape)).await.unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'));
}

/// Sends `script` to a server, and gives its answer.
async fn ask(server: &BlobStore, script: &[u8]) -> (Option<Response>, Result<Served, ServeError>) {
    let (mut near, far) = pipe();
    let clock = stream_clock::StreamClock::new(STALL, STALL);
    let client = async {
        near.write_all(script).await.unwrap();
        let response = request::read_frame(&mut near, &clock).await.unwrap();
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        response.map(|(response, _)| response)
    };
    tokio::join!(client, async {
        // The stream ends with this, however it was served.
        let mut far = far;
        let served = serve(server, &mut far, &ServeLimits::default()).await;
        drop(far);
        served
    })
}

#[tokio::test]
async fn requests_are_held_to_their_limits() {
    let (_here, server, want) = store_with(&sample(3 * GROUP + 5));
    let good = Request::new(want, 0);
    let request = |bytes, from, until| {
        let blob = good.blob;
        frame(
            &postcard::to_stdvec(&Request {
                blob,
                bytes,
                from,
                until,
            })
            .unwrap(),
        )
    };
    let size = want.bytes;
    for script in [
        u32::MAX.to_le_bytes().to_vec(),
        1025_u32.to_le_bytes().to_vec(),
        frame(&[]),
        frame(&[7; 100]),
        frame(&[0xff; 1024]),
        request(BLOB_BYTES_MAX + 1, 0, BLOB_BYTES_MAX + 1),
        request(u64::MAX, 0, u64::MAX),
        request(size, 0, 0),
        request(size, size, size),
        request(size, GROUP_BYTES, GROUP_BYTES),
        request(size, 2 * GROUP_BYTES, GROUP_BYTES),
        request(size, 1, size),
        request(size, 1024, size),
        request(size, 0, GROUP_BYTES + 1),
        request(size, 0, size + 1),
        request(size, 0, 4 * GROUP_BYTES),
        request(0, 0, GROUP_BYTES),
        request(0, GROUP_BYTES, 0),
    ] {
        let (response, served) = ask(&server, &script).await;
        let Some(Response::Refused { reason }) = response else {
            panic!("{response:?}")
        };
        assert!(!reason.is_empty() && reason.len() <= 200);
        let error = served.unwrap_err();
        assert!(matches!(error, ServeError::Protocol { .. }), "{error}");
        assert!(error.blames_client());
    }
    for (from, until) in [
        (0, size),
        (0, GROUP_BYTES),
        (GROUP_BYTES, size),
        (3 * GROUP_BYTES, size),
        (GROUP_BYTES, 3 * GROUP_BYTES),
    ] {
        let (response, served) = ask(&server, &request(size, from, until)).await;
        assert_eq!(response, Some(Response::Found { bytes: size }));
        assert!(served.unwrap().bytes_sent > until - from);
    }
    // A stream that was opened for nothing, and one that broke.
    let (near, far) = pipe();
    drop(near);
    let served = serve(&server, far, &ServeLimits::default()).await;
    assert_eq!(served.unwrap(), Served { bytes_sent: 0 });
    let (mut near, far) = pipe();
    near.write_all(&[1, 0]).await.unwrap();
    drop(near);
    let served = serve(&server, far, &ServeLimits::default()).await;
    assert!(matches!(served, Err(ServeError::Broken(_))));
}

#[tokio::test]
async fn a_server_that_stops_sending_is_left() {
    let bytes = sample(4 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    for length in [0, 2, 3 * GROUP] {
        let (_there, client) = store();
        let (near, mut far) = pipe();
        let limits = impatient();
        let fetching = fetch(&client, want, near, &limits, |_| {});
        let (fetched, _) = tokio::join!(fetching, far.write_all(&sent[..length]));
        let error = fetched.unwrap_err();
        assert!(
            matches!(error, FetchError::Stalled { idle } if idle == limits.stall),
            "{error}"
        );
        assert!(!error.blames_sender());
        assert_eq!(
            client.used_bytes(),
            length as u64 / (3 * GROUP_BYTES) * 2 * GROUP_BYTES
        );
        drop(far);
        let (fetched, _) = fetch_from(&server, &client, want).await;
        fetched.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_trickles_is_left() {
    let bytes = sample(60 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    let (_there, client) = store();
    let (near, mut far) = pipe();
    let limits = FetchLimits {
        time_max: Duration::from_millis(400),
        ..Default::default()
    };
    let peer = async move {
        for part in sent.chunks(GROUP) {
            if far.write_all(part).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (fetched, ()) = tokio::join!(fetch(&client, want, near, &limits, |_| {}), peer);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::TooSlow { .. }), "{error}");
    assert!(client.used_bytes() > 0);
}

#[tokio::test]
async fn a_server_that_is_slower_than_it_must_be_is_left_and_what_came_is_kept() {
    let bytes = sample(60 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let sent = served(&server, want).await;
    let (_there, client) = store();
    let (near, mut far) = pipe();
    // One group in 50 ms is a third of it.
    let limits = FetchLimits {
        stall: Duration::from_millis(400),
        rate_min: 60 * GROUP_BYTES,
        ..Default::default()
    };
    let peer = async move {
        let (fast, slow) = sent.split_at(20 * GROUP);
        far.write_all(fast).await.unwrap();
        for part in slow.chunks(GROUP) {
            if far.write_all(part).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (fetched, ()) = tokio::join!(fetch(&client, want, near, &limits, |_| {}), peer);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::Slow { .. }), "{error}");
    assert!(!error.blames_sender());
    let kept = client.used_bytes();
    assert!(kept > 0 && kept < 50 * GROUP_BYTES, "{kept}");
    let (fetched, _) = fetch_from(&server, &client, want).await;
    assert_eq!(fetched.unwrap().resumed_from, kept);
}

#[tokio::test]
async fn a_client_that_stops_taking_is_left() {
    let (_here, server, want) = store_with(&sample(40 * GROUP));
    let limits = ServeLimits {
        stall: Duration::from_millis(100),
        ..Default::default()
    };
    let slots = limits.slots.available_permits();
    // One that says nothing, and one that reads nothing.
    let (_near, far) = pipe();
    let served = serve(&server, far, &limits).await;
    assert!(matches!(served, Err(ServeError::Stalled { .. })));
    let (mut near, far) = pipe();
    let clock = stream_clock::StreamClock::new(STALL, STALL);
    write_frame(&mut near, &clock, &Request::new(want, 0))
        .await
        .unwrap();
    let served = serve(&server, far, &limits).await;
    assert!(matches!(served, Err(ServeError::Stalled { idle }) if idle == limits.stall));
    assert_eq!(limits.slots.available_permits(), slots);
}

/// It takes a group every now and then, and so never stalls.
#[tokio::test]
async fn a_client_that_takes_longer_than_its_bytes_may_is_left() {
    let (_here, server, want) = store_with(&sample(200 * GROUP));
    let limits = ServeLimits {
        start: Duration::from_millis(200),
        rate_min: 16 * want.bytes,
        ..Default::default()
    };
    let (mut near, far) = pipe();
    let clock = stream_clock::StreamClock::new(STALL, STALL);
    let slow = async move {
        write_frame(&mut near, &clock, &Request::new(want, 0))
            .await
            .unwrap();
        let mut taken = [0; GROUP];
        while near.read_exact(&mut taken).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (served, ()) = tokio::join!(serve(&server, far, &limits), slow);
    assert!(matches!(served, Err(ServeError::TooSlow { .. })), "{served:?}");
    assert_eq!(
        limits.slots.available_permits(),
        ServeLimits::default().slots.available_permits()
    );
}
