"""The exact sums of the moved requests by pair and price, from which savings are a function of the
assumptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

import ibis.expr.types as ir

from ttplan.engine.causes import CAUSES, cause_sums
from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import exact_sum, fetch_from
from ttplan.engine.full.assumptions.resolve import Pair
from ttplan.engine.full.money import amount, amount_sum, has_amount
from ttplan.engine.full.project import FullMapping
from ttplan.engine.full.requests import INELIGIBLE, INPUT_PARTS, OUTPUT_LIMIT, OUTPUT_PARTS, REASONS
from ttplan.engine.full.shape import EXPLICIT
from ttplan.engine.full.tables import writes_long
from ttplan.engine.summary import read_amounts, usd

Rates = Mapping[str, Any]
_BY = ("pair", "target_piece", "outcome", "reason", "moves", "hit")
_AMOUNTS = ("actual", "projected", "rest", "filled")


@dataclass
class PairSums:
    """Sums of one pair's moved requests, USD. `target` is before a gateway's factor.

    `warm` is what the cached prefixes would save if the cache rule held fully; `all_warm` and
    `all_cold` are the cost of the prompts if all of them, or nothing, were read from the cache.
    `attempts` is what answers cost that are too long for the target, `filled` the price of the
    `lost` requests that are recorded at no cost.
    """

    requests: int = 0
    actual: Decimal = Decimal(0)
    projected: Decimal = Decimal(0)
    rest: Decimal = Decimal(0)
    input: Decimal = Decimal(0)
    cached: Decimal = Decimal(0)
    written: Decimal = Decimal(0)
    visible: Decimal = Decimal(0)
    reasoning: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    hidden_token: Decimal = Decimal(0)
    warm: Decimal = Decimal(0)
    all_warm: Decimal = Decimal(0)
    all_cold: Decimal = Decimal(0)
    attempts: Decimal = Decimal(0)
    attempted: int = 0
    filled: Decimal = Decimal(0)
    lost: int = 0
    marked: Decimal = Decimal(0)
    """What clients save on the target by setting breakpoints."""
    kept: Decimal = Decimal(0)
    """What requests that stay save because other prefixes of theirs are cached."""

    @property
    def target(self) -> Decimal:
        """The cost of the tokens and fees on the target."""
        return self.input + self.cached + self.written + self.visible + self.reasoning + self.fees

    def add(self, other: PairSums) -> None:
        """Add another pair's sums."""
        for field in fields(PairSums):
            value = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, value)


@dataclass(frozen=True)
class FullTotals:
    """The sums of each pair by its index, the ineligible requests and their cost (USD) by reason,
    and what changes costs (USD) by cause."""

    pairs: Mapping[int, PairSums]
    ineligible: Mapping[str, tuple[int, Decimal]]
    causes: Mapping[str, Decimal]

    @property
    def kept(self) -> Decimal:
        """What requests that stay gain or lose by other cached prefixes (USD)."""
        return sum((sums.kept for sums in self.pairs.values()), Decimal(0))


def fetch_totals(mapped: ir.Table, mapping: FullMapping) -> FullTotals:
    """The totals of the rows of `map_full`."""
    parts = tuple(name for name in mapped.columns if name.startswith(("n_", "marks_")))
    rates = {row["piece"]: row for row in mapping.pieces.to_pylist()}
    by_index = {pair.index: pair for pair in mapping.pairs}
    sums: dict[int, PairSums] = defaultdict(PairSums)
    ineligible: dict[str, list[Any]] = {}
    rows = fetch_from(mapped, _sums, parts).to_pylist()
    read = read_amounts(mapped)
    for row in sorted(rows, key=lambda row: [row[name] for name in _BY]):
        row |= {name: usd(read(row.get(name))) for name in _AMOUNTS} | _rests(row)
        pair, price = by_index[row["pair"]], rates[row["target_piece"]]
        if row["outcome"] == INELIGIBLE:
            reason = ineligible.setdefault(REASONS[row["reason"]], [0, Decimal(0)])
            reason[0] += row["requests"]
            reason[1] += row["actual"]
        if row["moves"]:
            sums[pair.index].add(_moved(row, price, pair))
        elif row["hit"]:
            continue
        elif row["outcome"] == INELIGIBLE and row["reason"] == OUTPUT_LIMIT:
            sums[pair.index].add(_attempts(row, price, pair))
        else:
            sums[pair.index].add(PairSums(kept=row["actual"] - row["projected"]))
    return FullTotals(
        dict(sums),
        {reason: (n, cost) for reason, (n, cost) in ineligible.items()},
        {cause: usd(sum(read(row.get(cause)) for row in rows)) for cause in CAUSES},
    )


