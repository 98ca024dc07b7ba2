//! From a setting's text to its value: one function per kind of value.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use http::Uri;
use ipnet::IpNet;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::auth::{Claim, Password, Registration};
use crate::services::ManifestsOptions;
use crate::telemetry::{Filter, LogFormat};

use super::configuration::{Database, PublicUrl};
use super::settings;

/// Why a text is no value of its setting. `what` never quotes a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Invalid {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

type Parsed<T> = Result<T, Invalid>;

/// An address to listen on. Of names only `localhost` is known: what others
/// stand for may change while a server listens.
pub(super) fn host(text: &str) -> Parsed<IpAddr> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| {
        Invalid::new(
            format!("`{text}` is no address"),
            "an address alone, such as 127.0.0.1, 0.0.0.0 (all of IPv4) or :: (all); \
             the port has its own setting OCI_REGISTRY_PORT, the address for clients OCI_REGISTRY_PUBLIC_URL",
        )
    })
}

pub(super) fn port(text: &str) -> Parsed<u16> {
    text.parse().map_err(|_| {
        let fix = if text.starts_with("tcp://") {
            "a number from 0 to 65535; this text comes from Kubernetes, which sets it for a Service called \
             oci-registry: give the Service another name, or the Pod `enableServiceLinks: false`"
        } else {
            "a number from 0 to 65535"
        };
        Invalid::new(format!("`{text}` is no port"), fix)
    })
}

/// The backend of the blob store, of which there is one.
pub(super) fn storage(text: &str) -> Parsed<()> {
    if text.eq_ignore_ascii_case("filesystem") {
        return Ok(());
    }
    Err(Invalid::new(format!("there is no storage backend `{text}`"), "FILESYSTEM is the one there is"))
}

pub(super) fn directory(text: &str) -> Parsed<Box<Path>> {
    if text.is_empty() {
        return Err(Invalid::new("it is empty", "the path of a directory"));
    }
    Ok(Path::new(text).into())
}

pub(super) fn public_url(text: &str) -> Parsed<PublicUrl> {
    let invalid = |what: &str| {
        Invalid::new(
            format!("`{text}` {what}"),
            "an absolute URL such as https://registry.example.com or https://example.com/registry, \
             without user, query and fragment",
        )
    };
    if text.contains(['?', '#', '@']) {
        // Whatever stands before an `@` may be a password.
        let what = "a URL with a user, a query or a fragment is no base for others";
        return Err(Invalid { what: what.to_owned(), ..invalid("") });
    }
    let uri: Uri = text.parse().map_err(|_| invalid("is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(invalid("does not start with http:// or https://"));
    }
    let prefix = uri.path().strip_suffix('/').unwrap_or(uri.path());
    // It stands within quotes in a challenge and in front of every Location.
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~'))
    };
    if !prefix.is_empty() && !prefix.split('/').skip(1).all(plain) {
        return Err(invalid("has a path with other than letters, digits, `.`, `-`, `_` and `~` between its slashes"));
    }
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if !authority.host().is_empty() && !authority.as_str().ends_with(':') => {
            Ok(PublicUrl::new(scheme.clone(), authority.clone(), prefix))
        }
        _ => Err(invalid("names no host, or has a colon and no port after it")),
    }
}

pub(super) fn database(text: &str) -> Parsed<Database> {
    let fix = "sqlite:PATH, such as sqlite:db/registry.db, or postgres://USER:PASSWORD@HOST/NAME, where `/`, `@`, `:`, \
               `?`, `#` and `%` in a password are written as %2F, %40, %3A, %3F, %23 and %25";
    let no_url = |error: sqlx::Error| Invalid::new(format!("it cannot be understood: {error}"), fix);
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if matches!(path, "" | ":memory:") || rest.contains("mode=memory") {
            return Err(Invalid::new("it names no file, and a registry must not forget", fix));
        }
        let options = SqliteConnectOptions::from_str(text).map_err(no_url)?;
        return Ok(Database::Sqlite { url: text.to_owned(), path: options.get_filename().into() });
    }
    match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        Some("" | "/") => Err(Invalid::new("it names no database", fix)),
        Some(rest) => {
            PgConnectOptions::from_str(text).map_err(no_url)?;
            let place = rest.split('?').next().unwrap_or_default();
            let place = place.rsplit('@').next().unwrap_or_default();
            Ok(Database::Postgres { url: text.into(), shown: format!("postgres://{place}").into() })
        }
        None => Err(Invalid::new("it starts with neither `sqlite:` nor `postgres://`", fix)),
    }
}

/// The pepper of the password hashes.
pub(super) fn password_salt(text: &str) -> Parsed<SecretString> {
    match text.chars().count() {
        16 => Ok(text.into()),
        count => Err(Invalid::new(
            format!("it has {count} characters"),
            "exactly 16 characters, such as `openssl rand -hex 8` prints, or not set at all",
        )),
    }
}

pub(super) fn jwt_secret(text: &str) -> Parsed<SecretString> {
    if text.trim().is_empty() {
        return Err(Invalid::new(
            "it is empty, so that anyone could sign a token",
            "32 random bytes or more, such as `openssl rand -hex 32` prints, or not set at all",
        ));
    }
    Ok(text.into())
}

pub(super) fn password(text: &str) -> Parsed<Password> {
    Password::try_from(text).map_err(|error| Invalid::new(error.to_string(), "a password of 6 to 1024 bytes"))
}

/// A whole number within bounds that the fix can tell.
pub(super) fn number(text: &str, bounds: RangeInclusive<u64>, unit: &str) -> Parsed<u64> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| {
        Invalid::new(
            format!("`{text}` is not within bounds"),
            format!("a whole number of {unit} from {} to {}", bounds.start(), bounds.end()),
        )
    })
}

