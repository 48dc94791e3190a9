CREATE TABLE settings (
    name VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

-- No key on requests: an index on the ids makes the file some four times as large. Importing checks ids instead.
CREATE TABLE requests (
    id UUID NOT NULL,
    org_id UUID NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    provider VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cost_usd DECIMAL(38, 12) NOT NULL,
    baseline_cost_usd DECIMAL(38, 12) NOT NULL,
    cached BOOLEAN NOT NULL,
    cache_layer VARCHAR,
    matched_route_id UUID,
    latency_ms BIGINT,
    upstream_latency_ms BIGINT,
    status INTEGER NOT NULL,
    tag VARCHAR,
    finish_reason VARCHAR,
    body VARCHAR,
    response_body VARCHAR,
    body_lower VARCHAR,
    source_id VARCHAR
);

CREATE TABLE plan_runs (
    plan_id UUID PRIMARY KEY,
    org_id UUID NOT NULL,
    name VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('projected', 'applied', 'reverted', 'failed')),
    created_at TIMESTAMPTZ NOT NULL,
    applied_at TIMESTAMPTZ,
    nonce VARCHAR NOT NULL CHECK (length(nonce) = 64),
    seed UBIGINT NOT NULL,
    bootstrap_iterations UINTEGER NOT NULL,
    config VARCHAR NOT NULL,
    pricing VARCHAR NOT NULL,
    result VARCHAR NOT NULL
);

CREATE TABLE routes (
    org_id UUID NOT NULL,
    name VARCHAR NOT NULL,
    route_id UUID NOT NULL,
    priority UINTEGER NOT NULL,
    enabled BOOLEAN NOT NULL,
    conditions VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    plan_id UUID NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- body is the text that is hashed: no column type may spell it anew. event and logged_at repeat parts of it, for queries.
CREATE TABLE audit_entries (
    org_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    event VARCHAR NOT NULL,
    logged_at VARCHAR NOT NULL,
    body VARCHAR NOT NULL,
    prev_hash VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
    signature VARCHAR NOT NULL,
    PRIMARY KEY (org_id, seq)
);
