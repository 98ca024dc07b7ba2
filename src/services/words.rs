use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::{Grant, Namespace, RepositoryName, Role, TokenName, Username, Visibility};
use crate::metadata::Timestamp;

/// A domain type in JSON: written as its text, read by parsing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<T>(pub(super) T);

/// A type whose text the OpenAPI document can tell of.
pub(super) trait Spelled: FromStr<Err: Display> + Display {
    /// What it is called there.
    const NAME: &'static str;

    /// How it is spelled.
    fn schema() -> Schema;
}

impl<T: Display> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: Spelled> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<T: Spelled> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// One component of a repository name (R-NAM-01), as a pattern.
const COMPONENT: &str = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";

impl Spelled for Username {
    const NAME: &'static str = "Username";
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": format!("^{COMPONENT}$") })
    }
}

impl Spelled for Namespace {
    const NAME: &'static str = "NamespaceName";
    fn schema() -> Schema {
        json_schema!({
            "description": "The first component of a repository's name.",
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": format!("^{COMPONENT}$"),
        })
    }
}

impl Spelled for RepositoryName {
    const NAME: &'static str = "RepositoryName";
    fn schema() -> Schema {
        let pattern = format!("^{COMPONENT}(?:/{COMPONENT})*$");
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": pattern })
    }
}

impl Spelled for TokenName {
    const NAME: &'static str = "TokenName";
    fn schema() -> Schema {
        json_schema!({
            "description": "Without control characters, and no space at either end.",
            "type": "string", "minLength": 1, "maxLength": TokenName::MAX_LEN,
        })
    }
}

impl Spelled for Role {
    const NAME: &'static str = "Role";
    fn schema() -> Schema {
        json_schema!({
            "description": "What a member may do; each role includes those before it.",
            "enum": Role::ALL.map(Role::as_str),
        })
    }
}

impl Spelled for Visibility {
    const NAME: &'static str = "Visibility";
    fn schema() -> Schema {
        json_schema!({
            "description": "Who may pull: anyone, anyone who is logged in, or members of the namespace.",
            "enum": Visibility::ALL.map(Visibility::as_str),
        })
    }
}

impl Spelled for Grant {
    const NAME: &'static str = "Grant";
    fn schema() -> Schema {
        let pattern =
            format!("^(?:\\*|(?:repository:{COMPONENT}(?:/{COMPONENT})*|namespace:{COMPONENT}):[a-z*]+(?:,[a-z*]+)*)$");
        json_schema!({
            "description": "How far a token reaches: `*` (all that its owner may do), \
                `repository:<name>:<actions>` or `namespace:<namespace>:<actions>`, with actions of `pull`, `push`, \
                `delete` joined by `,`, or `*` for all three.",
            "type": "string", "pattern": pattern,
            "examples": ["namespace:team:pull,push", "repository:team/app:pull"],
        })
    }
}

/// A moment in JSON, as RFC 3339 has it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0.as_micros()) * 1000);
        let text = moment.map_err(serde::ser::Error::custom)?.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let moment = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|error| D::Error::custom(format_args!("a time is as in RFC 3339: {error}")))?;
        // Years of four digits are far within 64 bits of microseconds.
        Ok(Self(Timestamp::from_micros(i64::try_from(moment.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX))))
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_parsed_and_the_reason_is_told() {
        let read = |text| serde_json::from_str::<Word<Visibility>>(text);
        assert_eq!(read(r#""public""#).unwrap(), Word(Visibility::Public));
        assert_eq!(serde_json::to_string(&Word(Role::Writer)).unwrap(), r#""writer""#);
        let said = read(r#""secret""#).unwrap_err().to_string();
        assert!(said.contains("`public`, `internal` or `private`"), "{said}");
    }

    #[test]
    fn a_moment_is_written_in_utc_and_read_with_any_offset() {
        let moment = Moment(Timestamp::from_micros(1_700_000_000_000_000));
        assert_eq!(serde_json::to_string(&moment).unwrap(), r#""2023-11-14T22:13:20Z""#);
        for text in [r#""2023-11-14T22:13:20Z""#, r#""2023-11-14T23:13:20.000+01:00""#] {
            assert_eq!(serde_json::from_str::<Moment>(text).unwrap(), moment, "{text}");
        }
        for text in [r#""2023-11-14""#, r#""tomorrow""#, "5", r#""2023-13-14T22:13:20Z""#] {
            assert!(serde_json::from_str::<Moment>(text).is_err(), "{text}");
        }
    }
}
