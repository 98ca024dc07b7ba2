//! Uploads when something breaks: connections, the server, or two writers at once.

use std::time::{Duration, Instant};

use crate::harness::{Client, Image, Raw, TestRegistry, sha256, sha512, unique};
use crate::wire::opening;

/// Waits until the session's offset is `range`.
async fn settles_at(client: &Client, session: &str, range: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // While the broken request still holds the session, the last recorded offset is told.
        let status = client.get(session).await;
        let now = status.is(204).header("range").to_owned();
        if now == range {
            return;
        }
        assert!(Instant::now() < deadline, "stuck at {now} instead of {range}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// R-UPL-18: what came before the connection broke is kept, in order, and the upload goes on from there.
#[tokio::test]
async fn a_broken_patch_keeps_what_came() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let bytes = unique(300_000);
    for (headers, chunked) in [
        ("Content-Length: 200000\r\n\r\n", false),
        ("Content-Length: 200000\r\nContent-Range: 1000-200999\r\n\r\n", false),
        ("Transfer-Encoding: chunked\r\n\r\n", true),
    ] {
        let session = alice.start_upload(&app).await;
        alice.patch(&session).body(bytes[..1000].to_vec()).await.is(202);
        let mut raw = Raw::connect(&alice).await;
        raw.send(opening(&alice, &token, &format!("PATCH {session}")) + headers).await;
        if chunked {
            raw.send(format!("{:x}\r\n", 100_000)).await;
        }
        raw.send(&bytes[1000..101_000]).await;
        // It has arrived before the line is cut.
        tokio::time::sleep(Duration::from_millis(300)).await;
        raw.reset();
        settles_at(&alice, &session, "0-100999").await;
        let patch = alice.patch(&session).header("content-range", "101000-299999").body(bytes[101_000..].to_vec());
        patch.await.is(202).has("range", "0-299999");
        let digest = sha256(&bytes);
        alice.put(&format!("{session}?digest={digest}")).await.is(201);
        alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
        alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is(202);
    }
}

/// R-UPL-18: a closing PUT that breaks leaves the session as it was, and can be repeated.
#[tokio::test]
async fn a_broken_put_leaves_the_session_as_it_was() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let bytes = unique(150_000);
    let digest = sha256(&bytes);
    let session = alice.start_upload(&app).await;
    alice.patch(&session).body(bytes[..50_000].to_vec()).await.is(202);
    for sent in [0, 1, 60_000, 99_999] {
        let mut raw = Raw::connect(&alice).await;
        let first = format!("PUT {session}?digest={digest}");
        raw.send(opening(&alice, &token, &first) + "Content-Length: 100000\r\n\r\n").await;
        raw.send(&bytes[50_000..50_000 + sent]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        raw.reset();
        settles_at(&alice, &session, "0-49999").await;
    }
    alice.get(&format!("/v2/{app}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    alice.put(&format!("{session}?digest={digest}")).body(bytes[50_000..].to_vec()).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-MON-01, R-UPL-18: a single POST that breaks leaves nothing.
#[tokio::test]
async fn a_broken_post_leaves_no_blob() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    alice.push_blob(&app, &unique(3)).await;
    let bytes = unique(1000);
    for digest in [sha256(&bytes), sha256(&bytes[..500])] {
        let mut raw = Raw::connect(&alice).await;
        let first = format!("POST /v2/{app}/blobs/uploads/?digest={digest}");
        raw.send(opening(&alice, &token, &first) + "Content-Length: 1000\r\n\r\n").await;
        raw.send(&bytes[..500]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        raw.reset();
        tokio::time::sleep(Duration::from_millis(100)).await;
        alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "BLOB_UNKNOWN");
    }
}

/// R-UPL-19: the second writer waits for the first, and is judged by where that one ended.
#[tokio::test]
async fn writers_take_turns() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let session = alice.start_upload(&app).await;

    let mut first = Raw::connect(&alice).await;
    first.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 6\r\n\r\n").await;
    first.send("one").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut second = Raw::connect(&alice).await;
    second.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 3\r\n\r\nTWO").await;
    let mut repeat = Raw::connect(&alice).await;
    let range = "Content-Range: 0-5\r\nContent-Length: 6\r\n\r\nrepeat";
    repeat.send(opening(&alice, &token, &format!("PATCH {session}")) + range).await;
    // The offset can be asked meanwhile.
    alice.get(&session).await.is(204);
    second.stays_silent(Duration::from_millis(300)).await;
    first.send("ONE").await;
    first.reply().await.is(202).has("range", "0-5");
    second.reply().await.is(202).has("range", "0-8");
    repeat.reply().await.is(416);
    alice.get(&session).await.is(204).has("range", "0-8");
    let digest = sha256(b"oneONETWO");
    alice.put(&format!("{session}?digest={digest}")).await.is(201);
}

/// R-UPL-19: a writer who sends no more gives way to who waits, who is judged by where that one got.
#[tokio::test]
async fn a_dead_writer_gives_way() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let session = alice.start_upload(&alice.repository("app")).await;
    let mut dead = Raw::connect(&alice).await;
    dead.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 10\r\n\r\nabc").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    let retry = alice.patch(&session).header("content-range", "0-3").body("abcd");
    retry.await.is(416).has("range", "0-2");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    dead.reply().await.is(408);
    alice.patch(&session).body("d").await.is(202).has("range", "0-3");
}

/// R-UPL-19, R-LIM-02: a slow writer holds the others up for a bounded time, and they are told to come again.
#[tokio::test]
async fn a_slow_writer_is_not_waited_for_long() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let session = alice.start_upload(&alice.repository("app")).await;
    let mut slow = Raw::connect(&alice).await;
    slow.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 1000\r\n\r\nabc").await;
    // The others come while it is at work, and not before.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            slow.send(".").await;
        }
    };
    let patch = alice.patch(&session).body("x").faults_welcome();
    let delete = alice.delete(&session).faults_welcome();
    let begun = Instant::now();
    let others = futures_util::future::join(patch.into_future(), delete.into_future());
    let (patched, deleted) = tokio::select! { replies = others => replies, () = trickle => unreachable!() };
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    for reply in [patched, deleted] {
        reply.is_error(503, "UNAVAILABLE");
        assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    slow.reset();
    // What it had sent by then is kept.
    let reply = alice.patch(&session).body("d").await;
    let last = reply.is(202).header("range").strip_prefix("0-").unwrap().to_owned();
    assert!(last.parse::<u32>().unwrap() > 10, "{last}");
}

