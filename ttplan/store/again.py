"""Trying again what others stood in the way of."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ttplan.model.errors import StoreConflict

TRIES = 5
T = TypeVar("T")


def tried_again(work: Callable[[], T]) -> T:
    """What `work`, one transaction, returns at the first of `TRIES` tries that is no StoreConflict. Raises the last one."""
    for tries in range(1, TRIES):
        try:
            return work()
        except StoreConflict:
            # Jittered, so that the two do not meet again at once.
            time.sleep(random.uniform(0, 0.02) * 2**tries)  # noqa: S311 - not for secrets
    return work()
