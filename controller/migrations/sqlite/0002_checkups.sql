-- What doctor found on each host: the last look and the last rehearsal. `id` is the agent's own name for it.
CREATE TABLE checkups (
    server TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    checkup TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (server, kind)
);
