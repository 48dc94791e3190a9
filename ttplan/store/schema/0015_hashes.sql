-- Hashes of the prompt, with all that changes the answer, and of the answer's text. Null is "not known".
ALTER TABLE requests ADD COLUMN prompt_hash VARCHAR;
ALTER TABLE requests ADD COLUMN answer_hash VARCHAR;
