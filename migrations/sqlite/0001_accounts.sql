-- What is made once: the registry's id, a generated secret.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Times are microseconds since 1970, UTC. Keys are never used again (AUTOINCREMENT):
-- upload sessions, tokens and caches remember them.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    password_hash TEXT NOT NULL,    -- argon2id in PHC form
    pepper_id     TEXT,             -- which pepper it was made with
    admin         INTEGER NOT NULL CHECK (admin IN (0, 1)),
    disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    epoch         TEXT NOT NULL,    -- tokens of another epoch are void
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    UNIQUE (id, name) -- which members name
) STRICT;

-- The first component of repository names. Stays claimed when its owner is deleted.
CREATE TABLE namespaces (
    name               TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 255),
    owner              INTEGER REFERENCES users (id) ON DELETE SET NULL,
    default_visibility TEXT CHECK (default_visibility IN ('public', 'internal', 'private')),
    created_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Deleting a user asks which namespaces are theirs.
CREATE INDEX namespaces_by_owner ON namespaces (owner);

-- Who may do what in a namespace. Its owner has a row here too. The user's name stands here
-- once more, since by it they are listed.
CREATE TABLE members (
    namespace TEXT NOT NULL REFERENCES namespaces (name) ON DELETE CASCADE,
    account   INTEGER NOT NULL,
    name      TEXT NOT NULL,
    role      TEXT NOT NULL CHECK (role IN ('reader', 'writer', 'owner')),
    since     INTEGER NOT NULL,
    PRIMARY KEY (namespace, account),
    FOREIGN KEY (account, name) REFERENCES users (id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- A namespace's members by name.
CREATE UNIQUE INDEX members_by_name ON members (namespace, name);
-- The catalog asks in which namespaces a user is.
CREATE INDEX members_by_account ON members (account, namespace);

-- Personal, robot and refresh tokens. Of the secret only the hash is kept.
CREATE TABLE access_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL CHECK (kind IN ('personal', 'robot', 'refresh')),
    name         TEXT NOT NULL,
    secret       BLOB NOT NULL UNIQUE CHECK (length(secret) = 32), -- SHA-256
    account      INTEGER REFERENCES users (id) ON DELETE CASCADE,
    namespace    TEXT REFERENCES namespaces (name) ON DELETE CASCADE,
    grants       TEXT NOT NULL,     -- separated by spaces
    parent       INTEGER REFERENCES access_tokens (id) ON DELETE CASCADE,
    client       TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    CHECK ((account IS NULL) <> (namespace IS NULL)),
    CHECK (kind <> 'personal' OR account IS NOT NULL),
    CHECK (kind <> 'robot' OR namespace IS NOT NULL)
) STRICT;
-- The name of a person's or a namespace's token says which one it is.
CREATE UNIQUE INDEX access_tokens_by_account_name ON access_tokens (account, name) WHERE kind = 'personal';
CREATE UNIQUE INDEX access_tokens_by_namespace_name ON access_tokens (namespace, name) WHERE kind = 'robot';
-- Lists of an owner's tokens, oldest first; deleting a user, ending their sessions.
CREATE INDEX access_tokens_by_account ON access_tokens (account, kind, id);
CREATE INDEX access_tokens_by_namespace ON access_tokens (namespace, kind, id);
-- Revoking a token ends those that were asked with it.
CREATE INDEX access_tokens_by_parent ON access_tokens (parent) WHERE parent IS NOT NULL;
-- Expired tokens are removed from time to time.
CREATE INDEX access_tokens_by_expiry ON access_tokens (expires_at) WHERE expires_at IS NOT NULL;
