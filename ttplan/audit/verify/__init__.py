"""Verification of audit chains: `verify_chain` raises, `verify_file` reports."""
