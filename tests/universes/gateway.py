"""An organisation's gateway: which calls it makes for each request, and what they cost in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from tests.universes.providers import Model, Usage, bill
from tests.universes.traffic import Bools, Ints, Requests
from ttplan.model.route import ProposedRoute, sort_by_precedence


@dataclass(frozen=True)
class Habits:
    """How an organisation uses its gateway."""

    breakpoints: bool = True
    """Whether clients set breakpoints for providers that cache at these alone."""
    long_writes: bool = False
    """Whether they ask for prompts to be kept for an hour."""
    redo: float = 0
    """Share of a route's answers that are rejected and asked again on the old model."""
    truncated_billed: bool = True
    """Whether a provider bills an answer that it cuts at its longest length."""


@dataclass(frozen=True)
class Served:
    """Calls in the order in which they were made, with what each used and cost."""

    request: Ints
    model: Ints
    usage: Usage
    cost: Ints

    def per_request(self, n: int) -> Ints:
        """What each of `n` requests cost in all, in whole 10^-12 USD."""
        total = np.zeros(n, np.int64)
        np.add.at(total, self.request, self.cost)
        return total

    def paid(self, factors: Sequence[float]) -> float:
        """What all calls cost if `factors` of the list price are paid for each model."""
        return float((self.cost * np.array(factors)[self.model]).sum())


def choose_models(
    requests: Requests, models: Sequence[Model], routes: Sequence[ProposedRoute]
) -> tuple[Ints, Bools]:
    """The model of each request under routes, and whether it bypasses the gateway's cache.

    Bounds of lengths are in tokens of the request's source. Conditions of a sticky route are asked
    of the first request of a session.
    """
    names = [model.name for model in models]
    source_names = np.array(names, object)[requests.source]
    length = np.choose(requests.source, [model.read(requests) for model in models])
    chosen = requests.source.copy()
    bypasses, free = np.zeros(len(requests), np.bool_), np.ones(len(requests), np.bool_)
    _, first, member = np.unique(requests.session, return_index=True, return_inverse=True)
    for route in sort_by_precedence(routes):
        when = route.when
        holds = np.ones(len(requests), np.bool_)
        if when.model_in:
            holds &= np.isin(source_names, when.model_in)
        if when.input_tokens_lt is not None:
            holds &= length < when.input_tokens_lt
        if when.input_tokens_gt is not None:
            holds &= length > when.input_tokens_gt
        if when.tag_equals is not None:
            holds &= requests.tag == when.tag_equals
        if route.sticky:
            holds = holds[first][member]
        takes = free & holds
        chosen = np.where(takes, names.index(route.then.target_model), chosen)
        bypasses |= takes & route.then.disable_cache
        free &= ~holds
    return chosen, bypasses


def serve(
    requests: Requests,
    models: Sequence[Model],
    chosen: Ints,
    habits: Habits = Habits(),
    *,
    prices_at: float | None = None,
) -> Served:
    """Serve requests by the chosen models, and by their sources if those cannot or do not.

    `prices_at` bills all calls at the prices of one time, in seconds after `START`.
    """
    request, model, cut = _calls(requests, models, chosen, habits)
    asked = Requests(**{name: array[request] for name, array in vars(requests).items()})
    columns: list[Ints] = [
        np.choose(model, [_cut(m, asked, cut)[part] for m in models]) for part in range(3)
    ]
    prompt, output, reasoning = columns
    cached, written = _cache(asked, models, model, prompt, habits)
    long_written = written if habits.long_writes else np.zeros_like(written)
    usage = Usage(prompt, output, reasoning, cached, written, long_written, asked.image)
    ts = asked.ts if prices_at is None else np.full(len(asked), prices_at)
    costs = [bill(m, usage, ts, asked.tier, asked.searches) for m in models]
    cost = np.where(asked.failed, 0, np.choose(model, costs))
    return Served(request, model, usage, cost)


def _calls(
    requests: Requests, models: Sequence[Model], chosen: Ints, habits: Habits
) -> tuple[Ints, Ints, Bools]:
    """The calls of all requests: whose each is, its model, and whether its answer is cut."""
    moved = chosen != requests.source
    refused = moved & np.choose(chosen, [m.refuses(requests) for m in models])
    cut = moved & ~refused & np.choose(chosen, [m.too_long(requests) for m in models])
    rejected = moved & ~refused & ~cut & (requests.luck < habits.redo) & ~requests.failed
    tries_target = ~requests.hit & ~refused & (~cut | habits.truncated_billed)
    asks_source = ~requests.hit & (refused | cut | rejected)
    index = np.arange(len(requests))
    request = np.concatenate([index[tries_target], index[asks_source]])
    model = np.concatenate([chosen[tries_target], requests.source[asks_source]])
    is_cut = np.concatenate([cut[tries_target], np.zeros(asks_source.sum(), np.bool_)])
    order = np.argsort(request, kind="stable")
    return request[order], model[order], is_cut[order]


def _cut(model: Model, asked: Requests, cut: Bools) -> tuple[Ints, Ints, Ints]:
    """Tokens of prompts, answers and hidden thoughts; answers that are cut are of full length."""
    prompt, visible, hidden = model.read(asked), model.write(asked), model.think(asked)
    full = np.minimum(model.longest, model.context - prompt)
    output = np.where(cut, np.minimum(visible + hidden, full), visible + hidden)
    return prompt, output, np.minimum(hidden, output)


def _cache(
    asked: Requests, models: Sequence[Model], model: Ints, prompt: Ints, habits: Habits
) -> tuple[Ints, Ints]:
    """Tokens that each call reads from its provider's cache, and that it writes to it.

    A provider keeps the longest prompt of each lineage, and the system prompt, for as long as they
    are used within its time to live. A plain loop: what a provider does.
    """
    kept: dict[tuple[int, int], tuple[int, float]] = {}
    shared: dict[tuple[int, int], float] = {}
    cached, written = np.zeros_like(prompt), np.zeros_like(prompt)
    calls = zip(
        count(), model.tolist(), prompt.tolist(), asked.ts.tolist(), asked.lineage.tolist(),
        asked.system.tolist(), asked.failed.tolist(), asked.evicted.tolist(), asked.image.tolist(),
        strict=False,
    )  # fmt: skip
    for i, m, length, now, lineage, system, failed, evicted, image in calls:
        rule = models[m].cache
        waits_for_client = rule.mode == "explicit" and not habits.breakpoints
        cacheable = length - image
        if failed or rule.mode == "none" or waits_for_client or cacheable < rule.minimum:
            continue
        ttl = (rule.long_ttl or rule.ttl) if habits.long_writes else rule.ttl
        before, last = kept.get((m, lineage), (0, -1e18))
        warm = min(before, cacheable) if now - last <= ttl and not evicted else 0
        start = round(system * models[m].tokens)
        if start >= rule.minimum and now - shared.get((m, system), -1e18) <= ttl:
            warm = max(warm, min(start, cacheable))
        cached[i] = warm // rule.step * rule.step if warm >= rule.minimum else 0
        if rule.mode == "explicit":
            written[i] = cacheable - cached[i]
        kept[m, lineage] = (cacheable, now)
        if start:
            shared[m, system] = now
    return cached, written
