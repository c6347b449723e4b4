-- The certificate on 444, by its SHA-256, beside its end: so that it is found where its bytes are, without reading reports.
ALTER TABLE servers ADD COLUMN certificate TEXT;
