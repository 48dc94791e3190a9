-- What plans were found to be worth once they were live: `found` is the whole of it, as JSON.
CREATE TABLE reconciliations (
    org_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    reconciled_at TIMESTAMPTZ NOT NULL,
    found VARCHAR NOT NULL
);
