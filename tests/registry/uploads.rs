//! end-4a, 5, 6, 13 and 14: upload sessions, when everything goes well or is refused.

use crate::harness::{Client, Reply, TestRegistry, sha256, unique, unique_name};

async fn session(registry: &TestRegistry) -> (Client, String, String) {
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let session = alice.start_upload(&app).await;
    (alice, app, session)
}

/// The offset that a reply's `Range` names: one past the last byte.
#[track_caller]
fn stored(reply: &Reply) -> &str {
    reply.header("range")
}

/// R-UPL-01, R-UPL-02, R-UPL-03, R-UPL-04, R-UPL-20, V-U06: a session is opened, and names itself.
#[tokio::test]
async fn a_session_is_opened() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let reply = alice.post(&format!("/v2/{app}/blobs/uploads/")).body("").await;
        reply.is(202).has("range", "0-0").has("content-length", "0").lacks("oci-chunk-min-length");
        let id = reply.header("docker-upload-uuid").to_owned();
        assert!(reply.header("location").contains(&id), "{reply:?}");
        assert!(ids.insert(id), "an id came twice");
    }
    // An open session is no repository yet.
    alice.get(&format!("/v2/{app}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
}

/// R-UPL-05, N-04: an algorithm may be announced, and another one used in the end.
#[tokio::test]
async fn an_announced_algorithm_does_not_bind() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    for announced in ["sha256", "sha512"] {
        for close in [crate::harness::sha256, crate::harness::sha512] {
            let bytes = unique(1000);
            let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest-algorithm={announced}")).await;
            let session = post.is(202).header("location").to_owned();
            alice.patch(&session).body(bytes.clone()).await.is(202);
            let digest = close(&bytes);
            alice.put(&format!("{session}?digest={digest}")).await.is(201).has("docker-content-digest", &digest);
        }
    }
    for unsupported in ["blake3", "md5", "SHA256", "", "sha256:"] {
        let post = alice.post(&format!("/v2/{app}/blobs/uploads/?digest-algorithm={unsupported}")).await;
        post.is_error(400, "DIGEST_INVALID");
    }
}

/// R-UPL-10, R-UPL-11, R-UPL-31, R-UPL-30, H-13, H-19, V-U15, V-U16: chunks with their ranges, and a PUT that closes.
#[tokio::test]
async fn chunks_make_a_blob() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let bytes = unique(5000);
    let mut location = session;
    for (first, last) in [(0, 1023), (1024, 1024), (1025, 3999), (4000, 4999)] {
        let chunk = bytes[first..=last].to_vec();
        let patch = alice.patch(&location).header("content-range", &format!("{first}-{last}"));
        let reply = patch.header("content-type", "application/octet-stream").body(chunk).await;
        reply.is(202).has("range", &format!("0-{last}"));
        assert!(!reply.header("docker-upload-uuid").is_empty());
        location = reply.header("location").to_owned();
        alice.get(&location).await.is(204).has("range", &format!("0-{last}"));
    }
    let digest = sha256(&bytes);
    let put = alice.put(&format!("{location}?digest={digest}")).await;
    put.is(201).has("location", &format!("/v2/{app}/blobs/{digest}")).has("docker-content-digest", &digest);
    alice.get(put.header("location")).await.is(200).has_body(&bytes);
    alice.get(&location).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// R-UPL-31, H-20, H-12: the closing PUT may bring the last chunk or the whole blob.
