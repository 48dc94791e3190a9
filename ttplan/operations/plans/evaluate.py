"""Propose routes, and back-test them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from ttplan.model.plan import IntervalMethod, PlanConfig, Projection
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.projection.capabilities import ModelFacts
from ttplan.model.results.backtest import Backtest
from ttplan.model.results.suggestion import Suggestions
from ttplan.model.route import ProposedRoute
from ttplan.operations.context import Context
from ttplan.operations.filters import TimeWindow, parse_window
from ttplan.util.paths import PathLike


def suggest(
    context: Context,
    target_models: str | Sequence[str],
    by: Sequence[str] = ("tag", "model", "input_tokens"),
    *,
    window: TimeWindow | None = None,
    prices: PathLike | Mapping[str, ModelPricing] | None = None,
    facts: PathLike | Mapping[str, ModelFacts] | None = None,
    projection: Projection = "full",
    min_share: float = 0.01,
    limit: int = 20,
) -> Suggestions:
    """Propose routes to cheaper models, ranked by projected savings.

    The first half of the window chooses the routes, the second half confirms them. The figures are
    those of the second half. Sessions, or other units by which savings vary, are in one half as a
    whole. The probability that any route that saves nothing is confirmed is at most 5 %.

    Parameters
    ----------
    target_models : str or sequence of str
        The models that requests may be rerouted to.
    by : sequence of str, default ("tag", "model", "input_tokens")
        The dimensions that routes may have conditions on.
    window : (time, time), optional
        As in `plan`.
    prices : path or mapping of str to ModelPricing, optional
        As in `plan`.
    facts : path or mapping of str to ModelFacts, optional
        As in `plan`.
    projection : {"full", "reference"}, default "full"
        How costs on a target are projected. What a target cannot serve saves nothing there.
    min_share : float, default 0.01
        The least share (0 to 1) of the cost that each route has to save.
    limit : int, default 20
        The most routes to propose.

    Returns
    -------
    SuggestionsCard
        The suggestions. ``routes`` are the confirmed ones, to ``plan`` with; ``to_yaml`` writes
        them to a plan file.

    Raises
    ------
    InputError
        If something cannot be used, or no target model has a price.

    Examples
    --------
    >>> suggested = ws.suggest(["gpt-4o-mini"], by=["model"])
    >>> {route.then.target_model for route in suggested.routes}
    {'gpt-4o-mini'}
    """
    from ttplan.operations.plans.replay import suggest_routes

    targets = [target_models] if isinstance(target_models, str) else list(target_models)
    with context.store.read() as snapshot:
        org_id, at = context.require_org(snapshot), context.clock()
        return suggest_routes(
            snapshot.requests(),
            targets,
            by,
            parse_window(window),
            prices,
            at,
            org_id,
            context.name,
            facts=facts,
            projection=projection,
            min_share=min_share,
            limit=limit,
        )


def backtest(
    context: Context,
    routes: PathLike | Sequence[ProposedRoute],
    *,
    period: timedelta = timedelta(days=7),
    window: TimeWindow | None = None,
    prices: PathLike | Mapping[str, ModelPricing] | None = None,
    config: PlanConfig | None = None,
    assumptions: Sequence[Assumption] = (),
    facts: PathLike | Mapping[str, ModelFacts] | None = None,
    interval_method: IntervalMethod = "auto",
    allow_unpriced: bool = False,
) -> Backtest:
    """Replay routes on each whole period of the log and compare it with the period after it.

    Nothing is stored.

    Parameters
    ----------
    routes : path or sequence of ProposedRoute
        A YAML plan file, or routes.
    period : timedelta, default 7 days
        The length of a period.
    window : (time, time), optional
        As in `plan`.
    prices : path or mapping of str to ModelPricing, optional
        As in `plan`.
    config : PlanConfig, optional
        As in `plan`.
    assumptions : sequence of Assumption, optional
        As in `plan`.
    facts : path or mapping of str to ModelFacts, optional
        As in `plan`.
    interval_method : str, optional
        As in `plan`.
    allow_unpriced : bool, default False
        As in `plan`.

    Returns
    -------
    BacktestCard
        How often the intervals of one period held in the next.

    Raises
    ------
    InputError
        If something cannot be used, or the log has less than two whole periods.

    Examples
    --------
    >>> result = ws.backtest("routes.yaml", period=timedelta(days=3)).result
    >>> [comparison.metric for comparison in result.comparisons][:2]
    ['savings_pct', 'cache_hit_rate']
    """
    from ttplan.operations.plans.assumptions import with_measured
    from ttplan.operations.plans.replay import ReplayOptions, backtest_log, read_routes

    options = ReplayOptions(
        *read_routes(routes, config, assumptions),
        plan_id=context.new_id(),
        prices_at=context.clock(),
        window=parse_window(window),
        prices=prices,
        facts=facts,
        interval_method=interval_method,
        allow_unpriced=allow_unpriced,
    )
    with context.store.read() as snapshot:
        org_id = context.require_org(snapshot)
        options = with_measured(options, snapshot, org_id)
        return backtest_log(snapshot.requests(), options, org_id, context.name, period)
