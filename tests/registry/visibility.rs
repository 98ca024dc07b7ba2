//! Who may do what: the table of identities, visibilities and actions, cell by cell.

use std::sync::Arc;

use crate::harness::{Challenge, Client, Image, Manifest, Reply, TestRegistry, unique_name};

const VISIBILITIES: [&str; 4] = ["public", "internal", "private", "absent"];

/// One of each who could knock, and a repository of each visibility in alice's namespace.
struct Cast {
    registry: Arc<TestRegistry>,
    alice: Client,
    image: Image,
    people: Vec<(&'static str, Client)>,
}

impl Cast {
    async fn assembled() -> Self {
        let registry = TestRegistry::shared().await;
        let alice = registry.user("alice").await;
        let stranger = registry.user("stranger").await;
        let reader = registry.user("reader").await;
        let writer = registry.user("writer").await;
        let admin = registry.admin().await;
        let image = Image::unique();
        for visibility in &VISIBILITIES[..3] {
            let name = alice.repository(visibility);
            alice.push_image(&name, "latest", &image).await;
            alice.set_visibility(&name, visibility).await;
        }
        registry.set_member(alice.name(), &reader, "reader");
        registry.set_member(alice.name(), &writer, "writer");
        let nobody = registry.anonymous();
        let people = vec![
            ("nobody", nobody.clone()),
            ("anonymous", nobody.log_in().await),
            ("stranger", stranger),
            ("reader", reader),
            ("writer", writer),
            ("owner", alice.clone()),
            ("admin", admin),
        ];
        Self { registry, alice, image, people }
    }

