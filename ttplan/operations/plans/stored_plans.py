"""Make a plan from the logged requests and keep it, and show a stored one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from ttplan.history.timeline import seen_routes
from ttplan.model.audit import Actor
from ttplan.model.errors import DataError, InputError, ReplayFailed, StoreError
from ttplan.model.plan import DEFAULT_BOOTSTRAP_ITERATIONS, IntervalMethod, PlanConfig
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption
from ttplan.model.projection.capabilities import ModelFacts
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import SeenRoute, StoredPlan
from ttplan.operations.context import Context, PlanRef, find_plan
from ttplan.operations.filters import TimeWindow, parse_window
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.paths import PathLike

if TYPE_CHECKING:
    from ttplan.engine.replay_spec import ReplayOutcome
    from ttplan.operations.plans.replay import ReplayOptions


class ExternalRequests(NamedTuple):
    """Requests that are replayed where they are: Parquet files, and DuckDB's memory ("2GB")."""

    requests: PathLike | Sequence[PathLike]
    memory_limit: str | None


def plan(
    context: Context,
    routes: PathLike | Sequence[ProposedRoute],
    *,
    name: str,
    window: TimeWindow | None = None,
    prices: PathLike | Mapping[str, ModelPricing] | None = None,
    config: PlanConfig | None = None,
    assumptions: Sequence[Assumption] = (),
    facts: PathLike | Mapping[str, ModelFacts] | None = None,
    seed: int = 0,
    bootstrap_iterations: int = DEFAULT_BOOTSTRAP_ITERATIONS,
    interval_method: IntervalMethod = "auto",
    allow_unpriced: bool = False,
    requests: PathLike | Sequence[PathLike] | None = None,
    memory_limit: str | None = None,
    author: Actor | None = None,
    progress: bool | None = None,
) -> StoredPlan:
    """Replay the logged requests against proposed routes and keep the result as a projected plan.

    A replay that fails by itself is kept as a failed plan with its reason. In every other case of
    an error, nothing is written.

    Parameters
    ----------
    routes : path or sequence of ProposedRoute
        A YAML plan file, or routes.
    name : str
        What to call the plan.
    window : (time, time), optional
        From (inclusive) to (exclusive); the whole log if left out. Each end is a timezone-aware
        datetime, an ISO 8601 string or a date (00:00 UTC).
    prices : path or mapping of str to ModelPricing, optional
        Your own prices in USD; they take precedence over today's catalogue.
    config : PlanConfig, optional
        Caches, clusters and the kind of projection. The plan file's if left out.
    assumptions : sequence of Assumption, optional
        What a full projection supposes of the target models. They take precedence over the plan
        file's, and those over what rollouts and judged answers measured.
    facts : path or mapping of str to ModelFacts, optional
        Your own limits, capabilities and cache rules of models; they take precedence over the
        catalogues'.
    seed : int, default 0
        Seed of the bootstrap, from 0 to 2^64 - 1.
    bootstrap_iterations : int, default 10,000
        How many resamples the bootstrap draws.
    interval_method : {"auto", "limit", "resample", "tt-plan-core"}, default "auto"
        How intervals are made; "auto" chooses by the log.
    allow_unpriced : bool, default False
        Let requests to a target model without a price count at their actual cost.
    requests : path or sequence of paths, optional
        Parquet files (a path, a glob, a folder or several) to replay in place of the imported
        requests.
    memory_limit : str, optional
        DuckDB's memory for `requests`, for example ``"2GB"``.
    author : User, ApiKey, System or Anonymous, optional
        Who makes the plan, if others have to approve it.
    progress : bool, optional
        Show a progress bar. If left out, it appears on a terminal and in a notebook.

    Returns
    -------
    Plan
        The stored plan, which shows itself as a card.

    Raises
    ------
    InputError
        If something cannot be used, such as a target model without a price.
    ReplayFailed, DataError
        If the replay itself fails; DataError if a logged value is the reason.
    KeyboardInterrupt
        At an interrupt.

    Examples
    --------
    >>> plan = ws.plan("routes.yaml", name="fewer big models", window=("2026-04-01", "2026-04-08"))
    >>> plan.status
    'projected'
    >>> plan.result.aggregates.projected_savings_usd > 0
    True
    """
    from ttplan.operations.plans.replay import ReplayOptions, read_routes

    if not name.strip():
        raise InputError("a plan needs a name; expected some text")
    if memory_limit is not None and requests is None:
        raise InputError(
            "memory_limit is for requests that are replayed where they are; give `requests`, too"
        )
    options = ReplayOptions(
        *read_routes(routes, config, assumptions),
        plan_id=context.new_id(),
        prices_at=context.clock(),
        window=parse_window(window),
        prices=prices,
        facts=facts,
        seed=seed,
        bootstrap_iterations=bootstrap_iterations,
        interval_method=interval_method,
        allow_unpriced=allow_unpriced,
    )
    external = None if requests is None else ExternalRequests(requests, memory_limit)
    return _make_plan(context, options, name, author, external, progress)


