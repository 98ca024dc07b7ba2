use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Digest, MediaType};

/// What a registry reads of a manifest: which type it is and what it names. The
/// bytes themselves are kept by whoever pushed them and are never written anew.
///
/// Grammar: a JSON object with `schemaVersion` 2 and either `config` (an image
/// manifest, also every artifact) or `manifests` (an index), never both. Unknown
/// fields are welcome at every level.
///
/// Source: image-spec 1.1 *Image Manifest*, *Image Index*; R-MPT-02 to R-MPT-13.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The type it is stored under and served with.
    pub media_type: MediaType,
    pub kind: ManifestKind,
    /// Everything it names but its subject, each digest once.
    pub references: Vec<Referenced>,
    /// What it refers to; only OCI types have one (R-MPT-13, R-MPT-21).
    pub subject: Option<Digest>,
    /// What a referrers list says it is (R-REF-05).
    pub artifact_type: Option<Box<str>>,
    pub annotations: Option<Annotations>,
}

/// The two shapes of manifest, whichever vendor's type they bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    Image,
    Index,
}

/// One digest that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    pub digest: Digest,
    pub kind: ReferenceKind,
}

/// How a manifest names a digest, and so what must be there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A config or layer: a blob of this repository.
    Blob,
    /// A layer that is normally left elsewhere: it need not be here (R-MPT-12).
    ForeignBlob,
    /// An index's child: a manifest of this repository, or a blob (R-MPT-10).
    Child,
}

/// A manifest's own annotations, byte for byte: a JSON object of strings.
#[derive(Debug, Clone)]
pub struct Annotations(Box<RawValue>);

impl Annotations {
    /// The JSON object.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

/// Why some bytes are no [`Manifest`]. The client reads it under `MANIFEST_INVALID`.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("manifests of type `{0}` are not accepted; push an OCI image manifest or index, or docker's schema 2")]
    Type(Box<str>),
    #[error("the Content-Type says `{header}`, the manifest's mediaType `{body}`")]
    TypesDiffer { header: Box<str>, body: Box<str> },
    #[error("neither a Content-Type nor the content tells which type of manifest this is")]
    NoType,
    #[error("not valid UTF-8")]
    Encoding,
    #[error("not the JSON of a manifest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    #[error("both an image manifest and an index: `manifests` beside `config` or `layers` is refused (CVE-2021-41190)")]
    Ambiguous,
    #[error("an image manifest has a `config`")]
    NoConfig,
    #[error("an index has a `manifests` array")]
    NoManifests,
    #[error("`{field}`: {problem}")]
    Field { field: &'static str, problem: String },
}

impl Manifest {
    /// Reads a manifest that was pushed with that `Content-Type`.
    ///
    /// # Errors
    /// [`ManifestError`] says what is wrong; nothing of a bad one is used.
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Encoding)?;
        let top: TopLevel<'_> = serde_json::from_str(text)?;
        if top.schema_version.is_none_or(|version| version.get() != "2") {
            return Err(ManifestError::SchemaVersion);
        }
        if top.manifests.is_some() && (top.config.is_some() || top.layers.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        let (media_type, kind) = top.media_type(content_type)?;
        let references = match kind {
            ManifestKind::Image => top.image_references()?,
            ManifestKind::Index => top.index_references()?,
        };
        let oci = media_type.is(MediaType::OCI_MANIFEST) || media_type.is(MediaType::OCI_INDEX);
        let subject = match field::<Descriptor<'_>>("subject", top.subject)? {
            Some(descriptor) if oci => Some(descriptor.digest("subject")?),
            _ => None,
        };
        let annotations = match top.annotations {
            Some(raw) => {
                field::<BTreeMap<Cow<'_, str>, Cow<'_, str>>>("annotations", Some(raw))?;
                Some(Annotations(raw.to_owned()))
            }
            None => None,
        };
        Ok(Self { media_type, kind, references, subject, artifact_type: top.artifact_type()?, annotations })
    }
}

/// The fields that matter, each still as it was written; none may stand twice.
#[derive(Default)]
struct TopLevel<'a> {
    schema_version: Option<&'a RawValue>,
    media_type: Option<&'a RawValue>,
    config: Option<&'a RawValue>,
    layers: Option<&'a RawValue>,
    manifests: Option<&'a RawValue>,
    subject: Option<&'a RawValue>,
    artifact_type: Option<&'a RawValue>,
    annotations: Option<&'a RawValue>,
    /// Whether the key `manifests` is there at all: `null` is read as empty (R-MPT-06).
    has_manifests: bool,
}

