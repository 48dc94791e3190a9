"""The full projection: what it assumes, what it knows of models, and what it adds to a result."""
