-- The full name by which other servers reach this one, as it reported it.
ALTER TABLE servers ADD COLUMN fqdn TEXT;
UPDATE servers SET fqdn = (SELECT json_extract(report, '$.host.fqdn.known') FROM reports WHERE reports.server = servers.name);

-- Who looks at whom follows from the order of the names in a group.
DROP INDEX servers_of_group;
CREATE INDEX servers_of_group ON servers (grp, name);

-- The last word of a server on the 444 of another: to which question, what it was shown, and what it had been shown when it was last
-- asked something else.
CREATE TABLE peer_checks (
    server TEXT NOT NULL,
    peer TEXT NOT NULL,
    question TEXT NOT NULL,
    outcome TEXT NOT NULL,
    before TEXT,
    PRIMARY KEY (server, peer)
);
