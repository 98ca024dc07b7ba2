//! end-1: is this a registry, and does it know me?

use crate::harness::TestRegistry;

/// R-PNG-01, H-01: an accepted identity gets 200, `{}` and the API version.
#[tokio::test]
async fn a_known_user_is_welcome() {
    let registry = TestRegistry::shared().await;
    let alice = registry.user("alice").await;
    for path in ["/v2/", "/v2"] {
        let reply = alice.get(path).await;
        reply.is(200).has("content-type", "application/json").has_body(b"{}");
        reply.has("docker-distribution-api-version", "registry/2.0");
    }
}
