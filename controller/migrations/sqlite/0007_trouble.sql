-- The certificate on 444, by its SHA-256, beside its end: so that it is found where its bytes are, without reading reports.
ALTER TABLE servers ADD COLUMN certificate TEXT;

-- The gravest of what was found there, so that those who want somebody are found without reading what was found on the others.
ALTER TABLE servers ADD COLUMN worst TEXT;
CREATE INDEX servers_in_trouble ON servers (worst, name) WHERE worst IN ('page', 'warning');
CREATE INDEX servers_by_end ON servers (not_after) WHERE not_after IS NOT NULL;

-- Both are written with what a look came to: it is new again once, for every server.
UPDATE servers SET decision = NULL;
