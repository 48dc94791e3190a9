"""What becomes of each request: its outcome, its tokens on the target and its cost there without a
cached prefix."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any

import ibis
import ibis.expr.types as ir

from ttplan.engine.cost import (
    NO_ROUTE,
    PRICE_TYPE,
    REFUSED,
    REROUTED,
    UNCHANGED,
    UNPRICED,
    money_literal,
)
from ttplan.engine.full.money import as_whole, product, rounded, scaled, total_of
from ttplan.engine.full.sessions import shows_cache
from ttplan.engine.full.shape import EXPLICIT, FEATURES, Shape
from ttplan.engine.intervals.clusters import second_of_day
from ttplan.engine.summary import pico
from ttplan.model.money import money_floor

INELIGIBLE, FAILED, ANSWERED = -1, -2, -3
"""Outcomes beside those of `cost`: the target cannot serve the request; it failed; a gateway cache
answered it. All keep their actual cost."""
OUTPUT_LIMIT = 2
REASONS = {
    1: "context window",
    OUTPUT_LIMIT: "output limit",
    3: "images",
    4: "audio",
    5: "tools",
    6: "structured output",
}
"""Why a target cannot serve a request, by the number in the column `reason`."""
_FEATURES = dict(enumerate(FEATURES, 3))
INPUT_PARTS = ("cached", "write_1h", "write", "in_audio", "in_image", "input")
OUTPUT_PARTS = ("reasoning", "out_audio", "out_image", "output")
"""Parts of the tokens that have a rate, in the order in which they count; the last is the rest."""
MEDIA = {
    "in_audio": ("input_audio_tokens", "ratio_in"),
    "in_image": ("input_image_tokens", "ratio_in"),
    "out_audio": ("output_audio_tokens", "ratio_out"),
    "out_image": ("output_image_tokens", "ratio_out"),
}
"""The columns of the parts that are not text, and the ratios that they scale with."""
_ZERO = ibis.literal(0, "int64")
_MOST = 2**62
_MOST_PIECES = 2**20
_MONEY = ("cost_usd", "baseline_cost_usd")
_ROW = (
    *("l1_hit", "l1_bound", "l2_hit", "l2_mask", "cluster", "minute", "session", "searches"),
    *("input_tokens", "output_tokens", "cost_usd", "baseline_cost_usd", "cached", "latency_ms"),
    *("cache_write_tokens", "reasoning_tokens", "input_audio_tokens", "input_image_tokens"),
    *("output_audio_tokens", "output_image_tokens", "failed", "hit"),
)
"""Columns of the log that later steps read; copying others takes time."""


def route_requests(
    rows: ir.Table, pairs: ir.Table, source: ir.Table, target: ir.Table, *more: Any
) -> ir.Table:
    """What does not depend on cached prefixes of `rows` (of `full_rows`): their `pair` and prices,
    `outcome`, `moved` and `explained`, the source's price.

    `pairs`, `source` and `target` are the tables of pairs and of prices. `more` is the shape,
    after, if recorded costs change with the price of their model, its prices at the plan's moment.
    """
    *current, shape = more
    keys = [name.removeprefix("key_") for name in rows.columns if name.startswith("key_")]
    joined = rows.join(
        pairs,
        [
            *(rows[f"key_{name}"] == pairs[f"pair_{name}"] for name in keys),
            rows.route == pairs.pair_route,
        ],
    )
    joined = joined.mutate(charged=ibis.least(joined.cached_tokens, joined.input_tokens))
    priced = with_tokens(joined, shape)
    priced = priced.mutate(reason=_reason(priced, shape).cast("int8"))
    priced = _with_prices(priced, "source", source, shape)
    priced = _with_prices(priced, "target", target, shape)
    for pieces in current:
        priced = _with_prices(priced, "current", pieces, shape)
    return _with_outcomes(priced, shape)


def with_tokens(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with their tokens on the target. They have the columns of their pair."""
    reasoning = rows.reasoning_tokens if "reasoning_tokens" in rows.columns else _ZERO
    rows = rows.mutate(hidden=ibis.least(reasoning, rows.output_tokens))
    scale = scaled if shape.scaled else _unscaled
    rows = rows.mutate(
        new_input=scale(rows.input_tokens, rows.ratio_in),
        new_cached=scale(rows.charged, rows.ratio_in),
        new_write=scale(_count(rows, "cache_write_tokens"), rows.ratio_in),
        new_visible=scale(rows.output_tokens - rows.hidden, rows.ratio_out),
        new_hidden=rows.thinks.ifelse(scale(rows.hidden, rows.ratio_reasoning) + rows.added, _ZERO),
        **{
            f"new_{name}": scale(rows[column], rows[ratio])
            for name, (column, ratio) in MEDIA.items()
            if name in shape.carries
        },
    )
    return rows.mutate(new_output=rows.new_visible + rows.new_hidden)


