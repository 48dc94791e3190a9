"""Generators of logs as the tools write them, from calls whose true values are known.

`python -m tests.logs.generators` writes them to tests/logs/fixtures, and
tests/logs/test_fixtures.py checks them. Shapes and quirks follow each tool's public reference;
every value is invented.
"""
