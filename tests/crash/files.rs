use std::path::{Path, PathBuf};

/// The entries of a directory, in order.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The directories in which a store keeps its sha256 objects.
pub(crate) fn shards(root: &Path) -> Vec<PathBuf> {
    entries(&root.join("blobs/sha256"))
}
