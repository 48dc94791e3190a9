"""What the DuckDB and the PostgreSQL store share: reads, writes, searches and ingest as SQL."""
