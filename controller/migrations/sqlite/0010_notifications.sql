-- What wants somebody: one row for each cause from when it was first seen until it is gone. A cause that comes back is another row.
CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    cause TEXT NOT NULL,
    server TEXT NOT NULL,
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    detail TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    gone_since BIGINT,
    resolved_at BIGINT
);
CREATE UNIQUE INDEX incidents_open ON incidents (cause) WHERE resolved_at IS NULL;
CREATE INDEX incidents_by_time ON incidents (opened_at);

-- What is to be said through which channel. A row stays for a while after it was said, so that people see that it was.
CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failure TEXT NOT NULL,
    sent_at BIGINT,
    given_up_at BIGINT
);
CREATE INDEX messages_waiting ON messages (channel, due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX messages_by_time ON messages (made_at);

-- Up to where the audit trail was read for what agents did by themselves, and when the next digest is due.
CREATE TABLE notified (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    audit_sequence BIGINT NOT NULL,
    digest_at BIGINT NOT NULL
);