    /// Everybody, with each kind of credentials they have: none, an unscoped token, a token
    /// for everything in that repository, name and password.
    async fn guises(&self, repository: &str) -> Vec<(&'static str, Client)> {
        let mut guises = Vec::new();
        for (who, client) in &self.people {
            guises.push((*who, client.clone()));
            if !["nobody", "anonymous"].contains(who) {
                guises.push((*who, client.scoped(&[&format!("repository:{repository}:pull,push,delete")]).await));
                guises.push((*who, client.with_basic()));
            }
        }
        guises
    }
}

/// What a cell of the table says, for every column.
fn cell(table: &[(&str, [u16; 4])], who: &str, visibility: &str) -> u16 {
    let (_, row) = table.iter().find(|(name, _)| *name == who).unwrap();
    row[VISIBILITIES.iter().position(|name| *name == visibility).unwrap()]
}

/// Panics unless the reply is the refusal that its status asks for (R-AUZ-03).
#[track_caller]
fn is_as_said(who: &str, visibility: &str, reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{who}, {visibility}: {reply:?}");
    match status {
        401 => {
            let error = Challenge::of(reply.is_error(401, "UNAUTHORIZED")).error;
            let expected = (who == "anonymous").then_some("insufficient_scope");
            assert_eq!(error.as_deref(), expected, "{who}, {visibility}: {reply:?}");
        }
        403 => drop(reply.is_error(403, "DENIED").lacks("www-authenticate")),
        404 => drop(reply.is_error(404, "NAME_UNKNOWN").lacks("www-authenticate")),
        _ => {}
    }
}

/// R-AUZ-02, R-AUZ-03, R-AUZ-04, R-AUZ-05, R-AUZ-08, R-REF-01: who may pull, in every guise, through every endpoint that reads.
#[tokio::test]
async fn who_may_pull() {
    let table = [
        ("nobody", [200, 401, 401, 401]),
        ("anonymous", [200, 401, 401, 401]),
        ("stranger", [200, 200, 404, 404]),
        ("reader", [200, 200, 200, 404]),
        ("writer", [200, 200, 200, 404]),
        ("owner", [200, 200, 200, 404]),
        ("admin", [200, 200, 200, 404]),
    ];
    let cast = Cast::assembled().await;
    let config = crate::harness::sha256(&cast.image.config);
    for visibility in VISIBILITIES {
        let name = cast.alice.repository(visibility);
        for (who, client) in cast.guises(&name).await {
            let status = cell(&table, who, visibility);
            for path in [
                format!("/v2/{name}/manifests/latest"),
                format!("/v2/{name}/manifests/{}", cast.image.digest()),
                format!("/v2/{name}/blobs/{config}"),
                format!("/v2/{name}/tags/list"),
            ] {
                is_as_said(who, visibility, &client.get(&path).await, status);
                client.head(&path).await.is(status);
            }
            let referrers = client.get(&format!("/v2/{name}/referrers/{config}")).await;
            is_as_said(who, visibility, &referrers, if status == 404 { 200 } else { status });
            if status < 400 {
                // It is only what is missing that is not found.
                let missing = client.get(&format!("/v2/{name}/manifests/missing")).await;
                missing.is_error(404, "MANIFEST_UNKNOWN");
            }
        }
    }
    drop(cast.registry);
}

/// R-AUZ-03, R-AUZ-04, R-AUZ-07, R-AUZ-08: who may push, blobs and manifests, also to what is not there yet.
#[tokio::test]
async fn who_may_push() {
    let table = [
        ("nobody", [401, 401, 401, 401]),
        ("anonymous", [401, 401, 401, 401]),
        ("stranger", [403, 403, 403, 403]),
        ("reader", [403, 403, 403, 403]),
        ("writer", [202, 202, 202, 202]),
        ("owner", [202, 202, 202, 202]),
        ("admin", [202, 202, 202, 202]),
    ];
    let cast = Cast::assembled().await;
    let digest = crate::harness::sha256(b"x");
    for visibility in VISIBILITIES {
        let name = cast.alice.repository(visibility);
        for (who, client) in cast.guises(&name).await {
            let status = cell(&table, who, visibility);
            let post = client.post(&format!("/v2/{name}/blobs/uploads/")).await;
            is_as_said(who, visibility, &post, status);
            let manifest = client.put_manifest(&name, "latest", &cast.image.manifest).await;
            if status != 202 {
                is_as_said(who, visibility, &manifest, status);
                let once = client.post(&format!("/v2/{name}/blobs/uploads/?digest={digest}")).body("x").await;
                is_as_said(who, visibility, &once, status);
                let mount = client.post(&format!("/v2/{name}/blobs/uploads/?mount={digest}")).await;
                is_as_said(who, visibility, &mount, status);
                let session = format!("/v2/{name}/blobs/uploads/00000000-0000-4000-8000-000000000000");
                is_as_said(who, visibility, &client.get(&session).await, status);
                is_as_said(who, visibility, &client.patch(&session).body("x").await, status);
                is_as_said(who, visibility, &client.delete(&session).await, status);
            } else if visibility == "absent" {
                // The image is not there, so that the repository stays absent.
                manifest.is_error(400, "MANIFEST_BLOB_UNKNOWN");
            } else {
                manifest.is(201);
            }
        }
    }
}

/// R-AUZ-03, R-AUZ-04, R-AUZ-06: who may delete tags, manifests and blobs.
#[tokio::test]
async fn who_may_delete() {
    let table = [
        ("nobody", [401, 401, 401, 401]),
        ("anonymous", [401, 401, 401, 401]),
        ("stranger", [403, 403, 404, 404]),
        ("reader", [403, 403, 403, 404]),
        ("writer", [403, 403, 403, 404]),
        ("owner", [202, 202, 202, 404]),
        ("admin", [202, 202, 202, 404]),
    ];
    let cast = Cast::assembled().await;
    for visibility in VISIBILITIES {
        let name = cast.alice.repository(visibility);
        for (who, client) in cast.guises(&name).await {
            let status = cell(&table, who, visibility);
            if status == 202 {
                let image = cast.alice.push_new_image(&name, "doomed").await;
                client.delete(&format!("/v2/{name}/manifests/doomed")).await.is(202);
                client.delete(&format!("/v2/{name}/manifests/{}", image.digest())).await.is(202);
                client.delete(&format!("/v2/{name}/blobs/{}", crate::harness::sha256(&image.config))).await.is(202);
                continue;
            }
            for path in [
                "manifests/latest".to_owned(),
                "manifests/missing".to_owned(),
                format!("manifests/{}", cast.image.digest()),
                format!("blobs/{}", crate::harness::sha256(&cast.image.config)),
            ] {
                is_as_said(who, visibility, &client.delete(&format!("/v2/{name}/{path}")).await, status);
            }
        }
        if visibility != "absent" {
            cast.alice.get(&format!("/v2/{name}/manifests/latest")).await.is(200);
        }
    }
}

/// R-AUZ-03, R-AUZ-06: who may say who may pull.
#[tokio::test]
async fn who_may_change_the_visibility() {
    let table = [
        ("nobody", [401, 401, 401, 401]),
        ("anonymous", [401, 401, 401, 401]),
        ("stranger", [403, 403, 404, 404]),
        ("reader", [403, 403, 403, 404]),
        ("writer", [403, 403, 403, 404]),
        ("owner", [200, 200, 200, 404]),
        ("admin", [200, 200, 200, 404]),
    ];
    let cast = Cast::assembled().await;
    for visibility in VISIBILITIES {
        let name = cast.alice.repository(visibility);
        for (who, client) in &cast.people {
            let mut guises = vec![client.clone()];
            if !["nobody", "anonymous"].contains(who) {
                guises.push(client.with_basic());
            }
            for client in guises {
                let wanted = if visibility == "absent" { "private" } else { visibility };
                let reply = client.put_visibility(&name, wanted).await;
                let status = cell(&table, who, visibility);
                assert_eq!(reply.status, status, "{who}, {visibility}: {reply:?}");
                match status {
                    401 => drop(Challenge::of(&reply)),
                    403 => drop(reply.is_error(403, "DENIED")),
                    404 => drop(reply.is_error(404, "NAME_UNKNOWN")),
                    _ => {}
                }
            }
        }
    }
}

/// R-AUZ-03: a repository's creator is its owner while a member of its namespace, and of others' he is not.
#[tokio::test]
async fn a_creator_owns_what_they_made_while_they_are_a_member() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    let carol = registry.user("carol").await;
    registry.set_member(alice.name(), &bob, "writer");
    registry.set_member(alice.name(), &carol, "writer");
    let (made, other) = (alice.repository("made-by-bob"), alice.repository("other"));
    bob.push_new_image(&made, "v1").await;
    alice.push_new_image(&other, "v1").await;
    carol.delete(&format!("/v2/{made}/manifests/v1")).await.is_error(403, "DENIED");
    bob.delete(&format!("/v2/{other}/manifests/v1")).await.is_error(403, "DENIED");
    bob.put_visibility(&made, "internal").await.is(200);
    bob.delete(&format!("/v2/{made}/manifests/v1")).await.is(202);
}

