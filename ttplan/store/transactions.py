"""Writing in one transaction, which is tried again where others stood in the way: the one way in which ttplan writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ttplan.model.errors import StoreConflict
from ttplan.store.protocol import Store, Transaction
from ttplan.util.waiting import tell_waiting

MAX_ATTEMPTS = 5
_OTHERS = "others who write at the same moment"
T = TypeVar("T")


def run_in_transaction(store: Store, work: Callable[[Transaction], T]) -> T:
    """What `work` returns, all that it does being one transaction of `store`; `retry_on_conflict`, so it may be called several times.

    Raises what `work` raises, StoreError where the transaction cannot be had or committed, and the last StoreConflict.
    """

    def once() -> T:
        with store.transaction() as tx:
            return work(tx)

    return retry_on_conflict(once)


def retry_on_conflict(work: Callable[[], T]) -> T:
    """What `work`, one transaction, returns at the first of `MAX_ATTEMPTS` tries that is no StoreConflict. Raises the last one."""
    for tries in range(1, MAX_ATTEMPTS):
        try:
            return work()
        except StoreConflict:
            tell_waiting(_OTHERS)
            # Jittered, so that the two do not meet again at once.
            time.sleep(random.uniform(0, 0.02) * 2**tries)  # noqa: S311 - not for secrets
    return work()
