"""Logs as the tools write them, made from calls whose truth is known, with fixed seeds.

`python -m tests.logs.made` writes them to tests/logs/fixtures; tests/logs/test_fixtures.py holds the files to it. The shapes and
the quirks are those of each tool's public reference; every value is made up.
"""
