"""Pictures: what is drawn is what the view says, units stand on every axis, and at half the width
nothing is cut or overlaps."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import matplotlib
import numpy as np
import pandas as pd
import pytest

from tests.support import full_results, plans
from ttplan import plots, views
from ttplan.display.plan import Plan
from ttplan.display.reconciliation import ReconciliationCard
from ttplan.model.errors import InputError
from ttplan.model.projection.assumption import AssumptionEffect
from ttplan.model.results.parts import L2Projection
from ttplan.model.results.reconciliation import CostChange, ReconciledFigure, Reconciliation
from ttplan.plots.axes import COLOURS
from ttplan.views.frame import View, make_view

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DAY = timedelta(days=1)
START = datetime(2026, 5, 1, tzinfo=UTC)
NAMES = (
    "cheaper models for short chat and code",
    "$\\frac{ $x_",
    "<img src=x onerror=alert(1)>",
    "\u202ereversed",
    "x" * 70,
)


@pytest.fixture(autouse=True)
def figures_on_agg() -> Iterator[None]:
    """Draw with Agg, whatever another test module chose, and close all figures."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def savings(count: int = 5) -> View:
    """Plans: the second loses, the third has no interval."""
    rows = []
    for n in range(count):
        value = -12.5 if n == 1 else 40.0 - 3 * n
        row: dict[str, Any] = {
            "plan_id": str(UUID(int=n)),
            "name": NAMES[n],
            "savings_usd": value,
            "change_vs_actual_usd": value - 4,
        }
        if n != 2:
            row |= {"savings_usd_lo": value - 2, "savings_usd_hi": value + 3}
            row |= {"change_vs_actual_usd_lo": value - 7, "change_vs_actual_usd_hi": value - 1}
        rows.append(row)
    return make_view(rows, views.SAVINGS, title="savings")


def by_route(count: int = 4) -> View:
    rows = [
        row | {"plan_id": "p", "route": None if n == count - 1 else NAMES[n]}
        for n, row in enumerate(cast(list[dict[str, Any]], savings(count).to_dict("records")))
    ]
    return make_view(
        rows, {"plan_id": "string", "route": "string"} | views.SAVINGS, title="savings by route"
    )


def by_day(days: int = 14, models: int = 3) -> View:
    """Each model's requests go to the next cheaper one, or stay."""
    rows = [
        {
            "plan_id": "p",
            "day": START + n * DAY,
            "model": f"model {m} $",
            "target_model": f"model {(m + stays) % models} $",
            "actual_usd": 10.0 + m,
            "projected_usd": 5.0 + stays,
        }
        for n, m, stays in itertools.product(range(days), range(models), (0, 1))
    ]
    return make_view(
        rows,
        {"day": "datetime64[us, UTC]", "model": "string", "target_model": "string"} | views.SAVINGS,
        title="t",
    )


def latencies() -> View:
    rows = [
        {"plan_id": "p", "latency_ms": ms, "then": then, "now": now}
        for ms, then, now in ((100, 0, 5), (900, 5, 4), (4000, 5, 1))
    ]
    return make_view(rows, views.LATENCIES, title="latencies")


def swept(*thresholds: float) -> Plan:
    result = plans.result(UUID(int=1))
    rows = tuple(
        L2Projection(
            threshold=at,
            total=200,
            projected_l2_hits=int(100 * (2 - 2 * at)),
            projected_l2_hit_rate=1 - at,
            poisoning_candidates=n,
        )
        for n, at in enumerate(thresholds)
    )
    swept_result = result.model_copy(
        update={"aggregates": result.aggregates.model_copy(update={"l2_projections": rows})}
    )
    return Plan(plans.run(1, result=swept_result))


