use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::SecretString;

/// What a request's `Authorization` header says.
pub enum Credentials<'h> {
    None,
    Bearer(&'h str),
    Basic { user: String, password: SecretString },
}

/// Why credentials cannot be read (R-AUZ-09).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MalformedCredentials {
    #[error("the Authorization header is neither Bearer nor Basic, or stands there several times")]
    Scheme,
    /// Somebody meant to log in.
    #[error("what follows Basic is no name and password in base64")]
    Basic,
}

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'h> Credentials<'h> {
    /// Reads them. Empty Basic credentials count as none (R-TKG-04).
    ///
    /// # Errors
    /// [`MalformedCredentials`].
    pub fn of(headers: &'h HeaderMap) -> Result<Self, MalformedCredentials> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next().map(HeaderValue::as_bytes) else { return Ok(Self::None) };
        if values.next().is_some() {
            return Err(MalformedCredentials::Scheme);
        }
        let (scheme, rest) = value.split_at(value.iter().position(|&byte| byte == b' ').unwrap_or(value.len()));
        let rest = str::from_utf8(rest.trim_ascii()).ok();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return rest.map(Self::Bearer).ok_or(MalformedCredentials::Scheme);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(MalformedCredentials::Scheme);
        }
        rest.and_then(basic).ok_or(MalformedCredentials::Basic)
    }
}

fn basic(encoded: &str) -> Option<Credentials<'static>> {
    let decoded = String::from_utf8(LENIENT.decode(encoded).ok()?).ok()?;
    // At the first colon: a password may have more of them (R-TKG-07).
    Some(match decoded.split_once(':')? {
        ("", "") => Credentials::None,
        (user, password) => Credentials::Basic { user: user.to_owned(), password: password.into() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(values: &[&str]) -> Result<(String, String), MalformedCredentials> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Ok(match Credentials::of(&headers)? {
            Credentials::None => (String::new(), String::new()),
            Credentials::Bearer(token) => ("bearer".to_owned(), token.to_owned()),
            Credentials::Basic { user, password } => (user, password.expose_secret().to_owned()),
        })
    }

    #[test]
    fn credentials_are_read_in_every_spelling_clients_use() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(read(&[]), pair("", ""));
        assert_eq!(read(&["Basic Og=="]), pair("", ""));
        assert_eq!(read(&["bEARER abc"]), pair("bearer", "abc"));
        assert_eq!(read(&["Basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(read(&["basic YTpiOmM"]), pair("a", "b:c"));
        for values in [&["Basic"][..], &["Basic !"], &["Basic YQ=="], &["Basic /zr/"], &["basic \u{e9}"]] {
            assert_eq!(read(values), Err(MalformedCredentials::Basic), "{values:?}");
        }
        for values in [&[""][..], &["Digest x"], &["Bearer a", "Bearer b"], &["Basic !", "Basic !"]] {
            assert_eq!(read(values), Err(MalformedCredentials::Scheme), "{values:?}");
        }
    }
}
