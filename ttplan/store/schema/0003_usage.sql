-- What a log says of tokens and money beyond what a replay reads, so that costs can be checked and computed anew.
-- Null is "the log does not say". input_tokens include cached reads, cache writes, audio and images; output_tokens reasoning, audio and images.
ALTER TABLE requests ADD COLUMN cache_write_tokens BIGINT;
ALTER TABLE requests ADD COLUMN reasoning_tokens BIGINT;
ALTER TABLE requests ADD COLUMN input_audio_tokens BIGINT;
ALTER TABLE requests ADD COLUMN output_audio_tokens BIGINT;
ALTER TABLE requests ADD COLUMN input_image_tokens BIGINT;
ALTER TABLE requests ADD COLUMN output_image_tokens BIGINT;
ALTER TABLE requests ADD COLUMN streamed BOOLEAN;
ALTER TABLE requests ADD COLUMN service_tier VARCHAR;
ALTER TABLE requests ADD COLUMN endpoint VARCHAR;
-- The provider's usage object as it came, JSON.
ALTER TABLE requests ADD COLUMN provider_usage VARCHAR;
-- What the log said, where it is not what is kept.
ALTER TABLE requests ADD COLUMN logged_provider VARCHAR;
ALTER TABLE requests ADD COLUMN logged_model VARCHAR;
ALTER TABLE requests ADD COLUMN recorded_cost_usd DECIMAL(38, 12);
-- Where cost_usd is from: recorded, recomputed, or recomputed by the doctor. Until now all of it was recorded.
ALTER TABLE requests ADD COLUMN cost_basis VARCHAR;
UPDATE requests SET recorded_cost_usd = cost_usd, cost_basis = 'recorded';
