"""Suggested routes: against a row loop, against replay, against chance, and as a person and a plan
file see them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from html import escape
from itertools import pairwise
from pathlib import Path
from random import Random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ttplan
from tests import oracle, oracle_suggest
from tests.support import strategies
from tests.support.strategies import ORG, OTHER_ORG, START
from tests.support.universe import log, plan
from tests.workspace.test_workspace import opened
from ttplan.display.suggestions import SuggestionsCard
from ttplan.engine.replay import replay_table
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.rows import to_table
from ttplan.engine.suggest.segments import MOST_TAGS
from ttplan.engine.suggest.suggest import DIMENSIONS, suggest, suggest_by_spec
from ttplan.gateways.plan_file import plan_yaml, read_plan_file, write_plan_file
from ttplan.model.errors import InputError
from ttplan.model.plan import Projection
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.capabilities import Capabilities, ModelFacts
from ttplan.model.request import RequestLog
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import sort_by_precedence
from ttplan.workspace import Workspace

PRICING = {
    "openai:gpt-4o-mini": ModelPricing(
        input_per_million=Decimal("0.15"), output_per_million=Decimal("0.6")
    ),
    "anthropic:claude-haiku": ModelPricing(
        input_per_million=Decimal("1"), output_per_million=Decimal("5")
    ),
}
END = START + timedelta(seconds=60)


def suggest_for(
    rows: Sequence[RequestLog], targets: Sequence[str] = ("gpt-4o-mini",), **options: object
) -> Suggestions:
    """What a log suggests, with the prices above."""
    fixed: dict[str, object] = {"prices": PRICING, "org_id": ORG}
    return suggest(to_table(rows, threads=1), targets, **(fixed | options))  # type: ignore[arg-type]


def row(number: int, **changes: object) -> RequestLog:
    """A request that costs ten times what gpt-4o-mini would."""
    fields: dict[str, object] = {
        "id": UUID(int=number + 1),
        "org_id": ORG,
        "ts": START + timedelta(seconds=number),
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 100,
        "cached_tokens": 0,
        "cost_usd": Decimal("0.0021"),
        "baseline_cost_usd": Decimal("0.0021"),
        "cached": False,
        "latency_ms": 500,
        "status": 200,
        "tag": "chat",
    }
    return RequestLog(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, sample_store: Path) -> Workspace:
    """A workspace with the sample log."""
    return opened(Path(shutil.copy(sample_store, tmp_path_factory.mktemp("suggest"))))


# --- the figures ----------------------------------------------------------------------------------


CASES = st.tuples(
    strategies.requests(max_size=24),
    strategies.pricing,
    st.lists(st.sampled_from([*strategies.MODELS, "small", "unpriced"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(DIMENSIONS), min_size=1),
    st.sampled_from([0.0, 0.01, 0.3]),
)
Case = tuple[tuple[RequestLog, ...], dict[str, ModelPricing], list[str], list[str], float]


@settings(max_examples=8, deadline=None)
@given(CASES)
def test_a_row_loop_gives_the_same(case: Case) -> None:
    check_with_row_loop(*case)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(CASES)
def test_a_row_loop_gives_the_same_for_100_logs(case: Case) -> None:
    check_with_row_loop(*case)


def check_with_row_loop(
    rows: tuple[RequestLog, ...],
    pricing: dict[str, ModelPricing],
    targets: list[str],
    by: list[str],
    min_share: float,
) -> None:
    table = to_table(rows, threads=1)
    priced = sorted({t for t in targets if oracle.price_of(pricing, "any", t) is not None})
    options = {
        "org_id": ORG,
        "window_start": START,
        "window_end": END,
        "min_share": min_share,
        "limit": 1000,
    }
    if not priced:
        with pytest.raises(InputError, match="no price for any of the target models"):
            suggest(table, targets, by, pricing, **options)  # type: ignore[arg-type]
        return
    suggestions = suggest(table, targets, by, pricing, **options)  # type: ignore[arg-type]
    kept = [r for r in rows if START <= r.ts < END and r.org_id == ORG]
    assert suggestions.requests == len(kept)
    if not kept:
        assert (suggestions.items, suggestions.split_at, suggestions.candidates) == ((), None, 0)
        return
    unit = suggestions.interval_unit
    assert suggestions.split_at == oracle_suggest.split(kept, unit)
    first, second = oracle_suggest.halves(kept, unit)
    for item in suggestions.items:
        assert item.route.then.target_model in priced
        whole, selected, held_out = (
            oracle_suggest.figures(item.route, part, pricing) for part in (kept, first, second)
        )
        assert (item.requests, item.baseline_cost_usd) == (whole.requests, whole.baseline)
        assert (item.actual_cost_usd, item.projected_cost_usd) == (whole.actual, whole.projected)
        assert item.selected_savings_usd == selected.saved > 0
        assert (item.heldout_requests, item.heldout_cost_usd) == (
            held_out.requests,
            held_out.actual,
        )
        assert item.heldout_savings_usd == held_out.saved
        assert not item.confirmed  # of at most 24 requests
    assert all(sum(oracle.matches(i.route, r) for i in suggestions.items) <= 1 for r in kept), (
        "two routes match one request"
    )
    ranked = [item.selected_savings_usd for item in suggestions.items]
    assert ranked == sorted(ranked, reverse=True)
    charge = Decimal(
        int(sum((r.cost_usd for r in first), Decimal(0)).scaleb(12) * Decimal(min_share))
    ).scaleb(-12)
    worth, count = oracle_suggest.best(kept, priced, by, pricing, charge, unit)
    assert sum(ranked, Decimal(0)) - charge * len(ranked) == worth
    assert len(suggestions.items) == count


@settings(max_examples=5, deadline=None)
@given(strategies.requests(max_size=16), strategies.pricing, st.integers(0, 2**32))
def test_replaying_all_suggestions_gives_their_figures(
    rows: tuple[RequestLog, ...], pricing: dict[str, ModelPricing], seed: int
) -> None:
    priced = pricing | PRICING
    suggestions = suggest(
        to_table(rows, threads=1),
        ["gpt-4o-mini", "small", "claude-haiku"],
        prices=priced,
        org_id=ORG,
        min_share=0,
    )
    routes = [item.route for item in suggestions.items]
    Random(seed).shuffle(routes)
    result = replay_table(
        to_table(rows, threads=1), routes, priced, org_id=ORG, bootstrap_iterations=1
    )
    replayed = {
        p.route_id: (p.matched, p.baseline_cost_usd, p.projected_cost_usd)
        for p in result.per_route_breakdown
    }
    assert replayed == {
        i.route.id: (i.requests, i.baseline_cost_usd, i.projected_cost_usd)
        for i in suggestions.items
    }
    saved = sum(
        (i.selected_savings_usd + i.heldout_savings_usd for i in suggestions.items), Decimal(0)
    )
    assert result.aggregates.change_vs_actual_usd == saved


@pytest.mark.parametrize("projection", ["reference", "full"])
def test_replaying_a_suggestion_on_the_held_out_half_agrees(
    sample: Workspace, projection: Projection
) -> None:
    suggestions = sample.suggest(
        ["gpt-4o-mini", "claude-haiku-4-5"], min_share=0.001, projection=projection
    )
    assert suggestions.result.split_at is not None
    for item in suggestions:
        with sample.store.read() as snapshot:
            result = replay_table(
                snapshot.requests(),
                [item.route],
                {
                    "openai:gpt-4o-mini": ttplan.ModelPricing(
                        input_per_million=0.15,
                        output_per_million=0.6,
                        cached_input_per_million=0.075,
                    )
                },
                ttplan.PlanConfig(projection=projection, cluster=item.interval_unit),
                org_id=suggestions.result.org_id,
                window_start=suggestions.result.split_at,
                window_end=suggestions.result.window_end,
                interval_method="hall",
            )
        assert result.sample_size == suggestions.result.heldout_requests
        # Of a full projection a factor and a rest are those of the rows that are replayed.
        assert result.aggregates.change_vs_actual_usd == pytest.approx(
            item.heldout_savings_usd, rel=Decimal("0.001") if projection == "full" else 0
        )
        assert result.confidence_intervals.change_vs_actual_usd_95 == pytest.approx(
            item.heldout_savings_usd_95, rel=1e-4 if projection == "reference" else 1e-3
        )


def test_a_price_of_the_requests_own_provider_comes_first() -> None:
    prices = {
        "azure:m": ModelPricing(input_per_million=Decimal(100), output_per_million=Decimal(100)),
        "openai:m": ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(1)),
    }
    mixed = [
        row(n, provider="openai" if n % 2 else "azure", model="a" if n % 2 else "b")
        for n in range(40)
    ]
    suggestions = suggest_for(mixed, ["m"], by=["model"], prices=prices)
    assert [item.route.when.model_in for item in suggestions.items] == [("a",)]
    assert suggestions.items[0].projected_cost_usd == 20 * Decimal("0.0011")


# --- what is proposed -----------------------------------------------------------------------------


def test_the_simplest_condition_that_loses_nothing_is_taken() -> None:
    rows = [
        row(n, tag=["chat", "code", None][n % 3], input_tokens=[10, 800, 3000][n // 3 % 3])
        for n in range(90)
    ]
    (item,) = suggest_for(rows).items
    assert item.route.when.model_dump(exclude_defaults=True) == {"model_in": ("gpt-4o",)}
    assert item.route.name == "gpt-4o → gpt-4o-mini"


def test_a_route_takes_only_the_sizes_that_save() -> None:
    # What is paid does not depend on the size here, so short requests are cheaper on the target and
    # long ones dearer.
    rows = [
        row(n, input_tokens=[100, 300, 1000, 40_000][n % 4], cost_usd=Decimal("0.001"))
        for n in range(400)
    ]
    (item,) = suggest_for(rows, min_share=0).items
    assert item.route.when.input_tokens_gt is None
    assert item.route.when.input_tokens_lt is not None
    assert 1000 < item.route.when.input_tokens_lt <= 40_000
    assert item.requests == 300
    assert re.fullmatch(r"gpt-4o, under [\d,]+ tokens → gpt-4o-mini", item.route.name)


def test_sizes_are_cut_where_a_bound_belongs_to_the_longer_ones() -> None:
    sizes = [499, 500, 1999, 2000]
    rows = [
        row(
            n,
            input_tokens=sizes[n % 4],
            cost_usd=Decimal("0.00001") if n % 4 in (0, 3) else Decimal(1),
        )
        for n in range(400)
    ]
    (item,) = suggest_for(rows, min_share=0).items
    assert (item.route.when.input_tokens_gt, item.route.when.input_tokens_lt) == (499, 2000)
    assert item.route.name == "gpt-4o, 500 to 1,999 tokens → gpt-4o-mini"
    assert item.requests == 200


def test_each_segment_gets_the_target_that_saves_it_most() -> None:
    prices = {
        "p:reader": ModelPricing(input_per_million=Decimal("0.1"), output_per_million=Decimal(50)),
        "p:writer": ModelPricing(input_per_million=Decimal(5), output_per_million=Decimal("0.1")),
    }
    rows = [
        row(
            n,
            tag="chat" if n % 2 else "code",
            output_tokens=900 if n % 2 else 1,
            cost_usd=Decimal(1),
        )
        for n in range(80)
    ]
    suggestions = suggest_for(rows, ["reader", "writer"], prices=prices, min_share=0)
    assert {i.route.when.tag_equals: i.route.then.target_model for i in suggestions.items} == {
        "chat": "writer",
        "code": "reader",
    }


def test_untagged_requests_need_a_route_without_a_tag() -> None:
    rows = [
        row(n, tag=["chat", "code", None][n % 3], cost_usd=Decimal(1 if n % 3 != 1 else "0.00001"))
        for n in range(90)
    ]
    suggestions = suggest_for(rows, by=["tag"], min_share=0)
    assert [item.requests for item in suggestions.items] in ([90], [30])
    dear = [
        row(
            n, tag=["chat", "code", None][n % 3], cost_usd=Decimal(1 if n % 3 == 0 else "0.0000001")
        )
        for n in range(90)
    ]
    suggestions = suggest_for(dear, by=["tag"], min_share=0)
    assert [item.route.when.tag_equals for item in suggestions.items] == ["chat"]
    assert (
        "30 requests have no tag: only a route without a condition on the tag takes them."
        in suggestions.notes
    )


def test_nothing_to_save_is_one_sentence() -> None:
    shown = SuggestionsCard(suggest_for([row(n, model="gpt-4o-mini") for n in range(80)]))
    sentence = "No route to gpt-4o-mini would have saved 1 % of what was paid."
    assert shown.result.notes == (sentence,)
    assert repr(shown).splitlines()[-1].endswith(sentence)
    assert "compared" not in shown._repr_html_()


def test_what_a_target_cannot_serve_is_left_out() -> None:
    rows = [row(n, tag="long" if n % 4 == 0 else "chat", input_tokens=1_000) for n in range(400)]
    rows = [
        r.model_copy(update={"input_tokens": 500_000}) if r.tag == "long" and n % 8 else r
        for n, r in enumerate(rows)
    ]
    spec = ReplaySpec(
        UUID(int=0),
        ORG,
        START,
        START + timedelta(hours=1),
        (),
        PRICING,
        ttplan.PlanConfig(projection="full"),
        facts={"openai:gpt-4o-mini": ModelFacts(capabilities=Capabilities(context_tokens=128_000))},
    )
    suggestions = suggest_by_spec(
        to_table(rows, threads=1), spec, ["gpt-4o-mini"], ["tag", "model"], min_share=0, limit=9
    )
    assert [item.route.when.tag_equals for item in suggestions.items] == ["chat"]
    assert suggestions.items[0].unserved_requests == 0
    left_out = (
        "2 candidates are left out: their target cannot serve more than 1 % of their requests."
    )
    assert left_out in suggestions.notes


def test_older_results_keep_their_bytes() -> None:
    older: dict[str, object] = {
        "org_id": str(ORG),
        "window_start": "2026-05-01T00:00:00Z",
        "split_at": None,
        "window_end": "2026-05-02T00:00:00Z",
        "requests": 0,
        "heldout_requests": 0,
        "candidates": 0,
        "items": [],
        "notes": [],
    }
    assert Suggestions.model_validate(older).model_dump(mode="json") == older


def test_what_is_with_the_target_already_saves_nothing() -> None:
    # Recorded at a price above the list's: going to where it is would look like a saving.
    rows = [row(n, model="gpt-4o-mini") for n in range(80)]
    for by in (["model"], ["tag"], DIMENSIONS):
        assert suggest_for(rows, by=by).items == ()


@pytest.mark.parametrize(
    "by", [["tag"], ["model"], ["input_tokens"], ["model", "tag"], ["tag", "input_tokens"], "tag"]
)
def test_conditions_are_only_on_what_is_asked_for(by: list[str] | str) -> None:
    rng = Random(5)
    rows = [
        row(
            n,
            model=rng.choice(["a", "b"]),
            tag=rng.choice(["x", "y", None]),
            input_tokens=rng.choice([50, 700, 9000]),
            cost_usd=Decimal(rng.randrange(1, 3000)).scaleb(-6),
        )
        for n in range(300)
    ]
    suggestions = suggest_for(rows, by=by, min_share=0)
    used = {
        name
        for item in suggestions.items
        for name in item.route.when.model_dump(exclude_defaults=True)
    }
    names = {
        "tag_equals": "tag",
        "model_in": "model",
        "input_tokens_lt": "input_tokens",
        "input_tokens_gt": "input_tokens",
    }
    assert suggestions.items
    assert {names[name] for name in used} <= set([by] if isinstance(by, str) else by)


def test_min_share_and_limit_leave_routes_out() -> None:
    rows = [row(n, model=f"m{n % 4}", cost_usd=Decimal(10 ** (n % 4))) for n in range(400)]
    assert len(suggest_for(rows, min_share=0).items) == 4
    assert [i.route.when.model_in for i in suggest_for(rows, min_share=0.05).items] == [
        ("m3",),
        ("m2",),
    ]
    cut = suggest_for(rows, min_share=0, limit=1)
    assert [i.route.when.model_in for i in cut.items] == [("m3",)]
    assert (
        "3 more routes were found, which save less than these; a higher limit shows them."
        in cut.notes
    )


def test_more_tags_than_are_told_apart_still_add_up() -> None:
    count = MOST_TAGS + 30
    rows = [row(n, tag=f"t{n % count}", cost_usd=Decimal(1 + n % count)) for n in range(4 * count)]
    dear = [r if r.cost_usd > 100 else r.model_copy(update={"cost_usd": Decimal(0)}) for r in rows]
    whole = suggest_for(rows)
    assert [(i.route.when.tag_equals, i.requests) for i in whole.items] == [(None, 4 * count)]
    parts = suggest_for(dear, by=["tag"], min_share=0, limit=1000)
    assert any(
        f"Only the {MOST_TAGS} most costly tags are told apart" in note for note in parts.notes
    )
    assert len(parts.items) == 30
    for item in parts.items:
        figures = oracle_suggest.figures(item.route, dear, PRICING)
        assert (item.requests, item.projected_cost_usd) == (figures.requests, figures.projected)


def test_a_target_without_a_price_is_never_proposed() -> None:
    suggestions = suggest_for([row(n) for n in range(40)], ["gpt-4o-mini", "nobody's"])
    assert {item.route.then.target_model for item in suggestions.items} == {"gpt-4o-mini"}
    assert suggestions.notes == ("No price for nobody's: nothing is proposed for it.",)


def test_a_price_of_one_provider_only_prices_no_route() -> None:
    # The key is of model `ft:m`; as `provider:target` it also names target `m` for a provider
    # called `azure:ft`.
    prices = PRICING | {
        "azure:ft:m": ModelPricing(input_per_million=Decimal(0), output_per_million=Decimal(0))
    }
    suggestions = suggest_for([row(n) for n in range(40)], ["gpt-4o-mini", "m"], prices=prices)
    assert {item.route.then.target_model for item in suggestions.items} == {"gpt-4o-mini"}
    assert suggestions.notes == ("No price for m: nothing is proposed for it.",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_models": []}, "target_models names no model"),
        ({"target_models": [""]}, "target_models names no model"),
        ({"by": []}, "by is empty; expected one or more of tag, model, input_tokens"),
        (
            {"by": ["tag", "hour"]},
            "by has 'hour'; expected one or more of tag, model, input_tokens",
        ),
        ({"target_models": ["nothing"]}, "no price for any of the target models nothing"),
        ({"prices": None}, "no price for any"),
        ({"min_share": float("nan")}, "min_share is nan; expected a share from 0 to 1"),
        ({"min_share": -0.1}, "expected a share"),
        ({"limit": 0}, "limit is 0; expected at least 1"),
        ({"window_start": END, "window_end": START}, "expected window_start < window_end"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    changes: dict[str, object], message: str
) -> None:
    options = {"target_models": ["gpt-4o-mini"], "prices": PRICING, "org_id": ORG} | changes
    with pytest.raises(InputError, match=re.escape(message)):
        suggest(to_table([row(1)]), **options)  # type: ignore[arg-type]


def test_a_table_without_what_a_replay_reads_is_refused() -> None:
    with pytest.raises(InputError, match="the table has no column tag"):
        suggest(to_table([row(1)]).drop("tag"), ["gpt-4o-mini"], prices=PRICING, org_id=ORG)


def test_an_empty_log_suggests_nothing() -> None:
    suggestions = suggest_for([row(1, org_id=OTHER_ORG)], window_start=START, window_end=END)
    assert (suggestions.items, suggestions.requests, suggestions.split_at) == ((), 0, None)
    assert suggestions.notes == (
        "1 requests of another organisation left out.",
        "There are no requests in the window.",
    )
    assert "no route is suggested" in repr(SuggestionsCard(suggestions))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_log_of_few_rows_confirms_nothing(count: int) -> None:
    suggestions = suggest_for([row(n) for n in range(count)])
    assert suggestions.heldout_requests == count - count // 2
    assert suggestions.routes == ()
    assert [item.note for item in suggestions.items] == [
        f"too few to confirm: {count - count // 2} requests in the held-out half, fewer than 200"
    ] * (count > 1)


def test_a_burst_is_never_cut_in_two() -> None:
    rows = [row(n, ts=START if n < 10 else START + timedelta(seconds=1)) for n in range(100)]
    suggestions = suggest_for(rows)
    assert suggestions.split_at == START + timedelta(seconds=1)
    assert suggestions.heldout_requests == 90
    assert suggest_for([row(n, ts=START) for n in range(10)]).items == ()


# --- chance ---------------------------------------------------------------------------------------


def fair(seed: int, tags: int = 40, rows: int = 400) -> list[RequestLog]:
    """A log on which no route truly saves: each tag's requests cost on average what they would on
    the target."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-900, 901, (rows, tags))
    first = row(0)
    return [
        first.model_copy(
            update={
                "id": UUID(int=i * tags + tag + 1),
                "ts": START + timedelta(seconds=i * tags + tag),
                "tag": f"t{tag}",
                "cost_usd": Decimal(210_000 + 100 * int(noise[i, tag])).scaleb(-9),
            }
        )
        for i in range(rows)
        for tag in range(tags)
    ]


