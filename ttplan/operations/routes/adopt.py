"""Routes that a gateway follows already, as a first plan that changes nothing there and claims no savings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from ttplan.gateways.read_litellm import from_litellm
from ttplan.gateways.read_tokentrimmer import from_tokentrimmer
from ttplan.gateways.rendered import ParsedRoutes
from ttplan.model.errors import InputError, UnsupportedByGateway
from ttplan.model.gateway import GATEWAYS, Gateway
from ttplan.model.plan import DEFAULT_BOOTSTRAP_ITERATIONS, PlanConfig, make_empty_result
from ttplan.model.route import find_duplicate
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.plans.stored_plans import Made
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.paths import PathLike
from ttplan.util.yaml_files import read_yaml

CAVEAT = "These routes are live at the gateway already: nothing was replayed, and the plan claims no savings."


def adopt_routes(
    store: Store,
    path: PathLike,
    gateway: Gateway | None,
    made: Callable[[], Made],
    *,
    new_id: Callable[[], UUID],
    new_org: Callable[[], UUID],
    allow_loss: bool = False,
) -> StoredPlan:
    """Keep the routes of a gateway's file (YAML or JSON) as a projected plan; applying it makes them ours.

    A `gateway` of None is recognised: a LiteLLM config has a model_list. Raises InputError where the file cannot be used or
    routes are live already, Unsayable where a plan has no words for something in it, unless `allow_loss`, and StoreError.
    """
    content = read_yaml(path, "a gateway's routes")
    known: Gateway = gateway or (
        "litellm" if isinstance(content, dict) and "model_list" in content else "tokentrimmer"
    )
    if known not in GATEWAYS:
        raise InputError(
            f"{known!r:.40} is no gateway that is known; expected one of {', '.join(GATEWAYS)}"
        )
    read: ParsedRoutes = (
        from_litellm(content, str(path))
        if known == "litellm"
        else from_tokentrimmer(content, str(path))
    )
    if read.losses and not allow_loss:
        raise UnsupportedByGateway("a plan", read.losses)
    repeat = find_duplicate(read.routes)
    if repeat is not None:
        raise InputError(f"{path}: {repeat}")
    if not read.routes:
        raise InputError(
            f"{path} has no routes; expected at least one that is live at {GATEWAYS[known]}"
        )

    def work(tx: Transaction) -> StoredPlan:
        org_id = tx.org_id() or new_org()
        if tx.live_routes(org_id):
            raise InputError(
                "routes are live in this store already; what a gateway follows is taken over before the first plan"
            )
        tx.set_org_id(org_id)
        about, plan_id = made(), new_id()
        window = (about.created_at - timedelta(microseconds=1), about.created_at)
        result = make_empty_result(plan_id, org_id, window, tuple(read.routes))
        run = StoredPlan(
            plan_id=plan_id,
            org_id=org_id,
            **about._asdict(),
            seed=0,
            bootstrap_iterations=DEFAULT_BOOTSTRAP_ITERATIONS,
            config=PlanConfig(),
            pricing={},
            live_seen=(),
            result=result.model_copy(update={"caveats": (CAVEAT, *map(str, read.losses))}),
        )
        tx.add_plan(run)
        return run

    return run_in_transaction(store, work)
