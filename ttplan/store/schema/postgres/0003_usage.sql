-- What providers bill beyond tokens by kind: cache writes that last an hour, which are a part of cache_write_tokens, and web searches.
ALTER TABLE ttplan.requests ADD COLUMN cache_write_1h_tokens bigint;
ALTER TABLE ttplan.requests ADD COLUMN web_searches bigint;
-- Whether the row's own sums decided what its counts contain ('decided'), or no reading gives its total ('unexplained').
ALTER TABLE ttplan.requests ADD COLUMN usage_reading text;
UPDATE ttplan.requests SET
    cache_write_1h_tokens = (regexp_match(provider_usage, '"ephemeral_1h_input_tokens"\s*:\s*([0-9]{1,9})'))[1]::bigint,
    web_searches = (regexp_match(provider_usage, '"(?:web_search_requests|web_search_calls|num_search_queries)"\s*:\s*([0-9]{1,9})'))[1]::bigint
WHERE provider_usage IS NOT NULL;