#[tokio::test]
async fn the_closing_put_may_bring_bytes() {
    let registry = TestRegistry::shared().await;
    let (alice, app, first) = session(&registry).await;
    let bytes = unique(3000);
    let digest = sha256(&bytes);
    alice.put(&format!("{first}?digest={digest}")).body(bytes.clone()).await.is(201);

    let second = alice.start_upload(&app).await;
    alice.patch(&second).header("content-range", "0-1999").body(bytes[..2000].to_vec()).await.is(202);
    let put = alice.put(&format!("{second}?digest={digest}")).header("content-range", "2000-2999");
    put.body(bytes[2000..].to_vec()).await.is(201);

    let third = alice.start_upload(&app).await;
    let put = alice.put(&format!("{third}?digest={digest}")).header("content-range", "0-2999");
    put.body(bytes.clone()).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-UPL-15, R-UPL-16, H-14, V-U01, V-U02: without a range, bytes go where the last ones ended.
#[tokio::test]
async fn bytes_without_a_range_are_appended() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let bytes = unique(900);
    alice.patch(&session).body(bytes[..100].to_vec()).await.is(202).has("range", "0-99");
    alice.patch(&session).body("").await.is(202).has("range", "0-99");
    alice.patch(&session).await.is(202).has("range", "0-99");
    alice.patch(&session).chunked(&[&bytes[100..300], &bytes[300..500]]).await.is(202).has("range", "0-499");
    alice.patch(&session).header("content-type", "text/plain").body(bytes[500..].to_vec()).await.is(202);
    let digest = sha256(&bytes);
    alice.put(&format!("{session}?digest={digest}")).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-UPL-16, R-UPL-20: an empty session's range is one that docker can read.
#[tokio::test]
async fn an_empty_session_has_a_readable_range() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    alice.patch(&session).body("").await.is(202).has("range", "0-0");
    alice.get(&session).await.is(204).has("range", "0-0");
    alice.patch(&session).body("x").await.is(202).has("range", "0-0");
    alice.patch(&session).body("y").await.is(202).has("range", "0-1");
}

/// R-UPL-12, R-UPL-17, R-ERR-06, H-21, V-U11, V-U13, V-U14: a chunk out of order changes nothing, and the
/// refusal says where to go on.
#[tokio::test]
async fn a_chunk_out_of_order_is_refused_and_harmless() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let bytes = unique(42);
    let chunk = |location: &str, first: usize, last: usize| {
        let chunk = bytes.get(first..=last).map_or_else(|| vec![b'x'; last - first + 1], <[u8]>::to_vec);
        alice.patch(location).header("content-range", &format!("{first}-{last}")).body(chunk)
    };
    let refused = |reply: &Reply, range: &str| {
        reply.is_error(416, "BLOB_UPLOAD_INVALID").has("range", range);
        assert!(!reply.header("docker-upload-uuid").is_empty() && !reply.header("location").is_empty());
    };
    refused(&chunk(&session, 22, 41).await, "0-0");
    let first = chunk(&session, 0, 21).await;
    first.is(202).has("range", "0-21");
    refused(&chunk(&session, 0, 21).await, "0-21");
    refused(&chunk(&session, 21, 41).await, "0-21");
    refused(&chunk(&session, 23, 41).await, "0-21");
    // The address that the POST gave still works.
    alice.get(&session).await.is(204).has("range", "0-21");
    chunk(first.header("location"), 22, 41).await.is(202).has("range", "0-41");
    let digest = sha256(&bytes);
    alice.put(&format!("{session}?digest={digest}")).await.is(201);
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
}

/// R-UPL-13, R-UPL-11: a Content-Range of another form is refused, not guessed at.
#[tokio::test]
async fn a_content_range_of_another_form_is_refused() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    for range in [
        "bytes 0-4/5",
        "bytes 0-4",
        "bytes=0-4",
        "0-4/5",
        "4-0",
        "0-",
        "-4",
        "0",
        "a-b",
        "",
        "0 - 4",
        "0-4,5-9",
        "+0-4",
    ] {
        let reply = alice.patch(&session).header("content-range", range).body("hello").await;
        reply.is_error(416, "BLOB_UPLOAD_INVALID").has("range", "0-0");
    }
    let put = alice.put(&format!("{session}?digest={}", sha256(b"hello"))).header("content-range", "bytes 0-4/5");
    put.body("hello").await.is_error(416, "BLOB_UPLOAD_INVALID");
    alice.patch(&session).header("content-range", "0-4").body("hello").await.is(202).has("range", "0-4");
}