def _count(rows: ir.Table, name: str) -> ir.IntegerValue:
    """An optional count of tokens; 0 if the log does not have it."""
    return rows[name] if name in rows.columns else _ZERO


def _unscaled(tokens: ir.IntegerValue, _ratio: ir.IntegerValue) -> ir.IntegerValue:
    return tokens


def _reason(rows: ir.Table, shape: Shape) -> ir.IntegerValue:
    """Why the target cannot serve `rows` (of `with_tokens`); 0 if it can."""
    branches: list[tuple[ir.BooleanValue, int]] = []
    if shape.limited:
        total = rows.new_input + ibis.greatest(rows.new_output, 1)
        branches += [
            (total > rows.context, 1),
            (rows.new_output > rows.output_limit, OUTPUT_LIMIT),
        ]
    branches += [
        (rows[f"needs_{name}"] & rows[f"no_{name}"], number)
        for number, name in _FEATURES.items()
        if name in shape.features
    ]
    return ibis.cases(*branches, else_=0) if branches else ibis.literal(0)


def _with_prices(rows: ir.Table, side: str, pieces: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with the rates of one side: of their source, their target, or their source at the
    plan's moment (`current`)."""
    key, tokens = ("target", "new_input") if side == "target" else ("source", "input_tokens")
    ranges = ["starts", "ends", "over_tokens", "up_to_tokens"] if shape.dated else []
    ranges += ["day_from", "day_until"] if shape.hourly else []
    renamed = pieces.select(
        **{f"{side}_{name}": pieces[name] for name in _rate_columns(shape)},
        **{f"piece_{name}": pieces[name] for name in (*ranges, "price_key")},
    )
    joined = rows.join(renamed, [rows[f"{key}_key"] == renamed.piece_price_key])
    conditions = []
    if shape.dated:
        conditions += [
            joined.ts >= joined.piece_starts,
            joined.ts < joined.piece_ends,
            joined[tokens] > joined.piece_over_tokens,
            joined[tokens] <= joined.piece_up_to_tokens,
        ]
    if shape.hourly:
        second = second_of_day(joined.ts)
        conditions += [second >= joined.piece_day_from, second < joined.piece_day_until]
    joined = joined.filter(*conditions) if conditions else joined
    return joined.select(*(c for c in joined.columns if not c.startswith("piece_")))


def term_rows(pairs: ir.Table, source: ir.Table, target: ir.Table, shape: Shape) -> ir.Table:
    """What a request may be priced with, each by its number `term`: a pair, and a piece of the
    price of either side."""
    terms = pairs
    for side, pieces in (("source", source), ("target", target)):
        names = _rate_columns(shape)
        renamed = pieces.select(
            **{f"{side}_{name}": pieces[name] for name in names}, **{f"{side}_of": pieces.price_key}
        )
        terms = terms.join(renamed, [terms[f"{side}_key"] == renamed[f"{side}_of"]])
    spreads = {f"{side}_spread": _spread(terms, side, shape) for side in ("source", "target")}
    discount = terms.target_rate_input - terms.target_rate_cached
    terms = terms.mutate(term=_term(terms), target_discount=discount, **spreads)
    return terms.drop("source_of", "target_of")


def _term(rows: ir.Table) -> ir.IntegerValue:
    pair, source, target = (
        rows[name].cast("int64") for name in ("pair", "source_piece", "target_piece")
    )
    return (pair * _MOST_PIECES + source) * _MOST_PIECES + target


def _rate_columns(shape: Shape) -> list[str]:
    fees = ["fee", "search_fee"] if shape.fees else []
    return [*(f"rate_{name}" for name in shape.carries), *fees, "piece"]


def _with_outcomes(rows: ir.Table, shape: Shape) -> ir.Table:
    """The columns of `rows` that later steps read, with `outcome`, `moved`, and, if sessions
    matter, the tokens and the model of each world."""
    backend = rows.get_backend()
    answered = rows.cached & ~rows.bypass
    known = rows.target_rate_input.notnull() & rows.target_rate_output.notnull()
    goes = (rows.route != NO_ROUTE) & ~rows.failed & ~answered & known & (rows.reason == 0)
    over: ir.BooleanValue = ibis.literal(False)
    if shape.ceilings:
        cached, write = _recorded_claims(rows, rows.claims)
        # A stage of its own: DuckDB shares no work between branches of a CASE.
        rows = rows.mutate(claimed=cached, written=write)
        listed = exact_cost(rows, _recorded_parts(rows, shape), "target", shape)
        rows = rows.mutate(goes=goes, listed=listed)
        goes = rows.goes
        rows = rows.mutate(over=goes & _over_ceiling(rows, rounded(rows.listed, backend), shape))
        goes, over = rows.goes, rows.over
    outcome = ibis.cases(
        (rows.route == NO_ROUTE, UNCHANGED),
        (rows.failed, FAILED),
        (answered, ANSWERED),
        (~known, UNPRICED),
        (rows.reason != 0, INELIGIBLE),
        (over & ~rows.hit, REFUSED),
        else_=REROUTED,
    )
    exact = {"explained": exact_cost(rows, _recorded_source(rows, shape), "source", shape)}
    if shape.reprices:
        exact["current"] = exact_cost(rows, _recorded_source(rows, shape), "current", shape)
    if shape.attempts:
        exact["attempt"] = _attempt(rows, outcome)
    rows = rows.mutate(
        outcome=outcome.cast("int16"),
        moved=goes & ~over & ~rows.same_model,
        **{f"exact_{name}": amount for name, amount in exact.items()},
    )
    worlds: dict[str, ir.Value] = {}
    if shape.sessions:
        worlds = {"id": rows.id, "ts": rows.ts}
        silent = rows.failed | rows.cached
        worlds |= {
            "routed_input": rows.moved.ifelse(rows.new_input, rows.input_tokens),
            "logged_model": silent.ifelse(-1, rows.source),
            "routed_model": ibis.cases(
                (rows.hit, -1), (rows.moved, rows.target), (silent, -1), else_=rows.source
            ),
        }
        worlds |= {"shows": shows_cache(rows)} if shape.cached_explicitly else {}
    names = [name for name in (*_ROW, "charged") if name in rows.columns]
    money = {name: as_whole(rows[name]) for name in _MONEY} if shape.pico else {}
    return rows.select(
        *(name for name in names if name not in money),
        *("pair", "outcome", "reason", "moved"),
        term=_term(rows),
        **money,
        **{name: rounded(rows[f"exact_{name}"], backend) for name in exact},
        **_described(rows, shape.whole) | worlds,
    )


def _described(rows: ir.Table, whole: bool) -> dict[str, ir.Value]:
    """The columns that tell which request a row is, or only whether it has a tag and a body."""
    names = [name for name in ("tag", "body_lower") if name in rows.columns]
    if whole:
        return {name: rows[name] for name in ("id", "ts", *names)}
    return {name: rows[name].notnull().ifelse(True, ibis.null("boolean")) for name in names}


def _attempt(rows: ir.Table, outcome: ir.IntegerValue) -> ir.NumericValue:
    """The cost of an answer that the target cuts at its limit."""
    cost = product(rows.new_input, rows.target_rate_input) + product(
        rows.output_limit, rows.target_rate_output
    )
    paid = (outcome == INELIGIBLE) & (rows.reason == OUTPUT_LIMIT)
    return paid.ifelse(cost.cast("decimal(38, 15)"), None)


def _recorded_source(rows: ir.Table, shape: Shape) -> dict[str, ir.IntegerValue]:
    writes = {}
    if "cache_write_tokens" in rows.columns:
        long = _count(rows, "long_writes")
        writes = {"write_1h": long, "write": rows.cache_write_tokens - long}
    return split_tokens(
        shape,
        rows.input_tokens,
        rows.output_tokens,
        {
            "cached": rows.charged,
            **writes,
            "reasoning": rows.hidden,
            **{name: rows[column] for name, (column, _) in MEDIA.items() if name in shape.carries},
        },
    )


def _recorded_parts(rows: ir.Table, shape: Shape) -> dict[str, ir.IntegerValue]:
    """The parts of the tokens on the target, scaled as they were recorded: `claimed` is cached,
    `written` is written."""
    write = rows.written if "cache_write_tokens" in rows.columns else None
    return _split_target(rows, shape, cached=rows.claimed, write=write)


def _recorded_claims(
    rows: ir.Table, claims: ir.BooleanValue
) -> tuple[ir.IntegerValue, ir.IntegerValue]:
    """The cached and the written tokens on the target, scaled as they were recorded; `claims` is
    `claims` or `other_claims` of the pair."""
    long_enough = rows.new_input >= rows.target_minimum
    caches = rows.target_unknown | (claims & long_enough)
    return caches.ifelse(rows.new_cached, _ZERO), caches.ifelse(rows.new_write, _ZERO)


def _claims(
    rows: ir.Table, shape: Shape, claims: ir.BooleanValue, caches: ir.BooleanValue
) -> tuple[ir.IntegerValue, ir.IntegerValue]:
    """The cached and the written tokens on the target, given `claims` of the pair, and in `caches`
    whether the model that answers caches the prompt.

    Where a session tells which prefix is cached, the prompt has no cached tokens yet: all of it
    is written.
    """
    cached, write = _recorded_claims(rows, claims)
    if not shape.sessions:
        return cached, write
    by_rule = rows.in_session & ~rows.target_unknown
    writes = caches & (rows.target_mode == EXPLICIT) & (rows.new_input >= rows.target_minimum)
    return by_rule.ifelse(_ZERO, cached), by_rule.ifelse(
        writes.ifelse(rows.new_input, _ZERO), write
    )


def with_target_parts(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` with the tokens of each part on the target, `n_…`, without a cached prefix where a
    session tells which one is cached.

    If `shape.marks`, also how many tokens more each part of a moved request's prompt has if
    clients do the opposite of `breakpoints`, `marks_…`.
    """
    claimed, written = _claims(rows, shape, rows.claims, rows.caches)
    claims = {"claimed": claimed, "written": written}
    if shape.marks:
        marks = ~rows.breakpoints
        caches = (rows.explicit_session | marks) if shape.sessions else marks
        claimed, written = _claims(rows, shape, rows.other_claims, caches)
        claims |= {"other_claimed": claimed, "other_written": written}
    # A stage of its own: DuckDB shares no work between branches of a CASE.
    rows = rows.mutate(**claims)
    parts = _split_target(rows, shape, cached=rows.claimed, write=rows.written)
    also = {}
    if shape.marks:
        other = _split_target(rows, shape, cached=rows.other_claimed, write=rows.other_written)
        also = {f"marks_{n}": other[n] - parts[n] for n in INPUT_PARTS if n in parts}
    return rows.mutate(**{f"n_{name}": tokens for name, tokens in parts.items()}, **also)


def _split_target(
    rows: ir.Table, shape: Shape, *, cached: ir.IntegerValue, write: ir.IntegerValue | None
) -> dict[str, ir.IntegerValue]:
    writes = {}
    if write is not None:
        writes = {
            "write_1h": rows.target_long.ifelse(write, _ZERO),
            "write": rows.target_long.ifelse(_ZERO, write),
        }
    return split_tokens(
        shape,
        rows.new_input,
        rows.new_output,
        {
            "cached": cached,
            **writes,
            "reasoning": rows.new_hidden,
            **{name: rows[f"new_{name}"] for name in MEDIA if name in shape.carries},
        },
    )


def split_tokens(
    shape: Shape,
    prompt: ir.IntegerValue,
    answer: ir.IntegerValue,
    claims: Mapping[str, ir.IntegerValue],
) -> dict[str, ir.IntegerValue]:
    """The tokens of each part that has a rate of its own, and a claim: each takes of what the
    earlier left."""
    parts: dict[str, ir.IntegerValue] = {}
    for names, rest in ((INPUT_PARTS, prompt), (OUTPUT_PARTS, answer)):
        for name in names[:-1]:
            if name in shape.carries and name in claims:
                parts[name] = ibis.least(claims[name], rest)
                rest = rest - parts[name]
        parts[names[-1]] = rest
    return parts


def exact_cost(
    rows: ir.Table, parts: Mapping[str, ir.IntegerValue], side: str, shape: Shape
) -> ir.NumericValue:
    """The cost of these parts of the tokens at one side's rates; null without a price."""
    costs = [product(tokens, rows[f"{side}_rate_{name}"]) for name, tokens in parts.items()]
    if shape.fees:
        searches = rows.searches.cast("decimal(9, 0)")
        costs += [rows[f"{side}_fee"], searches * rows[f"{side}_search_fee"]]
    return total_of(costs, rows.get_backend())


def follows_price(rows: ir.Table) -> ir.BooleanValue:
    """Whether a recorded cost changes with the price of its model until the plan's moment: it was
    billed, and a price explains it then and now."""
    billed = ~rows.failed & ~rows.cached
    return billed & rows.explained.notnull() & rows.current.notnull()


def spread(rows: ir.Table) -> ir.NumericValue:
    """What a cached token of the prompt saves on the model that answers; 0 without a price.

    `rows` have the columns of their terms.
    """
    own = rows.source_spread
    return rows.moved.ifelse(rows.target_spread, own).fill_null(_nothing(own))


def _spread(rows: ir.Table, side: str, shape: Shape) -> ir.NumericValue:
    """What a cached token of the prompt saves: the rate at which it is charged otherwise, minus
    that of a cached one."""
    full = rows[f"{side}_rate_input"]
    explicit = rows[f"{side}_mode"] == EXPLICIT
    for name, long in (("write", False), ("write_1h", True)):
        if name in shape.carries:
            applies = explicit & (rows[f"{side}_long"] == long)
            full = applies.ifelse(rows[f"{side}_rate_{name}"], full)
    spread = full - rows[f"{side}_rate_cached"]
    return spread if spread.type().is_integer() else spread.cast(PRICE_TYPE)


def _nothing(like: ir.NumericValue) -> ir.NumericScalar:
    return _ZERO if like.type().is_integer() else ibis.literal(Decimal(0), PRICE_TYPE)


def _over_ceiling(rows: ir.Table, cost: ir.NumericValue, shape: Shape) -> ir.BooleanValue:
    def most(ceiling: Decimal) -> ir.NumericScalar:
        if cost.type().is_integer():
            return ibis.literal(min(pico(money_floor(ceiling)), _MOST), "int64")
        return money_literal(money_floor(ceiling))

    return reduce(or_, ((rows.route == i) & (cost > most(limit)) for i, limit in shape.ceilings))
