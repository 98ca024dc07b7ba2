//! Two servers on one database and one directory, behind a balancer that knows nothing of sessions.
//!
//! Only PostgreSQL can be shared, so these run where it is tested:
//! `TEST_POSTGRES_URL=… cargo test --test registry -- --include-ignored`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Manifest, Raw, TestRegistry, sha256, unique, unique_name, unique_text};
use crate::wire::opening;

/// R-UPL-63, R-BLB-04: a session goes on wherever its next request lands, and the blob is there at once.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_session_goes_on_at_another_replica() {
    let registry = TestRegistry::start().await;
    let replica = registry.replica();
    let here = registry.user("alice").await;
    let there = replica.seen_by(&here);
    let app = here.repository("app");
    let bytes = unique(3_000_000);
    let session = here.start_upload(&app).await;
    for (n, chunk) in bytes.chunks(1_000_000).enumerate() {
        let (writer, reader) = if n % 2 == 0 { (&there, &here) } else { (&here, &there) };
        let range = format!("{}-{}", n * 1_000_000, (n + 1) * 1_000_000 - 1);
        let patch = writer.patch(&session).header("content-range", &range).body(chunk.to_vec()).await;
        patch.is(202).has("range", &format!("0-{}", (n + 1) * 1_000_000 - 1));
        reader.get(&session).await.is(204).has("range", patch.header("range"));
    }
    let digest = sha256(&bytes);
    there.put(&format!("{session}?digest={digest}")).await.is(201);
    for client in [&here, &there] {
        client.get(&format!("/v2/{app}/blobs/{digest}")).await.is(200).has_body(&bytes);
        client.get(&session).await.is_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

/// R-UPL-19, R-UPL-18: writers take turns also where they come to different replicas.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn writers_take_turns_across_replicas() {
    let registry = TestRegistry::start().await;
    let replica = registry.replica();
    let here = registry.user("alice").await;
    let there = replica.seen_by(&here);
    let token = here.token(&[]).await;
    let session = here.start_upload(&here.repository("app")).await;
    let mut first = Raw::connect(&here).await;
    first.send(opening(&here, &token, &format!("PATCH {session}")) + "Content-Length: 6\r\n\r\none").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = Raw::connect(&there).await;
    second.send(opening(&there, &token, &format!("PATCH {session}")) + "Content-Length: 3\r\n\r\ntwo").await;
    second.stays_silent(Duration::from_millis(500)).await;
    first.send("ONE").await;
    first.reply().await.is(202).has("range", "0-5");
    second.reply().await.is(202).has("range", "0-8");
    there.put(&format!("{session}?digest={}", sha256(b"oneONEtwo"))).await.is(201);
}

/// R-MGT-10, R-BLB-04, R-MDL-02, R-REF-11, R-TGL-09: what one replica acknowledged, every other serves at once.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_replica_serves_what_one_acknowledged() {
    let registry = TestRegistry::start().await;
    let replica = registry.replica();
    let here = registry.user("alice").await;
    let there = replica.seen_by(&here);
    let app = here.repository("app");
    let path = format!("/v2/{app}/manifests/latest");
    for round in 0..5 {
        let (writer, reader) = if round % 2 == 0 { (&here, &there) } else { (&there, &here) };
        let image = writer.push_new_image(&app, "latest").await;
        reader.get(&path).await.is(200).has_body(&image.manifest.bytes);
        for blob in image.blobs() {
            reader.get(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(200).has_body(blob);
        }
        writer.push_blob(&app, b"{}").await;
        let signature = Manifest::referrer(&image.manifest.descriptor(), "a/b", &json!({}));
        writer.push_manifest(&app, &signature.digest(), &signature).await;
        let referrers = format!("/v2/{app}/referrers/{}", image.digest());
        assert_eq!(reader.get(&referrers).await.json()["manifests"][0]["digest"], signature.digest());
        writer.delete(&format!("/v2/{app}/manifests/{}", image.digest())).await.is(202);
        reader.get(&path).await.is_error(404, "MANIFEST_UNKNOWN");
        assert_eq!(reader.get(&format!("/v2/{app}/tags/list")).await.strings("tags"), [""; 0]);
        for blob in image.blobs() {
            writer.delete(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is(202);
            reader.get(&format!("/v2/{app}/blobs/{}", sha256(blob))).await.is_error(404, "BLOB_UNKNOWN");
        }
    }
}

/// R-AUZ-02, I6: who may do what is known everywhere within seconds.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_change_of_visibility_reaches_every_replica() {
    let registry = TestRegistry::start().await;
    let replica = registry.replica();
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_new_image(&app, "v1").await;
    let path = format!("/v2/{app}/manifests/v1");
    let nobody = replica.seen_by(&registry.anonymous().log_in().await);
    nobody.get(&path).await.is(401);
    for (visibility, status) in [("public", 200), ("private", 401), ("public", 200), ("internal", 401)] {
        alice.set_visibility(&app, visibility).await;
        let begun = Instant::now();
        while nobody.get(&path).await.status != status {
            assert!(begun.elapsed() < Duration::from_secs(5), "{visibility} is not known after {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// R-ERR-03, R-AUZ-03, I3: a name and a namespace are had by one, whichever replica was asked.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn races_between_replicas_have_one_winner() {
    let registry = TestRegistry::start().await;
    let replica = registry.replica();
    let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
    let nobody = registry.anonymous();
    for _ in 0..5 {
        let (name, password) = (unique_name("wanted"), unique_text("password"));
        let user = json!({ "username": name, "password": password });
        let asked = [nobody.clone(), replica.seen_by(&nobody)];
        let tries = asked.iter().map(|client| client.post("/api/v1/users").json(&user).into_future());
        let mut statuses: Vec<_> =
            futures_util::future::join_all(tries).await.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);

        let namespace = unique_name("free");
        let index = Manifest::index(&[], &json!({}));
        let pushes = [alice.clone(), replica.seen_by(&bob)]
            .map(|client| client.put_manifest(&format!("{namespace}/app"), "v1", &index).into_future());
        let mut statuses: Vec<_> =
            futures_util::future::join_all(pushes).await.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 403]);
    }
}
