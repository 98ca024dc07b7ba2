//! What happens on the connection itself: keep-alive, pipelining, waiting, hanging up.

use std::time::{Duration, Instant};

use crate::harness::{Client, Raw, TestRegistry, sha256, unique};

/// The start of a request on `client`'s behalf, up to where more headers may follow.
pub(crate) fn opening(client: &Client, token: &str, first: &str) -> String {
    format!("{first} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n", client.host())
}

/// R-GEN-01: one connection carries many requests, and closes when asked to.
#[tokio::test]
async fn a_connection_is_kept_until_the_client_wants_it_closed() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, b"hello").await;
    let mut raw = Raw::connect(&alice).await;
    for _ in 0..3 {
        raw.send(opening(&alice, &token, &format!("GET /v2/{app}/blobs/{digest}")) + "\r\n").await;
        raw.reply().await.is(200).has_body(b"hello");
        raw.send(opening(&alice, &token, &format!("HEAD /v2/{app}/blobs/{digest}")) + "\r\n").await;
        raw.head().await.is(200).has("content-length", "5");
        raw.send(opening(&alice, &token, &format!("POST /v2/{app}/blobs/uploads/")) + "Content-Length: 0\r\n\r\n")
            .await;
        let session = raw.reply().await.is(202).header("location").to_owned();
        raw.send(opening(&alice, &token, &format!("DELETE {session}")) + "\r\n").await;
        raw.reply().await.is(204);
        raw.send(opening(&alice, &token, "GET /v2/none") + "\r\n").await;
        raw.reply().await.is(404);
    }
    raw.send(opening(&alice, &token, "GET /v2/") + "Connection: close\r\n\r\n").await;
    raw.reply().await.is(200).has_body(b"{}");
    assert!(raw.hangs_up(Duration::from_secs(5)).await);
}

/// R-GEN-01, T-07: requests sent ahead are answered in their order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let blobs = [unique(10), unique(100_000), unique(1)];
    let mut all = String::new();
    for blob in &blobs {
        let digest = alice.push_blob(&app, blob).await;
        all += &(opening(&alice, &token, &format!("GET /v2/{app}/blobs/{digest}")) + "\r\n");
    }
    let mut raw = Raw::connect(&alice).await;
    raw.send(all).await;
    for blob in &blobs {
        raw.reply().await.is(200).has_body(blob);
    }
}

/// R-GEN-08: the body is asked for when somebody is ready to read it.
#[tokio::test]
async fn a_waiting_body_is_asked_for() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let session = alice.start_upload(&alice.repository("app")).await;
    let mut raw = Raw::connect(&alice).await;
    raw.send(
        opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    raw.head().await.is(100);
    raw.stays_silent(Duration::from_millis(200)).await;
    raw.send("hello").await;
    raw.reply().await.is(202).has("range", "0-4");
}

/// R-GEN-08, R-MPT-05, R-UPL-12, R-UPL-14: a refusal comes instead of the invitation, not after it.
#[tokio::test]
async fn a_waiting_body_is_refused_unseen() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let mallory = registry.user("mallory").await;
    let (token, foreign) = (alice.token(&[]).await, mallory.token(&[]).await);
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let session = alice.start_upload(&app).await;
    let length = "Content-Length: 3000000\r\n";
    let table = [
        (401, "nonsense", format!("PATCH {session}"), length.to_owned()),
        (403, &*foreign, format!("POST /v2/{app}/blobs/uploads/?digest={}", sha256(b"x")), length.to_owned()),
        (
            404,
            &*token,
            format!("PATCH /v2/{app}/blobs/uploads/00000000-0000-4000-8000-000000000000"),
            length.to_owned(),
        ),
        (404, &*token, format!("PUT /v2/{app}/unknown"), length.to_owned()),
        (405, &*token, format!("PUT /v2/{app}/tags/list"), length.to_owned()),
        (400, &*token, format!("PUT {session}"), length.to_owned()),
        (400, &*token, format!("PATCH {session}"), format!("{length}Content-Range: 0-9\r\n")),
        (416, &*token, format!("PATCH {session}"), format!("{length}Content-Range: 7-3000006\r\n")),
        (413, &*token, format!("PUT /v2/{app}/manifests/v1"), "Content-Length: 4194305\r\n".to_owned()),
    ];
    for (status, token, first, headers) in table {
        let mut raw = Raw::connect(&alice).await;
        raw.send(opening(&alice, token, &first) + &headers + "Expect: 100-continue\r\n\r\n").await;
        let reply = raw.reply().await;
        reply.is(status);
        assert!(!reply.error_codes().is_empty());
    }
    alice.get(&session).await.is(204).has("range", "0-0");
}

