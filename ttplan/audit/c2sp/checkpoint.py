"""The text of a checkpoint (c2sp.org/tlog-checkpoint): a log's origin, size and root."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from ttplan.model.errors import InputError

SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
"""The text form of a size or an index."""


class TreeHead(NamedTuple):
    """The content of a checkpoint. `root` has 32 bytes; `extensions` are unaudited lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def parse_tree_head(text: str, name: str = "the checkpoint") -> TreeHead:
    """Parse a checkpoint's text strictly. Raises InputError that contains `name`."""
    lines = text.split("\n")
    if lines[-1] != "" or len(lines) < 4 or "" in lines[:-1]:
        raise InputError(
            f"{name} is not a checkpoint; expected at least three non-empty lines: origin, size, "
            "root"
        )
    root = decode_base64(lines[2], f"{name}: the root")
    if len(root) != 32:
        raise InputError(f"{name}: the root has {len(root)} bytes; expected 32")
    return TreeHead(lines[0], parse_size(lines[1], f"{name}: the size"), root, tuple(lines[3:-1]))


def format_tree_head(head: TreeHead) -> str:
    """Return a checkpoint's text. Raises InputError if it would not parse back unchanged."""
    text = (
        "\n".join(
            (head.origin, str(head.size), base64.b64encode(head.root).decode(), *head.extensions)
        )
        + "\n"
    )
    if parse_tree_head(text) != head:
        raise InputError(
            "these values are not a valid checkpoint; expected an origin and extensions of one "
            "line each"
        )
    return text


def cosigned_message(kind: int, name: str, timestamp: int, text: str) -> bytes:
    """Return what the cosigner `name` signs for a checkpoint, with signature type 0x04 or 0x06.

    Raises InputError if the text is not a checkpoint: only checkpoints are cosigned.
    """
    head = parse_tree_head(text)
    if kind == 0x04:
        return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
    numbers = [number.to_bytes(8, "big") for number in (timestamp, 0, head.size)]
    return (
        b"subtree/v1\n\0"
        + _length_prefixed(name)
        + numbers[0]
        + _length_prefixed(head.origin)
        + numbers[1]
        + numbers[2]
        + head.root
    )


def decode_base64(text: str, what: str) -> bytes:
    """Decode canonical standard base64. Raises InputError that contains `what`."""
    try:
        data = base64.b64decode(text)
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise InputError(f"{what} is not canonical base64: {text[:60]!r}")
    return data


def parse_size(text: str, what: str) -> int:
    """Parse ASCII digits without a leading zero. Raises InputError that contains `what`."""
    if not SIZE.fullmatch(text) or int(text) >= 2**63:
        raise InputError(f"{what} is {text[:40]!r}; expected digits without a leading zero")
    return int(text)


def _length_prefixed(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise InputError(
            f"{text[:80]!r} has {len(data)} bytes; an ML-DSA-44 cosignature takes names of 1 to 255"
        )
    return bytes([len(data)]) + data
