-- Emergency stops as they were made; one that was let go stays for whoever asks later.
CREATE TABLE stops (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    lifted_at BIGINT
);
CREATE INDEX stops_in_force ON stops (made_at) WHERE lifted_at IS NULL;

-- Approvers' yes to going on, as it was signed; one signature may cover many stops.
CREATE TABLE resumes (
    stop TEXT NOT NULL,
    id TEXT NOT NULL,
    signed TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (stop, id)
);

-- Which stops hold which hosts, as their agents say.
CREATE TABLE stopped (
    server TEXT NOT NULL,
    stop TEXT NOT NULL,
    PRIMARY KEY (server, stop)
);
CREATE INDEX stopped_by ON stopped (stop);