/// R-UPL-18, R-UPL-19: whatever many writers do at once, each chunk is whole and none is lost.
#[tokio::test]
async fn concurrent_chunks_never_interleave() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let session = alice.start_upload(&app).await;
    let writers = (0..8_u8).map(|letter| {
        let patch = alice.patch(&session).body(vec![letter; 40_000]);
        async move { (patch.await, letter) }
    });
    let mut order: Vec<(usize, u8)> = Vec::new();
    for (reply, letter) in futures_util::future::join_all(writers).await {
        // Each is told where its chunk ended, and with that its turn.
        let last = reply.is(202).header("range").strip_prefix("0-").unwrap().parse::<usize>().unwrap();
        order.push((last, letter));
    }
    order.sort_unstable();
    let bytes: Vec<u8> = order.iter().flat_map(|(_, letter)| vec![*letter; 40_000]).collect();
    let ends: Vec<_> = order.iter().map(|(last, _)| *last).collect();
    assert_eq!(ends, (1..=8).map(|turn| turn * 40_000 - 1).collect::<Vec<_>>());
    alice.put(&format!("{session}?digest={}", sha256(&bytes))).await.is(201);
}

/// R-UPL-63, R-UPL-37, I2: sessions and what they hold survive the server's sudden end.
#[tokio::test]
async fn a_session_survives_a_crash() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(2_500_000);
    for (digest, streamed) in [(sha256(&bytes), false), (sha512(&bytes), false), (sha256(&bytes), true)] {
        let session = alice.start_upload(&app).await;
        registry.crash();
        alice.get(&session).await.is(204).has("range", "0-0");
        for (first, last) in [(0, 999_999), (1_000_000, 1_000_000), (1_000_001, 1_999_999)] {
            let patch = alice.patch(&session);
            let chunk = bytes[first..=last].to_vec();
            let patch = if streamed { patch.chunked(&[&chunk]) } else { patch.body(chunk) };
            patch.await.is(202);
            registry.crash();
            alice.get(&session).await.is(204).has("range", &format!("0-{last}"));
        }
        alice.put(&format!("{session}?digest={digest}")).body(bytes[2_000_000..].to_vec()).await.is(201);
        registry.crash();
        alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
        alice.get(&session).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
        alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is(202);
    }
}

