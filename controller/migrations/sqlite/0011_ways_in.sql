-- How a browser was signed in: whoever came from a provider is led there when signing out.
ALTER TABLE browsers ADD COLUMN via TEXT NOT NULL DEFAULT 'link';
-- Passwords, by whom they were set for themselves; after wrong ones the next is not looked at before a moment.
CREATE TABLE passwords (
    person TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    wrong BIGINT NOT NULL,
    not_before BIGINT NOT NULL
);
-- Tokens of programs. Only the hash of the secret.
CREATE TABLE api_tokens (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