/// R-GEN-09: whoever sends the whole body before looking still reads why it was refused.
#[tokio::test]
async fn an_early_refusal_survives_a_body_on_its_way() {
    const SIZE: usize = 2 << 20;
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let session = alice.start_upload(&app).await;
    let lengths = [format!("Content-Length: {SIZE}\r\n\r\n"), "Transfer-Encoding: chunked\r\n\r\n".to_owned()];
    for length in lengths {
        for (status, token, first) in [
            (401, "nonsense", format!("PUT {session}?digest={}", sha256(b"x"))),
            (404, &*token, format!("PATCH /v2/{app}/blobs/uploads/00000000-0000-4000-8000-000000000000")),
            (400, &*token, format!("PUT {session}")),
            (405, &*token, format!("PATCH /v2/{app}/tags/list")),
        ] {
            let mut raw = Raw::connect(&alice).await;
            raw.send(opening(&alice, token, &first) + &length).await;
            let block = vec![b'x'; 64 << 10];
            // A broken pipe here is what hides the answer from real clients.
            for _ in 0..SIZE / block.len() {
                if length.starts_with("Transfer") {
                    raw.send(format!("{:x}\r\n", block.len())).await;
                    raw.send(&block).await;
                    raw.send("\r\n").await;
                } else {
                    raw.send(&block).await;
                }
            }
            if length.starts_with("Transfer") {
                raw.send("0\r\n\r\n").await;
            }
            raw.reply().await.is(status);
        }
    }
}

/// R-GEN-14: a body may pause, and so may its reader.
#[tokio::test]
async fn a_slow_client_is_given_time() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let bytes = unique(4 << 20);
    let digest = alice.push_blob(&app, &bytes).await;
    let session = alice.start_upload(&app).await;

    let mut upload = Raw::connect(&alice).await;
    upload.send(opening(&alice, &token, &format!("PATCH {session}")) + "Content-Length: 4\r\n\r\n").await;
    let mut download = Raw::connect(&alice).await;
    download.send(opening(&alice, &token, &format!("GET /v2/{app}/blobs/{digest}")) + "\r\n").await;
    for byte in ["s", "l", "o", "w"] {
        tokio::time::sleep(Duration::from_millis(800)).await;
        upload.send(byte).await;
    }
    upload.reply().await.is(202).has("range", "0-3");
    download.reply().await.is(200).has_body(&bytes);
}

/// R-GEN-15: a reader who leaves is no fault of the server, and costs nobody anything.
#[tokio::test]
async fn a_client_that_vanishes_is_not_an_error() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let digest = alice.push_blob(&app, &unique(8 << 20)).await;
    for _ in 0..10 {
        let mut raw = Raw::connect(&alice).await;
        let range = "Range: bytes=0-\r\n\r\n";
        raw.send(opening(&alice, &token, &format!("GET /v2/{app}/blobs/{digest}")) + range).await;
        raw.head().await.is(206);
        raw.reset();
    }
    alice.get("/v2/").await.is(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = registry.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

/// R-PNG-06, T-07: somebody who speaks TLS on the plain port is turned away at once, without noise.
#[tokio::test]
async fn a_tls_hello_is_turned_away() {
    // Set, so that there is nothing else to warn of.
    let registry = TestRegistry::with(|settings| {
        settings.set("JWT_SECRET", "a secret that is long enough to warn of nothing");
    })
    .await;
    let mut raw = Raw::connect(&registry.anonymous()).await;
    let begun = Instant::now();
    // A record header, a ClientHello's beginning, and 200 bytes as they come.
    let mut hello = b"\x16\x03\x01\x00\xca\x01\x00\x00\xc6\x03\x03".to_vec();
    hello.extend(unique(197));
    raw.send(hello).await;
    let answer = raw.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    assert!(begun.elapsed() < Duration::from_secs(5));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = registry.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN "), "{log}");
}

/// R-LIM-05, N-13: long headers and addresses are fine, endless ones are refused.
#[tokio::test]
async fn headers_may_be_long_but_not_endless() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let line = |n: usize, length: usize| format!("X-Long-{n}: {}\r\n", "x".repeat(length));
    let lines = |count, length| -> String { (0..count).map(|n| line(n, length)).collect() };
    for headers in [line(0, 60_000), lines(10, 6000), lines(90, 1)] {
        let mut raw = Raw::connect(&alice).await;
        raw.send(opening(&alice, &token, "GET /v2/") + &headers + "\r\n").await;
        raw.reply().await.is(200);
    }
    let mut raw = Raw::connect(&alice).await;
    raw.send(opening(&alice, &token, &format!("GET /v2/?x={}", "x".repeat(16_000))) + "\r\n").await;
    raw.reply().await.is(200);

    let mut raw = Raw::connect(&alice).await;
    // It may stop listening before it has heard all of it.
    let _ = raw.try_send(opening(&alice, &token, "GET /v2/") + &line(0, 2_000_000) + "\r\n").await;
    raw.head().await.is(431);
    let mut raw = Raw::connect(&alice).await;
    let _ = raw.try_send(opening(&alice, &token, "GET /v2/") + &lines(110, 1) + "\r\n").await;
    raw.head().await.is(431);
    let mut raw = Raw::connect(&alice).await;
    let _ = raw.try_send(opening(&alice, &token, &format!("GET /v2/?x={}", "x".repeat(200_000))) + "\r\n").await;
    let status = raw.head().await.status;
    assert!(matches!(status, 414 | 431), "{status}");
}

