"""Cards: every figure with its unit, losses never hidden, 80 columns, and everything from outside
escaped."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from functools import cache
from html import escape
from html.parser import HTMLParser
from uuid import UUID

from tests.quality import parties
from tests.support import plans, universe
from tests.support.strategies import ORG
from ttplan.display.plan import CAUSES, Plan, plan_lines
from ttplan.engine.replay import replay
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.results.quality import QualityResult, RiskBand, SampleScore, Verdict
from ttplan.model.stored_plan import StoredPlan
from ttplan.quality.assess import assess

HOSTILE = "<img src=x onerror=alert(1)>"


def run(result: PlanResult, name: str = "p") -> StoredPlan:
    return plans.run(1, name=name, result=result, org_id=ORG)


@cache
def result(price: str, name: str = "chat to mini") -> PlanResult:
    plan = universe.plan(universe.log(600, seed=1))
    route = plan.proposed_routes[0].model_copy(update={"name": name})
    pricing = {
        "openai:gpt-4o-mini": ModelPricing(
            input_per_million=Decimal(price), output_per_million=Decimal(price)
        )
    }
    return replay(plan.model_copy(update={"proposed_routes": (route,), "pricing": pricing}))


def test_a_card_shows_savings_with_interval_and_unit() -> None:
    text = repr(Plan(run(result("0.15"))))
    assert "saves" in text
    headline = next(line for line in text.splitlines() if "saves" in line)
    assert headline.count("USD") == 2
    assert " to " in headline
    assert "% of what was paid" in text
    assert "money is USD in that window" in text.replace("\n", " ")
    assert "95 % intervals by method limit, resampling by request" in text


def test_a_plan_that_costs_more_says_by_how_much() -> None:
    loss = result("900")
    assert loss.aggregates.projected_savings_usd == 0
    text = repr(Plan(run(loss)))
    assert "costs more" in text
    assert "saves  " not in text.split("route")[0]
    assert "% of what was paid" in text
    headline = plan_lines(loss)[0]
    low, high = (
        float(part.replace(",", ""))
        for part in headline.interval.removesuffix(" USD").split(" to ")
    )
    assert 0 < low < float(-loss.aggregates.projected_change_usd) < high


def test_a_card_fits_80_columns() -> None:
    for price in ("0.15", "900"):
        card = repr(
            Plan(run(result(price, name="a very long name of a route " * 5), name="n" * 70))
        )
        assert max(len(line) for line in card.splitlines()) <= 80


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_everything_from_outside_is_text_in_html() -> None:
    page = Plan(run(result("0.15", name=HOSTILE), name=HOSTILE))._repr_html_()
    tags = Tags(page)
    assert "img" not in tags.tags
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 2
    assert "http" not in page


def deep(**config: object) -> PlanResult:
    """A result with everything that a card can show."""
    rows = tuple(
        r.model_copy(
            update={"embedding": [1.0, n % 9 / 10], "session_id": str(n % 50), "cached_tokens": 3}
        )
        for n, r in enumerate(universe.log(600, seed=2))
    )
    options = {
        "l1_ttl_seconds": 60,
        "l2_ttl_seconds": 900,
        "l2_threshold": 0.95,
        "cluster": "session_id",
    } | config
    pricing = {
        "openai:gpt-4o-mini": ModelPricing(
            input_per_million=Decimal("0.15"),
            output_per_million=Decimal("0.6"),
            cached_input_per_million=Decimal("0.07"),
        )
    }
    return replay(
        universe.plan(rows, pricing=pricing, config=PlanConfig(**options), bootstrap_iterations=100)
    )


def test_a_card_shows_cache_levels_causes_sweep_and_clusters() -> None:
    replayed = deep()
    text = repr(Plan(run(replayed)))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert re.search(r"L1 \d+\.\d %, L2 \d+\.\d %, both \d+\.\d %", text)
    assert re.search(r"clusters +50 by session_id, worth \d+ +the largest has", text)
    heads = [*CAUSES.values()][1:]
    assert [text.index(name) for name in heads] == sorted(text.index(name) for name in heads)
    for row in replayed.aggregates.l2_projections:
        assert f"{row.threshold:g}" in text.split("semantic cache")[1]
    page = Plan(run(replayed))._repr_html_()
    assert all(escape(name) in page for name in (*heads, "semantic cache", "may be wrong"))


def test_a_figure_without_an_interval_says_so() -> None:
    rows = tuple(
        r.model_copy(update={"session_id": str(n % 4)})
        for n, r in enumerate(universe.log(600, seed=2))
    )
    text = repr(Plan(run(replay(universe.plan(rows, config=PlanConfig(cluster="session_id"))))))
    assert text.count("no interval") >= 6
    assert "no intervals: too few clusters by session_id" in text


def test_quality_is_unverified_until_answers_were_compared() -> None:
    assert "UNVERIFIED: no answers were compared" in repr(Plan(run(result("0.15"))))
    scores = tuple(
        SampleScore(
            request_id=UUID(int=n),
            verdict=Verdict.DEGRADED if n < 4 else Verdict.ACCEPTABLE,
            reason="r",
        )
        for n in range(100)
    )
    checked = QualityResult(
        sample_size=100,
        acceptable_count=96,
        degraded_count=4,
        unclear_count=0,
        degraded_pct=4.0,
        degraded_pct_95=(1.6, 9.8),
        risk_band=RiskBand.LOW,
        risk_band_upper=RiskBand.MEDIUM,
        sampled_examples=scores,
        caveats=(),
        judge="j",
        proposer="p",
        seed=0,
        population=100,
        drawn=100,
        skipped=0,
        budget_usd=Decimal(1),
        cost_usd=Decimal(0),
        cost_is_estimated=False,
        calls=100,
    )
    replayed = result("0.15").model_copy(update={"quality": checked})
    card = " ".join(repr(Plan(run(replayed))).split())
    assert "LOW or MEDIUM risk: 4.0 % of 100 degraded, 1.6 to 9.8 % uncorrected" in card


def test_the_worst_group_is_on_the_card_and_all_are_in_the_text() -> None:
    tags = ["a", "b\x1b[31m", None]
    sample, requests = parties.universe(parties.request(i, tag=tags[i % 3]) for i in range(90))
    judge = parties.ScriptedJudge(lambda i: Verdict.DEGRADED if i % 6 == 1 else Verdict.ACCEPTABLE)
    quality = asyncio.run(
        assess(sample, requests, judge, parties.answer_at_once, settings=parties.settings())
    )
    plan = Plan(run(result("0.15").model_copy(update={"quality": quality})))
    card, text = repr(plan), plan.quality_text()
    assert "worst tag b\\u001b[31m: HIGH risk: 50.0 % of 30" in " ".join(card.split())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "tag b\\u001b[31m HIGH risk: 50.0 % of 30 degraded 33.2 to 66.8 %" in lines
    assert "without a tag LOW or MEDIUM risk: 0.0 % of 30 degraded 0.0 to 11.4 %" in lines
    assert max(map(len, [*card.splitlines(), *text.splitlines()])) <= 80
