"""Use what a chain says only if the chain verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import (
    AuditError,
    Cancelled,
    DriftError,
    InputError,
    StoreError,
    TtplanError,
)


class ChainHashes(NamedTuple):
    """The organisation of a chain, and its entries' hashes (hex), by seq."""

    org_id: UUID
    hashes: list[str]


def require_verified(
    entries: Callable[[], Iterable[StoredEntry]], key: VerifyingKey, what: str
) -> None:
    """Check that a chain verifies and that `key` signs its next entry.

    Every hash and the last signature of each key are checked, which vouches for what all entries
    say. Raises DriftError, which names `what` cannot be trusted, if the chain does not verify, and
    AuditError if another key signs next. Errors of reading the entries (StoreError) pass through.
    """
    try:
        verified = verify_chain(entries(), list_keys(entries(), key)[0], signatures="tip")
    except (StoreError, Cancelled):  # a chain that cannot be read is not a broken one
        raise
    except TtplanError as error:
        message = f"{what} cannot be trusted: {error}; verify the chain for a full report"
        raise DriftError(message) from error
    if verified.entries and verified.keys[-1].key != key.hex:
        raise AuditError(
            f"the chain's last entry was not signed with this key ({key.hex}), but with "
            f"{verified.keys[-1].key}; load the key that signs the chain now"
        )


def collect_hashes(
    entries: Iterable[AuditEntry | StoredEntry], public_key: VerifyingKey
) -> ChainHashes:
    """Return the hashes of a chain that verifies with `public_key`, its first one.

    Raises the errors of `verify_chain`, and InputError if there are no entries: nothing is proved
    about a chain that does not verify.
    """
    hashes: list[str] = []

    def collect() -> Iterator[AuditEntry | StoredEntry]:
        for entry in entries:
            hashes.append(entry.hash)
            yield entry

    verified = verify_chain(collect(), public_key, signatures="tip")
    if verified.org_id is None:
        raise InputError("the chain has no entries, so there is nothing to prove")
    return ChainHashes(verified.org_id, hashes)
