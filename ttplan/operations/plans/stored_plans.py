"""Stored plans: made from a log, and found again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ttplan.engine.replay_spec import ReplayOutcome
from ttplan.history.timeline import seen_routes
from ttplan.model.audit import Actor
from ttplan.model.errors import DataError, InputError, PlanNotFound, ReplayFailed, StoreError
from ttplan.model.stored_plan import SeenRoute, StoredPlan
from ttplan.operations.plans.replay import BrokenReplay, ReplayOptions, replay_log, replay_parquet
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.paths import PathLike


class Made(NamedTuple):
    """What a new plan row says of its making: its name, when, the nonce that blinds the chain, and who made it."""

    name: str
    created_at: datetime
    nonce: str
    author: Actor | None = None


class Elsewhere(NamedTuple):
    """Requests that are replayed where they are: Parquet files, and how much memory that may take ("2GB")."""

    requests: PathLike | Sequence[PathLike]
    memory_limit: str | None


def make_plan(
    store: Store,
    options: ReplayOptions,
    made: Callable[[], Made],
    *,
    log: str,
    elsewhere: Elsewhere | None,
    new_id: Callable[[], UUID],
    progress: bool | None = None,
) -> StoredPlan:
    """Replay the store's requests, or those `elsewhere`, and keep the result as a projected plan.

    `made` is called once the replay is done. `log` names the store in errors; `new_id` gives the organisation where nothing
    says one. Raises InputError, and KeyboardInterrupt at an interrupt; nothing is written then. Where the replay itself breaks,
    it is kept as a failed plan, with its reason: DataError where a logged value is the reason, ReplayFailed for all else.
    """
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        live_seen = () if org_id is None else seen_routes(snapshot.live_routes(org_id))
    try:
        outcome = _replay(store, options, log, org_id, elsewhere, new_id, progress)
    except BrokenReplay as broke:
        run = _run(options, made(), live_seen, broke.outcome).model_copy(
            update={"status": "failed", "failure": broke.reason}
        )
        try:
            _keep(store, run)
        except StoreError as error:
            raise ReplayFailed(
                run.plan_id, f"{broke.reason}; and {error}", kept=False
            ) from broke.cause
        if isinstance(broke.cause, DataError):
            raise broke.cause from None
        raise ReplayFailed(run.plan_id, broke.reason, kept=True) from broke.cause
    run = _run(options, made(), live_seen, outcome)
    _keep(store, run)
    return run


def _replay(
    store: Store,
    options: ReplayOptions,
    log: str,
    org_id: UUID | None,
    elsewhere: Elsewhere | None,
    new_id: Callable[[], UUID],
    progress: bool | None,
) -> ReplayOutcome:
    if elsewhere is not None:
        from ttplan.logs.sources.parquet import open_parquet_log

        with open_parquet_log(elsewhere.requests, memory_limit=elsewhere.memory_limit) as lake:
            return replay_parquet(
                lake, options, org_id, new_id(), str(elsewhere.requests), progress
            )
    if org_id is None:
        raise InputError(
            f"{log} has no requests to replay; import a log first, with `ttplan import` or import_logs"
        )
    with store.read() as snapshot:
        return replay_log(snapshot.requests(), options, org_id, log, progress)


def _run(
    options: ReplayOptions, made: Made, live_seen: tuple[SeenRoute, ...], outcome: ReplayOutcome
) -> StoredPlan:
    return StoredPlan(
        plan_id=options.plan_id,
        org_id=outcome.result.org_id,
        **made._asdict(),
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


def find_plan(store: Store, plan_id: UUID | str) -> StoredPlan:
    """A stored plan by its id or the first digits of one, at least 4. Raises PlanNotFound, InputError where it is unclear."""
    text = str(plan_id).lower()
    with store.read() as snapshot:
        if len(text) == 36:
            try:
                run = snapshot.plan(UUID(text))
            except ValueError:
                run = None
            if run is None:
                raise PlanNotFound(text)
            return run
        org_id = snapshot.org_id()
        plan_ids = [] if org_id is None or len(text) < 4 else snapshot.plan_ids(org_id, text)
        if len(plan_ids) > 1:
            raise InputError(
                f"{len(plan_ids)} plans have an id that begins with {text}; give more of it"
            )
        run = snapshot.plan(plan_ids[0]) if plan_ids else None
    if run is None:
        raise PlanNotFound(text)
    return run