@pytest.mark.parametrize("logs", [2, pytest.param(6, marks=pytest.mark.statistics)])
def test_the_winners_curse_does_not_show_as_savings(logs: int) -> None:
    items = [
        item
        for seed in range(logs)
        for item in suggest_for(fair(seed), by=["tag"], min_share=0, limit=1000).items
    ]
    tags = [item for item in items if item.route.when.tag_equals is not None]
    # About half of 40 tags in each log look like savings in the half that chooses.
    assert len(tags) > 80 * logs / 6
    selected = sum(float(item.selected_savings_usd) for item in tags)
    held_out = sum(float(item.heldout_savings_usd) for item in tags)
    # The noise is uniform within ± 0.00009 USD a request, whose standard deviation is that over √3.
    error = 0.00009 / 3**0.5 * (sum(item.heldout_requests for item in tags)) ** 0.5
    assert selected > 8 * (logs / 6) ** 0.5 * error
    assert abs(held_out) < 3 * error
    confirmed = sum(item.confirmed for item in tags)
    assert confirmed <= 0.025 * len(tags) + 3 * (0.025 * 0.975 * len(tags)) ** 0.5
    covered = sum(
        item.heldout_savings_usd_95[0] <= 0 <= item.heldout_savings_usd_95[1] for item in tags
    )
    assert covered >= 0.95 * len(tags) - 3 * (0.95 * 0.05 * len(tags)) ** 0.5


