-- The ledger. Instants are nanoseconds since 1970; the largest integer stands for an end that never
-- comes. Amounts are in the unit of their dimension, money in nano-units.

-- "toll": by this an open file is known as one of ours.
PRAGMA application_id = 1953459308;

-- Who may be referred to by records.
CREATE TABLE owners (
    id TEXT NOT NULL PRIMARY KEY              -- kind:name
) STRICT, WITHOUT ROWID;

-- One row for each settled request, and for each correction. Never changed, but for references.
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,                  -- in the order of writing; what postings refer to
    id BLOB NOT NULL UNIQUE,                  -- 16 bytes, the highest first
    api_key TEXT REFERENCES owners (id) ON DELETE SET NULL,
    upstream TEXT REFERENCES owners (id) ON DELETE SET NULL,
    model TEXT,
    outcome TEXT NOT NULL,                    -- completed, partial, failed, unbilled, uncertain, correction
    reason TEXT,                              -- why it ended so
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    cost INTEGER NOT NULL,                    -- nano-units of money
    admitted_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    corrects BLOB,                            -- the id of the uncertain record that this one corrects
    nulled INTEGER NOT NULL,                  -- references that were missing: 1 api_key, 2 upstream
    attempt INTEGER NOT NULL                  -- which entry wrote it: 64 bits, drawn at random
) STRICT;

-- A record is corrected once.
CREATE UNIQUE INDEX records_corrects ON records (corrects) WHERE corrects IS NOT NULL;
-- Deleting an owner finds its records.
CREATE INDEX records_api_key ON records (api_key) WHERE api_key IS NOT NULL;
CREATE INDEX records_upstream ON records (upstream) WHERE upstream IS NOT NULL;
-- Purging finds the oldest.
CREATE INDEX records_settled_at ON records (settled_at);
-- Uncertain ones are few, and somebody has to look at them.
CREATE INDEX records_uncertain ON records (id) WHERE outcome = 'uncertain';

-- The windows of counters: what postings charge, and the totals. There is a row for each
-- description of a window that was ever charged. Those of the same limit, dimension and start are
-- one window, of which one row at most stands: the one charged last, which has the total.
CREATE TABLE windows (
    id INTEGER PRIMARY KEY,
    limit_id TEXT NOT NULL,
    dimension INTEGER NOT NULL,               -- 0 money, 1 tokens, 2 requests
    window_start INTEGER NOT NULL,
    window_end INTEGER NOT NULL,
    anchor INTEGER NOT NULL,                  -- where the lattice of rolling periods began
    owner TEXT NOT NULL,                      -- whose limit it is: kind:name, or a pair with & between
    standing INTEGER NOT NULL,                -- 0 no total (replaced, or its owner was deleted);
                                              -- 1 a total; 2 the total of the counter's last window
    settled INTEGER NOT NULL,                 -- the total, and 0 where there is none
    first_record INTEGER,                     -- the records that charge it have a seq from this
    last_record INTEGER,                      -- to this; NULL where none does
    pair_first TEXT AS (CASE WHEN instr(owner, '&') THEN substr(owner, 1, instr(owner, '&') - 1) END),
    pair_second TEXT AS (CASE WHEN instr(owner, '&') THEN substr(owner, instr(owner, '&') + 1) END)
) STRICT;

-- Each description once.
CREATE UNIQUE INDEX windows_description
    ON windows (limit_id, dimension, window_start, window_end, anchor, owner);
-- A counter has one last window; a restart reads these and no others.
CREATE UNIQUE INDEX windows_last ON windows (limit_id, dimension) WHERE standing = 2;
-- Deleting an owner finds its windows and those of its pairs, and readers find charges.
CREATE INDEX windows_owner ON windows (owner);
CREATE INDEX windows_pair_first ON windows (pair_first) WHERE pair_first IS NOT NULL;
CREATE INDEX windows_pair_second ON windows (pair_second) WHERE pair_second IS NOT NULL;
CREATE INDEX windows_start ON windows (window_start);

-- What a record charges to a window. There is no index the other way: its pages would be as many as
-- the windows charged at the time, and writing them costs more than all the rest. Readers find the
-- records of a window between its first and its last, which lie together.
CREATE TABLE postings (
    record INTEGER NOT NULL,                  -- records.seq
    window_id INTEGER NOT NULL,               -- windows.id
    amount INTEGER NOT NULL,
    PRIMARY KEY (record, window_id)
) STRICT, WITHOUT ROWID;

-- What operators have granted on counters: of every one that was ever topped up or overridden. Goes
-- with its owner.
CREATE TABLE grants (
    limit_id TEXT NOT NULL,
    dimension INTEGER NOT NULL,               -- 0 money, 1 tokens, 2 requests, 3 requests in flight
    owner TEXT NOT NULL,                      -- whose limit it is: kind:name, or a pair with & between
    credit INTEGER NOT NULL,                  -- the sum of the top-ups
    instead INTEGER,                          -- admitted in place of the limit; NULL: the limit is
    until INTEGER,                            -- in the windows that begin before this
    pair_first TEXT AS (CASE WHEN instr(owner, '&') THEN substr(owner, 1, instr(owner, '&') - 1) END),
    pair_second TEXT AS (CASE WHEN instr(owner, '&') THEN substr(owner, instr(owner, '&') + 1) END),
    PRIMARY KEY (limit_id, dimension)
) STRICT, WITHOUT ROWID;

-- Deleting an owner finds its grants and those of its pairs.
CREATE INDEX grants_owner ON grants (owner);
CREATE INDEX grants_pair_first ON grants (pair_first) WHERE pair_first IS NOT NULL;
CREATE INDEX grants_pair_second ON grants (pair_second) WHERE pair_second IS NOT NULL;

-- Every top-up there was, so that none is added twice. Stays when its owner is deleted.
CREATE TABLE top_ups (
    id BLOB NOT NULL PRIMARY KEY,             -- 16 bytes, the highest first
    limit_id TEXT NOT NULL,
    amount INTEGER NOT NULL,                  -- nano-units of money
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
