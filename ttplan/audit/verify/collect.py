"""The hashes of a whole chain, for proofs: nothing is proved of a chain that does not verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import AuditEntry, Record
from ttplan.model.errors import InputError


class ChainHashes(NamedTuple):
    """Whose a chain is, and its entries' hashes (hex), by seq."""

    org_id: UUID
    hashes: list[str]


def collect_hashes(entries: Iterable[AuditEntry | Record], public_key: VerifyingKey) -> ChainHashes:
    """The hashes of a chain whose content `public_key`, its first one, vouches for.

    Raises what `verify_chain` raises, and InputError where there are no entries.
    """
    hashes: list[str] = []

    def noted() -> Iterator[AuditEntry | Record]:
        for entry in entries:
            hashes.append(entry.hash)
            yield entry

    verified = verify_chain(noted(), public_key, signatures="tip")
    if verified.org_id is None:
        raise InputError("the chain has no entries, so there is nothing to prove")
    return ChainHashes(verified.org_id, hashes)
