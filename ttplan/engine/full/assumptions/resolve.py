"""The value of each assumption for each pair of a source and a target, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from ttplan.engine.full.assumptions.inputs import Target
from ttplan.engine.full.log_facts import LogFacts, LogKey
from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT, NO_CACHE, UNKNOWN
from ttplan.model.projection.assumption import (
    MEANINGS,
    RATIO_DIGITS,
    Assumption,
    AssumptionName,
    AssumptionSource,
    CostScope,
)
from ttplan.model.projection.capabilities import CacheRule, Capabilities, ModelFacts
from ttplan.model.projection.full import ProjectionInputs
from ttplan.model.route import ProposedRoute

_MODES = {"automatic": AUTOMATIC, "explicit": EXPLICIT, "none": NO_CACHE}


class Value(NamedTuple):
    """The value of an assumption, its standard error, and its source.

    `stated` is False if only its scope is given.
    """

    value: Decimal
    error: float | None = None
    source: AssumptionSource = "none"
    scope: CostScope | None = None
    note: str = ""
    stated: bool = True


@dataclass(frozen=True)
class Pair:
    """The requests of one price key that one route matches; `route` is -1 for none.

    `values` has the assumptions that are known before the costs are. `thinks` is whether the
    target thinks, None if nothing tells.
    """

    index: int
    key: LogKey
    route: int
    target: LogKey | None
    source_facts: ModelFacts
    target_facts: ModelFacts
    values: dict[AssumptionName, Value]
    thinks: bool | None
    source_thinks: bool
    long_writes: bool

    @property
    def same_model(self) -> bool:
        """Whether the target is the model that answers already."""
        return self.target is not None and self.target.name == self.key.name

    @property
    def limits(self) -> Capabilities:
        """What the target can serve."""
        return self.target_facts.capabilities

    @property
    def modes(self) -> tuple[int, int]:
        """How the source and the target cache prompts."""
        return cache_mode(self.source_facts.cache), cache_mode(self.target_facts.cache)

    @property
    def marks_matter(self) -> bool:
        """Whether the target caches at breakpoints, which the log of its source cannot show."""
        source, target = self.modes
        return target == EXPLICIT and source != EXPLICIT

    @property
    def breakpoints(self) -> bool:
        """Whether clients count as setting breakpoints that the log cannot show."""
        share = self.values.get("cache_breakpoints")
        return share is not None and share.value >= Decimal("0.5")


def cache_mode(rule: CacheRule | None) -> int:
    """A rule's mode as a number; without a rule it is unknown."""
    return UNKNOWN if rule is None else _MODES[rule.mode]


def make_pairs(
    log: LogFacts,
    routes: Sequence[ProposedRoute],
    targets: Iterable[Target],
    inputs: ProjectionInputs,
) -> list[Pair]:
    """All pairs of a plan, those without a route first of each key."""
    target_of = {(target.key, target.route): target.target for target in targets}
    pairs: list[Pair] = []
    for key, counts in log.keys.items():
        for route in range(-1, len(routes)):
            target = target_of.get((key, route))
            pairs.append(
                Pair(
                    index=len(pairs),
                    key=key,
                    route=route,
                    target=target,
                    source_facts=_facts(inputs, key),
                    target_facts=_facts(inputs, target),
                    values={}
                    if target is None
                    else _values(log, inputs, key, target, routes[route].name),
                    thinks=_thinks(log, inputs, target),
                    source_thinks=bool(log.thinks(key.name)),
                    long_writes=counts.long_writes * 2 > counts.writes,
                )
            )
    return pairs


def _facts(inputs: ProjectionInputs, key: LogKey | None) -> ModelFacts:
    return ModelFacts() if key is None else inputs.facts.get(key.name, ModelFacts())


def _thinks(log: LogFacts, inputs: ProjectionInputs, target: LogKey | None) -> bool | None:
    if target is None:
        return None
    observed = log.thinks(target.name)
    return _facts(inputs, target).capabilities.reasoning if observed is None else observed


def _values(
    log: LogFacts, inputs: ProjectionInputs, key: LogKey, target: LogKey, route: str
) -> dict[AssumptionName, Value]:
    names: tuple[AssumptionName, ...] = ("ratio_in", "ratio_out", "ratio_reasoning", "redo")
    values = {
        name: pick(inputs.assumptions, name, key, target, route) or Value(MEANINGS[name].neutral)
        for name in names
    }
    values["reasoning_tokens"] = _added_reasoning(log, inputs, key, target, route)
    for name in ("paid_attempts", "cache_breakpoints"):
        given = pick(inputs.assumptions, name, key, target, route)
        values[name] = given or Value(MEANINGS[name].neutral)
    return values


def _added_reasoning(
    log: LogFacts, inputs: ProjectionInputs, key: LogKey, target: LogKey, route: str
) -> Value:
    """The hidden tokens that the target adds to each answer of a source that does not think."""
    given = pick(inputs.assumptions, "reasoning_tokens", key, target, route)
    if given is not None:
        return given
    if log.thinks(key.name):
        return Value(Decimal(0), source="log", note="the source thinks, too")
    if key.name == target.name:
        return Value(Decimal(0), source="log", note="the same model")
    observed = log.mean_reasoning(target.name)
    if observed is not None:
        mean, error = observed
        return Value(
            round(Decimal(mean), RATIO_DIGITS), error, "log", note="mean of the target's requests"
        )
    if _facts(inputs, target).capabilities.reasoning is False:
        return Value(Decimal(0), source="catalogue", note="the target does not think")
    return Value(Decimal(0))


def pick(
    assumptions: Iterable[Assumption],
    name: AssumptionName,
    key: LogKey,
    target: LogKey | None,
    route: str | None,
) -> Value | None:
    """The most specific assumption of that name for a pair, of equal ones the first."""
    best: tuple[int, Assumption] | None = None
    for assumption in assumptions:
        wanted = (
            (assumption.source_model, {key.model, key.name}),
            (
                assumption.target_model,
                set() if target is None else {target.model, target.name},
            ),
            (assumption.route, {route}),
        )
        if assumption.name != name or any(w is not None and w not in has for w, has in wanted):
            continue
        rank = sum(w is not None for w, _ in wanted)
        if best is None or rank > best[0]:
            best = rank, assumption
    if best is None:
        return None
    chosen = best[1]
    neutral = MEANINGS[name].neutral
    return Value(
        neutral if chosen.value is None else chosen.value,
        chosen.standard_error,
        chosen.source,
        chosen.scope,
        chosen.note,
        chosen.value is not None,
    )
