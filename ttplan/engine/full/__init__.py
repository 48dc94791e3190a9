"""The full projection: prices, eligibility, caches, latency and assumptions as one expression."""
