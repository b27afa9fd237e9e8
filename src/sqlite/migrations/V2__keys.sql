-- Idempotency keys: whose key, for which request, and what came of it. Instants are nanoseconds
-- since 1970.
CREATE TABLE keys (
    tenant TEXT NOT NULL,
    operation TEXT NOT NULL,
    client_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,                -- SHA-256 of the request, 32 bytes
    status TEXT NOT NULL,                     -- in_progress, completed, failed
    fence INTEGER NOT NULL,                   -- 1 for the first claim, one more for each that took over
    attempt INTEGER NOT NULL,                 -- which claim holds it: 64 bits, drawn at random
    born INTEGER NOT NULL,                    -- when it was claimed first
    charge BLOB NOT NULL,                     -- the id of the record that charges it, 16 bytes
    lease_until INTEGER,                      -- in progress: from then on it may be taken over
    expires_at INTEGER,                       -- completed, failed: from then on it is forgotten
    result BLOB,                              -- completed: what is replayed; NULL: it was too large
    PRIMARY KEY (tenant, operation, client_key)
) STRICT;

-- Purging finds what has expired.
CREATE INDEX keys_expires_at ON keys (expires_at) WHERE expires_at IS NOT NULL;
