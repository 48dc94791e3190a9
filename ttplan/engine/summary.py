"""The summary of a replay: exact counts, sums and power sums. Small for any log, and mergeable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Context, Decimal
from typing import Any, NamedTuple, TypeVar

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from ttplan.engine.cache import has_bit
from ttplan.engine.dialects import exact_sum, fetch, fetch_from, quotient
from ttplan.engine.full.money import amount, amount_sum, are_whole, has_amount

GRID = 2**20
"""The largest amount in steps of the grid."""
PICO = 10**12
"""Amounts are summed as whole numbers of 10^-12 USD."""
POWERS = [(j, total - j) for total in range(1, 5) for j in range(total, -1, -1)]
"""The exponents `(j, k)` of `s^j b^k` with j + k <= 4."""

_ZERO = Decimal(0)
_FLOAT_EXACT = 2**50
_DOUBLE_TYPE = "decimal(32, 12)"
# 19 digits make DuckDB multiply in 128 bits, and no engine cuts a product of whole numbers.
_SQUARE_TYPE = "decimal(19, 0)"
_DIGITS = Context(prec=60)

K = TypeVar("K")


class Grid(NamedTuple):
    """The steps, in whole 10^-12 USD, to which amounts round before their powers are summed.

    `step` is that of the baseline and of baseline minus projected, `actual_step` that of actual
    minus projected.
    """

    step: int
    actual_step: int


@dataclass(frozen=True)
class Cell:
    """The requests of one route and outcome. Amounts are whole 10^-12 USD."""

    requests: int = 0
    recorded_hits: int = 0
    projected_hits: int = 0
    repriced_hits: int = 0
    """Rows recorded as cached that are priced as misses."""
    both_hits: int = 0
    """Hits of both cache levels, and those of each alone below."""
    l1_hits: int = 0
    l2_hits: int = 0
    actual: int = 0
    baseline: int = 0
    projected: int = 0
    moved_baseline: int = 0
    """Baselines of requests that go to their route's target if no cache has the response."""
    moved_uncached: int = 0
    """Their cost at the target."""
    discount: int = 0
    """The discount of the target's rate for cached tokens, in whole 10^-15 USD."""
    l1_saved: int = 0
    l2_saved: int = 0
    """The cost of hits without a cache; a hit of both levels is L1's."""
    unhashed: int = 0
    """Requests that may use a cache and have no hash of the prompt; of those that are no hit, the
    number that can be one, and their cost, below."""
    bound_hits: int = 0
    bound_cost: int = 0

    def __add__(self, other: Cell) -> Cell:
        return Cell(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cell)))


@dataclass(frozen=True)
class Summary:
    """The source of estimates, intervals and caveats. Summaries of parts of one log add up to the
    log's.

    `cells` by (route index or -1, outcome); `powers[(j, k)]` is the sum of `s^j b^k` for `s`
    baseline minus projected and `b` baseline, `actual_powers[j]` that of `a^j` for `a` actual minus
    projected, on the grid; `latency` counts requests by projected latency in ms, `recorded_latency`
    by the logged one; `untagged` and `bodiless` count rows without a tag or a prompt.
    """

    grid: Grid
    cells: Mapping[tuple[int, int], Cell] = field(default_factory=dict)
    powers: Mapping[tuple[int, int], int] = field(default_factory=dict)
    actual_powers: Mapping[int, int] = field(default_factory=dict)
    latency: Mapping[int, int] = field(default_factory=dict)
    recorded_latency: Mapping[int, int] = field(default_factory=dict)
    medians: Mapping[str, int] = field(default_factory=dict)
    """The median latency (ms) over the whole window of each target model that has any."""
    no_latency: int = 0
    latency_unprojected: int = 0
    untagged: int = 0
    bodiless: int = 0
    largest: int = 0
    """The largest single baseline, in 10^-12 USD."""
    carriers: int = 0
    """Requests whose actual and projected costs differ."""
    sizes: tuple[int, int] = (0, 0)
    """The sums of |s| and of |a|, on the grid."""
    sweep: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """For each threshold of the sweep: hits that are also L1's, and the cost of the others in
    10^-12 USD."""

    def __add__(self, other: Summary) -> Summary:
        if self.grid != other.grid:
            raise ValueError(
                f"these summaries are on different grids, {self.grid} and {other.grid}; they do "
                f"not add up"
            )
        return Summary(
            grid=self.grid,
            cells={
                key: self.cells.get(key, Cell()) + other.cells.get(key, Cell())
                for key in sorted(self.cells.keys() | other.cells.keys())
            },
            powers=_plus(self.powers, other.powers),
            actual_powers=_plus(self.actual_powers, other.actual_powers),
            latency=_plus(self.latency, other.latency),
            recorded_latency=_plus(self.recorded_latency, other.recorded_latency),
            medians=self.medians,
            no_latency=self.no_latency + other.no_latency,
            latency_unprojected=self.latency_unprojected + other.latency_unprojected,
            untagged=self.untagged + other.untagged,
            bodiless=self.bodiless + other.bodiless,
            largest=max(self.largest, other.largest),
            carriers=self.carriers + other.carriers,
            sizes=(self.sizes[0] + other.sizes[0], self.sizes[1] + other.sizes[1]),
            sweep={
                t: (also + other.sweep[t][0], saved + other.sweep[t][1])
                for t, (also, saved) in sorted(self.sweep.items())
            },
        )

    @property
    def total(self) -> Cell:
        """All requests together."""
        return sum(self.cells.values(), Cell())


