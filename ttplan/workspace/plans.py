"""Verbs on plans that change nothing but the plan: replay, suggest, back-test, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.display.plan import Plan
from ttplan.model.audit import Actor
from ttplan.model.errors import InputError
from ttplan.model.plan import DEFAULT_BOOTSTRAP_ITERATIONS, IntervalMethod, PlanConfig
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.backtest import BacktestCard
    from ttplan.display.suggestions import SuggestionsCard
    from ttplan.quality.protocols import Judge, Proposer, QualitySettings


class PlanVerbs(Wiring):
    """What if: plans, suggestions, back-tests, quality."""

    def plan(
        self,
        routes: PathLike | Sequence[ProposedRoute],
        *,
        name: str,
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        config: PlanConfig | None = None,
        seed: int = 0,
        bootstrap_iterations: int = DEFAULT_BOOTSTRAP_ITERATIONS,
        interval_method: IntervalMethod = "auto",
        allow_unpriced: bool = False,
        requests: PathLike | Sequence[PathLike] | None = None,
        memory_limit: str | None = None,
        author: Actor | None = None,
        progress: bool | None = None,
    ) -> Plan:
        """Replay the logged requests against `routes` (a YAML file, or routes), and keep the result as a projected plan.

        `window` is (inclusive, exclusive), the whole log where it is left out. `prices` are one's own, over the catalogue's of
        today. `requests` are Parquet files in our column names (a path, a glob, a folder, or several) that are replayed where
        they are, instead of the imported ones, in at most `memory_limit` ("2GB") of DuckDB's memory. `author` is who makes the
        plan, where others shall approve it. `progress` of None shows a bar on a terminal or in a notebook.

        Raises InputError where something cannot be used, a target model without a price unless `allow_unpriced`, and
        KeyboardInterrupt at an interrupt; nothing is written then. A replay that breaks by itself is kept as a failed plan, with
        its reason: ReplayFailed, or DataError where a logged value is the reason.
        """
        from ttplan.operations.plans.replay import ReplayOptions, read_routes
        from ttplan.operations.plans.stored_plans import Elsewhere, Made, make_plan

        if not name.strip():
            raise InputError("a plan needs a name; expected some text")
        if memory_limit is not None and requests is None:
            raise InputError(
                "memory_limit is for requests that are replayed where they are; give `requests`, too"
            )
        options = ReplayOptions(
            *read_routes(routes, config),
            plan_id=self._new_id(),
            prices_at=self._clock(),
            window=window,
            prices=prices,
            seed=seed,
            bootstrap_iterations=bootstrap_iterations,
            interval_method=interval_method,
            allow_unpriced=allow_unpriced,
        )
        run = make_plan(
            self.store,
            options,
            lambda: Made(name, self._clock(), self._new_nonce(), author),
            log=self._name,
            elsewhere=None if requests is None else Elsewhere(requests, memory_limit),
            new_id=self._new_org,
            progress=progress,
        )
        return Plan(run)

    def suggest(
        self,
        target_models: Sequence[str],
        by: Sequence[str] = ("tag", "model", "input_tokens"),
        *,
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        min_share: float = 0.01,
        limit: int = 20,
    ) -> SuggestionsCard:
        """Propose routes to `target_models`, ranked by projected savings, with conditions on the dimensions `by`.

        The first half of the window chooses, the second confirms; what is shown are the second's figures. `routes` of what is
        returned are the confirmed ones, to edit (`to_yaml`) and to `plan` with. `window` and `prices` as in `plan`; each route
        earns at least `min_share` (0..1) of the cost. Raises InputError where something cannot be used, or nothing has a price.
        """
        from ttplan.display.suggestions import SuggestionsCard
        from ttplan.operations.plans.replay import suggest_routes

        targets = [target_models] if isinstance(target_models, str) else list(target_models)
        with self.store.read() as snapshot:
            org_id, at = self._org(snapshot), self._clock()
            return SuggestionsCard(
                suggest_routes(
                    snapshot.requests(),
                    targets,
                    by,
                    window,
                    prices,
                    at,
                    org_id,
                    self._name,
                    min_share=min_share,
                    limit=limit,
                )
            )

    def backtest(
        self,
        routes: PathLike | Sequence[ProposedRoute],
        *,
        period: timedelta = timedelta(days=7),
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        config: PlanConfig | None = None,
        interval_method: IntervalMethod = "auto",
        allow_unpriced: bool = False,
    ) -> BacktestCard:
        """Replay `routes` on each whole `period` of the log, and hold each one's intervals against the period after it.

        `window`, `prices` and `allow_unpriced` as in `plan`; nothing is stored. Raises InputError where something cannot be used,
        or the log has not two whole periods.
        """
        from ttplan.display.backtest import BacktestCard
        from ttplan.operations.plans.replay import ReplayOptions, backtest_log, read_routes

        options = ReplayOptions(
            *read_routes(routes, config),
            plan_id=self._new_id(),
            prices_at=self._clock(),
            window=window,
            prices=prices,
            interval_method=interval_method,
            allow_unpriced=allow_unpriced,
        )
        with self.store.read() as snapshot:
            return BacktestCard(
                backtest_log(snapshot.requests(), options, self._org(snapshot), self._name, period)
            )

    def check_quality(
        self,
        plan: Plan | UUID | str,
        *,
        judge: Judge,
        proposer: Proposer,
        budget_usd: Decimal | float,
        allow_bodies: bool = False,
        sample_size: int = 200,
        seed: int = 0,
        settings: QualitySettings | None = None,
        progress: bool | None = None,
    ) -> Plan:
        """Have a sample of what a plan reroutes answered by its new models and judged, and keep the result with the plan.

        Recorded prompts and answers are sent to `proposer` and `judge` (`ttplan.ChatProposer` and `ChatJudge` are ready), which
        has to be allowed with `allow_bodies=True`. `settings` has further limits. An interrupt keeps what was scored by then.
        Raises InputError before anything is sent where the budget would not do, or something is not known.
        """
        from ttplan.operations.plans.quality import check_quality, limits_of
        from ttplan.util.monitor import show_progress

        run = self.get(plan.plan_id if isinstance(plan, Plan) else plan).run
        limits = limits_of(settings, budget_usd, allow_bodies)
        with show_progress("judging", progress, total=sample_size) as monitor:
            check_quality(
                self.store,
                run,
                judge,
                proposer,
                limits,
                sample_size=sample_size,
                seed=seed,
                progress=monitor.count,
            )
        return self.get(run.plan_id)
