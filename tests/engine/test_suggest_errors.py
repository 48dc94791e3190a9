"""How often suggestions confirm what is not there, and what is, in simulated logs."""

from __future__ import annotations

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy import stats

from tests.support.strategies import ORG, START
from ttplan.engine.intervals.studentised.hall import Spread, central_sums
from ttplan.engine.intervals.studentised.units import Grouped
from ttplan.engine.rows import SCHEMA
from ttplan.engine.suggest.confirm import FAMILY_ERROR, chance_share, holm, p_value
from ttplan.engine.suggest.losses import Loss, largest_loss, one_more, with_loss
from ttplan.engine.suggest.suggest import suggest
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.suggestion import Suggestions

PRICES = {"openai:mini": ModelPricing(input_per_million=1, output_per_million=2)}
TAGS, SIZE, NANO_USD = 20, 25, 1_200_000
"""The number of tags, the requests of a session, and what each costs on the target."""


def simulated(
    seed: int, *, sessions: bool, keyed: bool = True, saving: float = 0.0, count: int = 10_000
) -> Suggestions:
    """The suggestions of a log whose requests cost on average what they would on the target.

    With `sessions`, requests of one session share a tag and a price level of its own; `keyed`
    says whether the log names them. The first tag costs more by the share `saving`.
    """
    rng = np.random.default_rng(seed)
    blocks = count // SIZE
    tag = np.arange(blocks) * 7 % TAGS
    level = rng.uniform(-0.5, 0.5, blocks)
    if sessions:
        tags, levels = np.repeat(tag, SIZE), np.repeat(level, SIZE)
    else:
        tags, levels = rng.integers(0, TAGS, count), rng.uniform(-0.5, 0.5, count)
    noise = rng.uniform(-0.2, 0.2, count)
    cost = np.round(NANO_USD * (1 + levels + noise) * (1 + saving * (tags == 0))).astype(np.int64)
    start = np.sort(rng.uniform(0, 7 * 86_400, blocks))
    within = np.sort(rng.exponential(40, (blocks, SIZE)), axis=1)
    seconds = (
        (start[:, None] + within).ravel()
        if sessions
        else np.sort(rng.uniform(0, 7 * 86_400, count))
    )
    first = int(START.timestamp() * 1_000_000)
    money = pa.array(cost * 1_000).cast(pa.decimal128(38, 0)).view(pa.decimal128(38, 12))
    columns = {
        "id": [f"{i:08d}" for i in range(count)],
        "org_id": [str(ORG)] * count,
        "ts": pa.array(first + (seconds * 1_000_000).astype(np.int64)).cast(
            SCHEMA.field("ts").type
        ),
        "provider": ["openai"] * count,
        "model": ["gpt-4o"] * count,
        "input_tokens": pa.array(np.full(count, 1_000)),
        "output_tokens": pa.array(np.full(count, 100)),
        "cached_tokens": pa.array(np.zeros(count, dtype=np.int64)),
        "cost_usd": money,
        "baseline_cost_usd": money,
        "cached": [False] * count,
        "latency_ms": pa.array(np.full(count, 500)),
        "tag": [f"t{n}" for n in tags],
        "body_lower": pa.nulls(count, pa.string()),
    }
    schema = pa.schema(SCHEMA)
    if sessions and keyed:
        columns["session_id"] = [f"s{n}" for n in np.repeat(np.arange(blocks), SIZE)]
        schema = schema.append(pa.field("session_id", pa.string()))
    return suggest(
        ibis.memtable(pa.table(columns, schema=schema)),
        ["mini"],
        ["tag"],
        PRICES,
        org_id=ORG,
        min_share=0,
        limit=100,
    )


def spread(values: npt.NDArray[np.float64], tags: int = 1) -> Spread:
    """How the sum of a tag's savings varies, of units of which other tags have as many each."""
    grid = np.round(values * 2**20).astype(np.int64)
    units = tags * len(values)
    powers = {(j, 0): sum(int(v) ** j for v in grid) for j in (1, 2, 3)}
    orders = {(j, k): powers.get((j, k), 0) for j in range(4) for k in range(4 - j)}
    moments = central_sums([orders], [units], (2.0**-20, 1.0))
    carriers = float(np.abs(values).sum() ** 2 / (values**2).sum())
    total = float(values.sum())
    return Spread(units, units - 1, total, units, moments, carriers)