/// R-UPL-14: a chunk is as long as its range says, or it is refused whole.
#[tokio::test]
async fn a_chunk_of_another_length_is_refused() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    alice.patch(&session).header("content-range", "0-3").body("hello").await.is_error(400, "SIZE_INVALID");
    alice.patch(&session).header("content-range", "0-5").body("hello").await.is_error(400, "SIZE_INVALID");
    let longer = alice.patch(&session).header("content-range", "0-3").chunked(&[b"he", b"llo"]).await;
    longer.is_error(400, "SIZE_INVALID");
    alice.get(&session).await.is(204).has("range", "0-0");
    let long = unique(3 << 20);
    let longer =
        alice.patch(&session).header("content-range", "0-2000000").chunked(&[&long[..1 << 20], &long[1 << 20..]]);
    longer.await.is_error(400, "SIZE_INVALID");
    alice.get(&session).await.is(204).has("range", "0-0");
    alice.patch(&session).header("content-range", "0-4").body("hello").await.is(202);
    alice.patch(&session).header("content-range", "5-9").body("toolong").await.is_error(400, "SIZE_INVALID");
    let put =
        alice.put(&format!("{session}?digest={}", sha256(b"hello"))).header("content-range", "5-9").body("x").await;
    put.is_error(400, "SIZE_INVALID");
    alice.get(&session).await.is(204).has("range", "0-4");
    alice.put(&format!("{session}?digest={}", sha256(b"hello"))).await.is(201);
}

/// R-UPL-32, R-DIG-05, H-27, H-28, H-29, H-30: bytes of another hash become nothing, and the session ends.
#[tokio::test]
async fn another_digest_stores_nothing() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, &unique(5)).await;
    let bytes = unique(2000);
    let wrong = sha256(&unique(2000));
    for chunks in [vec![2000], vec![1000, 1000], vec![2000, 0], vec![0, 2000]] {
        let session = alice.start_upload(&app).await;
        let mut at = 0;
        for length in &chunks[..chunks.len() - 1] {
            alice.patch(&session).body(bytes[at..at + length].to_vec()).await.is(202);
            at += length;
        }
        let put = alice.put(&format!("{session}?digest={wrong}")).body(bytes[at..].to_vec()).await;
        put.is_error(400, "DIGEST_INVALID");
        alice.get(&session).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
        alice.patch(&session).body("x").await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    for digest in [wrong, sha256(&bytes)] {
        alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is_error(404, "BLOB_UNKNOWN");
    }
}

/// R-UPL-33, N-03: without a usable digest nothing is read, and the session goes on.
#[tokio::test]
async fn a_put_without_a_usable_digest_keeps_the_session() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    alice.patch(&session).body("hello").await.is(202);
    let unsupported = format!("?digest=blake3:{}", "a".repeat(64));
    for query in ["", "?digest=", "?digest", "?digest=sha256:abc", "?Digest=x", "?digest=nonsense", &unsupported] {
        let put = alice.put(&format!("{session}{query}")).body(" world").await;
        put.is_error(400, "DIGEST_INVALID");
        alice.get(&session).await.is(204).has("range", "0-4");
    }
    alice.put(&format!("{session}?digest={}", sha256(b"hello"))).await.is(201);
}

/// R-UPL-34, R-UPL-52, N-05, H-22: a closing PUT out of order is refused, and its very address still tells the offset.
#[tokio::test]
async fn a_closing_put_out_of_order_keeps_the_session() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    let bytes = unique(3000);
    let closing = format!("{session}?digest={}", sha256(&bytes));
    for done in [0, 1000, 2000] {
        for wrong in ["500-1499", "2500-3499", "1001-2000"] {
            let put = alice.put(&closing).header("content-range", wrong).body(vec![b'x'; 1000]).await;
            put.is_error(416, "BLOB_UPLOAD_INVALID");
            let range = if done == 0 { "0-0".to_owned() } else { format!("0-{}", done - 1) };
            assert_eq!(stored(&alice.get(&closing).await.is(204).clone()), range);
        }
        if done < 2000 {
            let chunk = bytes[done..done + 1000].to_vec();
            let patch = alice.patch(&session).header("content-range", &format!("{done}-{}", done + 999));
            patch.body(chunk).await.is(202);
        }
    }
    alice.put(&closing).header("content-range", "2000-2999").body(bytes[2000..].to_vec()).await.is(201);
}

