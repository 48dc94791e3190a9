-- Who may do what, by four roles without a login. Give them to logins (GRANT ttplan_operator TO alice), and say of each login which
-- organisations it is a member of (INSERT INTO ttplan.members VALUES ('alice', '…')): of others it sees nothing.
-- Only the owner may change members, the schema, or take back what is here. It can be run again.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['ttplan_analyst', 'ttplan_operator', 'ttplan_auditor', 'ttplan_gateway'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION ttplan.own_orgs() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT org_id FROM ttplan.members WHERE login = session_user
$$;

GRANT USAGE ON SCHEMA ttplan TO ttplan_analyst, ttplan_operator, ttplan_auditor;
GRANT USAGE ON SCHEMA ttplan_gateway TO ttplan_gateway, ttplan_analyst, ttplan_operator, ttplan_auditor;
GRANT SELECT ON ttplan_gateway.routes TO ttplan_gateway, ttplan_analyst, ttplan_operator, ttplan_auditor;
GRANT SELECT ON
    ttplan.schema_version, ttplan.settings, ttplan.requests, ttplan.plan_runs, ttplan.routes, ttplan.audit_entries,
    ttplan.reconciliations, ttplan.commits
    TO ttplan_analyst, ttplan_operator, ttplan_auditor;
GRANT INSERT ON ttplan.commits TO ttplan_analyst, ttplan_operator;

-- An analyst imports, plans, has quality judged and reconciles.
GRANT INSERT ON ttplan.settings, ttplan.requests, ttplan.plan_runs, ttplan.reconciliations TO ttplan_analyst;
GRANT UPDATE (result) ON ttplan.plan_runs TO ttplan_analyst;

-- An operator applies, reverts and repairs, approves, and sets the policy: whatever has an entry in the chain.
GRANT UPDATE (status, applied_at, reverted_at, replaced, result) ON ttplan.plan_runs TO ttplan_operator;
GRANT INSERT, UPDATE, DELETE ON ttplan.routes TO ttplan_operator;
GRANT INSERT, DELETE ON ttplan.settings TO ttplan_operator;
GRANT INSERT ON ttplan.audit_entries TO ttplan_operator;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['settings', 'requests', 'plan_runs', 'routes', 'audit_entries', 'reconciliations'] LOOP
        EXECUTE format('ALTER TABLE ttplan.%I ENABLE ROW LEVEL SECURITY', wanted);
        EXECUTE format('DROP POLICY IF EXISTS own_org ON ttplan.%I', wanted);
        -- Of its own organisations alone. What else a role may not do, no policy gives it.
        EXECUTE format(
            'CREATE POLICY own_org ON ttplan.%I AS RESTRICTIVE USING (org_id IN (SELECT ttplan.own_orgs())) '
            'WITH CHECK (org_id IN (SELECT ttplan.own_orgs()))', wanted);
        EXECUTE format('DROP POLICY IF EXISTS all_read ON ttplan.%I', wanted);
        EXECUTE format(
            'CREATE POLICY all_read ON ttplan.%I FOR SELECT TO ttplan_analyst, ttplan_operator, ttplan_auditor USING (true)', wanted);
    END LOOP;
END
$$;

DROP POLICY IF EXISTS analyst_adds ON ttplan.requests;
CREATE POLICY analyst_adds ON ttplan.requests FOR INSERT TO ttplan_analyst WITH CHECK (true);
DROP POLICY IF EXISTS analyst_adds ON ttplan.reconciliations;
CREATE POLICY analyst_adds ON ttplan.reconciliations FOR INSERT TO ttplan_analyst WITH CHECK (true);
DROP POLICY IF EXISTS analyst_adds ON ttplan.settings;
CREATE POLICY analyst_adds ON ttplan.settings FOR INSERT TO ttplan_analyst WITH CHECK (name = 'org_id');
DROP POLICY IF EXISTS analyst_adds ON ttplan.plan_runs;
CREATE POLICY analyst_adds ON ttplan.plan_runs FOR INSERT TO ttplan_analyst
    WITH CHECK (status IN ('projected', 'failed') AND applied_at IS NULL AND reverted_at IS NULL AND replaced IS NULL);
-- What a plan was found to be worth may be added to while nobody relies on it.
DROP POLICY IF EXISTS analyst_judges ON ttplan.plan_runs;
CREATE POLICY analyst_judges ON ttplan.plan_runs FOR UPDATE TO ttplan_analyst
    USING (status = 'projected') WITH CHECK (status = 'projected');

DROP POLICY IF EXISTS operator_flips ON ttplan.plan_runs;
CREATE POLICY operator_flips ON ttplan.plan_runs FOR UPDATE TO ttplan_operator
    USING (status IN ('projected', 'applied')) WITH CHECK (status IN ('applied', 'reverted'));
DROP POLICY IF EXISTS operator_routes ON ttplan.routes;
CREATE POLICY operator_routes ON ttplan.routes TO ttplan_operator USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS operator_appends ON ttplan.audit_entries;
CREATE POLICY operator_appends ON ttplan.audit_entries FOR INSERT TO ttplan_operator WITH CHECK (true);
DROP POLICY IF EXISTS operator_sets ON ttplan.settings;
CREATE POLICY operator_sets ON ttplan.settings FOR INSERT TO ttplan_operator WITH CHECK (name = 'policy');
DROP POLICY IF EXISTS operator_takes_back ON ttplan.settings;
CREATE POLICY operator_takes_back ON ttplan.settings FOR DELETE TO ttplan_operator USING (name = 'policy');