def reconciled(expected: float = 2.0) -> ReconciliationCard:
    def figure(name: Any, actual: float, ends: tuple[float, float] | None) -> ReconciledFigure:
        return ReconciledFigure(
            name=name,
            projected=expected,
            projected_95=ends,
            expected=expected,
            expected_95=ends,
            actual=actual,
            actual_95=None if ends is None else (actual - 0.1, actual + 0.3),
            inside=None,
            consistent=None,
        )

    figures = (
        figure("cost_per_request_usd", 2.5, (1.8, 2.4)),
        figure("cost_per_day_usd", 1.5, (1.9, 2.1)),
        figure("cache_hit_rate", 2.0, None),
        figure("p50_latency_ms", 2.2, (1.5, 2.5)),
        figure("p95_latency_ms", 2.0, (2.0, 2.0)),
    )
    return ReconciliationCard(
        Reconciliation(
            plan_id=UUID(int=1),
            plan_name="p",
            reconciled_at=START,
            since=START,
            until=START + DAY,
            requests=1,
            new_requests=0,
            projected_requests=1,
            interval_unit="request",
            figures=figures,
            change=CostChange(volume=0, mix=0, rate=0, new=0),
        )
    )


def entries(count: int = 9) -> View:
    events = ("plan.applied", "plan.reverted", "$weird$")
    rows = [
        {"seq": n, "time": START + n * n * timedelta(hours=7), "event": events[n % 3]}
        for n in range(count)
    ]
    return make_view(rows, views.ENTRIES, title="chain")


def assumed(*effects: AssumptionEffect) -> Plan:
    return Plan(plans.run(1, result=full_results.result(*effects)))


OUTPUT = full_results.effect("ratio_out", 1, slope_usd=-10.0, break_even=2.2)
REDO = full_results.effect("redo", 0.1, slope_usd=-20.0, break_even=0.7, standard_error=0.02)
SCOPE = full_results.effect("cache_fit", 1, low_usd=8, high_usd=12)

PICTURES: dict[str, tuple[Callable[..., Any], Callable[[], Any], Callable[[], Any], str]] = {
    "savings": (plots.savings, savings, lambda: savings(0), "no plans"),
    "routes": (plots.routes, by_route, lambda: by_route(0), "no routes"),
    "cost_per_day": (plots.cost_per_day, by_day, lambda: by_day(0), "no requests"),
    "latency": (plots.latency, latencies, lambda: latencies().iloc[:0], "no request has a latency"),
    "sweep": (
        plots.sweep,
        lambda: swept(0.85, 0.9, 0.92, 0.95),
        swept,
        "no semantic cache was projected",
    ),
    "projected_actual": (
        plots.projected_actual,
        reconciled,
        lambda: reconciled(0.0),
        "nothing was expected",
    ),
    "break_even": (
        plots.break_even,
        lambda: assumed(OUTPUT, REDO),
        assumed,
        "savings depend on no assumption",
    ),
    "chain": (plots.chain, entries, lambda: entries(0), "no entries"),
}


def test_every_plot_is_tested() -> None:
    assert set(PICTURES) == set(plots.__all__)


@pytest.mark.parametrize("name", PICTURES)
def test_at_half_the_width_nothing_is_cut_and_no_labels_overlap(name: str) -> None:
    draw, make_data, _, _ = PICTURES[name]
    figure, ax = plt.subplots(figsize=(3.2, 3.2), layout="constrained")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(make_data(), ax=ax) is ax
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    page = figure.bbox
    texts = [ax.xaxis.label, ax.yaxis.label, *ax.texts]
    ticks = [
        [t for t in axis.get_ticklabels() if t.get_text() and _inside(t, axis)]
        for axis in (ax.xaxis, ax.yaxis)
    ]
    if (legend := ax.get_legend()) is not None:
        texts += [*legend.get_texts(), legend.get_title()]
    for text in (*texts, *ticks[0], *ticks[1]):
        box = text.get_window_extent(renderer)
        if text.get_text():
            assert page.x0 <= box.x0, text
            assert box.x1 <= page.x1 + 1, text
            assert page.y0 <= box.y0, text
            assert box.y1 <= page.y1 + 1, text
    for labels in (*ticks, ax.texts):
        boxes = [label.get_window_extent(renderer) for label in labels]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), [
            label.get_text() for label in labels
        ]
    assert ax.xaxis.label.get_text()
    assert ax.xaxis.get_offset_text().get_text() == ""
    assert "USD" in "".join(text.get_text() for text in texts) or name not in (
        "savings",
        "routes",
        "cost_per_day",
    )


def _inside(tick: Any, axis: Any) -> bool:
    """Whether a tick is shown: matplotlib keeps some outside of what is shown."""
    place = tick.get_position()[0 if axis.axis_name == "x" else 1]
    low, high = sorted(axis.get_view_interval())
    return bool(low <= place <= high)


