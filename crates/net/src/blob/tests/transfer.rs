//! Honest ends: whole transfers, broken ones, and several at once.

use super::*;

#[tokio::test]
async fn blobs_of_all_sizes_arrive() {
    for size in [
        0,
        1,
        1024,
        1025,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        2 * GROUP,
        3 * GROUP - 7,
        (1 << 20) + 7,
    ] {
        let bytes = sample(size);
        let (_here, server, want) = store_with(&bytes);
        let (there, client) = store();
        let (fetched, served) = fetch_from(&server, &client, want).await;
        let (fetched, served) = (fetched.unwrap(), served.unwrap());
        assert_eq!(fetched.bytes_received, served.bytes_sent, "of {size} bytes");
        assert_eq!(fetched.resumed_from, 0);
        assert!(fetched.bytes_received >= size as u64);
        assert!(fetched.bytes_received <= size as u64 + size as u64 / 200 + 200);
        assert_eq!(client.get(want).unwrap(), Some(bytes), "of {size} bytes");
        assert_eq!(client.used_bytes(), size as u64);
        assert_eq!(files_below(there.path()).len(), 1, "nothing is left over");

        // Now it is there, and the other end hears of nothing.
        let (fetched, served) = fetch_from(&server, &client, want).await;
        assert_eq!(
            fetched.unwrap(),
            Fetched {
                bytes_received: 0,
                resumed_from: size as u64
            }
        );
        assert_eq!(served.unwrap(), Served { bytes_sent: 0 });
    }
}