impl<'de> Deserialize<'de> for TopLevel<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MANIFESTS: u8 = 4;
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = TopLevel<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TopLevel<'de>, A::Error> {
                let mut top = TopLevel::default();
                let mut seen = 0_u8;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let (nth, slot) = match &*key {
                        "schemaVersion" => (0, &mut top.schema_version),
                        "mediaType" => (1, &mut top.media_type),
                        "config" => (2, &mut top.config),
                        "layers" => (3, &mut top.layers),
                        "manifests" => (MANIFESTS, &mut top.manifests),
                        "subject" => (5, &mut top.subject),
                        "artifactType" => (6, &mut top.artifact_type),
                        "annotations" => (7, &mut top.annotations),
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                            continue;
                        }
                    };
                    if seen & (1 << nth) != 0 {
                        return Err(de::Error::custom(format_args!("`{key}` stands there twice")));
                    }
                    seen |= 1 << nth;
                    let value = map.next_value::<&'de RawValue>()?;
                    *slot = (value.get() != "null").then_some(value);
                    top.has_manifests |= nth == MANIFESTS;
                }
                Ok(top)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl TopLevel<'_> {
    fn media_type(&self, content_type: Option<&str>) -> Result<(MediaType, ManifestKind), ManifestError> {
        let own = field::<Cow<'_, str>>("mediaType", self.media_type)?;
        let header = content_type.map(|text| text.split(';').next().unwrap_or_default().trim()).filter(|text| {
            !matches!(&*text.to_ascii_lowercase(), "" | "application/octet-stream" | "application/json")
        });
        let named = match (header, own.as_deref()) {
            (Some(header), Some(own)) if !header.eq_ignore_ascii_case(own) => {
                return Err(ManifestError::TypesDiffer { header: header.into(), body: own.into() });
            }
            (Some(header), _) => header,
            (None, Some(own)) => own,
            (None, None) if self.config.is_some() => MediaType::OCI_MANIFEST,
            (None, None) if self.manifests.is_some() => MediaType::OCI_INDEX,
            (None, None) => return Err(ManifestError::NoType),
        };
        let media_type: MediaType = named.parse().map_err(|_| ManifestError::Type(named.into()))?;
        let is = |known: [&str; 2]| known.iter().any(|known| media_type.is(known));
        if is([MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST]) {
            Ok((media_type, ManifestKind::Image))
        } else if is([MediaType::OCI_INDEX, MediaType::DOCKER_LIST]) {
            Ok((media_type, ManifestKind::Index))
        } else {
            Err(ManifestError::Type(named.into()))
        }
    }

    fn image_references(&self) -> Result<Vec<Referenced>, ManifestError> {
        if self.manifests.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        let config = field::<Descriptor<'_>>("config", self.config)?.ok_or(ManifestError::NoConfig)?;
        let layers = field::<Vec<Descriptor<'_>>>("layers", self.layers)?.unwrap_or_default();
        let mut references = References::default();
        references.add(config.digest("config")?, ReferenceKind::Blob);
        for layer in layers {
            let foreign = layer.media_type.parse::<MediaType>().is_ok_and(|known| known.is_non_distributable());
            let kind = if foreign { ReferenceKind::ForeignBlob } else { ReferenceKind::Blob };
            references.add(layer.digest("layers")?, kind);
        }
        Ok(references.0.into_values().collect())
    }

    fn index_references(&self) -> Result<Vec<Referenced>, ManifestError> {
        if self.config.is_some() || self.layers.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        if !self.has_manifests {
            return Err(ManifestError::NoManifests);
        }
        let children = field::<Vec<Descriptor<'_>>>("manifests", self.manifests)?.unwrap_or_default();
        let mut references = References::default();
        for child in children {
            references.add(child.digest("manifests")?, ReferenceKind::Child);
        }
        Ok(references.0.into_values().collect())
    }

    fn artifact_type(&self) -> Result<Option<Box<str>>, ManifestError> {
        let own = field::<Cow<'_, str>>("artifactType", self.artifact_type)?.filter(|own| !own.is_empty());
        let named = match own {
            Some(own) => Some(("artifactType", own)),
            None => field::<Descriptor<'_>>("config", self.config)?.map(|config| ("config", config.media_type)),
        };
        let Some((place, named)) = named else { return Ok(None) };
        named
            .parse::<MediaType>()
            .map_err(|error| ManifestError::Field { field: place, problem: error.to_string() })?;
        Ok(Some(named.into()))
    }
}

/// Each digest once, by digest. A digest that is a blob in one place must be here whatever it is elsewhere.
#[derive(Default)]
struct References(BTreeMap<Digest, Referenced>);

impl References {
    fn add(&mut self, digest: Digest, kind: ReferenceKind) {
        let entry = self.0.entry(digest.clone()).or_insert(Referenced { digest, kind });
        if kind == ReferenceKind::Blob {
            entry.kind = kind;
        }
    }
}

