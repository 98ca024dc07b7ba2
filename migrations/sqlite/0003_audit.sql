-- Who did what to what, when, from where, and how it ended. Written, never changed. Names
-- stand here as they were: what they named may be gone.
CREATE TABLE audit_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    address TEXT,
    request TEXT,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    detail  TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('success', 'failure'))
) STRICT;
-- Listings of one actor, one kind of action, one target.
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);
CREATE INDEX audit_log_by_target ON audit_log (target, id);
