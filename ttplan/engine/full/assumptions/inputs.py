"""The prices, limits and cache rules that a full projection uses, from catalogues and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ttplan.engine.full.log_facts import LogFacts, LogKey
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.model.pricing import ModelPricing, first_price_key, split_price_key
from ttplan.model.projection.full import PricePiece, ProjectionInputs
from ttplan.model.route import ProposedRoute
from ttplan.prices.book import PriceBook
from ttplan.prices.catalogue import STANDARD
from ttplan.prices.facts_file import find_facts
from ttplan.prices.pieces import price_pieces


class Target(NamedTuple):
    """Where a route sends the requests of a price key; None if the target has no price."""

    key: LogKey
    route: int
    target: LogKey | None


def resolve_inputs(log: LogFacts, spec: ReplaySpec) -> ProjectionInputs:
    """The inputs of a spec for the models in its log: those that it carries, or looked up now."""
    if spec.inputs is not None:
        return spec.inputs
    book = PriceBook(spec.pricing) if spec.book is None else spec.book
    targets = list(
        dict.fromkeys(
            key
            for source in log.keys
            for route in spec.active_routes
            for key in _target_keys(source, route, spec.pricing)
        )
    )
    pieces = price_pieces(list(dict.fromkeys((*log.keys, *targets))), book)
    names = sorted({key.name for key in (*log.keys, *targets)})
    return ProjectionInputs(
        prices=tuple(pieces),
        facts={name: find_facts(*split_price_key(name), spec.facts) for name in names},
        assumptions=spec.assumptions,
        prices_at=spec.prices_at or spec.window_end,
    )


def targets_of(
    log: LogFacts,
    routes: Sequence[ProposedRoute],
    pricing: Mapping[str, ModelPricing],
    pieces: Iterable[PricePiece],
) -> list[Target]:
    """Where each route sends the requests of each price key."""
    priced = {LogKey.of(piece) for piece in pieces}
    return [
        Target(
            source,
            index,
            next((key for key in _target_keys(source, route, pricing) if key in priced), None),
        )
        for source in log.keys
        for index, route in enumerate(routes)
    ]


def _target_keys(
    source: LogKey, route: ProposedRoute, pricing: Mapping[str, ModelPricing]
) -> list[LogKey]:
    """The price keys that may apply to a request at a route's target, the first known one does.

    The request's own provider serves the target if it offers it, else the first that does. The
    request keeps its service tier where the target has it, and its endpoint with its provider.
    """
    model = route.then.target_model
    own = f"{source.provider}:{model}" in pricing
    key = f"{source.provider}:{model}" if own else first_price_key(pricing, model)
    if key is None:
        return []
    provider, _ = split_price_key(key)
    tier = (source.service_tier or "").strip().lower()
    tiers = [None] if tier in STANDARD else [source.service_tier, None]
    endpoints = [source.endpoint, None] if own and source.endpoint else [None]
    return [LogKey(provider, model, endpoint, t) for t in tiers for endpoint in endpoints]
