-- When the head of the audit trail is sent out next, for others to keep.
ALTER TABLE notified ADD COLUMN anchor_at BIGINT NOT NULL DEFAULT 0;