/// R-UPL-18, I2: a crash in the middle of a chunk leaves a prefix that can be gone on from.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_chunk_leaves_a_prefix() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let bytes = unique(3_000_000);
    let session = alice.start_upload(&app).await;
    alice.patch(&session).body(bytes[..1000].to_vec()).await.is(202);
    let mut raw = Raw::connect(&alice).await;
    raw.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 2999000\r\n\r\n").await;
    raw.send(&bytes[1000..2_000_000]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    registry.crash();
    let status = alice.get(&session).await;
    let range = status.is(204).header("range");
    let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
    assert!((999..2_000_000).contains(&last), "{range}");
    let rest = bytes[last + 1..].to_vec();
    let digest = sha256(&bytes);
    alice.put(&format!("{session}?digest={digest}")).body(rest).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-UPL-37, R-MPT-16, R-TAG-04, I2, I3: what was acknowledged is there after a crash, and what was deleted is not.
#[tokio::test]
async fn acknowledged_changes_survive_a_crash() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let kept = alice.push_new_image(&app, "kept").await;
    let gone = alice.push_new_image(&app, "gone").await;
    alice.delete(&format!("/v2/{app}/manifests/{}", gone.digest())).await.is(202);
    alice.set_visibility(&app, "public").await;
    registry.crash();
    assert_eq!(alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), ["kept"]);
    alice.get(&format!("/v2/{app}/manifests/kept")).await.is(200).has_body(&kept.manifest.bytes);
    alice.get(&format!("/v2/{app}/manifests/{}", gone.digest())).await.is_error(404, "MANIFEST_UNKNOWN");
    for blob in kept.blobs() {
        alice.get(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(200).has_body(blob);
    }
    let somebody = registry.anonymous().log_in().await;
    somebody.get(&format!("/v2/{app}/manifests/kept")).await.is(200);
    // A clean stop is no different, and tokens and passwords go on to work.
    registry.restart();
    alice.get(&format!("/v2/{app}/manifests/kept")).await.is(200).has_body(&kept.manifest.bytes);
    alice.log_in().await.get("/v2/").await.is(200);
}

/// What a pusher was told is there: a blob with its bytes, or a tag with its manifest.
type Told = Vec<(String, Vec<u8>)>;

/// Pushes images until the server is gone, and says what was acknowledged.
async fn push_until_it_dies(alice: Client, app: String, pusher: usize) -> Told {
    let mut told = Told::new();
    for n in 0.. {
        let image = Image::unique();
        for blob in image.blobs() {
            let digest = sha256(blob);
            let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest={digest}")).body(blob.to_vec());
            let Some(reply) = post.faults_welcome().attempt().await else { return told };
            reply.is(201);
            told.push((format!("/v2/{app}/blobs/{digest}"), blob.to_vec()));
        }
        let tag = format!("p{pusher}-{n}");
        let put = alice.put_manifest(&app, &tag, &image.manifest);
        let Some(reply) = put.faults_welcome().attempt().await else { return told };
        reply.is(201);
        told.push((format!("/v2/{app}/manifests/{tag}"), image.manifest.bytes));
    }
    told
}

/// R-UPL-37, R-MPT-16, I2, I3: killed at any moment, the server has lost nothing that it acknowledged, and what it lists is whole.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"x").await;
    for round in 0..4 {
        let pushers: Vec<_> =
            (0..4).map(|n| tokio::spawn(push_until_it_dies(alice.clone(), app.clone(), round * 10 + n))).collect();
        tokio::time::sleep(Duration::from_millis(400 + 170 * round as u64)).await;
        registry.kill();
        let mut told = Told::new();
        for pusher in pushers {
            told.extend(pusher.await.unwrap());
        }
        registry.crash();
        assert!(!told.is_empty(), "round {round}: nothing was pushed in time");
        for (path, bytes) in told {
            alice.get(&path).await.is(200).has_body(&bytes);
        }
        // Whatever tag is listed names a manifest all of whose blobs are there.
        for tag in alice.get(&format!("/v2/{app}/tags/list")).await.strings("tags") {
            let manifest = alice.get(&format!("/v2/{app}/manifests/{tag}")).await.is(200).json();
            for named in [&manifest["config"], &manifest["layers"][0]] {
                let digest = named["digest"].as_str().unwrap();
                alice.head(&format!("/v2/{app}/blobs/{digest}")).await.is(200);
            }
        }
    }
}
