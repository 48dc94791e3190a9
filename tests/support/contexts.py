"""Contexts for bare stores: what an operation receives from a workspace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ttplan.apply import utc_now
from ttplan.audit.keys.signer import Signer
from ttplan.operations.context import Context
from ttplan.operations.keyring import Keyring
from ttplan.store.protocol import Store


def context_of(
    store: Store, key: Signer | None = None, clock: Callable[[], datetime] = utc_now
) -> Context:
    """The context of a store, with a key to sign with and a clock, if they are given."""
    return Context(store, "the store", Keyring(store, key, None), clock=clock)
