"""What becomes of each request: its outcome, its tokens on the target and its cost there without a
cached prefix."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_

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
    token_cost,
)
from ttplan.engine.dialects import exact_total, half_away
from ttplan.engine.full.sessions import with_warm_prefixes
from ttplan.engine.full.shape import EXPLICIT, MICRO, NO_CACHE, UNKNOWN, Shape
from ttplan.engine.intervals.clusters import second_of_day
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
OUTPUT_LIMIT = 2
_FEATURES = {3: "images", 4: "audio", 5: "tools", 6: "structured_output"}
INPUT_PARTS = ("cached", "write_1h", "write", "in_audio", "in_image", "input")
OUTPUT_PARTS = ("reasoning", "out_audio", "out_image", "output")
"""Parts of the tokens that have a rate, in the order in which they count; the last is the rest."""
_MEDIA = {
    "in_audio": ("input_audio_tokens", "ratio_in"),
    "in_image": ("input_image_tokens", "ratio_in"),
    "out_audio": ("output_audio_tokens", "ratio_out"),
    "out_image": ("output_image_tokens", "ratio_out"),
}
"""The columns of the parts that are not text, and the ratios that they scale with."""
_ZERO = ibis.literal(0, "int64")


def with_tokens(rows: ir.Table, pairs: ir.Table, shape: Shape) -> ir.Table:
    """`rows` (of `full_rows`) with their pair's parameters, their tokens on the target, and why it
    cannot serve them."""
    joined = rows.join(
        pairs,
        [
            rows.key_provider == pairs.pair_provider,
            rows.key_model == pairs.pair_model,
            rows.key_endpoint == pairs.pair_endpoint,
            rows.key_tier == pairs.pair_tier,
            rows.route == pairs.pair_route,
        ],
    )
    dropped = [c for c in joined.columns if c.startswith(("pair_", "key_"))]
    joined = joined.drop(*dropped)
    joined = joined.mutate(
        charged=ibis.least(joined.cached_tokens, joined.input_tokens),
        hidden=ibis.least(joined.reasoning_tokens, joined.output_tokens),
    )
    scale = _scaled if shape.scaled else _unscaled
    joined = joined.mutate(
        new_input=scale(joined.input_tokens, joined.ratio_in),
        new_cached=scale(joined.charged, joined.ratio_in),
        new_write=scale(joined.cache_write_tokens, joined.ratio_in),
        new_visible=scale(joined.output_tokens - joined.hidden, joined.ratio_out),
        new_hidden=joined.thinks.ifelse(
            scale(joined.hidden, joined.ratio_reasoning) + joined.added, _ZERO
        ),
    )
    joined = joined.mutate(
        new_output=joined.new_visible + joined.new_hidden,
        **{
            f"new_{name}": scale(joined[column], joined[ratio])
            for name, (column, ratio) in _MEDIA.items()
            if name in shape.carries
        },
    )
    return joined.mutate(reason=_reason(joined, shape).cast("int8"))


def _scaled(tokens: ir.IntegerValue, ratio: ir.IntegerValue) -> ir.IntegerValue:
    return (tokens * ratio * 2 + MICRO) // (2 * MICRO)


def _unscaled(tokens: ir.IntegerValue, _ratio: ir.IntegerValue) -> ir.IntegerValue:
    return tokens


def _reason(rows: ir.Table, shape: Shape) -> ir.IntegerValue:
    branches: list[tuple[ir.BooleanValue, int]] = []
    if shape.limited:
        total = rows.new_input + ibis.greatest(rows.new_output, 1)
        branches += [(total > rows.context, 1), (rows.new_output > rows.output_limit, OUTPUT_LIMIT)]
    branches += [
        (rows[f"needs_{name}"] & rows[f"no_{name}"], number)
        for number, name in _FEATURES.items()
        if name in shape.features
    ]
    return ibis.cases(*branches, else_=0) if branches else ibis.literal(0)


def with_prices(rows: ir.Table, pieces_by_side: Mapping[str, ir.Table], shape: Shape) -> ir.Table:
    """`rows` with the rates of their source (`source_…`), of their target (`target_…`) and, if the
    projection is at the plan's prices, of their source then (`current_…`)."""
    for side in pieces_by_side:
        key, tokens = ("target", "new_input") if side == "target" else ("source", "input_tokens")
        pieces = pieces_by_side[side]
        needed = [f"rate_{name}" for name in shape.carries] + ["piece"]
        needed += ["fee", "search_fee"] if shape.fees else []
        ranges = ["starts", "ends", "day_from", "day_until", "over_tokens", "up_to_tokens"]
        renamed = pieces.select(
            **{f"{side}_{name}": pieces[name] for name in needed},
            **{f"piece_{name}": pieces[name] for name in (*ranges, "price_key")},
        )
        joined = rows.join(renamed, [rows[f"{key}_key"] == renamed.piece_price_key])
        if shape.dated:
            joined = joined.filter(
                joined.ts >= joined.piece_starts,
                joined.ts < joined.piece_ends,
                joined[tokens] > joined.piece_over_tokens,
                joined[tokens] <= joined.piece_up_to_tokens,
            )
        if shape.hourly:
            second = second_of_day(joined.ts)
            joined = joined.filter(second >= joined.piece_day_from, second < joined.piece_day_until)
        rows = joined.drop(*(c for c in joined.columns if c.startswith("piece_")))
    return rows