/// R-UPL-35, R-UPL-30, V-U07, C-BKT-01: pushing what is there already succeeds as if it were new.
#[tokio::test]
async fn a_blob_can_be_pushed_again() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(2000);
    for _ in 0..3 {
        let digest = alice.push_blob(&app, &bytes).await;
        alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
    }
    // At the same time, too.
    let pushes = (0..8).map(|_| alice.push_blob(&app, &bytes));
    let digests = futures_util::future::join_all(pushes).await;
    assert!(digests.iter().all(|digest| *digest == sha256(&bytes)));
}

/// R-UPL-36, H-24, H-25: nothing is a blob too.
#[tokio::test]
async fn an_empty_blob_can_be_pushed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = sha256(b"");
    let first = alice.start_upload(&app).await;
    alice.put(&format!("{first}?digest={digest}")).body("").await.is(201);
    alice.head(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has("content-length", "0");
    alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has("content-length", "0").has_body(b"");
    alice.delete(&format!("/v2/{app}/blobs/{digest}")).await.is(202);
    alice.head(&format!("/v2/{app}/blobs/{digest}")).await.is(404);
    // containerd may send it in chunked coding.
    let second = alice.start_upload(&app).await;
    alice.put(&format!("{second}?digest={digest}")).chunked(&[]).await.is(201);
    let third = alice.start_upload(&app).await;
    alice.patch(&third).body("").await.is(202);
    alice.put(&format!("{third}?digest={digest}")).await.is(201);
}

/// R-UPL-38, R-GEN-06: `digest` may stand anywhere and often, as long as it is one digest.
#[tokio::test]
async fn the_digest_is_found_wherever_it_stands() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let digest = sha256(b"hello");
    let encoded = digest.replace(':', "%3A");
    for query in [
        format!("digest={digest}&a=1"),
        format!("a=1&digest={encoded}"),
        format!("_state=x&digest={digest}&digest={encoded}"),
    ] {
        let session = alice.start_upload(&app).await;
        alice.put(&format!("{session}?{query}")).body("hello").await.is(201);
    }
    let session = alice.start_upload(&app).await;
    let differing = format!("{session}?digest={digest}&digest={}", sha256(b"other"));
    alice.put(&differing).body("hello").await.is_error(400, "DIGEST_INVALID");
    alice.get(&session).await.is(204);
}

