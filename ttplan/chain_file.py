"""Verify an exported chain: a file, a key and perhaps an anchor, with no store at all."""

from __future__ import annotations

import os
from contextlib import closing

from ttplan.audit.jsonl import Preamble, counted, read_chain
from ttplan.audit.keys import VerifyingKey
from ttplan.audit.report import ChainReport, check_chain
from ttplan.audit.verify import Strength
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import KeyFileError
from ttplan.progress import counting

PathLike = str | os.PathLike[str]


def verify_file(
    path: PathLike,
    *,
    public_key: str | VerifyingKey | None = None,
    anchor: str | TipAnchor | None = None,
    signatures: Strength = "all",
    progress: bool | None = None,
) -> ChainReport:
    """Verify an exported chain, with no store at all. Without `public_key` that of its preamble is used, and the verdict says so.

    Raises InputError where the file is missing, empty, cut off or not a chain.
    """
    preamble, records = read_chain(path)
    key, source = _file_key(path, preamble, public_key)
    with closing(records), counting("verifying", None if preamble is None else preamble.entry_count, progress) as count:
        return check_chain(
            counted(preamble, records, os.fspath(path)),
            key,
            key_source=source,
            own_key=public_key is None,
            anchor=TipAnchor.parse(anchor) if isinstance(anchor, str) else anchor,
            signatures=signatures,
            progress=count,
        )


def _file_key(path: PathLike, preamble: Preamble | None, given: str | VerifyingKey | None) -> tuple[VerifyingKey, str]:
    if isinstance(given, VerifyingKey):
        return given, "the caller"
    if given is not None:
        return VerifyingKey.from_hex(given), "the caller"
    if preamble is None:
        raise KeyFileError(f"{os.fspath(path)} has no preamble with a key; give the public key (--key-hex)")
    return VerifyingKey.from_hex(preamble.verifying_key, "the key in the preamble"), "the chain's own preamble"
