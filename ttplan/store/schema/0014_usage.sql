-- What providers bill beyond tokens by kind: cache writes that last an hour, which are a part of cache_write_tokens, and web searches.
ALTER TABLE requests ADD COLUMN cache_write_1h_tokens BIGINT;
ALTER TABLE requests ADD COLUMN web_searches BIGINT;
-- Whether the row's own sums decided what its counts contain ('decided'), or no reading gives its total ('unexplained').
ALTER TABLE requests ADD COLUMN usage_reading VARCHAR;
UPDATE requests SET
    cache_write_1h_tokens = TRY_CAST(regexp_extract(provider_usage, '"ephemeral_1h_input_tokens"\s*:\s*([0-9]{1,9})', 1) AS BIGINT),
    web_searches = TRY_CAST(regexp_extract(provider_usage, '"(?:web_search_requests|web_search_calls|num_search_queries)"\s*:\s*([0-9]{1,9})', 1) AS BIGINT)
WHERE provider_usage IS NOT NULL;
