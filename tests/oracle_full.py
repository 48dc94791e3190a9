"""A plain reading of the full projection: one loop over rows, whole numbers and fractions, no
engine. Slow on purpose."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from tests import oracle
from tests.oracle_rates import (
    INPUT,
    OUTPUT,
    Assumed,
    Chosen,
    Key,
    Rates,
    key_of,
    long_writes,
    rates_at,
    rounded,
    scaled,
    searches,
    split,
    target_key,
)
from ttplan.model.plan import PlanInput
from ttplan.model.projection.assumption import AssumptionName
from ttplan.model.projection.capabilities import CacheRule, ModelFacts
from ttplan.model.projection.full import ProjectionInputs
from ttplan.model.request import RequestLog
from ttplan.model.route import ProposedRoute, sort_by_precedence

ENOUGH = 20
"""Fewer requests do not tell whether a model thinks."""
FAILURES = ("error", "failed", "failure")
MARKERS = {
    "images": ('"image_url"', '"input_image"', '"type":"image"', '"type": "image"', "data:image/"),
    "audio": ('"input_audio"', '"type":"audio"', '"type": "audio"'),
    "tools": ('"tools":', '"functions":', '"tool_calls"'),
    "structured output": ('"response_format"', '"json_schema"', '"response_schema"'),
}
ONE, NOTHING = Fraction(1), Fraction(0)


@dataclass
class Row(oracle.Row):
    """One request: what it is on the target, which prefixes are warm, and what it costs."""

    session: str | None = None
    failed: bool = False
    answered: bool = False
    target: Key | None = None
    new: dict[str, int] = field(default_factory=dict)
    """Its tokens on the target."""
    possible: bool | None = None
    """Whether it can be a hit of an exact cache; None if its prompt has a hash or bypasses it."""
    reason: str | None = None
    moved: bool = False
    source_rates: Rates | None = None
    target_rates: Rates | None = None
    caches: tuple[bool, bool] = (False, False)
    """Whether the source's provider caches the prompt, and whether the one that answers does."""
    logged_warm: int = 0
    routed_warm: int = 0
    explained: Fraction | None = None
    current: Fraction | None = None
    """The price of its own tokens at the plan's moment, if the projection is at those prices."""
    parts: dict[str, int] = field(default_factory=dict)
    """Its tokens on the target without a warm prefix, by rate."""
    spread: Fraction = NOTHING
    actual: Fraction = NOTHING
    baseline: Fraction = NOTHING
    filled: Fraction = NOTHING
    read: int = 0
    listed_target: Fraction = NOTHING
    rest: Fraction = NOTHING
    cost: Fraction = NOTHING
    """What it costs if no gateway cache has the response."""
    routed: Fraction = NOTHING
    """What it costs."""
    discount: Fraction = NOTHING

    @property
    def key(self) -> Key:
        """Its price key."""
        return key_of(self.request)


