-- What is old is found without reading what is not.
CREATE INDEX history_by_age ON history (recorded_at);
CREATE INDEX plans_ended ON plans (changed_at)
    WHERE life IN ('confirmed', 'undone', 'failed', 'refused', 'superseded', 'expired', 'withdrawn', 'abandoned');
CREATE INDEX tokens_by_age ON tokens (expires_at);
