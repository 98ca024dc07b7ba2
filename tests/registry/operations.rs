//! Health, metrics, logs, and a clean end.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::{REQUEST_ID, Raw, TestRegistry, sha256, unique};
use crate::wire::opening;

/// C-CRL-02, R-LIM-02: probes need no credentials, and readiness is more than being alive.
#[tokio::test]
async fn health_is_told_to_anybody() {
    let registry = TestRegistry::start().await;
    let nobody = registry.anonymous();
    nobody.get("/healthz").await.is(200);
    nobody.get("/readyz").await.is(200);
    std::fs::remove_dir_all(registry.root()).unwrap();
    nobody.get("/readyz").faults_welcome().await.is(503);
    nobody.get("/healthz").await.is(200);
}

/// The names of the metrics that are there, with their labels and without values.
fn series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// R-GEN-16: metrics have the names of the reference registry's panels, and count requests by endpoint, to the last byte.
#[tokio::test]
async fn metrics_are_counted_by_endpoint() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let image = alice.push_new_image(&app, "some-tag").await;
    alice.get(&format!("/v2/{app}/blobs/{}", sha256(&image.layers[0]))).await.is(200);
    alice.get(&format!("/v2/{app}/manifests/some-tag")).await.is(200);
    alice.get(&format!("/v2/{app}/tags/list")).await.is(200);
    alice.get("/v2/A/tags/list").await.is(400);
    registry.anonymous().get(&format!("/v2/{app}/tags/list")).await.is(401);
    registry.anonymous().as_user(alice.name(), "wrong password").with_basic().get("/auth/token").await.is(401);

    let reply = registry.anonymous().get("/metrics").await;
    assert!(reply.is(200).header("content-type").starts_with("text/plain"));
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let lines = series(&text);
    for name in [
        "registry_build_info{",
        "registry_http_requests_total{",
        "registry_http_request_duration_seconds",
        "registry_http_in_flight_requests{",
        "registry_http_request_size_bytes",
        "registry_http_response_size_bytes",
        "registry_storage_action_seconds",
        "registry_upload_bytes_total",
        "registry_download_bytes_total",
        "registry_uploads_in_progress",
        "registry_auth_attempts_total{",
        "registry_authz_denials_total{",
        "registry_tokens_issued_total{",
        "registry_db_query_duration_seconds",
        "registry_db_pool_connections{",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(name)), "no {name} in:\n{text}");
    }
    let count = |parts: &[&str]| -> u64 {
        let matching = lines.iter().filter(|line| parts.iter().all(|part| line.contains(part)));
        matching.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    };
    let requests = "registry_http_requests_total{";
    assert_eq!(count(&[requests, "handler=\"blob\"", "method=\"GET\"", "code=\"200\""]), 1, "{text}");
    assert_eq!(count(&[requests, "handler=\"manifest\"", "method=\"PUT\"", "code=\"201\""]), 1, "{text}");
    assert_eq!(count(&[requests, "handler=\"tags\"", "code=\"401\""]), 1, "{text}");
    assert!(count(&["registry_upload_bytes_total"]) >= 300, "{text}");
    assert!(count(&["registry_download_bytes_total"]) >= 300, "{text}");
    // Labels are bounded and name nobody.
    for private in [alice.name(), "some-tag", &app, &image.digest()[7..20]] {
        assert!(!text.contains(private), "{private} in:\n{text}");
    }
    let help: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(help.iter().all(|line| line.starts_with("registry_")), "{help:?}");
}

/// R-GEN-16, I8: each request is logged once, with the id that the client was given.
#[tokio::test]
async fn every_request_has_a_line_with_its_id() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let mut ids = Vec::new();
    ids.push((alice.get("/v2/").await.header(REQUEST_ID).to_owned(), "200"));
    ids.push((alice.get(&format!("/v2/{app}/tags/list")).await.header(REQUEST_ID).to_owned(), "404"));
    ids.push((registry.anonymous().get("/v2/").await.header(REQUEST_ID).to_owned(), "401"));
    ids.push((registry.anonymous().get("/nothing").await.header(REQUEST_ID).to_owned(), "404"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = registry.log();
    for (id, status) in ids {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
        assert_eq!(lines.len(), 1, "{id}: {lines:#?}\n{log}");
        assert!(lines[0].contains(status), "{}", lines[0]);
    }
}

/// R-TKG-05: the line of a token says for whom it is and what the client calls itself, in one line whatever that is.
#[tokio::test]
async fn the_line_of_a_token_names_account_and_client() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let by_get = alice.with_basic().get("/auth/token?account=bob&client_id=a%0Aclient%22").await;
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("grant_type", "password"), ("username", alice.name()), ("password", alice.password())])
        .append_pair("client_id", &"x".repeat(1000))
        .finish();
    let form = alice.post("/auth/token").header("content-type", "application/x-www-form-urlencoded").body(form);
    let by_post = form.await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = registry.log();
    for (reply, client) in
        [(&by_get, r#"client_id="a\nclient\"""#), (&by_post, &*format!("client_id=\"{}\"", "x".repeat(64)))]
    {
        let id = reply.is(200).header(REQUEST_ID);
        let line = log.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("no {id} in:\n{log}"));
        assert!(line.contains(&format!("account=\"{}\"", alice.name())) && line.contains(client), "{line}");
    }
}

