use std::fmt::Write;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;
use serde_json::{Value, json};

pub(crate) const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCTETS: &str = "application/octet-stream";

/// `sha256:…` of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest::digest(&digest::SHA256, bytes).as_ref()))
}

/// `sha512:…` of the bytes.
pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(digest::digest(&digest::SHA512, bytes).as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name that nobody else in this run has: `<prefix>-<number>`.
pub(crate) fn unique_name(prefix: &str) -> String {
    format!("{prefix}-{}", next())
}

/// A text that nobody else in this run has.
pub(crate) fn unique_text(prefix: &str) -> String {
    format!("{prefix} {}", uuid::Uuid::new_v4())
}

/// That many bytes which nobody else has pushed, and in which every offset looks different.
pub(crate) fn unique(length: usize) -> Vec<u8> {
    let seed = uuid::Uuid::new_v4().as_u128() as u64 | 1;
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift: fast, and no period that a test could trip over.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A descriptor of these bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// A manifest's exact bytes and the type it is pushed with.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Manifest {
    /// A manifest with this content, written in a way that no serializer would write again.
    pub(crate) fn new(media_type: &str, content: &Value) -> Self {
        Self { media_type: media_type.to_owned(), bytes: format!(" {content:#}\n").into_bytes() }
    }

    /// An OCI image manifest of these descriptors, with `extra` fields over the usual ones.
    pub(crate) fn image(config: &Value, layers: &[Value], extra: &Value) -> Self {
        let mut content = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": config,
            "layers": layers,
        });
        extend(&mut content, extra);
        Self::new(IMAGE_MANIFEST, &content)
    }

    /// An OCI image index of these manifests.
    pub(crate) fn index(manifests: &[Value], extra: &Value) -> Self {
        let mut content = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests });
        extend(&mut content, extra);
        Self::new(IMAGE_INDEX, &content)
    }

    /// An artifact that says something about `subject`. Its blobs are `{}` and nothing else.
    pub(crate) fn referrer(subject: &Value, artifact_type: &str, annotations: &Value) -> Self {
        let empty = descriptor(EMPTY_JSON, b"{}");
        let extra = json!({ "artifactType": artifact_type, "subject": subject, "annotations": annotations });
        Self::image(&empty, slice::from_ref(&empty), &extra)
    }

    pub(crate) fn digest(&self) -> String {
        sha256(&self.bytes)
    }

    pub(crate) fn descriptor(&self) -> Value {
        descriptor(&self.media_type, &self.bytes)
    }

    /// The content, parsed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

/// Adds the fields of `extra`; a `null` takes one away.
fn extend(content: &mut Value, extra: &Value) {
    let content = content.as_object_mut().unwrap();
    for (name, value) in extra.as_object().unwrap() {
        content.insert(name.clone(), value.clone());
    }
    content.retain(|_, value| !value.is_null());
}

/// A small image that nobody else has: config, one layer, manifest.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) manifest: Manifest,
}

impl Image {
    pub(crate) fn unique() -> Self {
        Self::with(&json!({}))
    }

    /// With `extra` fields in its manifest.
    pub(crate) fn with(extra: &Value) -> Self {
        let config = json!({ "os": "linux", "architecture": "amd64", "created_by": unique_text("us") });
        let config = config.to_string().into_bytes();
        let layers = vec![unique(300)];
        let described: Vec<_> = layers.iter().map(|layer| descriptor(IMAGE_LAYER, layer)).collect();
        let manifest = Manifest::image(&descriptor(IMAGE_CONFIG, &config), &described, extra);
        Self { config, layers, manifest }
    }

    /// Config and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.config).chain(self.layers.iter().map(Vec::as_slice))
    }

    pub(crate) fn digest(&self) -> String {
        self.manifest.digest()
    }
}
