use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::SecretString;

/// What a request's `Authorization` header says.
pub enum Credentials<'h> {
    None,
    Bearer(&'h str),
    Basic { user: String, password: SecretString },
}

/// A header that is none of the two schemes, or several of them (R-AUZ-09).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the Authorization header is neither Bearer nor Basic, or stands there several times")]
pub struct MalformedCredentials;

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'h> Credentials<'h> {
    /// Reads them. Empty Basic credentials count as none (R-TKG-04).
    ///
    /// # Errors
    /// [`MalformedCredentials`] for any other scheme, and for several headers.
    pub fn of(headers: &'h HeaderMap) -> Result<Self, MalformedCredentials> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(Self::None) };
        if values.next().is_some() {
            return Err(MalformedCredentials);
        }
        let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(MalformedCredentials)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(MalformedCredentials);
        }
        let decoded =
            LENIENT.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(MalformedCredentials)?;
        // At the first colon: a password may have more of them (R-TKG-07).
        match decoded.split_once(':').ok_or(MalformedCredentials)? {
            ("", "") => Ok(Self::None),
            (user, password) => Ok(Self::Basic { user: user.to_owned(), password: password.into() }),
        }
    }
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
        for values in [&["Basic"][..], &["Basic !"], &["Digest x"], &["Basic YQ=="], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(values), Err(MalformedCredentials), "{values:?}");
        }
    }
}
