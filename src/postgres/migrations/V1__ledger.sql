-- The ledger. The schema `tollkeeper` is made before the migrations run, because the list of those
-- that have run lies in it. Texts compare by bytes, as the ids in memory do, in every locale.

CREATE TABLE tollkeeper.owners (
    id text COLLATE "C" CONSTRAINT owners_pkey PRIMARY KEY
);
COMMENT ON TABLE tollkeeper.owners IS 'The owners that usage records may refer to.';
COMMENT ON COLUMN tollkeeper.owners.id IS 'As kind:name, such as key:k1.';

CREATE TABLE tollkeeper.records (
    id uuid CONSTRAINT records_pkey PRIMARY KEY,
    api_key text COLLATE "C" CONSTRAINT records_api_key_fkey
        REFERENCES tollkeeper.owners ON DELETE SET NULL,
    upstream text COLLATE "C" CONSTRAINT records_upstream_fkey
        REFERENCES tollkeeper.owners ON DELETE SET NULL,
    model text,
    outcome text NOT NULL,
    reason text,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    requests bigint NOT NULL,
    cost bigint NOT NULL,
    admitted_at bigint NOT NULL,
    settled_at bigint NOT NULL,
    corrects uuid CONSTRAINT records_corrects_key UNIQUE,
    nulled smallint NOT NULL,
    attempt bigint NOT NULL
);
COMMENT ON TABLE tollkeeper.records IS
    'One row for each request that was settled, and for each correction of one. Rows do not change, except that a reference becomes NULL when what it refers to is deleted.';
COMMENT ON COLUMN tollkeeper.records.id IS 'Which it is. Time-ordered where tollkeeper draws it.';
COMMENT ON COLUMN tollkeeper.records.api_key IS 'The api key that made the request. NULL: none, or it is deleted.';
COMMENT ON COLUMN tollkeeper.records.upstream IS 'The upstream that served it. NULL: none, or it is deleted.';
COMMENT ON COLUMN tollkeeper.records.model IS 'The model. NULL: none was named.';
COMMENT ON COLUMN tollkeeper.records.outcome IS 'How it ended: completed, partial, failed, unbilled, uncertain or correction.';
COMMENT ON COLUMN tollkeeper.records.reason IS 'Why, where that is worth saying.';
COMMENT ON COLUMN tollkeeper.records.input_tokens IS 'Tokens sent that no cache was involved in.';
COMMENT ON COLUMN tollkeeper.records.output_tokens IS 'Tokens received.';
COMMENT ON COLUMN tollkeeper.records.cached_tokens IS 'Tokens sent that were read from a cache.';
COMMENT ON COLUMN tollkeeper.records.cache_write_tokens IS 'Tokens sent that were written to a cache.';
COMMENT ON COLUMN tollkeeper.records.requests IS 'Requests, usually 1.';
COMMENT ON COLUMN tollkeeper.records.cost IS 'Money, in billionths of the unit.';
COMMENT ON COLUMN tollkeeper.records.admitted_at IS 'When it was admitted, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.records.settled_at IS 'When it was settled, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.records.corrects IS 'The uncertain record that this one corrects.';
COMMENT ON COLUMN tollkeeper.records.nulled IS 'The references that were NULL already when the row was written, because what they refer to had been deleted: 1 api_key, 2 upstream, 3 both.';
COMMENT ON COLUMN tollkeeper.records.attempt IS 'By this a writer that lost an acknowledgement recognises its own row.';

-- For the deletion of an owner, which looks for the rows that refer to it.
CREATE INDEX records_api_key ON tollkeeper.records (api_key) WHERE api_key IS NOT NULL;
CREATE INDEX records_upstream ON tollkeeper.records (upstream) WHERE upstream IS NOT NULL;
-- For the purge of old rows.
CREATE INDEX records_settled_at ON tollkeeper.records (settled_at);
-- For those that wait to be corrected.
CREATE INDEX records_uncertain ON tollkeeper.records (id) WHERE outcome = 'uncertain';

-- No foreign key to records: both are written and deleted together by one statement or transaction
-- of this crate, and a check of every row would be a good part of a write's cost.
CREATE TABLE tollkeeper.postings (
    record uuid NOT NULL,
    limit_id text COLLATE "C" NOT NULL,
    dimension smallint NOT NULL,
    window_start bigint NOT NULL,
    window_end bigint NOT NULL,
    anchor bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT postings_pkey PRIMARY KEY (record, limit_id, dimension, window_start)
);
COMMENT ON TABLE tollkeeper.postings IS 'What each record charges to a counter in a window.';
COMMENT ON COLUMN tollkeeper.postings.record IS 'The record.';
COMMENT ON COLUMN tollkeeper.postings.limit_id IS 'The limit.';
COMMENT ON COLUMN tollkeeper.postings.dimension IS 'What is counted: 0 money, 1 tokens, 2 requests, 3 requests in flight.';
COMMENT ON COLUMN tollkeeper.postings.window_start IS 'The first instant of the window, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.postings.window_end IS 'The first instant after it. 9223372036854775807: it does not end.';
COMMENT ON COLUMN tollkeeper.postings.anchor IS 'Where the limit''s rolling periods began, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.postings.owner IS 'The limit''s owner.';
COMMENT ON COLUMN tollkeeper.postings.amount IS 'Money in billionths of the unit, tokens, or requests. Negative in corrections only.';