/// A word of the domain, which knows its own grammar.
pub(super) fn word<T: FromStr>(text: &str) -> Parsed<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Invalid::new(format!("`{text}` does not fit"), error.to_string()))
}

/// One of a few words.
fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        Invalid::new(format!("`{text}` is not a choice"), words.join(" or "))
    })
}

pub(super) fn registration(text: &str) -> Parsed<Registration> {
    choice(text, &[("open", Registration::Open), ("admins", Registration::Admins)])
}

pub(super) fn namespace_claim(text: &str) -> Parsed<Claim> {
    choice(text, &[("first-push", Claim::Users), ("admins", Claim::Admins)])
}

pub(super) fn sparse_manifests(text: &str) -> Parsed<ManifestsOptions> {
    choice(text, &[("refuse", ManifestsOptions { sparse: false }), ("accept", ManifestsOptions { sparse: true })])
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// An empty filter is none, as in a shell that exports it empty.
pub(super) fn log_filter(text: &str) -> Parsed<Filter> {
    let text = if text.trim().is_empty() { settings::LOG.default_text() } else { text };
    text.parse().map_err(|error| {
        Invalid::new(
            format!("`{text}` is no filter: {error}"),
            "a level (error, warn, info, debug, trace), or one per target such as info,distribution::auth=debug",
        )
    })
}

/// Addresses and networks, joined by commas; none is fine.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let address = || item.parse::<IpAddr>().ok().map(IpNet::from);
            item.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc()).ok_or_else(|| {
                Invalid::new(
                    format!("`{item}` is no address and no network"),
                    "addresses and networks joined by commas, such as 10.0.0.0/8,192.168.1.7,fd00::/8",
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_and_no_url() {
        for (text, host) in [("0.0.0.0", "0.0.0.0"), ("::", "::"), ("[::1]", "::1"), ("localhost", "127.0.0.1")] {
            assert_eq!(super::host(text).unwrap().to_string(), host);
        }
        for text in ["", "http://0.0.0.0", "0.0.0.0:80", "1.2.3", "a b", "[::1]:80", "registry.example.com"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_is_a_base_for_others() {
        for (text, authority, prefix) in [
            ("https://registry.example.com", "registry.example.com", ""),
            ("http://localhost:8968/", "localhost:8968", ""),
            ("https://example.com/registry", "example.com", "/registry"),
            ("https://example.com/a/b-c_d.e~f/", "example.com", "/a/b-c_d.e~f"),
            ("https://[::1]:8968", "[::1]:8968", ""),
        ] {
            let url = public_url(text).unwrap();
            assert_eq!((url.authority().as_str(), url.prefix()), (authority, prefix), "{text}");
            assert_eq!(url.to_string(), text.strip_suffix('/').unwrap_or(text));
        }
        for text in [
            "",
            "registry.example.com",
            "/registry",
            "ftp://example.com",
            "https://",
            "https://example.com:",
            "https://example.com?a=b",
            "https://example.com/#top",
            "https://user:secret@example.com",
            "https://example.com/a//b",
            "https://example.com/../b",
            "https://example.com/a\"b",
            "https://example.com/a%20b",
        ] {
            let invalid = public_url(text).unwrap_err();
            assert!(!invalid.what.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_database_is_sqlite_in_a_file_or_postgres() {
        for (text, path) in [
            ("sqlite:db/registry.db", "db/registry.db"),
            ("sqlite://db/registry.db?mode=rwc", "db/registry.db"),
            ("sqlite:///srv/registry.db", "/srv/registry.db"),
            ("sqlite:/srv/with%20space.db", "/srv/with space.db"),
        ] {
            let Database::Sqlite { path: found, url } = database(text).unwrap() else { panic!("{text}") };
            assert_eq!((found.to_str().unwrap(), url.as_str()), (path, text));
        }
        for text in ["postgres://u:secret@db/registry?sslmode=require", "postgresql://u:secret@db/registry"] {
            let database = database(text).unwrap();
            assert_eq!((database.url(), database.to_string().as_str()), (text, "postgres://db/registry"));
        }
        for text in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:x?mode=memory",
            "mysql://u:secret@db/x",
            "postgres://",
            "postgres://u:sec/secret@db/x",
            "postgres://db/x?sslmode=maybe",
            "sqlite:a?mode=x",
        ] {
            assert!(!database(text).unwrap_err().what.contains("secret"), "{text}");
        }
    }

    #[test]
    fn networks_are_addresses_and_networks() {
        let text = |text: &str| networks(text).map(|found| found.iter().map(IpNet::to_string).collect::<Vec<_>>());
        assert_eq!(text("").unwrap(), [""; 0]);
        assert_eq!(text("10.1.2.3/8, 192.168.1.7,fd00::/8").unwrap(), ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"]);
        for bad in ["10.0.0.0/33", "proxy.example.com", "10.0.0.1;10.0.0.2"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_salt_has_sixteen_characters_and_a_secret_some() {
        assert!(password_salt("0123456789abcdef").is_ok() && password_salt("ääääääääääääääää").is_ok());
        assert!(password_salt("0123456789abcde").is_err() && password_salt("0123456789abcdef0").is_err());
        assert!(jwt_secret("x").is_ok() && jwt_secret("").is_err() && jwt_secret("  ").is_err());
        assert!(password("123456").is_ok() && password("12345").is_err() && password(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn a_log_filter_has_directives() {
        assert_eq!(log_filter(" ").unwrap().as_str(), "info");
        assert!(log_filter("info,distribution::auth=debug").is_ok());
        assert!(log_filter("info,distribution=loud").is_err());
    }
}
