//! What every reply must keep, whatever the test is about. Each request that any
//! test sends through a [`super::Client`] is held against them.

use http::Method;
use serde_json::Value;

use super::reply::{REQUEST_ID, Reply};
use super::token::Challenge;

/// The codes a client may see below `/v2/` (R-ERR-03), and the two for our own faults (R-ERR-05).
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// Panics if the reply breaks one of the rules.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) {
    let registry = path == "/v2" || path.starts_with("/v2/") || path.starts_with("/v2?");
    let ours = registry || path.starts_with("/auth/") || path.starts_with("/api/");

    // R-GEN-16 and I8.
    reply.has("x-content-type-options", "nosniff");
    assert!(!reply.header(REQUEST_ID).is_empty(), "{reply:?}");
    // R-GEN-11, and a promise that we cannot keep for clients of old.
    reply.lacks("content-encoding").lacks("x-registry-supports-signatures");

    if registry {
        // R-GEN-13
        reply.has("docker-distribution-api-version", "registry/2.0");
        framing(method, reply);
    }
    if ours && reply.status >= 400 && *method != Method::HEAD {
        error(registry, reply);
    }
    if reply.status == 401 && !path.starts_with("/auth/") {
        // R-CHL-01 to R-CHL-03
        Challenge::of(reply);
    } else if reply.status != 401 {
        reply.lacks("www-authenticate");
    }
    match reply.status {
        405 => assert!(!reply.header("allow").is_empty(), "{reply:?}"),
        // R-LIM-01, R-LIM-02
        429 | 503 if ours => assert!(reply.header("retry-after").parse::<u64>().is_ok(), "{reply:?}"),
        _ => {}
    }
    if let Some(location) = reply.headers.get("location") {
        // R-LOC-02
        let location = location.to_str().unwrap();
        assert!(location.starts_with('/') && !location.starts_with("//"), "{reply:?}");
    }
    if let Some(next) = reply.next() {
        // R-LOC-06
        assert!(next.starts_with('/') && !next.starts_with("//"), "{reply:?}");
        assert!(next.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>'), "{reply:?}");
    }
}

/// R-GEN-12: an exact length, no chunked coding; none where there cannot be a body.
#[track_caller]
fn framing(method: &Method, reply: &Reply) {
    reply.lacks("transfer-encoding");
    if matches!(reply.status, 204 | 304) {
        reply.lacks("content-length").has_body(b"");
        return;
    }
    let length: u64 = reply.header("content-length").parse().unwrap();
    if *method == Method::HEAD {
        reply.has_body(b"");
    } else {
        assert_eq!(length, reply.body.len() as u64, "{reply:?}");
    }
}

/// R-ERR-01 to R-ERR-03, R-ERR-05.
#[track_caller]
fn error(registry: bool, reply: &Reply) {
    let kind = reply.header("content-type");
    assert!(kind == "application/json" || kind == "application/json; charset=utf-8", "{reply:?}");
    let body = reply.json();
    let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no `errors`: {reply:?}"));
    assert!(!errors.is_empty(), "{reply:?}");
    for error in errors {
        let fields = error.as_object().unwrap_or_else(|| panic!("an error is an object: {reply:?}"));
        assert!(fields.keys().all(|key| ["code", "message", "detail"].contains(&&**key)), "{reply:?}");
        assert!(matches!(fields.get("message"), None | Some(Value::String(_))), "{reply:?}");
        let code = fields.get("code").and_then(Value::as_str).unwrap_or_default();
        assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{reply:?}");
        match reply.status {
            500 => assert_eq!(code, "UNKNOWN", "{reply:?}"),
            503 | 507 => assert_eq!(code, "UNAVAILABLE", "{reply:?}"),
            401 => assert_eq!(code, "UNAUTHORIZED", "{reply:?}"),
            429 => assert_eq!(code, "TOOMANYREQUESTS", "{reply:?}"),
            _ if registry => assert!(CODES.contains(&code), "`{code}` is no code of the spec: {reply:?}"),
            _ => {}
        }
    }
}
