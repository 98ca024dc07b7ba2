use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::Value;

use super::reply::Reply;

/// What a 401 tells a client to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<String>,
}

impl Challenge {
    /// Reads the challenge as strictly as R-CHL-01 and R-CHL-02 allow: one line, `Bearer`,
    /// quoted values, in the order realm, service, scope, error.
    #[track_caller]
    pub(crate) fn of(reply: &Reply) -> Self {
        let line = reply.header("www-authenticate");
        let parameters = line.strip_prefix("Bearer ").unwrap_or_else(|| panic!("not Bearer: {reply:?}"));
        let mut rest = parameters;
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("unquoted: {reply:?}"));
            let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("unquoted: {reply:?}"));
            assert!(!value.is_empty() && !value.contains('\\'), "{reply:?}");
            found.push((name.trim_start_matches([',', ' ']), value.to_owned()));
            assert!(after.is_empty() || after.starts_with(','), "{reply:?}");
            rest = after;
        }
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let expected: Vec<_> =
            ["realm", "service", "scope", "error"].into_iter().filter(|name| names.contains(name)).collect();
        assert_eq!(names, expected, "{reply:?}");
        let take = |name| found.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
        let challenge = Self {
            realm: take("realm").unwrap_or_else(|| panic!("no realm: {reply:?}")),
            service: take("service").unwrap_or_else(|| panic!("no service: {reply:?}")),
            scope: take("scope"),
            error: take("error"),
        };
        assert!(challenge.realm.starts_with("http://") || challenge.realm.starts_with("https://"), "{reply:?}");
        // The suites search for the last of these words in the whole header.
        for value in [&challenge.realm, &challenge.service] {
            assert!(!value.to_lowercase().contains("basic") && !value.to_lowercase().contains("bearer"), "{reply:?}");
        }
        challenge
    }
}

/// What a token says, without asking whether it is true.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("no JWT: {token}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A token with this header and these claims, signed with that secret. A claim that is
/// `null` is left out.
pub(crate) fn forge(secret: &str, header: &Value, claims: &Value) -> String {
    let mut all = claims.clone();
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let encode = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(all.to_string().as_bytes()));
    let algorithm = match header["alg"].as_str() {
        Some("HS384") => hmac::HMAC_SHA384,
        Some("HS512") => hmac::HMAC_SHA512,
        Some("none") => return format!("{signed}."),
        _ => hmac::HMAC_SHA256,
    };
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}
