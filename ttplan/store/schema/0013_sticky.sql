-- Whether a route follows whole sessions ('session'); null if its conditions are asked of each request.
ALTER TABLE routes ADD COLUMN sticky VARCHAR;