#[tokio::test]
async fn each_range_is_encoded_in_whole_groups() {
    let bytes = sample(5 * GROUP + 100);
    let (_here, server, want) = store_with(&bytes);
    let (_, tree) = server.open_to_serve(&want.blob).unwrap().unwrap();
    let cuts: Vec<u64> = (0..=5)
        .map(|group| group * GROUP_BYTES)
        .chain([want.bytes])
        .collect();
    for (first, &from) in cuts.iter().enumerate() {
        for &until in &cuts[first + 1..] {
            let mut slice = slice::Slice::new(want, from..until);
            let mut at = from;
            while let Some(step) = slice.next() {
                let content = match step {
                    bao_tree::iter::BaoChunk::Parent { node, .. } => {
                        use bao_tree::io::sync::Outboard;
                        let (left, right) = tree.load(node).unwrap().unwrap();
                        [*left.as_bytes(), *right.as_bytes()].concat()
                    }
                    bao_tree::iter::BaoChunk::Leaf { size, .. } => {
                        assert_eq!(slice::start(&step), at);
                        assert_eq!(size, GROUP.min(bytes.len() - at as usize));
                        at += size as u64;
                        bytes[at as usize - size..at as usize].to_vec()
                    }
                };
                assert!(slice.check(&step, &content));
            }
            assert_eq!(at, until, "from {from}");
        }
    }
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let size: usize = (8 << 20) + 7;
    let bytes = sample(size);
    let (_here, server, want) = store_with(&bytes);
    let (there, mut client) = store();
    let received = Arc::new(AtomicU64::new(0));
    let (fetch_limits, serve_limits) = (FetchLimits::default(), ServeLimits::default());
    let mut attempts = 0;
    loop {
        attempts += 1;
        assert!(attempts < 50);
        let (near, far) = pipe();
        // The stream breaks within the frame, at a boundary of a group, and anywhere.
        let left = match attempts {
            1 => 3,
            2 => 100,
            3 => GROUP_BYTES,
            _ => 300_000 + 77_777 * attempts,
        };
        let near = Breaking {
            stream: near,
            left,
            read: received.clone(),
        };
        let mut seen = Vec::new();
        let (fetched, _) = tokio::join!(
            fetch(&client, want, near, &fetch_limits, |bytes| seen.push(bytes)),
            serve(&server, far, &serve_limits)
        );
        assert!(seen.is_sorted_by(|a, b| a < b));
        match fetched {
            Ok(fetched) => {
                assert!(fetched.resumed_from > 0);
                assert_eq!(seen.last(), Some(&want.bytes));
                break;
            }
            Err(error) => {
                assert!(matches!(error, FetchError::Broken(_)), "{error}");
                assert!(!error.blames_sender());
                assert_eq!(
                    client.used_bytes(),
                    seen.last().copied().unwrap_or(client.used_bytes())
                );
                assert!(!client.contains(&want.blob));
            }
        }
        // Every other time, the machine was started again in between.
        if attempts % 2 == 0 {
            client = BlobStore::open(there.path(), u64::MAX).unwrap();
        }
    }
    assert!(attempts > 8);
    let received = received.load(Ordering::Relaxed);
    assert!(
        received as f64 <= 1.1 * size as f64,
        "{received} bytes in {attempts} attempts"
    );
    assert_eq!(client.get(want).unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_dropped_fetch_leaves_what_was_checked() {
    let bytes = sample(10 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let (_there, client) = store();
    let sent = served(&server, want).await;
    let (near, mut far) = pipe();
    let (seen, mut first_groups) = tokio::sync::mpsc::unbounded_channel();
    {
        let limits = FetchLimits::default();
        let fetching = fetch(&client, want, near, &limits, move |there| {
            seen.send(there).unwrap();
        });
        let peer = async {
            far.write_all(&sent[..6 * GROUP]).await.unwrap();
            while first_groups.recv().await != Some(5 * GROUP_BYTES) {}
        };
        tokio::pin!(fetching);
        tokio::select! {
            fetched = &mut fetching => panic!("{fetched:?}"),
            () = peer => {}
        }
    }
    assert_eq!(client.used_bytes(), 5 * GROUP_BYTES);
    let (fetched, _) = fetch_from(&server, &client, want).await;
    assert_eq!(fetched.unwrap().resumed_from, 5 * GROUP_BYTES);
    assert_eq!(client.get(want).unwrap(), Some(bytes));
}

#[tokio::test]
async fn the_second_fetch_of_a_blob_waits_and_finds_it() {
    let bytes = sample(20 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let (there, client) = store();
    // Another store on the same folder stands for another process.
    let other = BlobStore::open(there.path(), u64::MAX).unwrap();
    for second in [&client, &other] {
        client.remove(&want.blob).unwrap();
        let (near, far) = pipe();
        let (near_too, far_too) = pipe();
        let limits = FetchLimits::default();
        let serve_limits = ServeLimits::default();
        let (one, two, _, _) = tokio::join!(
            fetch(&client, want, near, &limits, |_| {}),
            fetch(second, want, near_too, &limits, |_| {}),
            serve(&server, far, &serve_limits),
            serve(&server, far_too, &serve_limits),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let nothing = Fetched {
            bytes_received: 0,
            resumed_from: want.bytes,
        };
        assert!((one == nothing) ^ (two == nothing), "{one:?} {two:?}");
        assert_eq!(client.get(want).unwrap().as_ref(), Some(&bytes));
        assert_eq!(second.get(want).unwrap().as_ref(), Some(&bytes));
        assert_eq!(client.used_bytes(), want.bytes);
    }
}

#[tokio::test]
async fn a_peer_without_the_blob_or_without_time_says_so() {
    let (_here, server) = store();
    let (_there, client) = store();
    let want = BlobRef::of(&sample(GROUP));
    let (fetched, served) = fetch_from(&server, &client, want).await;
    assert!(matches!(fetched, Err(FetchError::NotFound)));
    assert!(served.unwrap().bytes_sent > 0);

    server.put(&sample(GROUP)).unwrap();
    let limits = ServeLimits {
        slots: Arc::new(tokio::sync::Semaphore::new(0)),
        retry_ms: 1234,
        ..Default::default()
    };
    let (near, far) = pipe();
    let fetch_limits = FetchLimits::default();
    let (fetched, served) = tokio::join!(
        fetch(&client, want, near, &fetch_limits, |_| {}),
        serve(&server, far, &limits)
    );
    assert!(matches!(fetched, Err(FetchError::Busy { retry_ms: 1234 })));
    assert!(served.unwrap().bytes_sent > 0);
    assert_eq!(client.used_bytes(), 0);
}

#[tokio::test]
async fn a_blob_that_lacked_only_its_name_costs_nothing() {
    let (_there, client) = store();
    let bytes = sample(3 * GROUP + 1);
    let want = BlobRef::of(&bytes);
    std::fs::write(client.layout().partial(want), &bytes).unwrap();
    let fetched = fetch_script(&client, want, &[]).await.unwrap();
    assert_eq!(
        fetched,
        Fetched {
            bytes_received: 0,
            resumed_from: want.bytes
        }
    );
    assert_eq!(client.get(want).unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_damaged_beginning_is_found_out_and_not_blamed_on_the_peer() {
    let bytes = sample(5 * GROUP);
    let (_here, server, want) = store_with(&bytes);
    let (_there, client) = store();
    let partial = client.layout().partial(want);
    for beginning in [vec![0; 2 * GROUP + 5], vec![0; 5 * GROUP]] {
        std::fs::write(&partial, beginning).unwrap();
        let (fetched, _) = fetch_from(&server, &client, want).await;
        let error = fetched.unwrap_err();
        assert!(
            matches!(error, FetchError::Disk(BlobError::Damaged { .. })),
            "{error}"
        );
        assert!(!error.blames_sender());
        assert!(!partial.exists());
        assert_eq!(client.used_bytes(), 0);
    }
    // More than there can be.
    std::fs::write(&partial, vec![0; 6 * GROUP]).unwrap();
    let (fetched, _) = fetch_from(&server, &client, want).await;
    assert_eq!(fetched.unwrap().resumed_from, 0);
    assert_eq!(client.get(want).unwrap(), Some(bytes));
}
