"""A chain is trusted only if it verifies up to the key that signs next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audit.chains import KEY, OTHER_KEY, chain
from tests.audit.corpus import rotated
from ttplan.audit.entries import to_record
from ttplan.audit.keys.key_files import SigningKey
from ttplan.audit.verify.require import require_verified
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import AuditError, Cancelled, DriftError, StoreError, TtplanError


def need(records: list[StoredEntry], key: SigningKey) -> None:
    require_verified(lambda: iter(records), key.public_key, "what it says")


def test_chain_is_trusted_with_the_key_that_signs_next() -> None:
    records = [to_record(item) for item in rotated([(KEY, 2), (OTHER_KEY, 1)])]
    need([], KEY)
    need(records[:2], KEY)
    need(records[:3], OTHER_KEY)
    need(records, OTHER_KEY)
    for part in (records[:3], records):
        with pytest.raises(
            AuditError,
            match=rf"not signed with this key \({KEY.public_key.hex}\), but with "
            rf"{OTHER_KEY.public_key.hex}",
        ):
            need(part, KEY)


def test_chain_that_does_not_verify_is_not_trusted() -> None:
    records = [to_record(item) for item in chain(3)]
    for broken in (
        records[1:],
        [
            records[0]._replace(body=records[0].body.replace(b"plan.applied", b"plan.reverted")),
            *records[1:],
        ],
        [*records[:2], records[2]._replace(signature=records[1].signature)],
    ):
        with pytest.raises(
            DriftError,
            match=r"^what it says cannot be trusted: entry [02]: .*; verify the chain for a full "
            r"report$",
        ):
            need(broken, KEY)
    with pytest.raises(DriftError, match="cannot be trusted"):
        need(records, OTHER_KEY)


@pytest.mark.parametrize("why", [StoreError("the connection was lost"), Cancelled("stopped")])
def test_unreadable_chain_is_not_reported_as_broken(why: TtplanError) -> None:
    reads = 0

    def entries() -> Iterator[StoredEntry]:
        nonlocal reads
        reads += 1
        for number, entry in enumerate(chain(3)):
            if reads == 2 and number == 1:
                raise why
            yield to_record(entry)

    with pytest.raises(type(why), match=str(why)):
        require_verified(entries, KEY.public_key, "what it says")
    require_verified(entries, KEY.public_key, "what it says")
