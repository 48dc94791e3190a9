"""Whether what a chain says may be acted upon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audit.chains import KEY, chain
from ttplan.audit.believing import need_verified
from ttplan.audit.chain import to_record
from ttplan.model.audit import Record
from ttplan.model.errors import Cancelled, StoreError, TtplanError


@pytest.mark.parametrize("why", [StoreError("the connection was lost"), Cancelled("stopped")])
def test_a_chain_that_cannot_be_read_is_not_called_one_that_cannot_be_believed(why: TtplanError) -> None:
    asked = 0

    def entries() -> Iterator[Record]:
        nonlocal asked
        asked += 1
        for number, entry in enumerate(chain(3)):
            if asked == 2 and number == 1:
                raise why
            yield to_record(entry)

    with pytest.raises(type(why), match=str(why)):
        need_verified(entries, KEY.public_key, "what it says")
    need_verified(entries, KEY.public_key, "what it says")
