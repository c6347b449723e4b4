-- When each certificate begins. SQL cannot read it out of DER: those that are here already are dated when the database is opened.
ALTER TABLE certificates ADD COLUMN not_before BIGINT;
CREATE INDEX certificates_undated ON certificates (id) WHERE not_before IS NULL;
