"""Map a window for a full projection: parameters of its models, then each request's cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal

import ibis.expr.types as ir
import pyarrow as pa

from ttplan.engine.dialects import compiled, materialised, small_table
from ttplan.engine.full.assumptions.calibrate import (
    Carried,
    KeyCalibration,
    calibrate,
    fetch_calibration,
)
from ttplan.engine.full.assumptions.inputs import resolve_inputs, targets_of
from ttplan.engine.full.assumptions.resolve import Pair, make_pairs
from ttplan.engine.full.costs import Flags, project_costs
from ttplan.engine.full.log_facts import SEARCHES, USAGE, LogFacts, LogKey, fetch_log_facts
from ttplan.engine.full.money import MAX_WHOLE
from ttplan.engine.full.other_prices import (
    CostedRows,
    OtherPrices,
    fetch_other_prices,
    prices_differ,
)
from ttplan.engine.full.requests import (
    INPUT_PARTS,
    OUTPUT_PARTS,
    route_requests,
    term_rows,
)
from ttplan.engine.full.row_order import unordered
from ttplan.engine.full.rows import Matches, full_rows
from ttplan.engine.full.sessions import LOGGED, ROUTED
from ttplan.engine.full.shape import AUTOMATIC, EXPLICIT, FEATURES, RowShape, Shape
from ttplan.engine.full.tables import number_keys, pair_table, piece_table, with_whole_rates
from ttplan.engine.full.windows import with_session_values
from ttplan.engine.replay_spec import ClusterKey, ReplaySpec
from ttplan.model.projection.assumption import AssumptionName
from ttplan.model.projection.full import PricePiece, ProjectionInputs
from ttplan.prices.costing import rates_per_token


@dataclass(frozen=True)
class FullMapping:
    """What a full projection was mapped with."""

    log: LogFacts
    inputs: ProjectionInputs
    pairs: Sequence[Pair]
    sums: dict[LogKey, KeyCalibration]
    carried: Carried
    shape: Shape
    pieces: pa.Table
    other_prices: OtherPrices | None


def prepare(window: ir.Table, spec: ReplaySpec) -> tuple[LogFacts, ProjectionInputs, list[Pair]]:
    """What the log shows, the inputs, and the pairs of a spec."""
    log = fetch_log_facts(window, spec.config.session)
    inputs = resolve_inputs(log, spec)
    targets = targets_of(log, spec.active_routes, spec.pricing, inputs.prices)
    return log, inputs, make_pairs(log, spec.active_routes, targets, inputs)


@contextmanager
def map_full(
    rows: ir.Table,
    spec: ReplaySpec,
    log: LogFacts,
    inputs: ProjectionInputs,
    pairs: list[Pair],
    shape: Shape,
) -> Iterator[tuple[ir.Table, FullMapping]]:
    """The mapped rows of a full projection, for the block, and what they were mapped with.

    `rows` are those of `full_rows`.
    """
    backend = rows.get_backend()
    at_plan = spec.config.prices_at == "plan"
    moment = inputs.prices_at
    keys = number_keys(pairs)
    with ExitStack() as stack, ExitStack() as first:
        enter = first.enter_context
        enter(unordered(backend))
        pair_rows = enter(small_table(backend, pair_table(pairs, spec.cache_bypassing)))
        dated = piece_table(inputs.prices, keys, None)
        current = piece_table(inputs.prices, keys, moment)
        whole = _fits_whole(log, pairs, inputs.prices, shape)
        if whole and not shape.whole:
            recorded = max((counts.most_usd for counts in log.keys.values()), default=0)
            shape = shape._replace(pico=recorded < MAX_WHOLE - 1)
        differ = moment is not None and prices_differ(
            dated, current, spec.window_start, spec.window_end
        )
        tables = [
            enter(small_table(backend, with_whole_rates(table) if whole else table))
            for table in ((dated, current) if differ or at_plan else (dated,))
        ]
        used = current if at_plan else dated

        count = sum(counts.requests for counts in log.keys.values())

        def costed_at(source: int, target: int, reprices: bool = False) -> CostedRows:
            own = shape._replace(reprices=reprices)
            beside = (tables[source], tables[target])
            current = (tables[1],) if reprices else ()
            terms = enter(materialised(pair_rows, term_rows, own, beside=beside))
            keep = compiled if own.sessions else materialised
            routed = enter(keep(rows, route_requests, own, beside=(pair_rows, *beside, *current)))
            if own.sessions:
                routed = enter(with_session_values(routed, (LOGGED, ROUTED), own, count))
            return CostedRows(routed, terms, own)

        costed = costed_at(0, int(at_plan), reprices=at_plan and differ)
        sums = fetch_calibration(costed.rows, pair_rows, costed.shape, pairs)
        carried = calibrate(pairs, spec.active_routes, inputs, sums)
        carried_rows = enter(small_table(backend, carried.table(pairs)))
        other = None
        if differ:
            again = costed_at(0, int(not at_plan), reprices=not at_plan)
            other = fetch_other_prices(costed, again, carried_rows)
        flags = Flags(carried.factors, carried.asks_again, carried.stays, carried.fills)
        beside = (costed.terms, carried_rows)
        mapped = stack.enter_context(
            materialised(costed.rows, project_costs, flags, costed.shape, beside=beside)
        )
        if backend.name == "duckdb":  # frees memory for the passes that follow
            first.close()
        mapping = FullMapping(log, inputs, pairs, sums, carried, shape, used, other)
        yield mapped, mapping


def shape_of(
    spec: ReplaySpec,
    log: LogFacts,
    inputs: ProjectionInputs,
    pairs: Sequence[Pair],
    whole: bool,
) -> tuple[RowShape, Shape]:
    """The shape of a plan's rows, and that of its costs; `whole` as in `Shape`."""
    routed = [pair for pair in pairs if pair.target is not None]
    modes = {mode for pair in pairs for mode in pair.modes}
    caching = bool(modes & {AUTOMATIC, EXPLICIT})
    sticky = any(route.sticky for route in spec.active_routes)
    limits = [pair.limits for pair in routed]
    sessions = log.session is not None and caching
    cluster = spec.cluster_key(log.session)
    # Other methods need the order of the texts.
    numbered = not whole and sessions and spec.studentises
    numbered = numbered and cluster == ClusterKey(log.session or "", null_alone=True)
    searches = bool({USAGE, SEARCHES} & log.filled)
    fees = any(
        piece.rates.request_usd or (searches and piece.rates.web_search_usd)
        for piece in inputs.prices
    )
    features = tuple(
        name for name in FEATURES if any(getattr(limit, name) is False for limit in limits)
    )
    row_shape = RowShape(
        cluster=None if numbered else cluster,
        minutes=spec.studentises or spec.is_auto,
        session=log.session if caching or sticky else None,
        routes=tuple(spec.active_routes),
        keys=_key_columns(log),
        kinds=tuple(sorted(log.filled)),
        features=features,
        fees=fees,
        hour_writes="cache_write_tokens" in log.filled
        and any(counts.long_writes for counts in log.keys.values()),
        hashes=spec.config.l1_ttl_seconds is not None,
    )
    return row_shape, Shape(
        ceilings=tuple(
            (i, route.then.max_cost_usd)
            for i, route in enumerate(spec.active_routes)
            if route.then.max_cost_usd is not None
        ),
        features=features,
        whole=whole,
        pico=False,
        clusters=numbered,
        sessions=sessions,
        scaled=any(
            pair.values[name].value != 1
            for pair in routed
            for name in ("ratio_in", "ratio_out", "ratio_reasoning")
        ),
        limited=any(limit.context_tokens or limit.output_tokens for limit in limits),
        hourly=any((p.day_from, p.day_until) != (0, 86_400) for p in inputs.prices),
        dated=any(
            p.start or p.end or p.over_input_tokens >= 0 or p.up_to_input_tokens is not None
            for p in inputs.prices
        ),
        cached_explicitly=EXPLICIT in modes,
        marks=any(pair.marks_matter for pair in routed),
        carries=_carried_parts(log, pairs, inputs.prices, EXPLICIT in modes),
        reprices=False,
        attempts=any(pair.values and pair.values["paid_attempts"].value for pair in pairs),
        fees=fees,
    )