/// R-AUZ-03, R-AUZ-07, R-NAM-07: a free namespace is claimed with the first blob, mount or manifest, not with a session.
#[tokio::test]
async fn a_namespace_is_claimed_by_what_is_pushed_first() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    let bob = registry.user("bob").await;
    for single in [true, false] {
        let namespace = unique_name("free");
        let app = if single { namespace.clone() } else { format!("{namespace}/app") };
        let session = alice.start_upload(&app).await;
        // Nothing is claimed yet.
        bob.start_upload(&app).await;
        bob.push_blob(&app, b"first").await;
        let late = alice.put(&format!("{session}?digest={}", crate::harness::sha256(b"late"))).body("late").await;
        late.is_error(403, "DENIED");
        alice.post(&format!("/v2/{namespace}/other/blobs/uploads/")).await.is_error(403, "DENIED");
        bob.push_blob(&format!("{namespace}/other"), b"x").await;
        alice.get(&format!("/v2/{app}/tags/list")).await.is_error(404, "NAME_UNKNOWN");
    }
    let namespace = unique_name("free");
    let index = Manifest::index(&[], &serde_json::json!({}));
    alice.push_manifest(&format!("{namespace}/app"), "v1", &index).await;
    bob.put_manifest(&format!("{namespace}/bpp"), "v1", &index).await.is_error(403, "DENIED");
    let namespace = unique_name("free");
    let digest = alice.push_blob(&alice.repository("from"), b"mounted").await;
    let from = alice.repository("from");
    alice.post(&format!("/v2/{namespace}/app/blobs/uploads/?mount={digest}&from={from}")).await.is(201);
    bob.post(&format!("/v2/{namespace}/app/blobs/uploads/")).await.is_error(403, "DENIED");
}

/// R-AUZ-03, I3: of many who push to a free namespace at once, one gets it.
#[tokio::test]
async fn one_of_many_claims_a_namespace() {
    let registry = TestRegistry::shared().await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(registry.user("racer").await);
    }
    for round in 0..3 {
        let namespace = unique_name("race");
        let index = Manifest::index(&[], &serde_json::json!({}));
        let pushes = people.iter().enumerate().map(|(n, client)| {
            let (app, index) = (format!("{namespace}/app{n}"), index.clone());
            async move { client.put_manifest(&app, "v1", &index).await.status }
        });
        let mut statuses = futures_util::future::join_all(pushes).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 403, 403, 403], "round {round}");
    }
}

/// R-AUZ-03: new repositories are private, or what the operator says.
#[tokio::test]
async fn new_repositories_have_the_default_visibility() {
    let shared = TestRegistry::shared().await;
    let alice = shared.user("alice").await;
    let bob = shared.user("bob").await;
    alice.push_new_image(&alice.repository("app"), "v1").await;
    bob.get(&format!("/v2/{}/manifests/v1", alice.repository("app"))).await.is_error(404, "NAME_UNKNOWN");
    for (visibility, user, nobody) in [("public", 200, 200), ("internal", 200, 401), ("private", 404, 401)] {
        let registry = TestRegistry::with(|settings| {
            settings.set("OCI_REGISTRY_DEFAULT_VISIBILITY", visibility);
        })
        .await;
        let (alice, bob) = (registry.user("alice").await, registry.user("bob").await);
        alice.push_new_image(&alice.repository("app"), "v1").await;
        let path = format!("/v2/{}/manifests/v1", alice.repository("app"));
        bob.get(&path).await.is(user);
        registry.anonymous().log_in().await.get(&path).await.is(nobody);
    }
}
