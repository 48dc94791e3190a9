"""The small tables that a full projection joins its rows with: pairs, and pieces of prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa

from ttplan.engine.full.assumptions.resolve import Pair, Value
from ttplan.engine.full.log_facts import LogKey
from ttplan.engine.full.shape import EXPLICIT, FEATURES, MICRO, NO_CACHE, UNKNOWN
from ttplan.model.pricing import TokenRates
from ttplan.model.projection.capabilities import CacheRule
from ttplan.model.projection.full import PricePiece
from ttplan.model.request import MAX_TOKENS
from ttplan.prices.costing import RANGES_AND_RATES, RATES, rates_per_token

NOWHERE = -1
"""The key of prices, and the number of a model, where there is none."""
UNLIMITED = 2**62
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_FEE = pa.decimal128(27, 15)
PIECES = pa.schema(
    [
        ("piece", pa.int32()),
        ("price_key", pa.int32()),
        *RANGES_AND_RATES,
        ("fee", _FEE),
        ("search_fee", _FEE),
    ]
)
PAIRS = pa.schema(
    [
        *((f"pair_{name}", pa.string()) for name in ("provider", "model", "endpoint", "tier")),
        ("pair_route", pa.int16()),
        ("pair", pa.int32()),
        *((name, pa.int32()) for name in ("source_key", "target_key", "source", "target")),
        *((name, pa.bool_()) for name in ("priced", "same_model", "bypass", "thinks")),
        *((name, pa.int64()) for name in ("ratio_in", "ratio_out", "ratio_reasoning", "added")),
        *((name, pa.int64()) for name in ("context", "output_limit")),
        *((f"no_{name}", pa.bool_()) for name in FEATURES),
        *(
            (f"{side}_{name}", kind)
            for side in ("source", "target")
            for name, kind in (("mode", pa.int32()), ("ttl", pa.int64()))
        ),
        *((f"{side}_minimum", pa.int64()) for side in ("source", "target")),
        *((name, pa.bool_()) for name in ("target_unknown", "claims", "other_claims")),
        *((f"{side}_long", pa.bool_()) for side in ("source", "target")),
        ("breakpoints", pa.bool_()),
        ("target_name", pa.string()),
        ("model_number", pa.int32()),
        ("target_number", pa.int32()),
    ]
)
CARRIED = pa.schema(
    [
        ("carried_pair", pa.int32()),
        ("fit", pa.int64()),
        ("factor", pa.decimal128(10, 6)),
        ("source_factor", pa.decimal128(10, 6)),
        ("factor_micro", pa.int64()),
        ("source_factor_micro", pa.int64()),
        ("redo_share", pa.decimal128(10, 6)),
        ("redo_micro", pa.int64()),
        ("rest_stays", pa.bool_()),
        ("fill", pa.bool_()),
        ("attempt_share", pa.decimal128(10, 6)),
    ]
)
"""What is known of a pair once its recorded costs are compared with prices."""


def number_keys(pairs: Sequence[Pair]) -> dict[LogKey, int]:
    """A number for each price key of the sources and targets."""
    keys = dict.fromkeys(key for pair in pairs for key in (pair.key, pair.target) if key)
    return {key: number for number, key in enumerate(keys)}


def pair_table(pairs: Sequence[Pair], bypassing: Sequence[int]) -> pa.Table:
    """The parameters of each pair."""
    keys = number_keys(pairs)
    texts = sorted({key.model for key in keys})
    models = {name: n for n, name in enumerate(dict.fromkeys(key.name for key in keys))}

    def row(pair: Pair) -> dict[str, Any]:
        target, limits = pair.target, pair.limits
        source_rule, target_rule = pair.source_facts.cache, pair.target_facts.cache
        source_mode, target_mode = pair.modes
        by_mark = target_mode == EXPLICIT and source_mode not in (EXPLICIT, UNKNOWN)
        return {
            "pair_provider": pair.key.provider,
            "pair_model": pair.key.model,
            "pair_endpoint": pair.key.endpoint or "",
            "pair_tier": pair.key.service_tier or "",
            "pair_route": pair.route,
            "pair": pair.index,
            "source_key": keys[pair.key],
            "target_key": NOWHERE if target is None else keys[target],
            "source": models[pair.key.name],
            "target": NOWHERE if target is None else models[target.name],
            "priced": target is not None,
            "same_model": pair.same_model,
            "bypass": pair.route in bypassing,
            # Unknown counts as thinking: the tokens of a source that thinks stay.
            "thinks": pair.thinks is not False,
            **{
                name: _micro(pair.values.get(name))
                for name in ("ratio_in", "ratio_out", "ratio_reasoning")
            },
            "added": whole(pair.values.get("reasoning_tokens")),
            "context": limits.context_tokens or UNLIMITED,
            "output_limit": limits.output_tokens or UNLIMITED,
            **{f"no_{name}": getattr(limits, name) is False for name in FEATURES},
            "source_mode": source_mode,
            "target_mode": target_mode,
            "source_ttl": _lifetime(source_rule, pair),
            "target_ttl": _lifetime(target_rule, pair),
            "target_unknown": target_mode == UNKNOWN,
            # Whether a long prompt's recorded cached tokens are cached on the target, too, and if
            # clients did the opposite of `breakpoints`.
            "claims": target_mode != NO_CACHE and (pair.breakpoints or not by_mark),
            "other_claims": target_mode != NO_CACHE and not (pair.breakpoints and by_mark),
            "source_minimum": 0 if source_rule is None else source_rule.minimum_tokens,
            "target_minimum": 0 if target_rule is None else target_rule.minimum_tokens,
            "source_long": writes_long(source_rule, pair),
            "target_long": writes_long(target_rule, pair),
            "target_name": "" if target is None else target.model,
            "model_number": texts.index(pair.key.model),
            "target_number": NOWHERE if target is None else texts.index(target.model),
            "breakpoints": pair.breakpoints,
        }

    return pa.Table.from_pylist([row(pair) for pair in pairs], schema=PAIRS)


def piece_table(
    pieces: Iterable[PricePiece], keys: dict[LogKey, int], moment: datetime | None
) -> pa.Table:
    """The prices of each key as disjoint pieces that cover all times and prompts; rates are null
    where no price is known. With a `moment`, the prices of then apply at all times."""
    by_key: dict[LogKey, list[PricePiece]] = defaultdict(list)
    for piece in pieces:
        key = LogKey.of(piece)
        if key in keys:
            by_key[key].append(piece)
    rows: list[dict[str, Any]] = []
    priced = [(number, by_key[key]) for key, number in keys.items()]
    for number, own in (*priced, (NOWHERE, [])):
        for cell in _cells(own, moment):
            rows.append(cell | {"piece": len(rows), "price_key": number})
    return pa.Table.from_pylist(rows, schema=PIECES)


def with_whole_rates(pieces: pa.Table) -> pa.Table:
    """`pieces` with rates as whole numbers of 10^-15 USD per token."""
    for at, field in enumerate(pieces.schema):
        if field.name.startswith("rate_"):
            digits = pieces[at].cast(pa.decimal128(38, 15)).combine_chunks()
            integers = digits.view(pa.decimal128(38, 0)).cast(pa.int64())
            pieces = pieces.set_column(at, field.name, integers)
    return pieces


def _cells(pieces: Sequence[PricePiece], moment: datetime | None) -> list[dict[str, Any]]:
    """The grid of times, hours and prompt lengths, and the price of each cell."""
    if moment is not None:
        second = moment.hour * 3600 + moment.minute * 60 + moment.second
        pieces = [
            piece.model_copy(
                update={"start": None, "end": None, "day_from": 0, "day_until": 86_400}
            )
            for piece in pieces
            if (piece.start or _FIRST) <= moment < (piece.end or _LAST)
            and piece.day_from <= second < piece.day_until
        ]
    times = sorted({_FIRST, _LAST} | {t for p in pieces for t in (p.start, p.end) if t is not None})
    seconds = sorted({0, 86_400} | {s for p in pieces for s in (p.day_from, p.day_until)})
    tokens = sorted(
        {-1, MAX_TOKENS * 1_000}
        | {p.over_input_tokens for p in pieces}
        | {p.up_to_input_tokens for p in pieces if p.up_to_input_tokens is not None}
    )
    cells = []
    for starts, ends in pairwise(times):
        for day_from, day_until in pairwise(seconds):
            for over, up_to in pairwise(tokens):
                rates = next(
                    (
                        p.rates
                        for p in pieces
                        if (p.start or _FIRST) <= starts
                        and ends <= (p.end or _LAST)
                        and p.day_from <= day_from
                        and day_until <= p.day_until
                        and p.over_input_tokens <= over
                        and (p.up_to_input_tokens is None or up_to <= p.up_to_input_tokens)
                    ),
                    None,
                )
                cells.append(
                    {
                        "starts": starts,
                        "ends": ends,
                        "day_from": day_from,
                        "day_until": day_until,
                        "over_tokens": over,
                        "up_to_tokens": up_to,
                        **_rates(rates),
                    }
                )
    return cells


def _rates(rates: TokenRates | None) -> dict[str, Decimal | None]:
    if rates is None:
        return dict.fromkeys((*(f"rate_{name}" for name in RATES), "fee", "search_fee"))
    return {
        **{f"rate_{name}": rate for name, rate in rates_per_token(rates).items()},
        "fee": rates.request_usd or Decimal(0),
        "search_fee": rates.web_search_usd or Decimal(0),
    }


def _lifetime(rule: CacheRule | None, pair: Pair) -> int:
    """How long a prefix stays cached, in microseconds."""
    return 0 if rule is None else rule.lifetime(pair.long_writes) * MICRO


def _micro(value: Value | None) -> int:
    return MICRO if value is None else int(value.value * MICRO)


def whole(value: Value | None) -> int:
    """A value of tokens as the nearest whole number, half up."""
    return 0 if value is None else int(value.value + Decimal("0.5"))


def writes_long(rule: CacheRule | None, pair: Pair) -> bool:
    """Whether the writes of a pair last an hour by one side's rule."""
    return rule is not None and rule.writes_long(pair.long_writes)
