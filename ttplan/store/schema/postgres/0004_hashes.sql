-- Hashes of the prompt, with all that changes the answer, and of the answer's text. Null is "not known".
ALTER TABLE ttplan.requests ADD COLUMN prompt_hash text, ADD COLUMN answer_hash text;
