"""Cards: every figure with its unit, losses never hidden, 80 columns, and everything from outside escaped."""

from __future__ import annotations

from decimal import Decimal
from html.parser import HTMLParser

from tests import plans, universe
from tests.strategies import ORG
from ttplan.cards.plan import Plan, plan_lines
from ttplan.engine.replay import replay
from ttplan.model.plan import PlanResult
from ttplan.model.plan_run import PlanRun
from ttplan.model.pricing import ModelPricing

HOSTILE = "<img src=x onerror=alert(1)>"


def run(result: PlanResult, name: str = "p") -> PlanRun:
    return plans.run(1, name=name, result=result, org_id=ORG)


def result(price: str, name: str = "chat to mini") -> PlanResult:
    plan = universe.plan(universe.log(600, seed=1))
    route = plan.proposed_routes[0].model_copy(update={"name": name})
    pricing = {"openai:gpt-4o-mini": ModelPricing(input_per_million=Decimal(price), output_per_million=Decimal(price))}
    return replay(plan.model_copy(update={"proposed_routes": (route,), "pricing": pricing}))


def test_a_card_shows_savings_with_interval_and_unit() -> None:
    text = repr(Plan(run(result("0.15"))))
    assert "saves" in text
    headline = next(line for line in text.splitlines() if "saves" in line)
    assert headline.count("USD") == 2
    assert " to " in headline
    assert "USD less than was paid" in text
    assert "money is USD in that window" in text.replace("\n", " ")
    assert "95 % intervals by method limit, resampling by request" in text


def test_a_plan_that_costs_more_says_by_how_much() -> None:
    loss = result("900")
    assert loss.aggregates.projected_savings_usd == 0
    text = repr(Plan(run(loss)))
    assert "costs more" in text
    assert "saves  " not in text.split("route")[0]
    assert "USD more than was paid" in text
    headline = plan_lines(loss)[0]
    low, high = (float(part.replace(",", "")) for part in headline.interval.removesuffix(" USD").split(" to "))
    assert 0 < low < float(-loss.aggregates.projected_change_usd) < high


def test_a_card_fits_80_columns() -> None:
    for price in ("0.15", "900"):
        card = repr(Plan(run(result(price, name="a very long name of a route " * 5), name="n" * 70)))
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
    found = Tags(page)
    assert "img" not in found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 2
    assert "http" not in page
