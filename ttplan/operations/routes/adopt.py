"""Keep the routes that a gateway follows already as a first plan."""

from __future__ import annotations

import os
from datetime import timedelta

from ttplan.gateways.read_litellm import from_litellm
from ttplan.gateways.read_tokentrimmer import from_tokentrimmer
from ttplan.gateways.rendered import ParsedRoutes
from ttplan.model.audit import Actor
from ttplan.model.errors import InputError, UnsupportedByGateway
from ttplan.model.gateway import GATEWAYS, Gateway
from ttplan.model.plan import DEFAULT_BOOTSTRAP_ITERATIONS, PlanConfig, make_empty_result
from ttplan.model.route import find_duplicate
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations.context import Context
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.yaml_files import read_yaml

CAVEAT = (
    "These routes are live at the gateway already: nothing was replayed, and the plan claims no "
    "savings."
)


def adopt(
    context: Context,
    path: str | os.PathLike[str],
    gateway: Gateway | None = None,
    *,
    name: str = "as the gateway has it",
    allow_loss: bool = False,
    author: Actor | None = None,
) -> StoredPlan:
    """Keep the routes that a gateway follows already as a first plan.

    Applying the plan changes nothing at the gateway, and it claims no savings.

    Parameters
    ----------
    path : path
        A LiteLLM config or TokenTrimmer routes, YAML or JSON.
    gateway : {"tokentrimmer", "litellm"}, optional
        Which of them it is; recognised if left out.
    name : str, default "as the gateway has it"
        What to call the plan.
    allow_loss : bool, default False
        Leave out what a plan cannot express.
    author : User, ApiKey, System or Anonymous, optional
        Who makes the plan.

    Returns
    -------
    Plan
        The projected plan.

    Raises
    ------
    InputError
        If the file cannot be used, or routes are live already.
    UnsupportedByGateway
        If a plan cannot express something in the file, unless `allow_loss`.
    StoreError
        If the plan cannot be stored.

    Examples
    --------
    >>> _ = ws.apply("cheaper"), ws.export_routes("gateway.json"), ws.revert("cheaper")
    >>> ws.adopt("gateway.json").status
    'projected'
    """
    content = read_yaml(path, "a gateway's routes")
    known: Gateway = gateway or (
        "litellm" if isinstance(content, dict) and "model_list" in content else "tokentrimmer"
    )
    if known not in GATEWAYS:
        raise InputError(
            f"{known!r:.40} is not a known gateway; expected one of {', '.join(GATEWAYS)}"
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
        org_id = tx.org_id() or context.new_org()
        if tx.live_routes(org_id):
            raise InputError(
                "routes are live in this store already; adopt a gateway's routes before the first "
                "plan"
            )
        tx.set_org_id(org_id)
        created_at, plan_id = context.clock(), context.new_id()
        window = (created_at - timedelta(microseconds=1), created_at)
        result = make_empty_result(plan_id, org_id, window, tuple(read.routes))
        run = StoredPlan(
            plan_id=plan_id,
            org_id=org_id,
            name=name,
            created_at=created_at,
            nonce=context.new_nonce(),
            author=author,
            seed=0,
            bootstrap_iterations=DEFAULT_BOOTSTRAP_ITERATIONS,
            config=PlanConfig(),
            pricing={},
            live_seen=(),
            result=result.model_copy(update={"caveats": (CAVEAT, *map(str, read.losses))}),
        )
        tx.add_plan(run)
        return run

    return run_in_transaction(context.store, work)