CREATE TABLE tollkeeper.totals (
    limit_id text COLLATE "C" NOT NULL,
    dimension smallint NOT NULL,
    window_start bigint NOT NULL,
    window_end bigint NOT NULL,
    anchor bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    settled bigint NOT NULL,
    CONSTRAINT totals_pkey PRIMARY KEY (limit_id, dimension, window_start)
)
-- Room on each page for the next version of a row that is counted up again and again.
WITH (fillfactor = 70);
COMMENT ON TABLE tollkeeper.totals IS 'The sums of the postings, for each counter and window. They stay when records are purged.';
COMMENT ON COLUMN tollkeeper.totals.limit_id IS 'The limit.';
COMMENT ON COLUMN tollkeeper.totals.dimension IS 'What is counted: 0 money, 1 tokens, 2 requests, 3 requests in flight.';
COMMENT ON COLUMN tollkeeper.totals.window_start IS 'The first instant of the window, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.totals.window_end IS 'The first instant after it. 9223372036854775807: it does not end.';
COMMENT ON COLUMN tollkeeper.totals.anchor IS 'Where the limit''s rolling periods began, in nanoseconds since 1970 UTC.';
COMMENT ON COLUMN tollkeeper.totals.owner IS 'The limit''s owner. A pair is written as both, with & between.';
COMMENT ON COLUMN tollkeeper.totals.settled IS 'Money in billionths of the unit, tokens, or requests.';

-- For the deletion of an owner: its totals, and those of the pairs in which it is the first or the
-- second.
CREATE INDEX totals_owner ON tollkeeper.totals (owner);
CREATE INDEX totals_pair_second ON tollkeeper.totals (split_part(owner, '&', 2))
    WHERE split_part(owner, '&', 2) <> '';

CREATE TABLE tollkeeper.grants (
    limit_id text COLLATE "C" NOT NULL,
    dimension smallint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    credit bigint NOT NULL,
    instead bigint,
    until bigint,
    CONSTRAINT grants_pkey PRIMARY KEY (limit_id, dimension)
);
COMMENT ON TABLE tollkeeper.grants IS 'What operators have granted: one row for each counter that was ever topped up or overridden. Deleted with the owner.';
COMMENT ON COLUMN tollkeeper.grants.limit_id IS 'The limit.';
COMMENT ON COLUMN tollkeeper.grants.dimension IS 'What is counted: 0 money, 1 tokens, 2 requests, 3 requests in flight.';
COMMENT ON COLUMN tollkeeper.grants.owner IS 'The limit''s owner. A pair is written as both, with & between.';
COMMENT ON COLUMN tollkeeper.grants.credit IS 'The sum of the top-ups, in billionths of the unit of money.';
COMMENT ON COLUMN tollkeeper.grants.instead IS 'What is admitted in place of the limit. NULL: the limit is.';
COMMENT ON COLUMN tollkeeper.grants.until IS 'It is in place of the limit in windows that begin before this, in nanoseconds since 1970 UTC. 9223372036854775807: in all.';

-- For the deletion of an owner, as of totals.
CREATE INDEX grants_owner ON tollkeeper.grants (owner);
CREATE INDEX grants_pair_second ON tollkeeper.grants (split_part(owner, '&', 2))
    WHERE split_part(owner, '&', 2) <> '';

CREATE TABLE tollkeeper.top_ups (
    id uuid CONSTRAINT top_ups_pkey PRIMARY KEY,
    limit_id text COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    at bigint NOT NULL
);
COMMENT ON TABLE tollkeeper.top_ups IS 'Every top-up there was, so that none is added twice. Rows stay when the limit''s owner is deleted.';
COMMENT ON COLUMN tollkeeper.top_ups.id IS 'Which it is.';
COMMENT ON COLUMN tollkeeper.top_ups.limit_id IS 'The prepaid budget.';
COMMENT ON COLUMN tollkeeper.top_ups.amount IS 'How much, in billionths of the unit of money.';
COMMENT ON COLUMN tollkeeper.top_ups.at IS 'When, in nanoseconds since 1970 UTC.';
