//! Tokens that somebody made, changed, kept too long, or brought from elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::scopes::Scopes;
use super::token::{MAX_LEN, Settings, SignError, Statement, TokenError, Tokens};
use crate::metadata::TokenId;

const SECRET: &str = "a secret of thirty-two bytes or so";
const HOUR: Duration = Duration::from_secs(3600);

fn tokens_of(secret: &str, previous: Option<&str>) -> Tokens {
    let (secret, previous) = (SecretString::from(secret), previous.map(SecretString::from));
    Tokens::new(&Settings { lifetime: HOUR, secret: &secret, previous: previous.as_ref() })
}

fn tokens() -> Tokens {
    tokens_of(SECRET, None)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// When the tokens of these tests are issued.
const NOW: u64 = 1_800_000_000;

fn statement(scopes: Option<&str>) -> Statement {
    Statement {
        subject: "alice".into(),
        epoch: Some(Uuid::from_u128(7)),
        credential: Some(TokenId::from_number(3)),
        scopes: scopes.map(|text| Scopes::asked([text]).unwrap().unwrap().into()),
    }
}

/// Claims as a good token has them.
fn claims() -> Value {
    json!({
        "iss": "distribution", "sub": "alice", "aud": "distribution", "exp": NOW + 3660, "nbf": NOW - 60, "iat": NOW,
        "jti": "x", "epoch": Uuid::from_u128(7).to_string(),
        "access": [{"type": "repository", "name": "a/b", "actions": ["pull"]}],
    })
}

fn signed_with(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

fn signed(claims: &Value) -> String {
    signed_with(&json!({"typ": "JWT", "alg": "HS256"}), claims, SECRET)
}

fn is_refused(token: &str) -> bool {
    tokens().verify(token, at(NOW)).is_err()
}

fn issue(tokens: &Tokens, statement: &Statement) -> String {
    tokens.sign(statement, at(NOW)).unwrap().token.expose_secret().to_owned()
}

/// R-JWT, 9.7.
#[test]
fn a_token_says_what_was_stated_and_nothing_else() {
    for scopes in [None, Some("repository:a/b:pull,push registry:catalog:*"), Some("nonsense")] {
        let (tokens, statement) = (tokens(), statement(scopes));
        let token = issue(&tokens, &statement);
        assert_eq!(tokens.verify(&token, at(NOW)).unwrap().statement, statement);
        assert_eq!(tokens.verify(&token, at(NOW)).unwrap().statement, statement, "remembered");
    }
    let token = issue(&tokens(), &statement(Some("repository:a/b:*")));
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&payload).unwrap();
    assert!(claims.as_object_mut().unwrap().remove("jti").unwrap().as_str().unwrap().len() >= 32);
    assert_eq!(
        claims,
        json!({
            "iss": "distribution", "sub": "alice", "aud": "distribution", "exp": NOW + 3660, "nbf": NOW - 60, "iat": NOW,
            "access": [{"type": "repository", "name": "a/b", "actions": ["pull", "push", "delete"]}],
            "epoch": Uuid::from_u128(7).to_string(), "cred": 3,
        })
    );
}

/// R-JWT-01, R-JWT-02, R-TKR-03: a minute of grace and a minute of leeway, at either end, remembered or not.
#[test]
fn a_token_is_good_for_its_time_and_not_longer() {
    let tokens = tokens();
    let issued = tokens.sign(&statement(None), at(NOW)).unwrap();
    assert_eq!((issued.expires_in, issued.issued_at), (HOUR, at(NOW)));
    let token = issued.token.expose_secret();
    for good in [NOW - 120, NOW, NOW + 3600, NOW + 3660, NOW + 3719] {
        assert!(tokens.verify(token, at(good)).is_ok(), "{good}");
    }
    for bad in [0, NOW - 121, NOW + 3720, NOW + 10_000, u64::MAX / 4] {
        assert!(matches!(tokens.verify(token, at(bad)), Err(TokenError::Time)), "{bad}");
    }
}

#[test]
fn only_one_algorithm_is_taken_whatever_the_token_says() {
    assert!(!is_refused(&signed(&claims())), "the form of these tests is right");
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
        let header = json!({"typ": "JWT", "alg": algorithm});
        let token = signed_with(&header, &claims(), SECRET);
        assert!(is_refused(&token), "{algorithm}");
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert!(is_refused(&format!("{unsigned}.")), "{algorithm} without a signature");
        assert!(is_refused(unsigned), "{algorithm} without its dot");
    }
    for header in [json!({}), json!({"typ": "JWT"}), json!({"alg": ["HS256"]}), json!([])] {
        assert!(is_refused(&signed_with(&header, &claims(), SECRET)), "{header}");
    }
    // A real token of a stronger algorithm of the same key.
    super::signature::install();
    let stronger =
        jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
    assert!(stronger.is_err(), "the provider does not even know it");
}

