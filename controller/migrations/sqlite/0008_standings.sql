-- How each server stood, from when on: a row whenever verdict, findings or what the record on 444 names became another. It answers what
-- stood where on a day, and how long it was left alone.
CREATE TABLE standings (
    server TEXT NOT NULL,
    since BIGINT NOT NULL,
    -- The server was retired: from here on there is none of that name.
    gone BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    findings TEXT NOT NULL,
    mode TEXT,
    dag TEXT,
    ad_site TEXT,
    exchange TEXT,
    -- What the record on 444 names, the certificate if it is at hand, and since when it is that one.
    thumbprint TEXT,
    certificate TEXT,
    bound_since BIGINT NOT NULL,
    -- When the server was heard for the first time.
    watched_since BIGINT NOT NULL,
    PRIMARY KEY (server, since)
);
CREATE INDEX standings_by_age ON standings (since);
CREATE INDEX receipts_by_age ON receipts (settled_at, plan);
CREATE INDEX receipts_of_server ON receipts (server, settled_at);
