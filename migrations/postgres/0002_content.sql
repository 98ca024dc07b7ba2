CREATE TABLE repositories (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 255),
    namespace  TEXT COLLATE "C" NOT NULL REFERENCES namespaces (name),
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'internal', 'private')),
    creator    BIGINT REFERENCES users (id) ON DELETE SET NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
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
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upload     TEXT COLLATE "C" NOT NULL UNIQUE,
    digest     TEXT COLLATE "C" UNIQUE,
    size       BIGINT NOT NULL CHECK (size >= 0),
    state      TEXT NOT NULL CHECK (state IN ('good', 'damaged', 'orphan')),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CHECK ((digest IS NULL) = (state = 'orphan'))
);

-- Old claims are forgotten from time to time.
CREATE INDEX blobs_orphaned ON blobs (created_at) WHERE state = 'orphan';

-- Which repository may serve which blob. No cascade: while a link is there, so is the blob.
CREATE TABLE repository_blobs (
    repository   BIGINT NOT NULL REFERENCES repositories (id),
    blob         BIGINT NOT NULL REFERENCES blobs (id),
    leased_until BIGINT NOT NULL, -- how long it stays although no manifest names it
    PRIMARY KEY (repository, blob)
);
-- A sweep asks who links a blob; a mount without a source, where it is.
CREATE INDEX repository_blobs_by_blob ON repository_blobs (blob, repository);

CREATE TABLE manifests (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository    BIGINT NOT NULL REFERENCES repositories (id),
    digest        TEXT COLLATE "C" NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT COLLATE "C",
    subject       TEXT COLLATE "C",
    created_at    BIGINT NOT NULL,
    content       BYTEA NOT NULL, -- as it was pushed
    UNIQUE (repository, digest),
    UNIQUE (id, repository, digest) -- which tags name
);

-- Manifests are small JSON: compressing them costs more than it saves.
ALTER TABLE manifests ALTER COLUMN content SET STORAGE EXTERNAL;

-- What a manifest names. Where the repository links the blob of that digest, `link` is that
-- blob, and holds the link; where it does not (an index's child, a layer left elsewhere), it is
-- null, until such a blob is pushed.
CREATE TABLE manifest_references (
    manifest   BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    digest     TEXT COLLATE "C" NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('blob', 'foreign', 'child')),
    repository BIGINT NOT NULL,
    link       BIGINT,
    PRIMARY KEY (manifest, digest),
    FOREIGN KEY (repository, link) REFERENCES repository_blobs (repository, blob)
);
-- Which manifests hold a blob: asked when it is to be deleted.
CREATE INDEX manifest_references_by_link ON manifest_references (repository, link) WHERE link IS NOT NULL;
-- Which manifests wait for a blob: asked when it is pushed.
CREATE INDEX manifest_references_unheld ON manifest_references (repository, digest) WHERE link IS NULL;

-- Manifests by their subject, with the descriptor that a listing shows (R-REF-05, R-REF-06).
CREATE TABLE referrers (
    repository    BIGINT NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    artifact_type TEXT COLLATE "C",
    bytes         BIGINT NOT NULL, -- of the descriptor, so that a page can be bounded unread
    descriptor    TEXT NOT NULL,
    PRIMARY KEY (repository, subject, digest),
    FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
);
-- Deleting a manifest takes its entry away.
CREATE UNIQUE INDEX referrers_by_manifest ON referrers (repository, digest);
-- Listings of one artifact type.
CREATE INDEX referrers_by_type ON referrers (repository, subject, artifact_type, digest);

-- Tags: the movable names of a repository's manifests. Listed in byte order (R-TGL-02);
-- the key serves the listing without a sort.
CREATE TABLE tags (
    repository BIGINT NOT NULL REFERENCES repositories (id),
    name       TEXT COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    manifest   BIGINT NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL, -- as the manifest has it: by it they are read
    moved_at   BIGINT NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (manifest, repository, digest) REFERENCES manifests (id, repository, digest)
);
-- Deleting a manifest asks which tags name it.
CREATE INDEX tags_by_manifest ON tags (manifest);
