-- When the database was put back from a backup, when that backup was made, and where the audit trail ended in it.
CREATE TABLE restores (
    at BIGINT PRIMARY KEY,
    made_at BIGINT,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);

-- Servers that have not told since then what they hold and what was done there: nothing is offered to their groups.
CREATE TABLE awaited (
    server TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);