#[test]
fn a_key_that_the_token_brings_along_counts_for_nothing() {
    let own = "a key of the attacker's own choice!";
    let key = URL_SAFE_NO_PAD.encode(own);
    for header in [
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": key}}),
        json!({"alg": "HS256", "jku": "http://127.0.0.1/keys", "kid": "x"}),
        json!({"alg": "HS256", "kid": "../../../../dev/null"}),
        json!({"alg": "HS256", "kid": "' OR 1=1 --"}),
        json!({"alg": "HS256", "x5c": [key]}),
    ] {
        assert!(is_refused(&signed_with(&header, &claims(), own)), "{header}");
        assert!(is_refused(&signed_with(&header, &claims(), "")), "{header}");
    }
}

#[test]
fn a_token_for_somebody_else_or_from_somebody_else_is_bad() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed(&claims)
    };
    for (name, value) in [
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", json!(["another", "third"])),
        ("aud", json!("distribution ")),
        ("aud", Value::Null),
        ("iss", json!("Distribution")),
        ("iss", json!("")),
        ("iss", Value::Null),
        ("exp", json!(NOW - 61)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("now")),
        ("sub", json!(["alice"])),
        ("sub", Value::Null),
        ("access", json!("repository:a/b:pull")),
        ("access", Value::Null),
        ("epoch", json!("not a uuid")),
        ("cred", json!("3")),
        ("unscoped", json!("true")),
    ] {
        assert!(is_refused(&with(name, value.clone())), "{name}: {value}");
    }
    for name in ["exp", "nbf", "iss", "aud", "sub", "access"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(is_refused(&signed(&claims)), "without {name}");
    }
    for (name, value) in [("aud", json!(["another", "distribution"])), ("nbf", json!(NOW + 59)), ("x", json!({}))] {
        assert!(!is_refused(&with(name, value.clone())), "{name}: {value}");
    }
}

/// R-JWT-03.
#[test]
fn entries_of_other_types_are_passed_over_and_those_of_one_repository_are_one() {
    let mut claims = claims();
    claims["access"] = json!([
        {"type": "repository", "class": "image", "name": "a/b", "actions": ["pull", "fly"]},
        {"type": "repository", "name": "a/b", "actions": ["push"]},
        {"type": "repository", "name": "c", "actions": ["*"]},
        {"type": "repository", "name": "*", "actions": ["*"]},
        {"type": "repository", "name": "D", "actions": ["*"]},
        {"type": "registry", "name": "*", "actions": ["*"]},
        {"type": "registry", "name": "catalog", "actions": ["pull"]},
        {"type": "something", "of": "ours"},
        {},
    ]);
    let verified = tokens().verify(&signed(&claims), at(NOW)).unwrap();
    let scopes = verified.statement.scopes.as_ref().unwrap();
    let written: Vec<_> = scopes.iter().map(|scope| scope.to_string()).collect();
    assert_eq!(written, ["repository:a/b:pull,push", "repository:c:pull,push,delete"]);
}