def test_p_values_are_adjusted_for_their_number() -> None:
    assert holm([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm([]) == []
    assert chance_share(20) == pytest.approx(0.0025)
    assert chance_share(1) == pytest.approx(0.025)  # its 95 % interval must not reach 0


def test_a_p_value_is_that_of_student() -> None:
    same = spread(np.array([-1.0, 3.0] * 20))
    # Without skewness: a mean of 1, whose standard error is 2 / sqrt(39).
    assert same.carriers == pytest.approx(32)
    assert p_value(same) == pytest.approx(float(stats.t.sf(39**0.5 / 2, same.t_degrees)))
    assert p_value(spread(-np.array([-1.0, 3.0] * 20))) == 1.0
    assert p_value(spread(np.full(9, 2.0))) == 0.0
    assert p_value(spread(np.array([1.0] * 19 + [-8.0]))) > 0.1  # one large loss


def test_one_more_loss_is_as_one_more_unit() -> None:
    values = np.array([1.0, 3.0, -2.0, 5.0, 0.5, 2.0])
    added, direct = with_loss(spread(values), 4.0), spread(np.append(values, -4.0))
    assert (added.units, added.degrees, added.s) == (direct.units, direct.degrees, direct.s)
    assert added.carriers == pytest.approx(direct.carriers)
    assert added.variance() == pytest.approx(direct.variance())
    assert added.skewness() == pytest.approx(direct.skewness())


def test_the_largest_loss_is_of_a_unit_in_either_half() -> None:
    halves = [grouped([0, 0, 1], [5, -9, 2], [10, 10, 40]), grouped([7], [-6], [8])]
    by_unit = [6e-12, 0.75, 2e-12, 68e-12 / 3]
    assert list(largest_loss(halves, 0, by_request=False)) == pytest.approx(by_unit)
    by_request = [9e-12, 0.75, 5e-12, 68e-12 / 4]
    assert list(largest_loss(halves, 0, by_request=True)) == pytest.approx(by_request)
    assert list(largest_loss([grouped([], [], [])], 0, by_request=True)) == [0, 0, 0, 0]


def test_one_more_loss_is_larger_if_units_only_lose() -> None:
    assert one_more([Loss(6.0, 0.3, 0.0, 20.0)]) == [18.0]
    assert one_more([Loss(6.0, 0.3, 9.0, 20.0)]) == [3.0]
    assert one_more([Loss(6.0, 0.3, 3.0, 20.0)]) == [10.5]
    # Half of the largest share of its cost that a unit of another route loses, unless units gain.
    assert one_more([Loss(6.0, 0.75, 0.0, 20.0), Loss(1.0, 0.1, 0.0, 80.0)]) == [18.0, 30.0]
    assert one_more([Loss(6.0, 0.75, 9.0, 20.0), Loss(1.0, 0.1, 0.0, 80.0)]) == [3.0, 0.5]


def test_a_route_without_losses_needs_no_more() -> None:
    values = np.linspace(1, 2, 30)
    assert one_more([Loss(0.0, 0.0, 2.0, 1.0)]) == [0.0]
    assert p_value(spread(values), 0.0) == p_value(spread(values))
    assert p_value(spread(values), 20.0) > FAMILY_ERROR > p_value(spread(values))


SHAPES = {
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "large gains": lambda rng, size: rng.exponential(1, size) - 1,
    "large losses": lambda rng, size: 1 - rng.exponential(1, size),
    "lognormal losses": lambda rng, size: (np.exp(2) - rng.lognormal(0, 2, size)) / 10,
}


@pytest.mark.statistics
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("units", [12, 20, 50, 200])
def test_at_most_5_percent_of_200_logs_confirm(shape: str, units: int) -> None:
    rng = np.random.default_rng(units)
    wrong, found = 0, 0
    for _ in range(200):
        draw = SHAPES[shape](rng, (TAGS, 2 * units))
        draw = draw[draw[:, :units].sum(axis=1) > 0]
        wrong += min(holm(p_values(draw)), default=1.0) <= FAMILY_ERROR
        better = np.vstack([draw[:1] + 2.0, draw[1:]])
        found += bool(len(draw)) and holm(p_values(better))[0] <= FAMILY_ERROR
    assert wrong <= 10
    # A saving of twice the spread; few units, or large losses, do not tell it from chance.
    assert found >= 180 or units < 50 or "losses" in shape


def p_values(draw: npt.NDArray[np.float64]) -> list[float]:
    """Of tags whose units cost 1 each; the second half of the units is held out."""
    ends = np.maximum([-draw.min(axis=1), draw.max(axis=1)], 0).T.tolist()
    losses = one_more([Loss(lost, lost, gained, 1.0) for lost, gained in ends])
    held_out = draw[:, draw.shape[1] // 2 :]
    return [p_value(spread(own, TAGS), loss) for own, loss in zip(held_out, losses, strict=True)]


def grouped(keys: list[int], change: list[int], cost: list[int]) -> Grouped:
    """Requests of clusters, in 10^-12 USD."""
    columns = {
        "requests": np.ones(len(keys), dtype=np.int64),
        "change": np.array(change, dtype=np.int64),
        "cost": np.array(cost, dtype=np.int64),
        "least": np.array(change, dtype=np.int64),
        "most": np.array(change, dtype=np.int64),
    }
    key = np.array(keys, dtype=np.int64)
    return Grouped(key, np.zeros_like(key), columns, by_minute=False)


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("sessions", "unit", "saving", "count"),
    [(False, "request", 0.1, 10_000), (True, "session_id", 1.0, 20_000)],
)
def test_a_log_confirms_only_what_truly_saves(
    sessions: bool, unit: str, saving: float, count: int
) -> None:
    wrong, found, units = 0, 0, 0
    logs = 15
    for seed in range(logs):
        suggestions = simulated(seed, sessions=sessions, saving=saving, count=count)
        tags = {route.when.tag_equals for route in suggestions.routes}
        units += suggestions.interval_unit == unit
        wrong += bool(tags - {"t0"})
        found += "t0" in tags
    assert units >= 0.8 * logs
    assert wrong <= 3  # at 5 %, more in one of 200 runs
    assert found >= 0.9 * logs
