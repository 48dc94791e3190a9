"""The fixtures equal the output of their generators and are small."""

from __future__ import annotations

import gzip

import pytest

from tests.logs.generators.files import FIXTURES, files

MADE = files()


def plain(content: bytes) -> bytes:
    """The content without compression, whose bytes depend on the library's version."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("name", MADE)
def test_a_fixture_equals_its_generator(name: str) -> None:
    kept = (FIXTURES / name).read_bytes()
    assert plain(kept) == plain(MADE[name])
    assert len(kept) < 300_000
