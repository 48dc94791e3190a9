"""The assumptions of a full projection: their values, their sources, and their effects."""