/// What every descriptor must have; what else it has is nobody's business here.
#[derive(Deserialize)]
struct Descriptor<'a> {
    #[serde(rename = "mediaType", borrow)]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(rename = "size")]
    _size: u64,
}

impl Descriptor<'_> {
    fn digest(&self, field: &'static str) -> Result<Digest, ManifestError> {
        self.digest.parse().map_err(|error| ManifestError::Field {
            field,
            problem: format!("digest `{}`: {error}", self.digest.chars().take(150).collect::<String>()),
        })
    }
}

fn field<'a, T: Deserialize<'a>>(field: &'static str, raw: Option<&'a RawValue>) -> Result<Option<T>, ManifestError> {
    let parsed = raw.map(|raw| serde_json::from_str(raw.get())).transpose();
    parsed.map_err(|error| ManifestError::Field { field, problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","data":"e30=","new":1}"#;
    const LAYER: &str = r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":11,"digest":"sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"}"#;

    fn parse(content_type: Option<&str>, body: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(content_type, body.as_bytes())
    }

    #[test]
    fn an_image_names_its_config_and_layers_once_each() {
        let body =
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{LAYER},{LAYER}],"annotations":{{"a": "b"}}}}"#);
        let manifest = parse(Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), &body).unwrap();
        assert_eq!(manifest.media_type.as_str(), MediaType::OCI_MANIFEST);
        assert_eq!(manifest.references.len(), 2);
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
        assert_eq!(manifest.annotations.unwrap().as_json(), r#"{"a": "b"}"#);
    }

    #[test]
    fn layers_may_be_empty_missing_or_null() {
        for layers in ["", r#","layers":[]"#, r#","layers":null"#] {
            let body = format!(r#"{{"schemaVersion":2,"config":{CONFIG}{layers}}}"#);
            assert_eq!(parse(None, &body).unwrap().references.len(), 1, "{layers}");
        }
    }

    /// R-MPT-02: header, body, or what the content looks like, in this order.
    #[test]
    fn the_type_is_found_in_this_order() {
        let image = format!(r#"{{"schemaVersion":2,"config":{CONFIG}}}"#);
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{CONFIG}}}"#, MediaType::DOCKER_MANIFEST);
        let stored = |header: Option<&str>, body: &str| parse(header, body).map(|m| m.media_type.to_string());
        assert_eq!(stored(Some(MediaType::DOCKER_MANIFEST), &image).unwrap(), MediaType::DOCKER_MANIFEST);
        assert_eq!(stored(Some("application/json"), &typed).unwrap(), MediaType::DOCKER_MANIFEST);
        assert_eq!(stored(None, &image).unwrap(), MediaType::OCI_MANIFEST);
        assert_eq!(stored(None, r#"{"schemaVersion":2,"manifests":[]}"#).unwrap(), MediaType::OCI_INDEX);
        assert!(matches!(stored(Some(MediaType::OCI_MANIFEST), &typed), Err(ManifestError::TypesDiffer { .. })));
        assert!(matches!(stored(None, r#"{"schemaVersion":2}"#), Err(ManifestError::NoType)));
        let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        assert!(matches!(stored(Some(schema1), &image), Err(ManifestError::Type(_))));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let both = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"manifests":[]}}"#);
        let twice = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"config":{CONFIG}}}"#);
        let trailing = format!(r#"{{"schemaVersion":2,"config":{CONFIG}}} x"#);
        let old = format!(r#"{{"schemaVersion":1,"config":{CONFIG}}}"#);
        let bad_digest = format!(r#"{{"schemaVersion":2,"config":{}}}"#, CONFIG.replace("sha256:44", "sha256:ZZ"));
        let negative = format!(r#"{{"schemaVersion":2,"config":{}}}"#, CONFIG.replace(r#""size":2"#, r#""size":-2"#));
        let annotations = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"annotations":{{"a":1}}}}"#);
        for body in ["", "[]", "null", "{}", "{", &both, &twice, &trailing, &old, &bad_digest, &negative, &annotations]
        {
            assert!(parse(Some(MediaType::OCI_MANIFEST), body).is_err(), "{body}");
        }
        assert!(Manifest::parse(None, b"{\"schemaVersion\":2,\"config\":\"\xff\"}").is_err());
    }

    /// R-MPT-13, R-MPT-21: only OCI types have a subject.
    #[test]
    fn a_subject_counts_in_oci_types_only() {
        let body = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"subject":{LAYER}}}"#);
        assert!(parse(Some(MediaType::OCI_MANIFEST), &body).unwrap().subject.is_some());
        assert!(parse(Some(MediaType::DOCKER_MANIFEST), &body).unwrap().subject.is_none());
    }
}
