-- Whether a route follows whole sessions ('session'); null if its conditions are asked of each request.
ALTER TABLE ttplan.routes ADD COLUMN sticky text;

CREATE OR REPLACE VIEW ttplan_gateway.routes WITH (security_barrier) AS
    SELECT
        org_id,
        route_id AS id,
        name,
        priority,
        enabled,
        conditions::json AS "when",
        action::json AS "then",
        plan_id,
        applied_at,
        sticky
    FROM ttplan.routes
    WHERE ttplan.sees(org_id);