/// R-GEN-16: logs can be JSON, one object a line, with the values as fields.
#[tokio::test]
async fn logs_can_be_json() {
    let registry = TestRegistry::with(|settings| {
        settings.set("OCI_REGISTRY_LOG_FORMAT", "json");
    })
    .await;
    let id = registry.anonymous().get("/v2/").await.header(REQUEST_ID).to_owned();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = registry.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    let line = lines.iter().find(|line| line.to_string().contains(&id)).unwrap_or_else(|| panic!("no {id} in:\n{log}"));
    assert!(line.to_string().contains("401"), "{line}");
}

/// R-TKP-05, R-TKG-03: no password or token is ever logged.
#[tokio::test]
async fn secrets_are_not_logged() {
    let registry = TestRegistry::with(|settings| {
        settings.set("RUST_LOG", "trace");
        settings.set("JWT_SECRET", "the-secret-of-all-the-tokens-of-this-registry");
        settings.set("PASSWORD_SALT", "0123456789abcdef");
    })
    .await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    alice.with_basic().get("/v2/").await.is(200);
    alice.get("/v2/").await.is(200);
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("grant_type", "password"), ("username", alice.name()), ("password", alice.password())])
        .finish();
    let post = alice.post("/auth/token").header("content-type", "application/x-www-form-urlencoded").body(form.clone());
    post.await.is(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = registry.log();
    assert!(!log.is_empty());
    let pair = crate::harness::basic(alice.name(), alice.password());
    let encoded = form.rsplit('=').next().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for secret in [alice.password(), encoded, &pair[6..], signature, "the-secret-of-all", "0123456789abcdef"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
}

/// R-GEN-15, I2: told to stop, the server accepts no more, finishes what is in flight, and ends with 0.
#[tokio::test]
async fn a_stop_waits_for_what_is_in_flight() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    let token = alice.token(&[]).await;
    let app = alice.repository("app");
    let bytes = unique(100_000);
    let session = alice.start_upload(&app).await;
    let mut idle = Raw::connect(&alice).await;
    idle.send(opening(&alice, &token, "GET /v2/") + "\r\n").await;
    idle.reply().await.is(200);
    let mut raw = Raw::connect(&alice).await;
    let first = format!("PUT {session}?digest={}", sha256(&bytes));
    raw.send(opening(&alice, &token, &first) + "Content-Length: 100000\r\n\r\n").await;
    raw.send(&bytes[..50_000]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    registry.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(registry.is_running(), "it did not wait");
    let refused = TcpStream::connect(registry.address()).await;
    assert!(refused.is_err(), "it still accepts connections");
    assert!(idle.hangs_up(Duration::from_secs(5)).await, "an idle connection is kept");
    raw.send(&bytes[50_000..]).await;
    raw.reply().await.is(201);
    let status = registry.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{status}");

    registry.crash();
    alice.get(&format!("/v2/{app}/blobs/{}", sha256(&bytes))).await.is(200).has_body(&bytes);
}

/// R-LIM-03, R-GEN-01: hundreds of requests at once are all answered.
#[tokio::test]
async fn a_burst_is_survived() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    let bytes = unique(200_000);
    let digest = alice.push_blob(&app, &bytes).await;
    let path = format!("/v2/{app}/blobs/{digest}");
    let gets = (0..300_usize).map(|n| {
        let first = n * 600;
        let get = alice.get(&path).header("range", &format!("bytes={first}-{}", first + 599));
        async move { (first, get.await) }
    });
    for (first, reply) in futures_util::future::join_all(gets).await {
        reply.is(206).has_body(&bytes[first..first + 600]);
    }
    let pushes = (0..40).map(|n| {
        let (alice, app) = (alice.clone(), format!("{app}-{}", n % 4));
        async move {
            let bytes = unique(5000);
            let digest = alice.push_blob(&app, &bytes).await;
            alice.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
        }
    });
    futures_util::future::join_all(pushes).await;
}