def with_outcomes(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` (of `with_prices`) with `outcome`, `moved`, the warm prefixes, `explained_usd` (the
    source's price of the request) and `cold` (its cost on the target without a cached prefix, to
    10^-15 USD)."""
    rows = rows.mutate(
        answered=rows.cached & ~rows.bypass,
        known=rows.target_rate_input.notnull() & rows.target_rate_output.notnull(),
    )
    rows = rows.mutate(
        goes=(rows.route != NO_ROUTE)
        & ~rows.failed
        & ~rows.answered
        & rows.known
        & (rows.reason == 0)
    )
    over: ir.BooleanValue = ibis.literal(False)
    if shape.ceilings:
        recorded = _recorded_parts(rows, shape)
        rows = rows.mutate(**{f"n_{name}": tokens for name, tokens in recorded.items()})
        rows = rows.mutate(
            listed_usd=half_away(_cost(rows, "target", shape), rows.get_backend())
        ).drop(*(f"n_{name}" for name in recorded))
        over = rows.goes & _over_ceiling(rows, shape)
    rows = rows.mutate(over=over)
    outcome = ibis.cases(
        (rows.route == NO_ROUTE, UNCHANGED),
        (rows.failed, FAILED),
        (rows.answered, ANSWERED),
        (~rows.known, UNPRICED),
        (rows.reason != 0, INELIGIBLE),
        (rows.over & ~rows.hit, REFUSED),
        else_=REROUTED,
    )
    rows = rows.mutate(
        outcome=outcome.cast("int16"), moved=rows.goes & ~rows.over & ~rows.same_model
    )
    silent = rows.failed | rows.cached
    rows = rows.mutate(
        routed_input=rows.moved.ifelse(rows.new_input, rows.input_tokens),
        logged_model=silent.ifelse(-1, rows.source),
        routed_model=ibis.cases(
            (rows.hit, -1), (rows.moved, rows.target), (silent, -1), else_=rows.source
        ),
    )
    return with_warm_prefixes(rows, shape)


def with_cold_costs(rows: ir.Table, shape: Shape) -> ir.Table:
    """`rows` (of `with_outcomes`) with what `with_projected` reads."""
    listed = _recorded_source(rows, shape)
    rows = rows.mutate(**{f"n_{name}": tokens for name, tokens in listed.items()})
    rows = rows.mutate(explained=_cost(rows, "source", shape))
    if shape.reprices:
        rows = rows.mutate(current=_cost(rows, "current", shape))
        rows = rows.mutate(current_usd=half_away(rows.current, rows.get_backend()))
    if shape.attempts:
        attempt = token_cost(rows.new_input, rows.target_rate_input) + token_cost(
            rows.output_limit, rows.target_rate_output
        )
        paid = (rows.outcome == INELIGIBLE) & (rows.reason == OUTPUT_LIMIT)
        rows = rows.mutate(attempt=paid.ifelse(attempt.cast("decimal(38, 15)"), None))
        rows = rows.mutate(attempt_usd=half_away(rows.attempt, rows.get_backend()))
    rows = rows.drop(*(f"n_{name}" for name in listed))
    parts = _target_parts(rows, shape)
    rows = rows.mutate(**{f"n_{name}": tokens for name, tokens in parts.items()})
    rows = rows.mutate(cold=_cost(rows, "target", shape))
    rows = rows.mutate(
        spread=rows.moved.ifelse(
            _spread(rows, "target", shape), _spread(rows, "source", shape)
        ).fill_null(ibis.literal(Decimal(0), PRICE_TYPE))
    )
    backend = rows.get_backend()
    return rows.mutate(explained_usd=half_away(rows.explained, backend))


def _recorded_source(rows: ir.Table, shape: Shape) -> dict[str, ir.IntegerValue]:
    long = rows.long_writes if "long_writes" in rows.columns else _ZERO
    return _split(
        shape,
        rows.input_tokens,
        rows.output_tokens,
        {
            "cached": rows.charged,
            "write_1h": long,
            "write": rows.cache_write_tokens - long,
            "reasoning": rows.hidden,
            **{name: rows[column] for name, (column, _) in _MEDIA.items()},
        },
    )


def _recorded_parts(rows: ir.Table, shape: Shape) -> dict[str, ir.IntegerValue]:
    """The parts of the tokens on the target, scaled as they were recorded."""
    caches = ibis.or_(
        rows.target_mode == UNKNOWN,
        (rows.target_mode != NO_CACHE)
        & (rows.new_input >= rows.target_minimum)
        & (
            (rows.target_mode != EXPLICIT)
            | (rows.source_mode.isin([EXPLICIT, UNKNOWN]))
            | rows.breakpoints
        ),
    )
    return _split_target(
        rows,
        shape,
        cached=caches.ifelse(rows.new_cached, _ZERO),
        write=caches.ifelse(rows.new_write, _ZERO),
    )


def _target_parts(rows: ir.Table, shape: Shape) -> dict[str, ir.IntegerValue]:
    """The parts on the target. Where a session tells which prefix is cached, the parts of a prompt
    without a cached prefix: all of it is written if the client sets breakpoints."""
    recorded = _recorded_parts(rows, shape)
    if not shape.sessions:
        return recorded
    by_rule = rows.session.notnull() & (rows.target_mode != UNKNOWN)
    writes = rows.caches & (rows.target_mode == EXPLICIT) & (rows.new_input >= rows.target_minimum)
    ruled = _split_target(rows, shape, cached=_ZERO, write=writes.ifelse(rows.new_input, _ZERO))
    return {name: by_rule.ifelse(ruled[name], recorded[name]) for name in recorded}


def _split_target(
    rows: ir.Table, shape: Shape, *, cached: ir.IntegerValue, write: ir.IntegerValue
) -> dict[str, ir.IntegerValue]:
    return _split(
        shape,
        rows.new_input,
        rows.new_output,
        {
            "cached": cached,
            "write_1h": rows.target_long.ifelse(write, _ZERO),
            "write": rows.target_long.ifelse(_ZERO, write),
            "reasoning": rows.new_hidden,
            **{name: rows[f"new_{name}"] for name in _MEDIA if name in shape.carries},
        },
    )


def _split(
    shape: Shape,
    prompt: ir.IntegerValue,
    answer: ir.IntegerValue,
    claims: Mapping[str, ir.IntegerValue],
) -> dict[str, ir.IntegerValue]:
    """The tokens of each part that has a rate of its own: each takes of what the earlier left."""
    parts: dict[str, ir.IntegerValue] = {}
    for names, rest in ((INPUT_PARTS, prompt), (OUTPUT_PARTS, answer)):
        for name in names[:-1]:
            if name in shape.carries:
                parts[name] = ibis.least(claims[name], rest)
                rest = rest - parts[name]
        parts[names[-1]] = rest
    return parts


def _cost(rows: ir.Table, side: str, shape: Shape) -> ir.DecimalValue:
    """The cost of the parts `n_…` at one side's rates, to 10^-15 USD; null without a price."""
    costs = [
        token_cost(rows[f"n_{name}"], rows[f"{side}_rate_{name}"].cast(PRICE_TYPE))
        for name in (*INPUT_PARTS, *OUTPUT_PARTS)
        if name in shape.carries
    ]
    if shape.fees:
        searches = rows.searches.cast("decimal(9, 0)")
        costs += [rows[f"{side}_fee"], searches * rows[f"{side}_search_fee"]]
    return exact_total(costs, rows.get_backend())


def _spread(rows: ir.Table, side: str, shape: Shape) -> ir.DecimalValue:
    """What a cached token of the prompt saves: the rate at which it is charged otherwise, minus
    that of a cached one."""
    full = rows[f"{side}_rate_input"]
    explicit = rows[f"{side}_mode"] == EXPLICIT
    for name, long in (("write", False), ("write_1h", True)):
        if name in shape.carries:
            applies = explicit & (rows[f"{side}_long"] == long)
            full = applies.ifelse(rows[f"{side}_rate_{name}"], full)
    return (full - rows[f"{side}_rate_cached"]).cast(PRICE_TYPE)


def _over_ceiling(rows: ir.Table, shape: Shape) -> ir.BooleanValue:
    return reduce(
        or_,
        (
            (rows.route == i) & (rows.listed_usd > money_literal(money_floor(ceiling)))
            for i, ceiling in shape.ceilings
        ),
    )