def show(context: Context, plan: PlanRef) -> StoredPlan:
    """Show a stored plan.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id (at least 4), or its name.

    Returns
    -------
    Plan
        The plan as it is stored now, which shows itself as a card.

    Raises
    ------
    PlanNotFound
        If there is no such plan.
    InputError
        If several plans match.

    Examples
    --------
    >>> ws.show("cheaper").status
    'projected'
    """
    return find_plan(context.store, plan)


def list_runs(context: Context) -> list[StoredPlan]:
    """All plans of the store with everything that is kept of them, oldest first."""
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        return [] if org_id is None else snapshot.plans(org_id)


def _make_plan(
    context: Context,
    options: ReplayOptions,
    name: str,
    author: Actor | None,
    external: ExternalRequests | None,
    progress: bool | None,
) -> StoredPlan:
    from ttplan.operations.plans.replay import BrokenReplay

    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        live_seen = () if org_id is None else seen_routes(snapshot.live_routes(org_id))
    try:
        outcome = _replay(context, options, org_id, external, progress)
    except BrokenReplay as broke:
        failed = _run(context, options, name, author, live_seen, broke.outcome).model_copy(
            update={"status": "failed", "failure": broke.reason}
        )
        try:
            _keep(context.store, failed)
        except StoreError as error:
            raise ReplayFailed(
                failed.plan_id, f"{broke.reason}; and {error}", kept=False
            ) from broke.cause
        if isinstance(broke.cause, DataError):
            raise broke.cause from None
        raise ReplayFailed(failed.plan_id, broke.reason, kept=True) from broke.cause
    run = _run(context, options, name, author, live_seen, outcome)
    _keep(context.store, run)
    return run


def _replay(
    context: Context,
    options: ReplayOptions,
    org_id: UUID | None,
    external: ExternalRequests | None,
    progress: bool | None,
) -> ReplayOutcome:
    from ttplan.operations.plans.assumptions import with_measured
    from ttplan.operations.plans.replay import replay_log, replay_parquet

    if external is not None:
        from ttplan.logs.sources.parquet import open_parquet_log

        with context.store.read() as snapshot:
            options = with_measured(options, snapshot, org_id)
        with open_parquet_log(external.requests, memory_limit=external.memory_limit) as lake:
            log = str(external.requests)
            return replay_parquet(lake, options, org_id, context.new_org(), log, progress)
    with context.store.read() as snapshot:
        org_id = context.require_org(snapshot)
        options = with_measured(options, snapshot, org_id)
        return replay_log(snapshot.requests(), options, org_id, context.name, progress)


def _run(
    context: Context,
    options: ReplayOptions,
    name: str,
    author: Actor | None,
    live_seen: tuple[SeenRoute, ...],
    outcome: ReplayOutcome,
) -> StoredPlan:
    return StoredPlan(
        plan_id=options.plan_id,
        org_id=outcome.result.org_id,
        name=name,
        created_at=context.clock(),
        nonce=context.new_nonce(),
        author=author,
        seed=options.seed,
        bootstrap_iterations=options.bootstrap_iterations,
        config=options.config,
        pricing=dict(outcome.pricing),
        price_sources=dict(outcome.price_sources),
        cost_basis=outcome.cost_basis,
        live_seen=live_seen,
        result=outcome.result,
    )


def _keep(store: Store, run: StoredPlan) -> None:
    def work(tx: Transaction) -> None:
        tx.set_org_id(run.org_id)
        tx.add_plan(run)

    run_in_transaction(store, work)
