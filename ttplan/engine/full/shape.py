"""The shape of a full projection: what its queries depend on besides numbers."""

from __future__ import annotations

from typing import NamedTuple

from ttplan.model.route import ProposedRoute

UNKNOWN, AUTOMATIC, EXPLICIT, NO_CACHE = 3, 1, 2, 0
"""How a provider caches prompts. Of an unknown one the recorded parts count."""
MICRO = 10**6
"""Ratios are whole millionths."""


class Shape(NamedTuple):
    """What the queries depend on. Plans of one shape share their compiled queries.

    `kinds` are the optional counts of tokens that have values, `ttls` the lifetimes of cached
    prefixes (seconds), `features` what some target lacks, `carries` the parts of the tokens that
    have a rate of their own. The flags say which parts of the queries are needed.
    """

    cluster: str | None
    session: str | None
    routes: tuple[ProposedRoute, ...]
    kinds: tuple[str, ...]
    ttls: tuple[int, ...]
    scaled: bool
    limited: bool
    features: tuple[str, ...]
    hourly: bool
    dated: bool
    cached_explicitly: bool
    carries: tuple[str, ...]
    fees: bool