def test_a_true_saving_is_confirmed_beside_them() -> None:
    rows = [
        r if r.tag != "t7" else r.model_copy(update={"cost_usd": r.cost_usd * 2}) for r in fair(9)
    ]
    suggestions = suggest_for(rows, by=["tag"], min_share=0, limit=1000)
    assert "t7" in {route.when.tag_equals for route in suggestions.routes}
    (item,) = [item for item in suggestions.items if item.route.when.tag_equals == "t7"]
    low, high = item.heldout_savings_usd_95
    assert low < float(item.heldout_savings_usd) < high
    assert item.note == ""


def test_what_one_request_carries_is_not_confirmed() -> None:
    rows = [row(n, cost_usd=Decimal(5000 if n in (100, 900) else "0.00021")) for n in range(1200)]
    (item,) = suggest_for(rows).items
    assert not item.confirmed
    assert (
        item.note
        == "too few to confirm: a few requests carry most of the change in the held-out half"
    )


def test_a_saving_that_ended_is_not_confirmed() -> None:
    rows = [row(n, cost_usd=Decimal("0.0021" if n < 600 else "0.0001")) for n in range(1200)]
    (item,) = suggest_for(rows).items
    assert (item.confirmed, item.note) == (False, "the held-out half saves nothing")
    assert item.heldout_savings_usd < 0 < item.selected_savings_usd
    shown = SuggestionsCard(suggest_for(rows))
    low, high = (-end for end in reversed(item.heldout_savings_usd_95))
    words = f"costs more: {-item.heldout_savings_usd:.6f} USD {low:.6f} to {high:.6f} USD"
    assert words in " ".join(repr(shown).split())
    assert words.partition(" USD ")[0] in shown._repr_html_()