def _fits_whole(
    log: LogFacts, pairs: Sequence[Pair], pieces: Sequence[PricePiece], shape: Shape
) -> bool:
    """Whether no request can cost more than 64 bits hold, at most a few thousand USD."""
    if shape.fees or shape.attempts:
        return False
    values = [pair.values for pair in pairs if pair.values]

    def most(name: AssumptionName) -> Decimal:
        return max([Decimal(1), *(own[name].value for own in values)])

    counts = log.keys.values()
    tokens = max(c.most_input for c in counts) * most("ratio_in")
    tokens += max(c.most_output for c in counts) * max(most("ratio_out"), most("ratio_reasoning"))
    tokens += most("reasoning_tokens")
    rates = [rate for piece in pieces for rate in rates_per_token(piece.rates).values()]
    return tokens * max(rates, default=Decimal(0)) < MAX_WHOLE


def _key_columns(log: LogFacts) -> tuple[str, ...]:
    """The columns of `price_key` in which requests differ."""
    columns = zip(
        ("key_provider", "key_model", "key_endpoint", "key_tier"),
        zip(*log.keys, strict=True),
        strict=False,
    )
    return tuple(name for name, values in columns if len(set(values)) > 1)


def _carried_parts(
    log: LogFacts, pairs: Sequence[Pair], pieces: Sequence[PricePiece], explicit: bool
) -> tuple[str, ...]:
    """The parts of the tokens that need a count of their own."""
    thinking = "reasoning_tokens" in log.filled or any(
        pair.values and pair.values["reasoning_tokens"].value for pair in pairs
    )
    writes = explicit or "cache_write_tokens" in log.filled
    needed = {
        "cached": True,
        "write": writes,
        "write_1h": writes and any(counts.long_writes for counts in log.keys.values()),
        "in_audio": "input_audio_tokens" in log.filled,
        "in_image": "input_image_tokens" in log.filled,
        "input": True,
        "reasoning": thinking,
        "out_audio": "output_audio_tokens" in log.filled,
        "out_image": "output_image_tokens" in log.filled,
        "output": True,
    }
    return tuple(name for name in (*INPUT_PARTS, *OUTPUT_PARTS) if needed[name])


def rows_of(
    window: ir.Table,
    shape: RowShape,
    cluster_key: Callable[[ir.Table, ClusterKey], ir.Value],
    matches: Matches,
) -> ir.Table:
    """`full_rows` with the cluster of a shape."""
    cluster = None if shape.cluster is None else cluster_key(window, shape.cluster)
    return full_rows(window, shape, cluster, matches)