def _sums(mapped: ir.Table, parts: tuple[str, ...]) -> ir.Table:
    rows = mapped.mutate(moves=mapped.moved & (mapped.outcome == REROUTED) & ~mapped.hit)
    backend = mapped.get_backend()
    whole = [*parts, "read", "routed_warm", "new_input"]
    whole += ["searches"] if "searches" in mapped.columns else []
    whole += ["projected_output"] if "projected_output" in mapped.columns else ["output_tokens"]
    filled = {}
    if has_amount(mapped, "filled_usd"):
        amounts = amount(rows, "filled_usd")
        filled = {"filled": amount_sum(amounts, backend), "lost": (amounts > 0).sum()}
    return rows.group_by(*_BY).aggregate(
        requests=rows.count(),
        actual=amount_sum(amount(rows, "cost_usd"), backend),
        projected=amount_sum(amount(rows, "projected_usd"), backend),
        rest=amount_sum(amount(rows, "rest_usd"), backend),
        **cause_sums(rows),
        **filled,
        **{name: exact_sum(rows[name], backend) for name in whole},
    )


def _rests(row: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of the last parts of a group's prompts and answers, which are not kept: what the
    others leave; of moved requests."""
    rests = {}
    output = row.get("projected_output", row.get("output_tokens"))
    for names, every in ((INPUT_PARTS, row["new_input"]), (OUTPUT_PARTS, output)):
        others = sum(int(row.get(f"n_{name}") or 0) for name in names[:-1])
        rests[f"n_{names[-1]}"] = int(every or 0) - others
    marks = sum(int(row.get(f"marks_{name}") or 0) for name in INPUT_PARTS[:-1])
    return rests | {f"marks_{INPUT_PARTS[-1]}": -marks}


def _moved(row: Mapping[str, Any], price: Rates, pair: Pair) -> PairSums:
    def cost(name: str) -> Decimal:
        tokens = row.get(f"n_{name}")
        return Decimal(0) if tokens is None else int(tokens) * price[f"rate_{name}"]

    read, warm = int(row["read"]), int(row["routed_warm"])
    explicit = pair.modes[1] == EXPLICIT
    write_rate = price[
        "rate_write_1h" if writes_long(pair.target_facts.cache, pair) else "rate_write"
    ]
    full_rate = write_rate if explicit else price["rate_input"]
    off = read * full_rate
    written = cost("write") + cost("write_1h")
    plain = cost("input") + cost("in_audio") + cost("in_image")
    prompts = int(row["new_input"])
    spread = full_rate - price["rate_cached"]
    flipped = sum(
        (int(row.get(f"marks_{name}") or 0) * price[f"rate_{name}"] for name in INPUT_PARTS),
        Decimal(0),
    )
    marked = int(row.get("marks_read") or 0) * spread
    marked += flipped if pair.breakpoints else -flipped
    return PairSums(
        requests=row["requests"],
        **{name: row[name] for name in _AMOUNTS},
        lost=int(row.get("lost") or 0),
        marked=marked,
        input=plain if explicit else plain - off,
        cached=cost("cached") + read * price["rate_cached"],
        written=written - off if explicit else written,
        visible=cost("output") + cost("out_audio") + cost("out_image"),
        reasoning=cost("reasoning"),
        fees=row["requests"] * price["fee"] + int(row.get("searches") or 0) * price["search_fee"],
        hidden_token=row["requests"] * price["rate_reasoning"],
        warm=warm * spread,
        all_warm=prompts * price["rate_cached"],
        all_cold=prompts * full_rate,
    )


def _attempts(row: Mapping[str, Any], price: Rates, pair: Pair) -> PairSums:
    """What the target bills for answers that it cuts at its limit."""
    limit = pair.limits.output_tokens or 0
    cost = (
        int(row["new_input"]) * price["rate_input"] + row["requests"] * limit * price["rate_output"]
    )
    return PairSums(attempts=cost, attempted=row["requests"])
