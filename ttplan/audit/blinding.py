"""Blinded commitments: what the chain shows of routes and plans without revealing them.

A plan has one secret nonce. Each use of it has a blinding of its own, derived from the nonce, so
that whoever learns the blinding of one commitment (by a disclosure) cannot test guesses about the
others. Entries of version 0.1 used the nonce itself for all of them.
"""

from __future__ import annotations

from typing import Any, Literal

import blake3

from ttplan.audit.canonical import canonical_json

BlindingUse = Literal["routes applied", "routes restored", "plan digest"]
"""What a commitment is to."""


def derive_blinding(nonce: str, use: BlindingUse) -> str:
    """Return the blinding of one use: BLAKE3 `derive_key` of the nonce (hex), as 64 hex digits."""
    context = f"ttplan 2026-12-01 {use} v1"
    return blake3.blake3(bytes.fromhex(nonce), derive_key_context=context).hexdigest()


def commit(blinding: str, content: Any) -> str:
    """Return `BLAKE3(blinding ‖ canonical JSON of the content)`, hex."""
    return blake3.blake3(bytes.fromhex(blinding) + canonical_json(content)).hexdigest()


def find_blinding(nonce: str, use: BlindingUse, content: Any, commitment: object) -> str | None:
    """Return the blinding with which the content gives a commitment; None if none does.

    It is the one derived for this use, or, in an entry of version 0.1, the nonce itself.

    >>> stated = commit(derive_blinding("01" * 32, "routes applied"), ["a route"])
    >>> find_blinding("01" * 32, "routes restored", ["a route"], stated) is None
    True
    """
    for blinding in (derive_blinding(nonce, use), nonce):
        if commit(blinding, content) == commitment:
            return blinding
    return None
