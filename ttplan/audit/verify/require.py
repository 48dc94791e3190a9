"""Whether what a chain says may be acted upon."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import keys_of
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import Record
from ttplan.model.errors import AuditError, Cancelled, DriftError, StoreError, TtplanError


def need_verified(entries: Callable[[], Iterable[Record]], key: VerifyingKey, what: str) -> None:
    """Raise DriftError where `what` a chain says cannot be believed: it does not verify with `key`, the one that it goes on with;
    AuditError where it goes on with another. What reading the entries raises is passed on: StoreError.

    Every hash is recomputed, and the last signature of each of its keys is checked: that vouches for what all entries say.
    """
    try:
        found = verify_chain(entries(), keys_of(entries(), key)[0], signatures="tip")
    except (StoreError, Cancelled):  # whoever cannot read the chain knows nothing against it
        raise
    except TtplanError as error:
        raise DriftError(f"{what} cannot be believed: {error}; see `ttplan verify`") from error
    if found.entries and found.keys[-1].key != key.hex:
        raise AuditError(
            f"the chain's last entry was not signed with this key ({key.hex}), but with {found.keys[-1].key}; "
            "load the key that the chain goes on with"
        )
