-- What a semantic cache compares, and what says which requests belong together.
ALTER TABLE requests ADD COLUMN embedding FLOAT[];
ALTER TABLE requests ADD COLUMN session_id VARCHAR;
ALTER TABLE requests ADD COLUMN user_id VARCHAR;
ALTER TABLE requests ADD COLUMN api_key_id VARCHAR;
