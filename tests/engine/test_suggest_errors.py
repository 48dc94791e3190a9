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
from ttplan.engine.rows import SCHEMA
from ttplan.engine.suggest.confirm import FAMILY_ERROR, chance_share, holm, p_value
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


@pytest.mark.statistics
@pytest.mark.parametrize("shape", ["uniform", "exponential"])
@pytest.mark.parametrize("units", [12, 40, 400])
def test_at_most_5_percent_of_200_logs_confirm(shape: str, units: int) -> None:
    rng = np.random.default_rng(units)
    wrong, found = 0, 0
    for _ in range(200):
        draw = rng.uniform(-1, 1, (TAGS, units))
        if shape == "exponential":
            draw = rng.exponential(1, (TAGS, units)) - 1
        p_values = [p_value(spread(values, TAGS)) for values in draw]
        wrong += min(holm(p_values)) <= FAMILY_ERROR
        # A saving of twice the spread; 12 units are too few to tell it from chance.
        better = [p_value(spread(draw[0] + 2.0, TAGS)), *p_values[1:]]
        found += holm(better)[0] <= FAMILY_ERROR
    assert wrong <= 10
    assert found >= 180 or units < 40


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
