-- The tables of a store in a DuckDB file, with PostgreSQL's own types, for many organisations. What is JSON is text, not jsonb:
-- what is hashed and money to the last digit have to come back as the bytes that they were.
CREATE TABLE ttplan.settings (
    org_id uuid NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (org_id, name)
);

CREATE TABLE ttplan.requests (
    id uuid NOT NULL,
    org_id uuid NOT NULL,
    ts timestamptz NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cost_usd numeric(38, 12) NOT NULL,
    baseline_cost_usd numeric(38, 12) NOT NULL,
    cached boolean NOT NULL,
    cache_layer text,
    matched_route_id uuid,
    latency_ms bigint,
    upstream_latency_ms bigint,
    status integer NOT NULL,
    tag text,
    finish_reason text,
    body text,
    response_body text,
    body_lower text,
    source_id text,
    embedding real[],
    session_id text,
    user_id text,
    api_key_id text,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    input_audio_tokens bigint,
    output_audio_tokens bigint,
    input_image_tokens bigint,
    output_image_tokens bigint,
    streamed boolean,
    service_tier text,
    endpoint text,
    provider_usage text,
    logged_provider text,
    logged_model text,
    recorded_cost_usd numeric(38, 12),
    cost_basis text,
    PRIMARY KEY (org_id, id)
);

CREATE TABLE ttplan.plan_runs (
    plan_id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('projected', 'applied', 'reverted', 'failed')),
    created_at timestamptz NOT NULL,
    applied_at timestamptz,
    reverted_at timestamptz,
    nonce text NOT NULL CHECK (length(nonce) = 64),
    seed numeric(20, 0) NOT NULL,
    bootstrap_iterations bigint NOT NULL,
    config text NOT NULL,
    pricing text NOT NULL,
    price_sources text,
    cost_basis text,
    live_seen text,
    replaced text,
    failure text,
    author text,
    result text NOT NULL
);
CREATE INDEX plan_runs_by_age ON ttplan.plan_runs (org_id, created_at, plan_id);

CREATE TABLE ttplan.routes (
    org_id uuid NOT NULL,
    name text NOT NULL,
    route_id uuid NOT NULL,
    priority bigint NOT NULL CHECK (priority BETWEEN 0 AND 4294967295),
    enabled boolean NOT NULL,
    conditions text NOT NULL,
    action text NOT NULL,
    plan_id uuid NOT NULL,
    applied_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- body is the text that is hashed. event and logged_at repeat parts of it, for queries. Whatever lock a writer forgot: two entries
-- cannot have one place, nor follow the same one.
CREATE TABLE ttplan.audit_entries (
    org_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 0),
    event text NOT NULL,
    logged_at timestamptz NOT NULL,
    body text NOT NULL,
    prev_hash text NOT NULL CHECK (prev_hash ~ '^[0-9a-f]{64}$'),
    hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    signature text NOT NULL CHECK (signature ~ '^[0-9a-f]{128}$'),
    PRIMARY KEY (org_id, seq),
    UNIQUE (org_id, prev_hash),
    UNIQUE (org_id, hash)
);

CREATE TABLE ttplan.reconciliations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL,
    plan_id uuid NOT NULL,
    reconciled_at timestamptz NOT NULL,
    found text NOT NULL
);
CREATE INDEX reconciliations_by_org ON ttplan.reconciliations (org_id, reconciled_at, number);

-- A row of each transaction that wrote something: where the connection was lost in a commit, its row says whether there was one.
-- The number of a transaction by itself does not, since a server that crashed may give it to another one.
CREATE TABLE ttplan.commits (
    token uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

-- The chain is only ever appended to, by whomever: an entry follows the last one, and is neither changed nor removed.
CREATE FUNCTION ttplan.entry_follows() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last record;
BEGIN
    SELECT seq, hash INTO last FROM ttplan.audit_entries WHERE org_id = NEW.org_id ORDER BY seq DESC LIMIT 1;
    IF NEW.seq <> coalesce(last.seq + 1, 0) OR NEW.prev_hash <> coalesce(last.hash, repeat('0', 64)) THEN
        RAISE EXCEPTION 'an entry with seq % does not follow the last one of its chain', NEW.seq;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER entry_follows BEFORE INSERT ON ttplan.audit_entries FOR EACH ROW EXECUTE FUNCTION ttplan.entry_follows();

CREATE FUNCTION ttplan.entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit chain is only appended to: its entries are never changed or removed';
END
$$;
CREATE TRIGGER entry_stays BEFORE UPDATE OR DELETE ON ttplan.audit_entries FOR EACH ROW EXECUTE FUNCTION ttplan.entry_stays();
CREATE TRIGGER entries_stay BEFORE TRUNCATE ON ttplan.audit_entries FOR EACH STATEMENT EXECUTE FUNCTION ttplan.entry_stays();

-- JSON to take figures from, where nothing is hashed; nothing where it is none any more.
CREATE FUNCTION ttplan.read_json(content text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN content::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

-- Who may see which organisation: the owner all, a login the ones that it is a member of.
CREATE TABLE ttplan.members (
    login name NOT NULL,
    org_id uuid NOT NULL,
    PRIMARY KEY (login, org_id)
);
CREATE FUNCTION ttplan.sees(org uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM ttplan.members WHERE login = session_user AND org_id = org)
        OR pg_has_role(session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = 'ttplan'), 'USAGE')
$$;

-- What a gateway polls: the live routes in the words of the replay contract, and word that they changed, once that is committed.
CREATE SCHEMA ttplan_gateway;
CREATE VIEW ttplan_gateway.routes WITH (security_barrier) AS
    SELECT
        org_id,
        route_id AS id,
        name,
        priority,
        enabled,
        conditions::json AS "when",
        action::json AS "then",
        plan_id,
        applied_at
    FROM ttplan.routes
    WHERE ttplan.sees(org_id);

CREATE FUNCTION ttplan.tell_routes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- What is told twice in one transaction arrives once.
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        PERFORM pg_notify('ttplan_routes', NEW.org_id::text);
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        PERFORM pg_notify('ttplan_routes', OLD.org_id::text);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_routes AFTER INSERT OR UPDATE OR DELETE ON ttplan.routes FOR EACH ROW EXECUTE FUNCTION ttplan.tell_routes();
