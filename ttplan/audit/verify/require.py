"""Whether what a chain says may be acted upon."""

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


def require_verified(
    entries: Callable[[], Iterable[StoredEntry]], key: VerifyingKey, what: str
) -> None:
    """Raise DriftError where `what` a chain says cannot be believed: it does not verify with `key`, the one that it goes on with;
    AuditError where it goes on with another. What reading the entries raises is passed on: StoreError.

    Every hash is recomputed, and the last signature of each of its keys is checked: that vouches for what all entries say.
    """
    try:
        found = verify_chain(entries(), list_keys(entries(), key)[0], signatures="tip")
    except (StoreError, Cancelled):  # whoever cannot read the chain knows nothing against it
        raise
    except TtplanError as error:
        raise DriftError(f"{what} cannot be believed: {error}; see `ttplan verify`") from error
    if found.entries and found.keys[-1].key != key.hex:
        raise AuditError(
            f"the chain's last entry was not signed with this key ({key.hex}), but with {found.keys[-1].key}; "
            "load the key that the chain goes on with"
        )


class ChainHashes(NamedTuple):
    """Whose a chain is, and its entries' hashes (hex), by seq."""

    org_id: UUID
    hashes: list[str]


def collect_hashes(
    entries: Iterable[AuditEntry | StoredEntry], public_key: VerifyingKey
) -> ChainHashes:
    """The hashes of a chain whose content `public_key`, its first one, vouches for.

    Raises what `verify_chain` raises, and InputError where there are no entries.
    """
    hashes: list[str] = []

    def noted() -> Iterator[AuditEntry | StoredEntry]:
        for entry in entries:
            hashes.append(entry.hash)
            yield entry

    verified = verify_chain(noted(), public_key, signatures="tip")
    if verified.org_id is None:
        raise InputError("the chain has no entries, so there is nothing to prove")
    return ChainHashes(verified.org_id, hashes)
