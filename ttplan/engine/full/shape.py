"""The shape of a full projection: what its queries depend on besides numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from ttplan.engine.replay_spec import ClusterKey
from ttplan.model.route import ProposedRoute

UNKNOWN, AUTOMATIC, EXPLICIT, NO_CACHE = 3, 1, 2, 0
"""How a provider caches prompts. Of an unknown one the recorded parts count."""
FEATURES = ("images", "audio", "tools", "structured_output")
"""What a request may need of a model, as `Capabilities` names it."""
MICRO = 10**6
"""Ratios are whole millionths."""


class RowShape(NamedTuple):
    """What the query of routes and typed columns depends on.

    `keys` are the columns of `price_key` that have values, `kinds` the optional counts of tokens
    that do, `features` what some target lacks. With `hashes`, rows have `prompt_hash`.
    """

    cluster: ClusterKey | None
    minutes: bool
    session: str | None
    routes: tuple[ProposedRoute, ...]
    keys: tuple[str, ...]
    kinds: tuple[str, ...]
    features: tuple[str, ...]
    fees: bool
    hour_writes: bool
    hashes: bool


class Shape(NamedTuple):
    """What the queries of costs depend on. Plans of one shape share their compiled queries.

    `ceilings` are the most that a request of a route may cost, by the route's position, `carries`
    the parts of the tokens that have a rate of their own. With `whole`, rows keep what tells which
    request they are; with `clusters`, sessions are the clusters, and numbers. With `pico`, recorded
    costs are whole 10^-12 USD though the columns are named as USD. The other flags say which parts
    of the queries are needed.
    """

    ceilings: tuple[tuple[int, Decimal], ...]
    features: tuple[str, ...]
    carries: tuple[str, ...]
    whole: bool
    pico: bool
    clusters: bool
    sessions: bool
    scaled: bool
    limited: bool
    hourly: bool
    dated: bool
    cached_explicitly: bool
    marks: bool
    fees: bool
    reprices: bool
    attempts: bool