#[test]
fn no_access_is_nothing_and_only_unscoped_is_everything() {
    let mut claims = claims();
    claims["access"] = json!([]);
    let scopes = |claims: &Value| tokens().verify(&signed(claims), at(NOW)).unwrap().statement.scopes.clone();
    assert!(scopes(&claims).is_some_and(|scopes| scopes.is_empty()));
    claims["unscoped"] = json!(false);
    assert!(scopes(&claims).is_some_and(|scopes| scopes.is_empty()));
    claims["unscoped"] = json!(true);
    assert_eq!(scopes(&claims), None);
}

/// R-JWT-05.
#[test]
fn after_a_rotation_old_tokens_go_on_and_with_the_next_they_end() {
    let (old, new) = ("the old secret of thirty-two bytes", "the new secret of thirty-two bytes");
    let token = issue(&tokens_of(old, None), &statement(None));
    assert!(tokens_of(new, Some(old)).verify(&token, at(NOW)).is_ok());
    assert!(tokens_of(new, None).verify(&token, at(NOW)).is_err());
    assert!(tokens_of("a third secret of thirty-two bytes", Some(new)).verify(&token, at(NOW)).is_err());
    let fresh = issue(&tokens_of(new, Some(old)), &statement(None));
    assert!(tokens_of(old, None).verify(&fresh, at(NOW)).is_err(), "signed with the new one");
    assert!(tokens_of(new, None).verify(&fresh, at(NOW)).is_ok());
    let header = json!({"typ": "JWT", "alg": "HS256"});
    let without_kid = signed_with(&header, &claims(), old);
    assert!(tokens_of(new, Some(old)).verify(&without_kid, at(NOW)).is_ok());
}

#[test]
fn a_token_that_is_too_long_is_neither_looked_at_nor_made() {
    let long = "x".repeat(MAX_LEN + 1);
    assert!(matches!(tokens().verify(&long, at(NOW)), Err(TokenError::TooLong(_))));
    let many: Vec<_> = (0..100).map(|n| format!("repository:{}/r{n}:pull", "n".repeat(200))).collect();
    let scopes = Scopes::asked(many.iter().map(String::as_str)).unwrap().unwrap();
    let statement = Statement { scopes: Some(scopes.into()), ..statement(None) };
    assert!(matches!(tokens().sign(&statement, at(NOW)), Err(SignError::TooLong(_))));
    // R-TKG-08, R-TKR-04: a hundred of common length fit, twice into a body of 64 KiB.
    let many: Vec<_> = (0..100).map(|n| format!("repository:team/project/service-{n}:pull,push")).collect();
    let scopes = Scopes::asked(many.iter().map(String::as_str)).unwrap().unwrap();
    let statement = Statement { scopes: Some(scopes.into()), ..statement };
    assert!(2 * issue(&tokens(), &statement).len() < 60 * 1024);
}

#[test]
fn garbage_is_refused() {
    for token in
        ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "Bearer x", "é.é.é", "\0", "{}.{}.{}", &"a.".repeat(999)]
    {
        assert!(is_refused(token), "{token}");
    }
}

#[test]
fn neither_keys_nor_tokens_are_printed() {
    let tokens = tokens();
    let signed = tokens.sign(&statement(None), at(NOW)).unwrap();
    let printed = format!("{tokens:?} {signed:?}");
    assert!(!printed.contains(SECRET) && !printed.contains(signed.token.expose_secret()), "{printed}");
}

proptest! {
    /// Whatever one byte is changed to, the token is bad, or says the same.
    #[test]
    fn a_token_that_was_tampered_with_is_bad(position in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let tokens = tokens();
        let statement = statement(Some("repository:a/b:pull"));
        let token = issue(&tokens, &statement);
        let mut bytes = token.clone().into_bytes();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        let tampered = String::from_utf8(bytes).unwrap();
        if let Ok(verified) = tokens.verify(&tampered, at(NOW)) {
            prop_assert_eq!(&verified.statement, &statement);
            prop_assert!(tampered == token || position == token.len() - 1, "unused bits of the last character");
        }
    }

    #[test]
    fn noise_is_refused(noise in "\\PC{0,400}") {
        prop_assert!(is_refused(&noise));
    }
}