@pytest.mark.parametrize("seed", [0, 1])
def test_row_order_and_threads_change_no_byte(seed: int) -> None:
    rows = list(fair(3, tags=20, rows=200))
    first = suggest_for(rows, by=["tag", "input_tokens"], min_share=0).model_dump_json()
    Random(seed).shuffle(rows)
    repeated = suggest(
        to_table(rows, threads=2),
        ["gpt-4o-mini"],
        ["input_tokens", "tag"],
        PRICING,
        org_id=ORG,
        min_share=0,
    ).model_dump_json()
    assert first == repeated
    assert '"tag_equals":"t' in first


def test_the_same_route_has_the_same_id_in_every_log() -> None:
    first, second = (
        suggest_for([row(n) for n in range(10)]),
        suggest_for([row(n, cost_usd=Decimal(7)) for n in range(30)]),
    )
    assert first.items[0].route.id == second.items[0].route.id


# --- as a person sees it --------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE requests; --",
    "a\nb\t\x00c",
    "",
    " ",
    "1e3",
    "null",
    "x" * 60 + "1",
    "x" * 60 + "2",
    "{{7*7}} ${x} \u202e ‮ 🦆",
    "# not a comment: - [a, *b, &c]",
]


def hostile(tags: Sequence[str] = HOSTILE) -> Suggestions:
    """Suggestions for tags that nobody would choose, one of which does not save."""
    all_tags = [*tags, "loses"]
    costs = {"loses": Decimal("0.0000001")}
    rows = [
        row(n, tag=tag, cost_usd=costs.get(tag, Decimal(1))) for n, tag in enumerate(all_tags * 420)
    ]
    return suggest_for(rows, by=["tag"], min_share=0, limit=100)


