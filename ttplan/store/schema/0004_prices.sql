-- What a plan's costs are made of, and where the prices of its targets came from; null in rows from before they were kept.
ALTER TABLE plan_runs ADD COLUMN cost_basis VARCHAR;
ALTER TABLE plan_runs ADD COLUMN price_sources VARCHAR;
