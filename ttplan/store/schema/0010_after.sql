-- What a plan saw when it was computed, what it took the place of when it was applied, and how it ended.
ALTER TABLE plan_runs ADD COLUMN live_seen VARCHAR;
ALTER TABLE plan_runs ADD COLUMN replaced VARCHAR;
ALTER TABLE plan_runs ADD COLUMN reverted_at TIMESTAMPTZ;
ALTER TABLE plan_runs ADD COLUMN failure VARCHAR;
