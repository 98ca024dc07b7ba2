-- What is made once: the registry's id, a generated secret.
CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

-- Times are microseconds since 1970, UTC. Flags are numbers, since sqlx reads no boolean on both databases.
CREATE TABLE users (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    password_hash TEXT NOT NULL,    -- argon2id in PHC form
    pepper_id     TEXT,             -- which pepper it was made with
    admin         BIGINT NOT NULL CHECK (admin IN (0, 1)),
    disabled      BIGINT NOT NULL CHECK (disabled IN (0, 1)),
    epoch         TEXT NOT NULL,    -- tokens of another epoch are void
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL,
    UNIQUE (id, name) -- which members name
);

-- The first component of repository names. Stays claimed when its owner is deleted.
CREATE TABLE namespaces (
    name               TEXT COLLATE "C" PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 255),
    owner              BIGINT REFERENCES users (id) ON DELETE SET NULL,
    default_visibility TEXT CHECK (default_visibility IN ('public', 'internal', 'private')),
    created_at         BIGINT NOT NULL
);
-- Deleting a user asks which namespaces are theirs.
CREATE INDEX namespaces_by_owner ON namespaces (owner);

-- Who may do what in a namespace. Its owner has a row here too. The user's name stands here
-- once more, since by it they are listed.
CREATE TABLE members (
    namespace TEXT COLLATE "C" NOT NULL REFERENCES namespaces (name) ON DELETE CASCADE,
    account   BIGINT NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    role      TEXT NOT NULL CHECK (role IN ('reader', 'writer', 'owner')),
    since     BIGINT NOT NULL,
    PRIMARY KEY (namespace, account),
    FOREIGN KEY (account, name) REFERENCES users (id, name) ON DELETE CASCADE
);
-- A namespace's members by name.
CREATE UNIQUE INDEX members_by_name ON members (namespace, name);
-- The catalog asks in which namespaces a user is.
CREATE INDEX members_by_account ON members (account, namespace);

-- Personal, robot and refresh tokens. Of the secret only the hash is kept.
CREATE TABLE access_tokens (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('personal', 'robot', 'refresh')),
    name         TEXT COLLATE "C" NOT NULL,
    secret       BYTEA NOT NULL UNIQUE CHECK (octet_length(secret) = 32), -- SHA-256
    account      BIGINT REFERENCES users (id) ON DELETE CASCADE,
    namespace    TEXT COLLATE "C" REFERENCES namespaces (name) ON DELETE CASCADE,
    grants       TEXT NOT NULL,     -- separated by spaces
    parent       BIGINT REFERENCES access_tokens (id) ON DELETE CASCADE,
    client       TEXT,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    CHECK ((account IS NULL) <> (namespace IS NULL)),
    CHECK (kind <> 'personal' OR account IS NOT NULL),
    CHECK (kind <> 'robot' OR namespace IS NOT NULL)
);
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
