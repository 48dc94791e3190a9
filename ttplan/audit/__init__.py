"""The audit chain: bytes, hashes, signatures. It works with no store at all."""
