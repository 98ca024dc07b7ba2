use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::content::{IMAGE_INDEX, IMAGE_MANIFEST, sha256};

/// A manifest as it is pushed, with what a client knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
    /// Config and layers: what the repository must have as long as it has the manifest.
    pub(crate) blobs: BTreeSet<String>,
    pub(crate) subject: Option<String>,
}

impl Manifest {
    pub(crate) fn image(config: &(String, usize), layers: &[(String, usize)], subject: Option<Value>) -> Self {
        let descriptor = |media_type: &str, (digest, size): &(String, usize)| json!({ "mediaType": media_type, "digest": digest, "size": size });
        let layers_json: Vec<_> =
            layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
        let mut content = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": layers_json,
        });
        let blobs = layers.iter().chain([config]).map(|(digest, _)| digest.clone()).collect();
        let subject_digest = subject.as_ref().map(|subject| subject["digest"].as_str().unwrap().to_owned());
        if let Some(subject) = subject {
            content["subject"] = subject;
            content["artifactType"] = "application/vnd.example.signature".into();
        }
        Self::new(IMAGE_MANIFEST, &content, blobs, subject_digest)
    }

    pub(crate) fn index(children: &[&Self], annotation: u64) -> Self {
        let manifests: Vec<_> = children.iter().map(|child| child.descriptor()).collect();
        let content = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": manifests,
            "annotations": { "nth": annotation.to_string() },
        });
        Self::new(IMAGE_INDEX, &content, BTreeSet::new(), None)
    }

    fn new(media_type: &'static str, content: &Value, blobs: BTreeSet<String>, subject: Option<String>) -> Self {
        let bytes = content.to_string().into_bytes();
        Self { media_type, digest: sha256(&bytes), bytes, blobs, subject }
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// What a repository has: all of it that a client can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeSet<String>,
    pub(crate) manifests: BTreeSet<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Subject → those that refer to it. Follows from the manifests, and is asked for all the same.
    pub(crate) referrers: BTreeMap<String, BTreeSet<String>>,
}

/// What one request does to a repository: all of it or nothing.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Link(String),
    Unlink(String),
    Put { manifest: Box<Manifest>, tags: Vec<String> },
    Drop(Box<Manifest>),
    Untag(String),
}

impl Change {
    pub(crate) fn apply(&self, to: &mut Repository) {
        match self {
            Self::Link(digest) => {
                to.blobs.insert(digest.clone());
            }
            Self::Unlink(digest) => {
                to.blobs.remove(digest);
            }
            Self::Put { manifest, tags } => {
                to.manifests.insert(manifest.digest.clone());
                to.tags.extend(tags.iter().map(|tag| (tag.clone(), manifest.digest.clone())));
                if let Some(subject) = &manifest.subject {
                    to.referrers.entry(subject.clone()).or_default().insert(manifest.digest.clone());
                }
            }
            Self::Drop(manifest) => {
                to.manifests.remove(&manifest.digest);
                to.tags.retain(|_, digest| *digest != manifest.digest);
                if let Some(subject) = &manifest.subject
                    && let Some(referrers) = to.referrers.get_mut(subject)
                {
                    referrers.remove(&manifest.digest);
                    if referrers.is_empty() {
                        to.referrers.remove(subject);
                    }
                }
            }
            Self::Untag(tag) => {
                to.tags.remove(tag);
            }
        }
    }
}
