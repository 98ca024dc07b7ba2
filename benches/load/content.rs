//! What is pushed and pulled: bytes that are made, not kept.
//!
//! A blob is a head of 64 bytes that no other blob has, and then a tape of
//! random bytes, over and over. The tape lies in memory without a name, so that
//! the kernel sends a gibibyte of it at next to no cost to the client.

use std::fs::File;
use std::io::Write as _;
use std::iter;
use std::sync::LazyLock;

use distribution::domain::{Algorithm, Digest};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::json;
use sha2::Digest as _;

use crate::{KIB, MIB, Result};

const HEAD: usize = 64;
const TAPE: usize = 8 * MIB;
/// How much docker sends as one chunk of a chunked body.
const CHUNK: usize = 32 * KIB;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const ARTIFACT: &str = "application/vnd.example.sbom.v1";

/// Random bytes, in memory and as a file.
struct Tape {
    bytes: Vec<u8>,
    file: File,
}

impl Tape {
    fn of(bytes: Vec<u8>) -> Result<Self> {
        let mut file = File::from(memfd_create("tape", MemfdFlags::CLOEXEC)?);
        file.write_all(&bytes)?;
        Ok(Self { bytes, file })
    }
}

static PLAIN: LazyLock<Tape> = LazyLock::new(|| {
    let mut random = Random::default();
    let bytes = iter::repeat_with(|| random.next().to_le_bytes()).take(TAPE / 8).flatten().collect();
    Tape::of(bytes).unwrap_or_else(|error| panic!("no memory for a tape: {error}"))
});

/// The same in chunked transfer coding.
static CHUNKED: LazyLock<Tape> = LazyLock::new(|| {
    Tape::of(PLAIN.bytes.chunks(CHUNK).map(chunk_of).collect::<Vec<_>>().concat())
        .unwrap_or_else(|error| panic!("no memory for a tape: {error}"))
});

fn chunk_of(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A body as it goes over the wire: some bytes, a piece of a file that begins
/// anew at its end, and some bytes.
pub(crate) struct Wire {
    pub(crate) first: Vec<u8>,
    pub(crate) tape: &'static File,
    /// How long the file is, where the piece begins, and how long that is.
    pub(crate) period: usize,
    pub(crate) from: usize,
    pub(crate) len: usize,
    pub(crate) last: &'static [u8],
}

#[derive(Debug, Clone)]
pub(crate) struct Blob {
    head: [u8; HEAD],
    pub(crate) len: usize,
    pub(crate) digest: String,
}

impl Blob {
    /// The same for the same seed and length.
    pub(crate) fn new(seed: &str, len: usize) -> Self {
        let mut head = [0; HEAD];
        head.copy_from_slice(&sha256(seed.as_bytes()).as_bytes()["sha256:".len()..]);
        let mut blob = Self { head, len, digest: String::new() };
        let mut hash = sha2::Sha256::new();
        blob.pieces(0).for_each(|piece| hash.update(piece));
        blob.digest = Digest::from_hash(Algorithm::Sha256, &hash.finalize()).to_string();
        blob
    }

    pub(crate) fn many(seed: &str, count: usize, len: usize) -> Vec<Self> {
        (0..count).map(|nth| Self::new(&format!("{seed} {nth}"), len)).collect()
    }

    /// Its bytes from this offset on.
    pub(crate) fn pieces(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = from;
        iter::from_fn(move || {
            let piece = if at < HEAD { &self.head[at..] } else { &PLAIN.bytes[at % TAPE..] };
            let piece = &piece[..piece.len().min(self.len - at)];
            at += piece.len();
            (!piece.is_empty()).then_some(piece)
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces(0).flatten().copied().collect()
    }

    /// As a body of announced length.
    pub(crate) fn plain(&self) -> Wire {
        let first = self.head[..HEAD.min(self.len)].to_vec();
        let len = self.len - first.len();
        Wire { first, tape: &PLAIN.file, period: TAPE, from: HEAD, len, last: b"" }
    }

    /// As a body in chunks, whole ones.
    pub(crate) fn chunked(&self) -> Wire {
        let first = chunk_of(&[&self.head, &PLAIN.bytes[HEAD..CHUNK]].concat());
        let from = first.len();
        let len = (self.len / CHUNK - 1) * from;
        Wire { first, tape: &CHUNKED.file, period: CHUNKED.bytes.len(), from, len, last: b"0\r\n\r\n" }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Digest::from_hash(Algorithm::Sha256, &sha2::Sha256::digest(bytes)).to_string()
}

#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
}

impl Manifest {
    fn of(json: &serde_json::Value) -> Self {
        let bytes = json.to_string().into_bytes();
        let digest = sha256(&bytes);
        Self { bytes, digest }
    }

    /// An image of a config and layers.
    pub(crate) fn image(blobs: &[Blob]) -> Self {
        let descriptor = |blob: &Blob, kind: &str| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.len })
        };
        let layers: Vec<_> = blobs[1..].iter().map(|blob| descriptor(blob, "layer.v1.tar+gzip")).collect();
        let config = descriptor(&blobs[0], "config.v1+json");
        Self::of(&json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }))
    }

    /// One of many that refer to a subject.
    pub(crate) fn referrer(subject: &Self, blob: &Blob, nth: usize) -> Self {
        let only = json!({ "mediaType": "application/octet-stream", "digest": blob.digest, "size": blob.len });
        Self::of(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT, "config": only, "layers": [only],
            "subject": { "mediaType": MANIFEST, "digest": subject.digest, "size": subject.bytes.len() },
            "annotations": { "org.example.number": nth.to_string() },
        }))
    }
}

/// An image with all that it is made of.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) tag: String,
    /// Config first.
    pub(crate) blobs: Vec<Blob>,
    pub(crate) manifest: Manifest,
}

impl Image {
    pub(crate) fn many(seed: &str, count: usize, layers: usize, len: usize) -> Vec<Self> {
        let image = |nth| {
            let mut blobs = vec![Blob::new(&format!("{seed} {nth} config"), 512)];
            blobs.extend(Blob::many(&format!("{seed} {nth}"), layers, len));
            let manifest = Manifest::image(&blobs);
            Self { tag: format!("v{nth}"), blobs, manifest }
        };
        (0..count).map(image).collect()
    }
}

/// Xorshift: the same in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
