-- The whole estate in one file. Rules that keep this text close to PostgreSQL's: ids are TEXT (digests in lower-case
-- hexadecimal digits), times are BIGINT (microseconds since 1970, UTC), documents are JSON in TEXT, flags are BIGINT 0 or 1.

-- One row: whose database this is.
CREATE TABLE estate (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    product TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Keys of agents that were ever let in or knocked.
CREATE TABLE identities (
    key_id TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    state TEXT NOT NULL,
    why TEXT NOT NULL,
    certificate TEXT NOT NULL,
    not_after BIGINT NOT NULL,
    lineage BLOB NOT NULL,
    previous_lineage BLOB NOT NULL,
    epoch BIGINT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX identities_of_server ON identities (server);
-- One machine holds a name.
CREATE UNIQUE INDEX one_identity_per_server ON identities (server) WHERE state IN ('active', 'quarantined', 'banned');

CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_by TEXT,
    used_at BIGINT
);
CREATE INDEX tokens_of_server ON tokens (server);

-- What is known of a server now, in the columns that lists need.
CREATE TABLE servers (
    name TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    digest TEXT,
    recorded_at BIGINT,
    seen_at BIGINT,
    said TEXT NOT NULL,
    verdict TEXT,
    decision TEXT,
    why TEXT NOT NULL,
    mode TEXT,
    grp TEXT NOT NULL,
    dag TEXT,
    ad_site TEXT,
    exchange TEXT,
    thumbprint TEXT,
    not_after BIGINT,
    agent_version TEXT NOT NULL,
    trust_id TEXT,
    trust_version BIGINT NOT NULL,
    policy_id TEXT,
    policy_version BIGINT NOT NULL,
    next_look BIGINT
);
CREATE INDEX servers_of_group ON servers (grp);
CREATE INDEX servers_next_look ON servers (next_look) WHERE next_look IS NOT NULL;

-- The newest report of a server, what was concluded from it, and what is remembered between looks.
CREATE TABLE reports (
    server TEXT PRIMARY KEY,
    report TEXT NOT NULL,
    assessment TEXT,
    last_known TEXT
);

-- Every change that a server reported.
CREATE TABLE history (
    server TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    digest TEXT NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (server, epoch, counter)
);

CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    der BLOB NOT NULL,
    recorded_at BIGINT NOT NULL
);

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    purpose TEXT NOT NULL,
    body TEXT NOT NULL,
    life TEXT NOT NULL,
    waits_for TEXT NOT NULL,
    opens_at BIGINT NOT NULL,
    urgent BIGINT NOT NULL,
    approved BIGINT NOT NULL,
    needed BIGINT NOT NULL,
    grp TEXT NOT NULL,
    cancelled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX plans_of_server ON plans (server, created_at);
CREATE INDEX plans_by_age ON plans (created_at, id);
CREATE INDEX plans_at_work ON plans (grp) WHERE life IN ('offered', 'running', 'restored');
-- One plan at a time on a host (J1), one renewal at a time in a group (P8): whatever any controller believes.
CREATE UNIQUE INDEX one_plan_per_server ON plans (server) WHERE life IN ('offered', 'running');
CREATE UNIQUE INDEX one_renewal_per_group ON plans (grp) WHERE life IN ('offered', 'running') AND purpose = 'renew';

-- Approvals as they were signed; one signature may cover many plans.
CREATE TABLE approvals (
    id TEXT NOT NULL,
    plan TEXT NOT NULL,
    person TEXT NOT NULL,
    signed TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (plan, id)
);

CREATE TABLE receipts (
    plan TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    outcome TEXT NOT NULL,
    receipt TEXT NOT NULL,
    ended_at BIGINT NOT NULL,
    settled_at BIGINT NOT NULL
);

-- Signed documents, every version: agents that were away walk the chain of trust.
CREATE TABLE trust_documents (
    version BIGINT PRIMARY KEY,
    id TEXT NOT NULL,
    signed TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
CREATE TABLE policies (
    version BIGINT PRIMARY KEY,
    id TEXT NOT NULL,
    signed TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);

-- The chain: hash = SHA-256(previous ‖ JSON of the entry).
CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE audit_head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (one, sequence, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
