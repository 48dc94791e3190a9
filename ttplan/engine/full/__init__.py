"""The full projection: what the requests would have cost on the target, with named assumptions."""
