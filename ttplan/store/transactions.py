"""Runs a transaction, retries it if it conflicts with other writers, and lets threads share a
store in turn."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ttplan.model.errors import StoreConflict, StoreLocked
from ttplan.store.protocol import Store, Transaction
from ttplan.util.monitor import report_wait

MAX_ATTEMPTS = 5
_POLL_INTERVAL = 0.05
"""How often a thread that waits for another one reports that it waits, in seconds."""
_OTHER_THREAD = "another thread of this process"
T = TypeVar("T")


def run_in_transaction(store: Store, work: Callable[[Transaction], T]) -> T:
    """Run `work` in one transaction of `store` and return its result.

    On a StoreConflict the transaction is retried, so `work` may run several times. Raises what
    `work` raises, StoreError if the transaction cannot be opened or committed, and StoreConflict
    after `MAX_ATTEMPTS` attempts.
    """

    def attempt() -> T:
        with store.transaction() as tx:
            return work(tx)

    return retry_on_conflict(attempt)


def retry_on_conflict(transaction: Callable[[], T]) -> T:
    """Run one transaction, up to `MAX_ATTEMPTS` times while it raises StoreConflict, and return
    its result."""
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return transaction()
        except StoreConflict:
            report_wait("other writers of the same rows")
            # Jitter keeps two writers from meeting at each attempt.
            time.sleep(random.uniform(0, 0.02) * 2**attempt)  # noqa: S311 - not for secrets
    return transaction()


@contextmanager
def thread_lock(lock: threading.RLock, shown: object, lock_timeout: float) -> Iterator[None]:
    """Hold a lock that threads share, for a store that messages name `shown`.

    Raises StoreLocked after `lock_timeout` s.
    """
    started = time.monotonic()
    while not lock.acquire(
        timeout=min(max(lock_timeout - (time.monotonic() - started), 0), _POLL_INTERVAL)
    ):
        if time.monotonic() - started >= lock_timeout:
            raise StoreLocked(
                f"{shown} is in use by {_OTHER_THREAD}; waited {lock_timeout:.1f} s for it. Try "
                "again"
            )
        report_wait(_OTHER_THREAD)
    try:
        yield
    finally:
        lock.release()