def _plus(a: Mapping[K, int], b: Mapping[K, int]) -> dict[K, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys(), key=repr)}


def grid_step(largest: Decimal | int) -> int:
    """The grid's step for amounts up to `largest` USD, or whole 10^-12 USD, in whole 10^-12 USD, at
    least 1."""
    return max(1, -(-(largest if isinstance(largest, int) else pico(largest)) // GRID))


def pico(amount: Decimal | None) -> int:
    """USD as whole 10^-12 USD."""
    return 0 if amount is None else int(amount.scaleb(12, _DIGITS))


def read_amounts(mapped: ir.Table) -> Callable[[Any], int]:
    """What reads an amount of mapped rows, or a sum of `amount_sum`, as whole 10^-12 USD."""
    return _read_whole if are_whole(mapped) else pico


def _read_whole(value: Any) -> int:
    return int(value or 0)


def usd(amount: int) -> Decimal:
    """Whole 10^-12 USD as USD."""
    return Decimal(amount).scaleb(-12, _DIGITS)


def femto_per_token(per_million: Decimal) -> int:
    """A price in USD per million tokens, which has 9 digits, as whole 10^-15 USD per token."""
    return int(per_million.scaleb(9, _DIGITS))


def largest_amounts(mapped: ir.Table) -> dict[str, ir.NumericScalar]:
    """The largest amounts that the two grids have to span: `amount` and `actual`."""
    baseline, projected = amount(mapped, "baseline_cost_usd"), amount(mapped, "projected_usd")
    return {
        "amount": ibis.greatest(baseline.max(), (baseline - projected).abs().max()),
        "actual": (amount(mapped, "cost_usd") - projected).abs().max(),
    }


def grid_for(largest: pa.Table) -> Grid:
    """The grid for rows with these largest amounts: one or more rows of `largest_amounts`."""
    return Grid(
        *(grid_step(pc.max(largest[name]).as_py() or _ZERO) for name in ("amount", "actual"))
    )


def fetch_cell_sums(mapped: ir.Table, grid: Grid, thresholds: int = 0) -> pa.Table:
    """Counts, exact sums and power sums by route, outcome, price rule if the rows have it, and
    whether a request moves.

    `thresholds` is the number of thresholds of a semantic sweep.
    """
    if all(map(_is_small, grid)):
        return fetch_from(mapped, cell_sums, thresholds, numbers=grid)
    return fetch(cell_sums(mapped, thresholds, *grid))


def cell_sums(mapped: ir.Table, thresholds: int, step: int, actual_step: int) -> ir.Table:
    """The query of `fetch_cell_sums`."""
    cost, baseline, projected = (
        amount(mapped, name) for name in ("cost_usd", "baseline_cost_usd", "projected_usd")
    )
    amounts = on_grid(
        mapped,
        s=(baseline - projected, step),
        b=(baseline, step),
        a=(cost - projected, actual_step),
    )
    # Products of two (2^40) and of three (2^60) fit 64 bits; those of four need 26 digits.
    amounts = amounts.mutate(
        ss=amounts.s * amounts.s,
        sb=amounts.s * amounts.b,
        bb=amounts.b * amounts.b,
        aa=amounts.a * amounts.a,
    )
    wide = amounts.mutate(
        **{f"w{name}": amounts[name].cast(_SQUARE_TYPE) for name in ("ss", "sb", "bb", "aa")}
    )
    backend = mapped.get_backend()

    def total(name: str, where: ir.BooleanValue | None = None) -> ir.NumericScalar:
        return amount_sum(amount(wide, name), backend, where)

    repriced = wide.cached & ~wide.hit & (wide.outcome >= 2)
    sums: dict[str, Any] = {
        "requests": wide.count(),
        "recorded_hits": wide.cached.sum(),
        "projected_hits": wide.hit.sum(),
        "repriced_hits": repriced.sum(),
        "untagged": wide.tag.isnull().sum(),
        "bodiless": wide.body_lower.isnull().sum()
        if "body_lower" in wide.columns
        else wide.count(),
        "largest": amount(wide, "baseline_cost_usd").max(),
        "carriers": (amount(wide, "cost_usd") != amount(wide, "projected_usd")).sum(),
        "size_s": wide.s.abs().sum(),
        "size_a": wide.a.abs().sum(),
        "actual": total("cost_usd"),
        "baseline": total("baseline_cost_usd"),
        "projected": total("projected_usd"),
        "uncached": total("uncached_usd"),
    }
    if has_amount(wide, "provider_cache_usd"):
        sums["provider_cache"] = total("provider_cache_usd")
    else:
        sums["charged"] = exact_sum(wide.charged, backend)
    if "l1_hit" in wide.columns:  # sums take time
        sums |= _cache_sums(wide, thresholds, total)
    factors = {
        (1, 0): wide.s,
        (0, 1): wide.b,
        (2, 0): wide.ss,
        (1, 1): wide.sb,
        (0, 2): wide.bb,
        (3, 0): wide.ss * wide.s,
        (2, 1): wide.ss * wide.b,
        (1, 2): wide.s * wide.bb,
        (0, 3): wide.bb * wide.b,
        (4, 0): wide.wss * wide.wss,
        (3, 1): wide.wss * wide.wsb,
        (2, 2): wide.wss * wide.wbb,
        (1, 3): wide.wsb * wide.wbb,
        (0, 4): wide.wbb * wide.wbb,
    }
    sums |= {f"p{j}{k}": exact_sum(value, backend) for (j, k), value in factors.items()}
    actual = {1: wide.a, 2: wide.aa, 3: wide.aa * wide.a, 4: wide.waa * wide.waa}
    sums |= {f"a{j}": exact_sum(value, backend) for j, value in actual.items()}
    keys = [name for name in ("route", "outcome", "rule", "moved") if name in wide.columns]
    return wide.group_by(*keys).aggregate(**sums)


def _cache_sums(
    wide: ir.Table, thresholds: int, total: Callable[..., ir.NumericScalar]
) -> dict[str, ir.NumericScalar]:
    """Hits of each level, and their cost without a cache."""
    alone = wide.l2_hit & ~wide.l1_hit
    sums = {
        "l1_hits": wide.l1_hit.sum(),
        "l2_hits": wide.l2_hit.sum(),
        "both_hits": (wide.l1_hit & wide.l2_hit).sum(),
        "l1_saved": total("uncached_usd", wide.l1_hit),
        "l2_saved": total("uncached_usd", alone),
    }
    if "l1_bound" in wide.columns:
        possible = wide.l1_bound.fill_null(False) & ~wide.hit
        sums |= {
            "unhashed": wide.l1_bound.count(),
            "bound_hits": possible.sum(),
            "bound_cost": total("uncached_usd", possible),
        }
    for t in range(thresholds):
        hit = has_bit(wide.l2_mask, t)
        sums[f"also_l1_{t}"] = (hit & wide.l1_hit).sum()
        sums[f"saved_{t}"] = total("uncached_usd", hit & ~wide.l1_hit)
    return sums


def on_grid(table: ir.Table, **columns: tuple[ir.NumericColumn, int]) -> ir.Table:
    """`table` with each amount in steps of its grid, rounded half away from zero: whole numbers up
    to 2^20.

    Whole amounts are divided as they are.

    Each step of the computation is a stage of its own: engines share no work between branches of a
    CASE. Below 2^50 * 10^-12 USD (1,125 USD) a float holds every intermediate number exactly, and
    its quotient is further from the next whole number (2^-32) than its error (2^-34). Above, the
    dividend is a whole multiple, and no intermediate decimal needs more digits than its operands,
    so no engine cuts any.
    """
    table = table.mutate(
        **{f"{name}_sign": (amount < 0).ifelse(-1, 1) for name, (amount, _) in columns.items()},
        **{f"{name}_size": amount.abs() for name, (amount, _) in columns.items()},
    )
    steps = {name: step for name, (_, step) in columns.items()}
    whole = {name for name, (value, _) in columns.items() if value.type().is_integer()}
    halves = {
        f"{name}_size": _plus_half(table[f"{name}_size"], step)
        for name, step in steps.items()
        if name not in whole and not _is_small(step)
    }
    table = table.mutate(**halves) if halves else table
    counts: dict[str, Callable[..., ir.IntegerValue]] = {
        name: _whole_steps if name in whole else (_small_steps if _is_small(step) else _large_steps)
        for name, step in steps.items()
    }
    return table.mutate(
        **{
            name: count(table[f"{name}_size"], steps[name]) * table[f"{name}_sign"]
            for name, count in counts.items()
        }
    )


def _is_small(step: int) -> bool:
    return step * GRID < _FLOAT_EXACT


def _small_steps(size: ir.DecimalColumn, step: int) -> ir.IntegerColumn:
    # Not `round`, for which DuckDB computes a power of ten for each row.
    units = (size.cast("float64") * float(PICO) + 0.5).floor().cast("int64")
    return (units * 2 + step) // (2 * step)


def _whole_steps(size: ir.IntegerColumn, step: int) -> ir.IntegerValue:
    return quotient(size * 2 + step, 2 * step, size.get_backend())


def _plus_half(size: ir.DecimalColumn, step: int) -> ir.DecimalColumn:
    return size + size + ibis.literal(usd(step), _DOUBLE_TYPE)


def _large_steps(doubled: ir.DecimalColumn, step: int) -> ir.IntegerColumn:
    multiple = doubled - doubled % ibis.literal(usd(2 * step), _DOUBLE_TYPE)
    return (multiple.cast("float64") / float(usd(2 * step))).round().cast("int64")
