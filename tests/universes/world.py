"""A world: an organisation, its log and a plan, and what the plan would really save."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import yaml

from tests.universes.gateway import Habits, Served, choose_models, serve
from tests.universes.measure import Judged, judge
from tests.universes.providers import Model
from tests.universes.recorder import Recorder, log
from tests.universes.traffic import DAY, Floats, Requests, Traffic
from ttplan.model.plan import PlanConfig
from ttplan.model.projection.assumption import Assumption, AssumptionName
from ttplan.model.route import ProposedRoute

Kind = Literal["known", "sign", "unknown"]


class Missing(NamedTuple):
    """An assumption that nobody measured, and its true value if it has one."""

    name: AssumptionName
    value: float | None = None


class Window(NamedTuple):
    """A window of a world: what happened, what would have happened, and what is known of it.

    `truth_usd` is what was really paid minus what the routes would really have cost.
    """

    seed: int
    requests: Requests
    actual: Served
    routed: Served
    assumptions: tuple[Assumption, ...]
    truth_usd: float


@dataclass(frozen=True)
class World:
    """An organisation that considers a plan.

    Parameters
    ----------
    name, about : str
    kind : {"known", "sign", "unknown"}
        `known`: log, price and facts files and judged answers tell what the plan saves; `sign`:
        they tell whether it saves; `unknown`: they do not, since an assumption is `missing`.
    flat : {"high", "low", "right"}
        Whether savings at three flat rates are too high, too low, or right.
    traffic : callable
        Draws the requests of a window.
    models : sequence of Model
        `Requests.source` are positions here.
    routes : sequence of ProposedRoute
    config : PlanConfig
    habits, recorder
        How the organisation uses its gateway, and what that logs.
    factors : sequence of float, optional
        What is paid for each model, to its list price.
    judged : sequence of Judged
        What judged answers measure.
    given : sequence of Assumption
        What the user says.
    missing : Missing, optional
    plan_day : float
        When the plan is made: days after `START`.
    at_plan_prices : bool
        Whether the truth is about the prices of that day.
    beside : bool
        Whether that is shown beside the headline: savings at the plan's prices.
    files : bool
        Whether the user gives prices and facts; the catalogues know the models otherwise.
    cost : {"recorded", "doctor"}
        How costs are imported.
    """

    name: str
    about: str
    kind: Kind
    flat: Literal["high", "low", "right"]
    traffic: Traffic
    models: Sequence[Model]
    routes: Sequence[ProposedRoute]
    config: PlanConfig = PlanConfig()  # noqa: RUF009
    habits: Habits = Habits()  # noqa: RUF009
    recorder: Recorder = Recorder()  # noqa: RUF009
    factors: Sequence[float] = ()
    judged: Sequence[Judged] = ()
    given: Sequence[Assumption] = ()
    missing: Missing | None = None
    plan_day: float = 31
    at_plan_prices: bool = False
    beside: bool = False
    files: bool = True
    cost: Literal["recorded", "doctor"] = "recorded"

    def window(self, seed: int) -> Window:
        """The window that a seed draws."""
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        requests = self.traffic(rng)
        actual, routed = self._serve(requests)
        chosen, _ = choose_models(requests, self.models, self.routes)
        measured = [
            judge(judged, requests, self.models, chosen, self.habits.redo, rng)
            for judged in self.judged
        ]
        return Window(
            seed,
            requests,
            actual,
            routed,
            (*self.given, *measured),
            self._saving(actual, routed),
        )

    def savings(self, windows: int) -> Floats:
        """What the plan saves in each of some windows that nobody logged, in USD."""
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), 2**31])
        return np.array([self._saving(*self._serve(self.traffic(rng))) for _ in range(windows)])

    def log(self, window: Window) -> pa.Table:
        """What the gateway logged of a window."""
        served = (
            serve(window.requests, self.models, window.requests.source, self.habits)
            if self.at_plan_prices
            else window.actual
        )
        factors = self._factors
        return log(window.requests, self.models, served, factors, self.recorder, f"w{window.seed}")

    def price_file(self) -> str:
        """The prices of its models."""
        return yaml.safe_dump(
            {m.key: m.price_fields() for m in self.models if m.listed}, sort_keys=False
        )

    def facts_file(self) -> str:
        """The limits and cache rules of its models."""
        return yaml.safe_dump({m.key: m.fact_fields() for m in self.models}, sort_keys=False)

    @property
    def _factors(self) -> Sequence[float]:
        return self.factors or [1.0] * len(self.models)

    def _serve(self, requests: Requests) -> tuple[Served, Served]:
        at = self.plan_day * DAY if self.at_plan_prices else None
        chosen, bypasses = choose_models(requests, self.models, self.routes)
        routed = requests.change(hit=requests.hit & ~bypasses)
        return (
            serve(requests, self.models, requests.source, self.habits, prices_at=at),
            serve(routed, self.models, chosen, self.habits, prices_at=at),
        )

    def _saving(self, actual: Served, routed: Served) -> float:
        return (actual.paid(self._factors) - routed.paid(self._factors)) / 10**12