def test_hostile_tags_are_matched_named_apart_and_escaped(tmp_path: Path) -> None:
    suggestions = hostile([tag for tag in HOSTILE if "\x00" not in tag])
    routes = suggestions.routes
    assert {route.when.tag_equals for route in routes} == set(HOSTILE) - {"a\nb\t\x00c"}
    assert len({route.name for route in routes}) == len(routes)
    assert all(route.name.isprintable() for route in routes)
    shown = SuggestionsCard(suggestions)
    html = shown._repr_html_()
    assert "<script" not in html
    assert escape("<script>alert(1)</script>") in html
    assert max(map(len, repr(shown).splitlines())) <= 80
    path = tmp_path / "routes.yaml"
    shown.to_yaml(path)
    assert read_plan_file(path).routes == routes


def test_a_card_says_the_window_the_halves_and_the_unit(sample: Workspace) -> None:
    suggestions = sample.suggest(["gpt-4o-mini", "claude-haiku-4-5", "never-heard-of"])
    text = " ".join(repr(suggestions).split())
    assert "3 routes suggested, 3 confirmed" in text
    assert (
        "Chosen by the requests from 2023-11-16 18:15 to 2023-11-16 18:43 UTC, and checked on those"
        in text
    )
    assert "Savings are USD in that held-out half, against what was paid" in text
    assert "No price for never-heard-of: nothing is proposed for it." in text
    assert "saves 29.60 USD 25.97 to 33.61 USD" in text
    assert "3 of them checked. 95 % intervals by method hall, resampling by minute" in text
    assert "1.7 % of them would be confirmed by chance, and any with a probability of 5 %" in text
    assert max(map(len, repr(suggestions).splitlines())) <= 80
    html = suggestions._repr_html_()
    assert "25.97 to 33.61 USD" in html
    assert 'role="group"' in html
    assert len(suggestions) == 3
    assert [item.route for item in suggestions] == list(suggestions.routes)
    assert isinstance(suggestions[0], Suggestion)