/// R-LOC-09: `Host` must be there, once, and look like a host; its text goes nowhere else.
#[tokio::test]
async fn a_bad_host_is_refused() {
    let registry = TestRegistry::shared().await;
    let nobody = registry.anonymous();
    let bad = [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a\"b\r\n",
        "Host: a/b\r\n",
        "Host: a\\b\r\n",
        "Host: user@a\r\n",
        "Host: a:port\r\n",
        "Host: a:99999999\r\n",
        "Host: a, b\r\n",
        "Host: <a>\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: \u{e4}\r\n",
        "Host: [::1\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
    ];
    for headers in bad {
        let mut raw = Raw::connect(&nobody).await;
        raw.send(format!("GET /v2/ HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await;
        let reply = raw.reply().await;
        assert_eq!(reply.status, 400, "{headers:?}: {reply:?}");
        reply.lacks("www-authenticate").lacks("location");
    }
    for host in ["example.com", "example.com:8443", "127.0.0.1", "[::1]:5000", "registry_1.local", "a-b.c"] {
        let mut raw = Raw::connect(&nobody).await;
        raw.send(format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let reply = raw.reply().await;
        assert!(reply.is(401).header("www-authenticate").contains(&format!("realm=\"http://{host}/auth/token\"")));
    }
}

/// T-07, R-GEN-10: trailers after a chunked body are read over.
#[tokio::test]
async fn chunked_trailers_are_tolerated() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let session = alice.start_upload(&alice.repository("app")).await;
    let mut raw = Raw::connect(&alice).await;
    let head = "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    raw.send(opening(&alice, &token, &format!("PATCH {session}")) + head).await;
    raw.send("3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    raw.reply().await.is(202).has("range", "0-4");
    raw.send(opening(&alice, &token, &format!("GET {session}")) + "\r\n").await;
    raw.reply().await.is(204).has("range", "0-4");
}

/// T-07: what is no HTTP is answered with 400 or a closed connection, never with a fault.
#[tokio::test]
async fn broken_requests_are_refused() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let session = alice.start_upload(&alice.repository("app")).await;
    let patch = opening(&alice, &token, &format!("PATCH {session}"));
    let requests = [
        "GET\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        "GET /v2/ HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(),
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n".to_owned(),
        "GET /v2/\u{0} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /v2/a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        patch.clone() + "Content-Length: -1\r\n\r\n",
        patch.clone() + "Content-Length: 99999999999999999999999\r\n\r\n",
        patch.clone() + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        patch.clone() + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        patch.clone() + "Transfer-Encoding: gzip\r\n\r\nabc",
    ];
    for request in requests {
        let mut raw = Raw::connect(&alice).await;
        raw.send(&request).await;
        raw.finish().await;
        let answer = String::from_utf8_lossy(&raw.rest().await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
    }
    alice.get(&session).await.is(204).has("range", "0-0");
}
