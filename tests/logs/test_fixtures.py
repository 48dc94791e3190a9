"""The files that stand for what tools export: they are what their makers make, large enough to mean something, and small."""

from __future__ import annotations

import gzip

import pytest

from tests.logs.made.everything import FIXTURES, files

MADE = files()


def plain(content: bytes) -> bytes:
    """Without compression, whose bytes depend on the library's version."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("name", MADE)
def test_a_file_is_what_its_maker_makes(name: str) -> None:
    kept = (FIXTURES / name).read_bytes()
    assert plain(kept) == plain(MADE[name])
    assert len(kept) < 300_000