def test_an_unconfirmed_route_is_shown_as_such_and_not_handed_on() -> None:
    suggestions = SuggestionsCard(suggest_for([row(n) for n in range(100)]))
    assert suggestions.routes == ()
    text = " ".join(repr(suggestions).split())
    assert re.search(r"not confirmed: \d+ requests in the held-out half", text)
    assert "not confirmed: " in suggestions._repr_html_()
    assert "too few to confirm" not in text
    assert suggestions.to_yaml().endswith("routes: []\n")


# --- as a plan ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_suggestions_are_edited_and_replayed_as_any_plan(
    sample: Workspace, tmp_path: Path
) -> None:
    suggestions = sample.suggest(
        ["gpt-4o-mini"], by=["tag", "model", "input_tokens"], min_share=0.001
    )
    path = tmp_path / "routes.yaml"
    text = suggestions.to_yaml(path)
    assert path.read_text() == text
    assert text.startswith("# Routes suggested by the requests from 2023-11-16")
    assert read_plan_file(path).routes == suggestions.routes
    made = sample.plan(path, name="as suggested")
    saved = sum((i.selected_savings_usd + i.heldout_savings_usd for i in suggestions), Decimal(0))
    assert made.result.aggregates.change_vs_actual_usd == saved
    path.write_text(text.replace("gpt-4o-mini\n", "claude-haiku-4-5\n"))
    assert sample.plan(path, name="edited").result.aggregates.change_vs_actual_usd < saved
    with pytest.raises(InputError, match="exists already"):
        suggestions.to_yaml(path)
    suggestions.to_yaml(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["routes.yaml"]


def test_priorities_fall_with_the_rank(sample: Workspace) -> None:
    suggestions = sample.suggest(["gpt-4o-mini", "claude-haiku-4-5"], min_share=0)
    assert sort_by_precedence(suggestions.routes) == list(suggestions.routes)
    assert all(a.priority > b.priority for a, b in pairwise(suggestions.routes))


def test_a_window_and_prices_of_ones_own_are_used(sample: Workspace) -> None:
    whole = sample.suggest("gpt-4o-mini", by="tag")
    assert whole.result.split_at is not None
    half = sample.suggest(
        "gpt-4o-mini", by="tag", window=(whole.result.window_start, whole.result.split_at)
    )
    assert half.result.requests == whole.result.requests - whole.result.heldout_requests
    own = {
        "openai:gpt-4o-mini": ModelPricing(
            input_per_million=Decimal(10**6), output_per_million=Decimal(10**6)
        )
    }
    assert len(sample.suggest("gpt-4o-mini", by="tag", prices=own)) == 0
    with pytest.raises(
        InputError, match=r"the window's start is .* expected a timezone-aware datetime"
    ):
        sample.suggest("gpt-4o-mini", window=(START.replace(tzinfo=None), START))


def test_a_store_without_requests_says_what_to_do(tmp_path: Path) -> None:
    for org in (None, ORG):
        empty = opened(tmp_path / f"{org}.duckdb", org_id=org)
        with pytest.raises(InputError, match="no requests to replay; import a log first"):
            empty.suggest(["gpt-4o-mini"])


@settings(max_examples=12, deadline=None)
@given(
    strategies.routes(),
    st.lists(st.text(min_size=1), min_size=4, max_size=4, unique=True),
    st.text(),
)
def test_a_plan_file_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    routes: tuple[ttplan.ProposedRoute, ...],
    names: list[str],
    heading: str,
) -> None:
    named = [
        route.model_copy(
            update={"name": name, "when": route.when.model_copy(update={"tag_equals": name})}
        )
        for route, name in zip(routes, names, strict=False)
    ]
    path = tmp_path_factory.mktemp("yaml") / "routes.yaml"
    if any(
        len(str(b)) > 17
        for r in named
        for b in (r.when.estimated_cost_gt, r.when.estimated_cost_lt, r.then.max_cost_usd)
    ):
        return
    write_plan_file(path, named, ttplan.PlanConfig(l1_ttl_seconds=5), heading=heading)
    assert read_plan_file(path) == (tuple(named), ttplan.PlanConfig(l1_ttl_seconds=5), ())


def test_a_bound_that_yaml_would_cut_is_refused() -> None:
    (route,) = plan(log(1, 1)).proposed_routes
    bound = Decimal("0.12345678901234567890123")
    with pytest.raises(InputError, match=r"'chat to mini': the bound .* has more digits"):
        plan_yaml(
            [
                route.model_copy(
                    update={"when": route.when.model_copy(update={"estimated_cost_gt": bound})}
                )
            ]
        )
