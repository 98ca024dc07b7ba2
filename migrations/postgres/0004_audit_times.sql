-- How often it happened. Only failed logins are counted together: an attacker is not to fill the log.
ALTER TABLE audit_log ADD COLUMN times BIGINT NOT NULL DEFAULT 1;