@pytest.mark.parametrize("name", PICTURES)
def test_empty_data_is_drawn_as_labelled_axes_with_a_message(name: str) -> None:
    draw, _, make_empty, message = PICTURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = draw(make_empty())
        ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.texts] == [message]
    assert ax.xaxis.label.get_text()
    assert ax.figure.get_facecolor() == (1, 1, 1, 1)


@pytest.mark.parametrize("name", PICTURES)
def test_wrong_data_is_refused(name: str) -> None:
    draw = PICTURES[name][0]
    with pytest.raises(InputError, match=r"expected what ws\."):
        draw(pd.DataFrame({"a": [1]}))


def test_a_plot_of_one_plan_refuses_several() -> None:
    two = by_route().assign(plan_id=["p", "p", "q", "q"])
    with pytest.raises(InputError, match="the data has 2 plans, but the plot shows one"):
        plots.routes(two)


def _bars(ax: Any, colour: str) -> dict[tuple[float, float], tuple[float, float]]:
    """By (value, place) of each error bar of a colour, its ends."""
    bars = {}
    for container in ax.containers:
        line, _, (segments,) = container
        if line.get_color() == colour:
            for x, y, ((low, _), (high, _)) in zip(
                *line.get_data(), segments.get_segments(), strict=True
            ):
                bars[(float(x), float(y))] = (float(low), float(high))
    return bars


def test_savings_are_marks_with_their_ends_and_hollow_without() -> None:
    ax: Any = plots.savings(savings())
    baseline, paid = _bars(ax, "#0072B2"), _bars(ax, "#D55E00")
    assert [(x, ends) for (x, _), ends in baseline.items()] == [
        (40.0, (38.0, 43.0)),
        (-12.5, (-14.5, -9.5)),
        (31.0, (29.0, 34.0)),
        (28.0, (26.0, 31.0)),
    ]
    assert next((x, ends) for (x, _), ends in paid.items()) == (36.0, (33.0, 39.0))
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [34.0, 30.0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "against baseline",
        "against baseline, no interval",
        "against what is paid",
        "against what is paid, no interval",
    ]
    names = [text.get_text() for text in ax.texts]
    assert names[:3] == [
        "cheaper models for short chat and code",
        r"\$\frac{ \$x_",
        "<img src=x onerror=alert(1)>",
    ]
    assert names[3] == r"\u202ereversed"
    assert names[4].endswith("…")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_unrouted_requests_have_their_own_row() -> None:
    ax: Any = plots.routes(by_route())
    assert ax.texts[-1].get_text() == "no route"


def test_bars_are_paid_and_projected_costs_by_day_and_model() -> None:
    frame = by_day(days=2, models=10)
    ax: Any = plots.cost_per_day(frame)
    heights: dict[tuple[int, int], list[float]] = {}
    for bar in ax.patches:
        day, side = divmod(int((bar.get_x() + bar.get_width() / 2 + 0.5) * 2), 2)
        heights.setdefault((day, side), []).append(bar.get_height())
    assert len(heights) == 4
    for day in range(2):
        own = frame[frame["day"] == START + day * DAY]
        assert sum(heights[day, 0]) == pytest.approx(own["actual_usd"].sum())
        assert sum(heights[day, 1]) == pytest.approx(own["projected_usd"].sum())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == r"model 9 \$"
    assert labels[-1] == "other models"
    assert len(labels) == len(COLOURS) + 1
    assert "USD per day" in ax.get_ylabel()


def test_latencies_are_shares_of_the_requests() -> None:
    ax: Any = plots.latency(latencies())
    then, now = ax.lines[:2]
    assert list(then.get_xdata()) == [100, 100, 900, 4000]
    assert list(then.get_ydata()) == [0, 0, 50, 100]
    assert list(now.get_ydata()) == [0, 50, 90, 100]
    assert "%" in ax.get_ylabel()
    assert "ms" in ax.get_xlabel()


