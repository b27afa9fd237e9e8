-- Idempotency keys. Texts compare by bytes, as they do in memory.

CREATE TABLE tollkeeper.keys (
    tenant text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    client_key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    status text NOT NULL,
    fence bigint NOT NULL,
    attempt bigint NOT NULL,
    born bigint NOT NULL,
    charge uuid NOT NULL,
    lease_until bigint,
    expires_at bigint,
    result bytea,
    CONSTRAINT keys_pkey PRIMARY KEY (tenant, operation, client_key)
);
COMMENT ON TABLE tollkeeper.keys IS 'Idempotency keys: whose key, for which request, and what came of it.';
COMMENT ON COLUMN tollkeeper.keys.tenant IS 'Whose key it is.';
COMMENT ON COLUMN tollkeeper.keys.operation IS 'What it was used for.';
COMMENT ON COLUMN tollkeeper.keys.client_key IS 'The key, as the client sent it.';
COMMENT ON COLUMN tollkeeper.keys.fingerprint IS 'SHA-256 of the request.';
COMMENT ON COLUMN tollkeeper.keys.status IS 'in_progress, completed or failed.';
COMMENT ON COLUMN tollkeeper.keys.fence IS '1 for the first claim, and one more for each that took over.';
COMMENT ON COLUMN tollkeeper.keys.attempt IS 'Which claim holds it. By this a keeper that lost an acknowledgement recognises its own claim.';
COMMENT ON COLUMN tollkeeper.keys.born IS 'When it was claimed first, in nanoseconds since 1970 UTC by the server''s clock.';
COMMENT ON COLUMN tollkeeper.keys.charge IS 'The id of the record that charges the request.';
COMMENT ON COLUMN tollkeeper.keys.lease_until IS 'In progress: from this instant on another claim may take over.';
COMMENT ON COLUMN tollkeeper.keys.expires_at IS 'Completed or failed: from this instant on the key is forgotten.';
COMMENT ON COLUMN tollkeeper.keys.result IS 'Completed: what is replayed. NULL: it was too large to be kept.';

-- For the purge of what has expired.
CREATE INDEX keys_expires_at ON tollkeeper.keys (expires_at) WHERE expires_at IS NOT NULL;
