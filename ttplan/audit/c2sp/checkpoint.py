"""The text of a checkpoint (c2sp.org/tlog-checkpoint): a log's origin, how many leaves it has, and their root."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from ttplan.model.errors import InputError

SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
"""A tree's size or an index as it is written."""


class TreeHead(NamedTuple):
    """What a checkpoint says. `root` has 32 bytes; `extensions` are lines that nobody audits."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def parse_tree_head(text: str, name: str = "the checkpoint") -> TreeHead:
    """The text of a checkpoint, strictly. Raises InputError, naming `name`, where it is none."""
    lines = text.split("\n")
    if lines[-1] != "" or len(lines) < 4 or "" in lines[:-1]:
        raise InputError(
            f"{name} is no checkpoint; expected at least three lines, none of them empty: origin, size, root"
        )
    root = decode_base64(lines[2], f"{name}: the root")
    if len(root) != 32:
        raise InputError(f"{name}: the root has {len(root)} bytes; expected 32")
    return TreeHead(lines[0], parse_size(lines[1], f"{name}: the size"), root, tuple(lines[3:-1]))


def format_tree_head(head: TreeHead) -> str:
    """The text of a checkpoint. Raises InputError where it could not be read back the same."""
    text = (
        "\n".join(
            (head.origin, str(head.size), base64.b64encode(head.root).decode(), *head.extensions)
        )
        + "\n"
    )
    if parse_tree_head(text) != head:
        raise InputError(
            "these values are no checkpoint; expected an origin and extensions of one line each"
        )
    return text


def cosigned_message(kind: int, name: str, timestamp: int, text: str) -> bytes:
    """What a cosigner called `name` signs of a checkpoint's text, with a signature of type 0x04 or 0x06.

    Raises InputError where the text is no checkpoint: cosignatures are of nothing else.
    """
    head = parse_tree_head(text)
    if kind == 0x04:
        return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
    numbers = [number.to_bytes(8, "big") for number in (timestamp, 0, head.size)]
    return (
        b"subtree/v1\n\0"
        + _short(name)
        + numbers[0]
        + _short(head.origin)
        + numbers[1]
        + numbers[2]
        + head.root
    )


def decode_base64(text: str, what: str) -> bytes:
    """Standard base64 in its one spelling. Raises InputError, naming `what`, for any other."""
    try:
        data = base64.b64decode(text)
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise InputError(f"{what} is no base64 in its one spelling: {text[:60]!r}")
    return data


def parse_size(text: str, what: str) -> int:
    """A whole number from 0 as ASCII digits with no leading zero. Raises InputError, naming `what`."""
    if not SIZE.fullmatch(text) or int(text) >= 2**63:
        raise InputError(f"{what} is {text[:40]!r}; expected digits with no leading zero")
    return int(text)


def _short(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise InputError(
            f"{text[:80]!r} has {len(data)} bytes; a cosignature of ML-DSA-44 takes names of 1 to 255"
        )
    return bytes([len(data)]) + data