def test_a_sweep_is_in_percent_of_what_was_looked_up() -> None:
    ax: Any = plots.sweep(swept(0.95, 0.85))
    hits, wrong = ax.lines
    assert list(hits.get_xdata()) == [0.85, 0.95]
    assert list(hits.get_ydata()) == pytest.approx([15, 5])
    assert list(wrong.get_ydata()) == [0.5, 0.0]


def test_actual_is_in_percent_of_expected_with_both_intervals() -> None:
    ax: Any = plots.projected_actual(reconciled())
    expected, actual = _bars(ax, "#009E73"), _bars(ax, "#0072B2")
    assert [x for x, _ in expected] == [100] * 5
    assert next(iter(expected.values())) == pytest.approx((90, 120))
    assert [x for x, _ in actual] == pytest.approx([125, 75, 100, 110, 100])
    assert next(iter(actual.values())) == pytest.approx((120, 140))
    assert [text.get_text() for text in ax.texts][:2] == ["cost a request", "cost a day"]


def test_a_break_even_is_where_the_line_crosses_zero() -> None:
    ax: Any = plots.break_even(assumed(OUTPUT, REDO))
    line = next(line for line in ax.lines if len(line.get_xdata()) > 2)
    x, y = line.get_data()
    assert np.interp(1, x, y) == pytest.approx(12)
    assert np.interp(2.2, x, y) == pytest.approx(0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["breaks even at 2.2 times", "assumed: 1.00 times"]
    band = ax.collections[0].get_paths()[0].vertices
    at_start = sorted(at for place, at in band if place == 0)
    assert (at_start[0], at_start[-1]) == pytest.approx((20, 24))
    assert "USD per window" in ax.get_ylabel()
    assert ax.get_xlabel() == "output length\n(times the old model's)"


def test_the_band_leaves_out_the_assumption_s_own_error() -> None:
    ax: Any = plots.break_even(assumed(OUTPUT, REDO), "redo")
    band = ax.collections[0].get_paths()[0].vertices
    at_start = [at for place, at in band if place == 0]
    own = 1.96 * 20 * 0.02
    assert max(at_start) - min(at_start) == pytest.approx(2 * (2**2 - own**2) ** 0.5)
    assert ax.get_xlabel() == "answers asked again\n(%)"


def test_a_break_even_plot_says_which_assumptions_it_can_draw() -> None:
    plan = assumed(OUTPUT, REDO, SCOPE)
    for name, said in (
        ("cache_fit", "savings are not linear in cache_fit; expected one of ratio_out, redo"),
        ("rest", "the plan does not rest on 'rest'; expected one of ratio_out, redo"),
    ):
        with pytest.raises(InputError, match=said):
            plots.break_even(plan, name)
    other = OUTPUT.model_copy(update={"target_model": "nano"})
    with pytest.raises(InputError, match=r"2 assumptions ratio_out.*target_model \(mini, nano\)"):
        plots.break_even(assumed(OUTPUT, other), "ratio_out")
    ax: Any = plots.break_even(assumed(OUTPUT, other), "ratio_out", target_model="nano")
    assert ax.get_xlabel() == "output length for nano\n(times the old model's)"
    with pytest.raises(InputError, match="does not rest on 'redo'; expected a full projection"):
        plots.break_even(swept(), "redo")


def test_a_chain_is_marks_at_its_times_by_event() -> None:
    ax: Any = plots.chain(entries())
    assert [t.get_text() for t in ax.texts] == [
        r"\$weird\$: 3 entries",
        "plan.applied: 3 entries",
        "plan.reverted: 3 entries",
    ]
    applied = next(
        line for line in ax.lines if len(line.get_xdata()) == 3 and set(line.get_ydata()) == {1}
    )
    assert [pd.Timestamp(at) for at in applied.get_xdata()] == [
        START,
        START + 63 * timedelta(hours=1),
        START + 252 * timedelta(hours=1),
    ]


def test_colours_differ_without_hue() -> None:
    """Each pair differs in lightness or in the blue-yellow direction, which nearly everybody
    sees."""
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS])
    light, blue = rgb @ [0.2126, 0.7152, 0.0722], rgb[:, 2] - rgb[:, :2].mean(axis=1)
    for i, j in itertools.combinations(range(len(COLOURS)), 2):
        assert abs(light[i] - light[j]) + abs(blue[i] - blue[j]) > 0.1
