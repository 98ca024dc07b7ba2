CREATE TABLE repositories (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 255),
    namespace  TEXT NOT NULL REFERENCES namespaces (name),
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'internal', 'private')),
    creator    INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
-- The catalog lists, by name, what is public or internal, and what is in a member's namespaces.
CREATE INDEX repositories_by_visibility ON repositories (visibility, name);
CREATE INDEX repositories_by_namespace ON repositories (namespace, name);
-- Deleting a user asks what they created.
CREATE INDEX repositories_by_creator ON repositories (creator) WHERE creator IS NOT NULL;

-- Which object holds a digest's bytes: its name is the digest's and that of the upload that
-- made it. An orphan is an object without a digest: a sweep has claimed its upload, so that a
-- commit that comes too late fails. Links name a blob by its number, and uploads begin with
-- their time: what is pushed together then lies together, where digests scatter it.
CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    upload     TEXT NOT NULL UNIQUE,
    digest     TEXT UNIQUE,
    size       INTEGER NOT NULL CHECK (size >= 0),
    state      TEXT NOT NULL CHECK (state IN ('good', 'damaged', 'orphan')),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    CHECK ((digest IS NULL) = (state = 'orphan'))
) STRICT;

-- Old claims are forgotten from time to time.
CREATE INDEX blobs_orphaned ON blobs (created_at) WHERE state = 'orphan';

-- Which repository may serve which blob. No cascade: while a link is there, so is the blob.
CREATE TABLE repository_blobs (
    repository   INTEGER NOT NULL REFERENCES repositories (id),
    blob         INTEGER NOT NULL REFERENCES blobs (id),
    leased_until INTEGER NOT NULL, -- how long it stays although no manifest names it
    PRIMARY KEY (repository, blob)
) STRICT, WITHOUT ROWID;
-- A sweep asks who links a blob; a mount without a source, where it is.
CREATE INDEX repository_blobs_by_blob ON repository_blobs (blob, repository);

CREATE TABLE manifests (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    repository    INTEGER NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    subject       TEXT,
    created_at    INTEGER NOT NULL,
    content       BLOB NOT NULL, -- as it was pushed
    UNIQUE (repository, digest),
    UNIQUE (id, repository, digest) -- which tags name
) STRICT;

-- What a manifest names. Where the repository links the blob of that digest, `link` is that
-- blob, and holds the link; where it does not (an index's child, a layer left elsewhere), it is
-- null, until such a blob is pushed.
CREATE TABLE manifest_references (
    manifest   INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    digest     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('blob', 'foreign', 'child')),
    repository INTEGER NOT NULL,
    link       INTEGER,
    PRIMARY KEY (manifest, digest),
    FOREIGN KEY (repository, link) REFERENCES repository_blobs (repository, blob)
) STRICT, WITHOUT ROWID;
-- Which manifests hold a blob: asked when it is to be deleted.
CREATE INDEX manifest_references_by_link ON manifest_references (repository, link) WHERE link IS NOT NULL;
-- Which manifests wait for a blob: asked when it is pushed.
CREATE INDEX manifest_references_unheld ON manifest_references (repository, digest) WHERE link IS NULL;

-- Manifests by their subject, with the descriptor that a listing shows (R-REF-05, R-REF-06).
CREATE TABLE referrers (
    repository    INTEGER NOT NULL,
    subject       TEXT NOT NULL,
    digest        TEXT NOT NULL,
    artifact_type TEXT,
    bytes         INTEGER NOT NULL, -- of the descriptor, so that a page can be bounded unread
    descriptor    TEXT NOT NULL,
    PRIMARY KEY (repository, subject, digest),
    FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- Deleting a manifest takes its entry away.
CREATE UNIQUE INDEX referrers_by_manifest ON referrers (repository, digest);
-- Listings of one artifact type.
CREATE INDEX referrers_by_type ON referrers (repository, subject, artifact_type, digest);

-- Tags: the movable names of a repository's manifests. Listed in byte order (R-TGL-02);
-- the key serves the listing without a sort.
CREATE TABLE tags (
    repository INTEGER NOT NULL REFERENCES repositories (id),
    name       TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    manifest   INTEGER NOT NULL,
    digest     TEXT NOT NULL, -- as the manifest has it: by it they are read
    moved_at   INTEGER NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (manifest, repository, digest) REFERENCES manifests (id, repository, digest)
) STRICT, WITHOUT ROWID;
-- Deleting a manifest asks which tags name it.
CREATE INDEX tags_by_manifest ON tags (manifest);