@dataclass
class Carried:
    """What the recorded costs and reads of a price key tell."""

    recorded: Fraction = NOTHING
    explained: Fraction = NOTHING
    reads: int = 0
    predicted: int = 0
    unrecorded: int = 0
    bins: dict[int, list[tuple[Fraction, Fraction]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def factor(self) -> Fraction | None:
        """The constant factor of 90 % of the requests."""
        count = sum(map(len, self.bins.values()))
        if not count:
            return None
        mode = max(sorted(self.bins), key=lambda b: len(self.bins[b]))
        near = [pair for b in (mode - 1, mode, mode + 1) for pair in self.bins.get(b, [])]
        if len(near) < 0.9 * count:
            return None
        recorded = sum((r for r, _ in near), NOTHING)
        factor = rounded(recorded / sum((e for _, e in near), NOTHING), 6)
        return factor if abs(factor - 1) > Fraction("0.005") and factor < 10**4 else None

    @property
    def fit(self) -> Fraction | None:
        """Recorded reads as a share of the predicted ones."""
        if not self.predicted:
            return None
        return rounded(Fraction(min(self.reads, self.predicted), self.predicted), 6)


def matches(route: ProposedRoute, r: RequestLog) -> bool:
    """Whether a route's conditions all hold, of images and audio as well, if the row tells."""
    when, body = route.when, None if r.body is None else r.body.lower()
    counts = {"images": r.input_image_tokens, "audio": r.input_audio_tokens}
    for name, count in counts.items():
        wanted = getattr(when, f"has_{name}")
        has = bool(count) or any(marker in (body or "") for marker in MARKERS[name])
        if wanted is not None and ((count is None and body is None) or wanted != has):
            return False
    others = when.model_copy(update={"has_images": None, "has_audio": None})
    return oracle.matches(route.model_copy(update={"when": others}), r)


class FullOracle:
    """The full projection of a plan. `forced` are values of assumptions that replace the others."""

    def __init__(
        self,
        plan: PlanInput,
        inputs: ProjectionInputs,
        forced: dict[AssumptionName, Fraction] | None = None,
        moment_of: tuple[str, str] | None = None,
    ) -> None:
        self.plan, self.inputs = plan, inputs
        self.assumed = Assumed(inputs.assumptions, forced or {})
        at = ("request", plan.config.prices_at) if moment_of is None else moment_of
        self.source_at, self.target_at = at
        self.rows = [
            Row(r)
            for r in plan.requests
            if plan.window_start <= r.ts < plan.window_end and r.org_id == plan.org_id
        ]
        self.in_order = sorted(self.rows, key=lambda row: (row.request.ts, row.request.id))
        self.carried: dict[Key, Carried] = defaultdict(Carried)
        self._route()
        self._find_hits()
        for row in self.rows:
            self._put_on_target(row)
        self._warm()
        for row in self.rows:
            self._price(row)
        self._calibrate()
        for row in self.rows:
            self._cost(row)

    # --- which route takes a request, and what answers it ---------------------------------------

    def _route(self) -> None:
        names = ("session_id", "user_id", "api_key_id")
        named = (self.plan.config.session,) if self.plan.config.session else names
        column = next(
            (n for n in named if any(getattr(row.request, n) is not None for row in self.rows)),
            None,
        )
        first: dict[str, RequestLog] = {}
        for row in self.in_order:
            row.session = None if column is None else getattr(row.request, column)
            if row.session is not None:
                first.setdefault(row.session, row.request)
        for row in self.rows:
            for route in sort_by_precedence(self.plan.proposed_routes):
                asked = row.request
                if route.sticky and row.session is not None:
                    asked = first[row.session]
                if matches(route, asked):
                    row.route = route
                    break
            r = row.request
            row.failed = r.status >= 400 or r.finish_reason in FAILURES
            row.answered = r.cached and not (row.route and row.route.then.disable_cache)

    def _find_hits(self) -> None:
        """Failed calls leave nothing in a cache, and stay failed."""
        config = self.plan.config
        rows = [row for row in self.rows if not row.failed]
        if config.l1_ttl_seconds is not None:
            self._project_l1(rows, timedelta(seconds=config.l1_ttl_seconds))
        found = oracle.Answer(rows=list(rows))
        oracle.project_l2(found, self.plan, oracle.diverged_or_short)
        self.sweeps = found.sweeps
        for row in self.rows:
            row.hit = row.l1_hit or row.l2_hit

    def _project_l1(self, rows: list[Row], ttl: timedelta) -> None:
        """By the hash of the prompt; of rows without one, which can be hits."""
        ignored = self.plan.config.l1_upper_bound_ignores
        missed: dict[tuple[str | None, ...], datetime] = {}
        came: dict[tuple[str | int | None, ...], datetime] = {}
        for row in sorted(rows, key=lambda row: (row.request.ts, row.request.id)):
            r, route = row.request, row.route
            if route is not None and route.then.disable_cache:
                continue
            proxy = (
                r.provider,
                r.model,
                None if "tag" in ignored else r.tag,
                None if "input_tokens" in ignored else r.input_tokens,
            )
            if r.prompt_hash is None:
                row.possible = proxy in came and r.ts - came[proxy] <= ttl
            else:
                served = None if route is None else route.then.target_model
                key = (r.provider, r.model, served, r.prompt_hash)
                row.l1_hit = key in missed and r.ts - missed[key] <= ttl
                if not row.l1_hit:
                    missed[key] = r.ts
            came[proxy] = r.ts

    # --- tokens, limits, outcome ----------------------------------------------------------------

    def _facts(self, key: Key | None) -> ModelFacts:
        return ModelFacts() if key is None else self.inputs.facts.get(key.name, ModelFacts())

    def _mode(self, key: Key | None) -> str:
        rule = self._facts(key).cache
        return "unknown" if rule is None else rule.mode

    def _value(self, row: Row, name: AssumptionName, neutral: int) -> Fraction:
        route = None if row.route is None else row.route.name
        return self.assumed.value(name, row.key, row.target, route, neutral)

    def _reasoning(self, name: str) -> list[int]:
        return [
            min(row.request.reasoning_tokens, row.request.output_tokens)
            for row in self.rows
            if row.key.name == name and row.request.reasoning_tokens is not None
        ]

    def thinks(self, name: str) -> bool | None:
        """Whether the log shows that a model thinks."""
        counts = self._reasoning(name)
        if any(counts):
            return True
        return False if len(counts) >= ENOUGH else None

    def _added(self, row: Row) -> int:
        """Hidden tokens that the target adds to the answer of a source that does not think."""
        assert row.target is not None
        assert row.route is not None
        given = self.assumed.pick("reasoning_tokens", row.key, row.target, row.route.name)
        if given is not None:
            return scaled(1, given.value or NOTHING)
        counts = self._reasoning(row.target.name)
        if self.thinks(row.key.name) or row.key.name == row.target.name or len(counts) < ENOUGH:
            return 0
        return scaled(1, rounded(Fraction(sum(counts), len(counts)), 6))

    def _put_on_target(self, row: Row) -> None:
        r, route, pieces = row.request, row.route, self.inputs.prices
        at = r.ts if self.source_at == "request" else self.inputs.prices_at or r.ts
        row.source_rates = rates_at(pieces, row.key, at, r.input_tokens)
        if route is None:
            return
        row.target = target_key(row.key, route.then.target_model, self.plan.pricing, pieces)
        if row.failed or row.answered:
            row.outcome = "failed" if row.failed else "answered"
            return
        if row.target is not None:
            self._count_tokens(row)
            at = r.ts if self.target_at == "request" else self.inputs.prices_at or r.ts
            row.target_rates = rates_at(pieces, row.target, at, row.new["total"])
        if row.target_rates is None:
            row.outcome = "unpriced"
            return
        row.reason = self._why_not(row)
        if row.reason is not None:
            row.outcome = "ineligible"
            return
        listed = rounded(row.target_rates.cost(self._recorded_parts(row), searches(r)))
        over = route.then.max_cost_usd is not None and listed > route.then.max_cost_usd
        row.outcome = "refused" if over and not row.hit else "rerouted"
        assert row.target is not None
        row.moved = not over and row.target.name != row.key.name

    def _count_tokens(self, row: Row) -> None:
        r = row.request
        ratio_in, ratio_out = self._value(row, "ratio_in", 1), self._value(row, "ratio_out", 1)
        hidden = min(r.reasoning_tokens or 0, r.output_tokens)
        assert row.target is not None
        observed = self.thinks(row.target.name)
        known = self._facts(row.target).capabilities.reasoning if observed is None else observed
        thought = (
            0
            if known is False
            else scaled(hidden, self._value(row, "ratio_reasoning", 1)) + self._added(row)
        )
        row.new = {
            "total": scaled(r.input_tokens, ratio_in),
            "cached": scaled(min(r.cached_tokens, r.input_tokens), ratio_in),
            "write": scaled(r.cache_write_tokens or 0, ratio_in),
            "in_audio": scaled(r.input_audio_tokens or 0, ratio_in),
            "in_image": scaled(r.input_image_tokens or 0, ratio_in),
            "reasoning": thought,
            "out_audio": scaled(r.output_audio_tokens or 0, ratio_out),
            "out_image": scaled(r.output_image_tokens or 0, ratio_out),
            "output": scaled(r.output_tokens - hidden, ratio_out) + thought,
        }

    def _why_not(self, row: Row) -> str | None:
        limits = self._facts(row.target).capabilities
        prompt, answer = row.new["total"], row.new["output"]
        if limits.context_tokens and prompt + max(answer, 1) > limits.context_tokens:
            return "context window"
        if limits.output_tokens and answer > limits.output_tokens:
            return "output limit"
        r, body = row.request, (row.request.body or "").lower()
        for name, markers in MARKERS.items():
            needs = any(marker in body for marker in markers)
            needs = needs or (name == "images" and bool(r.input_image_tokens))
            needs = needs or (name == "audio" and bool(r.input_audio_tokens))
            if needs and getattr(limits, name.replace(" ", "_")) is False:
                return name
        return None

    # --- caches ---------------------------------------------------------------------------------

    def _long(self, row: Row, key: Key | None) -> bool:
        """Whether most writes of the source last an hour, and this model has such."""
        own = [other.request for other in self.rows if other.key == row.key]
        hour, all_writes = (
            sum(map(long_writes, own)),
            sum(r.cache_write_tokens or 0 for r in own),
        )
        rule = self._facts(key).cache
        return bool(rule and rule.long_ttl_seconds) and 2 * hour > all_writes

    def _breakpoints(self, row: Row) -> bool:
        return row.target is not None and self._value(row, "cache_breakpoints", 0) >= Fraction(1, 2)

    def _recorded_parts(self, row: Row) -> dict[str, int]:
        """The parts on the target as they were recorded, as far as it caches."""
        rule, mode = self._facts(row.target).cache, self._mode(row.target)
        caches = mode == "unknown" or (
            rule is not None
            and mode != "none"
            and row.new["total"] >= rule.minimum_tokens
            and (
                mode == "automatic"
                or self._mode(row.key) in ("explicit", "unknown")
                or self._breakpoints(row)
            )
        )
        return self._parts(row, row.new["cached"] * caches, row.new["write"] * caches)

    def _parts(self, row: Row, cached: int, written: int) -> dict[str, int]:
        write = "write_1h" if self._long(row, row.target) else "write"
        claims = row.new | {"cached": cached, "write": 0} | {write: written}
        return split(INPUT, row.new["total"], claims) | split(OUTPUT, row.new["output"], claims)

    def _warm(self) -> None:
        explicit = {
            row.session
            for row in self.rows
            if self._mode(row.key) == "explicit"
            and min(row.request.cached_tokens, row.request.input_tokens)
            + (row.request.cache_write_tokens or 0)
        }
        before: dict[tuple[str, str | None, str], tuple[int, Row]] = {}
        for row in self.in_order:
            if row.session is None:
                continue
            silent = row.failed or row.request.cached
            marked = row.session in explicit
            source = self._mode(row.key) == "automatic" or (
                self._mode(row.key) == "explicit" and marked
            )
            target = self._mode(row.target) == "automatic" or (
                self._mode(row.target) == "explicit" and (marked or self._breakpoints(row))
            )
            row.caches = source, target if row.moved else source
            own = row.request.input_tokens
            if not silent:
                row.logged_warm = self._prefix(before, row, "logged", row.key, own, source)
            if row.moved and not row.hit:
                assert row.target is not None
                new = row.new["total"]
                row.routed_warm = self._prefix(before, row, "routed", row.target, new, target)
            elif not silent and not row.hit:
                row.routed_warm = self._prefix(before, row, "routed", row.key, own, source)

    def _prefix(
        self,
        before: dict[tuple[str, str | None, str], tuple[int, Row]],
        row: Row,
        world: str,
        key: Key,
        tokens: int,
        caches: bool,
    ) -> int:
        """The warm prefix of a request that a model answers, which then is the last there."""
        at = (world, row.session, key.name)
        last = before.get(at)
        before[at] = tokens, row
        rule = self._facts(key).cache
        if last is None or rule is None or not caches:
            return 0
        prefix = min(last[0], tokens)
        recent = row.request.ts - last[1].request.ts <= timedelta(seconds=self._ttl(row, rule))
        return prefix if recent and prefix >= rule.minimum_tokens else 0

    def _ttl(self, row: Row, rule: CacheRule) -> int:
        own = [other.request for other in self.rows if other.key == row.key]
        hour, written = sum(map(long_writes, own)), sum(r.cache_write_tokens or 0 for r in own)
        return (rule.long_ttl_seconds if 2 * hour > written else None) or rule.ttl_seconds

    # --- costs ----------------------------------------------------------------------------------

    def _price(self, row: Row) -> None:
        r = row.request
        row.actual, row.baseline = Fraction(r.cost_usd), Fraction(r.baseline_cost_usd)
        if row.source_rates is not None:
            hidden, written = (
                min(r.reasoning_tokens or 0, r.output_tokens),
                r.cache_write_tokens or 0,
            )
            hour = min(long_writes(r), written)
            claims = {
                "cached": r.cached_tokens,
                "write_1h": hour,
                "write": written - hour,
                "in_audio": r.input_audio_tokens or 0,
                "in_image": r.input_image_tokens or 0,
                "reasoning": hidden,
                "out_audio": r.output_audio_tokens or 0,
                "out_image": r.output_image_tokens or 0,
            }
            parts = split(INPUT, r.input_tokens, claims) | split(OUTPUT, r.output_tokens, claims)
            row.explained = rounded(row.source_rates.cost(parts, searches(r)))
            moment = self.inputs.prices_at
            if (self.source_at, self.target_at) == ("request", "plan") and moment is not None:
                then = rates_at(self.inputs.prices, row.key, moment, r.input_tokens)
                row.current = None if then is None else rounded(then.cost(parts, searches(r)))
        if row.moved:
            row.parts = self._recorded_parts(row)
            rule = self._facts(row.target).cache
            if row.session is not None and rule is not None:
                writes = (
                    row.caches[1]
                    and rule.mode == "explicit"
                    and row.new["total"] >= rule.minimum_tokens
                )
                row.parts = self._parts(row, 0, row.new["total"] * writes)
        key, rates = (row.target, row.target_rates) if row.moved else (row.key, row.source_rates)
        if rates is not None:
            write = "write_1h" if self._long(row, key) else "write"
            full = write if self._mode(key) == "explicit" else "input"
            row.spread = rates.of[full] - rates.of["cached"]

    def _calibrate(self) -> None:
        for row in self.rows:
            if row.failed or row.request.cached:
                continue
            own = self.carried[row.key]
            if row.caches[0]:
                own.reads += min(row.request.cached_tokens, row.request.input_tokens)
            own.predicted += row.logged_warm
            if row.explained is None:
                continue
            if row.explained >= Fraction("0.00002"):
                if not row.actual:
                    own.unrecorded += 1
                    continue
                thousandths = int(row.actual / row.explained * 1000 + Fraction(3, 2))
                own.bins[min(thousandths, 10**6)].append((row.actual, row.explained))
            own.recorded += row.actual
            own.explained += row.explained

    def fit(self, row: Row) -> Fraction:
        """The share of the predicted reads that happens."""
        chosen = self._pick(row, "cache_fit")
        if chosen is not None and chosen.value is not None:
            return chosen.value
        for key in (row.key, row.target):
            fit = None if key is None or key not in self.carried else self.carried[key].fit
            if fit is not None:
                return fit
        return ONE

    def _pick(self, row: Row, name: AssumptionName) -> Chosen | None:
        route = None if row.route is None else row.route.name
        return self.assumed.pick(name, row.key, row.target, route)

    def factors(self, row: Row) -> tuple[Fraction, Fraction]:
        """Recorded cost to list price, of the source, and what of it applies to the target."""
        chosen = self._pick(row, "price_factor")
        value = None if chosen is None else chosen.value
        factor = (self.carried[row.key].factor or ONE) if value is None else value
        scope = None if chosen is None else chosen.scope
        scope = scope or ("gateway" if factor > 1 else "model")
        return factor, factor if scope == "gateway" else ONE

    def rest_stays(self, row: Row) -> bool:
        """Whether the unexplained part of the cost stays."""
        chosen = self._pick(row, "rest")
        if chosen is not None and chosen.scope is not None and "rest" not in self.assumed.forced:
            return chosen.scope == "gateway"
        if chosen is not None and chosen.value is not None:
            return chosen.value > 0
        own = self.carried[row.key]
        return own.recorded > own.explained * self.factors(row)[0]

    def fills(self, row: Row) -> bool:
        """Whether requests at no recorded cost take their price."""
        chosen = self._pick(row, "unrecorded_cost")
        if chosen is not None and chosen.value is not None:
            return chosen.value > 0
        return self.carried[row.key].unrecorded > 0

    def redo(self, row: Row) -> Fraction:
        """The share of answers asked again."""
        return NOTHING if row.target is None else self._value(row, "redo", 0)

    def _cost(self, row: Row) -> None:
        r, fit = row.request, self.fit(row)
        source_factor, target_factor = self.factors(row)
        row.read, logged_read = scaled(row.routed_warm, fit), scaled(row.logged_warm, fit)
        listed = None if row.explained is None else rounded(row.explained * source_factor)
        silent = row.failed or r.cached
        if self.fills(row) and not row.actual and not silent and listed:
            row.filled = row.actual = listed
            row.baseline = max(row.baseline, listed)
        if row.current is not None and listed is not None and not silent:
            change = rounded(row.current * source_factor) - listed
            row.actual = max(row.actual + change, NOTHING)
            row.baseline = max(row.baseline + change, NOTHING)
            listed += change
        if row.moved:
            assert row.target_rates is not None
            exact = row.target_rates.cost(row.parts, searches(r)) - row.spread * row.read
            row.listed_target = max(rounded(exact), NOTHING)
            row.rest = NOTHING if listed is None else row.actual - listed
            row.cost = rounded(row.listed_target * target_factor)
            row.cost += row.rest if self.rest_stays(row) else 0
            row.cost += rounded(row.actual * self.redo(row))
            of = row.target_rates.of
            off = row.spread * row.read + row.parts["cached"] * (of["input"] - of["cached"])
            row.discount = rounded(rounded(off) * target_factor)
        else:
            row.cost = row.actual
            if row.caches[0] and not silent and not row.hit:
                shift = rounded((logged_read - row.read) * row.spread)
                row.cost += rounded(shift * source_factor)
            row.cost += rounded(self._attempt(row) * self._value(row, "paid_attempts", 0))
        row.cost = max(row.cost, NOTHING)
        row.routed = NOTHING if row.hit else row.cost

    def _attempt(self, row: Row) -> Fraction:
        """What the target bills for an answer that it cuts at its limit."""
        if row.reason != "output limit":
            return NOTHING
        assert row.target_rates is not None
        limit = self._facts(row.target).capabilities.output_tokens or 0
        of = row.target_rates.of
        return rounded(row.new["total"] * of["input"] + limit * of["output"])

    @property
    def savings(self) -> Fraction:
        """Actual minus projected cost."""
        return sum((row.actual - row.routed for row in self.rows), NOTHING)