/// R-UPL-39, R-UPL-51: a PUT repeated after it succeeded finds no session, or the blob.
#[tokio::test]
async fn a_repeated_put_finds_no_session() {
    let registry = TestRegistry::shared().await;
    let (alice, _, session) = session(&registry).await;
    let closing = format!("{session}?digest={}", sha256(b"hello"));
    alice.put(&closing).body("hello").await.is(201);
    let again = alice.put(&closing).body("hello").await;
    if again.status != 201 {
        again.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    alice.patch(&session).body("x").await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// R-UPL-50, R-UPL-52: a session tells how far it is, to anybody who may push.
#[tokio::test]
async fn a_session_tells_its_offset() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    alice.patch(&session).body("12345").await.is(202);
    let status = alice.get(&format!("{session}?digest=nonsense&x=%zz")).await;
    status.is(204).has("range", "0-4").has("location", &session);
    assert!(session.contains(status.header("docker-upload-uuid")));
    let puller = alice.scoped(&[&format!("repository:{app}:pull")]).await;
    puller.get(&session).await.is_error(401, "UNAUTHORIZED");
    alice.get(&session).await.is(204);
}

/// R-UPL-51: a session of another repository or account, or of nobody, is unknown to every method.
#[tokio::test]
async fn a_foreign_session_is_unknown() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let admin = registry.admin().await;
    let id = session.rsplit('/').next().unwrap().to_owned();
    let other = alice.repository("other");
    let unknown = "00000000-0000-4000-8000-000000000000";
    let (upper, longer) = (id.to_uppercase(), id.clone() + "0");
    let table = [
        (&alice, other.as_str(), id.as_str()),
        (&admin, &app, &id),
        (&alice, &app, unknown),
        (&alice, &app, "not-an-id"),
        (&alice, &app, "%2e%2e"),
        (&alice, &app, "..%2f..%2fblobs"),
        (&alice, &app, if upper == id { unknown } else { &upper }),
        (&alice, &app, &longer),
    ];
    for (client, repository, id) in table {
        if id.contains("%2f") {
            // Decoded, this is another path; wherever it leads, it is no session.
            let status = client.get(&format!("/v2/{repository}/blobs/uploads/{id}")).await.status;
            assert!(status == 404 || status == 400, "{status}");
            continue;
        }
        let path = format!("/v2/{repository}/blobs/uploads/{id}");
        client.get(&path).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
        client.patch(&path).body("x").await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
        let put = client.put(&format!("{path}?digest={}", sha256(b"x"))).body("x").await;
        put.is_error(404, "BLOB_UPLOAD_UNKNOWN");
        client.delete(&path).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    alice.get(&session).await.is(204).has("range", "0-0");
}

/// R-UPL-60, R-UPL-61, R-UPL-51, N-06, H-18, C-POD-03, C-KAN-01: a session is cancelled with the right to push.
#[tokio::test]
async fn a_session_can_be_cancelled() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository(&unique_name("app"));
    let pusher = alice.scoped(&[&format!("repository:{app}:pull,push")]).await;
    let session = pusher.start_upload(&app).await;
    pusher.patch(&session).body("hello").await.is(202);
    pusher.delete(&session).await.is(204).has_body(b"");
    for reply in [
        pusher.get(&session).await,
        pusher.delete(&session).await,
        pusher.patch(&session).body("x").await,
        pusher.put(&format!("{session}?digest={}", sha256(b"hello"))).await,
    ] {
        reply.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

/// R-UPL-63, R-UPL-51: a session belongs to the account, whatever token it presents.
#[tokio::test]
async fn a_session_outlives_the_token_that_opened_it() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let scope = format!("repository:{app}:push");
    alice.scoped(&[&scope]).await.patch(&session).body("one").await.is(202).has("range", "0-2");
    alice.scoped(&[&scope]).await.patch(&session).body("two").await.is(202).has("range", "0-5");
    let put = alice.with_basic().put(&format!("{session}?digest={}", sha256(b"onetwo"))).await;
    put.is(201);
}

/// R-UPL-12, R-UPL-33, R-UPL-14: what is wrong is told in a fixed order: digest, order, size.
#[tokio::test]
async fn the_first_problem_in_order_is_told() {
    let registry = TestRegistry::shared().await;
    let (alice, app, session) = session(&registry).await;
    let unknown = format!("/v2/{app}/blobs/uploads/00000000-0000-4000-8000-000000000000");
    alice.put(&unknown).header("content-range", "9-9").body("xy").await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    alice.put(&session).header("content-range", "9-9").body("xy").await.is_error(400, "DIGEST_INVALID");
    let closing = format!("{session}?digest={}", sha256(b"z"));
    alice.put(&closing).header("content-range", "9-9").body("xy").await.is_error(416, "BLOB_UPLOAD_INVALID");
    alice.put(&closing).header("content-range", "0-0").body("xy").await.is_error(400, "SIZE_INVALID");
    alice.get(&session).await.is(204).has("range", "0-0");
}
