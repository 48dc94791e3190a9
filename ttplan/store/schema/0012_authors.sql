-- Who made a plan, as the chain names people; null where nobody was named.
ALTER TABLE plan_runs ADD COLUMN author VARCHAR;
