"""What a notebook talks to: `ttplan.open(path)` returns a `Workspace`.

It has no rules of its own: each method is an operation, bound to a store and its key, whose result
is returned as the card or view that shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttplan.display.backtest import BacktestCard
from ttplan.display.checks import BackupCard, HealthCard, PolicyCheckCard
from ttplan.display.evidence import EntryCard, StoreCopyCard
from ttplan.display.logs import DiagnosisCard, ImportCard
from ttplan.display.plan import Plan
from ttplan.display.quality import SamplesCard
from ttplan.display.reconciliation import ReconciliationCard, TrackRecordCard
from ttplan.display.routes import DriftCard, ExportCard, PreviewCard
from ttplan.display.suggestions import SuggestionsCard
from ttplan.model.audit import User
from ttplan.model.stored_plan import StoredPlan
from ttplan.operations import queries
from ttplan.operations import requests as request_ops
from ttplan.operations.chain import store_chain
from ttplan.operations.context import Context
from ttplan.operations.plans import apply as apply_ops
from ttplan.operations.plans import evaluate, judging, policy, stored_plans
from ttplan.operations.plans import reconcile as reconcile_ops
from ttplan.operations.plans import track_record as track_record_ops
from ttplan.operations.routes import adopt as adopt_ops
from ttplan.operations.routes import drift as drift_ops
from ttplan.operations.routes import export, history
from ttplan.operations.routes import repair as repair_ops
from ttplan.operations.stores import copy as copy_ops
from ttplan.operations.stores import health as health_ops
from ttplan.workspace.base import Evidence, WorkspaceBase, bound, entry_card_or_none, unpacked

if TYPE_CHECKING:
    from ttplan.operations.context import PlanRef
    from ttplan.panel import Panel
    from ttplan.panel.labelling import Labelling
    from ttplan.quality.judge.labels import AnswerPairs
    from ttplan.views.frame import View
    from ttplan.views.stored import RoutesView

__all__ = ["Workspace"]


def _plans_view(figures: queries.PlanFigures) -> View:
    from ttplan.views.stored import plans_view

    return plans_view(figures.table, exact=figures.exact)


def _savings_view(
    savings: queries.PlanFigures | queries.Savings | queries.SavingsByCause,
) -> View:
    from ttplan.views.savings import savings_by_cause_view, savings_by_view
    from ttplan.views.stored import savings_view

    if isinstance(savings, queries.Savings):
        return savings_by_view(savings, savings.by, exact=savings.exact)
    if isinstance(savings, queries.SavingsByCause):
        return savings_by_cause_view(savings, exact=savings.exact)
    return savings_view(savings.table, exact=savings.exact)


def _latencies_view(latencies: queries.Latencies) -> View:
    from ttplan.views.savings import latencies_view

    return latencies_view(latencies)


def _assumptions_view(run: StoredPlan) -> View:
    from ttplan.views.stored import assumptions_view

    return assumptions_view(run)


def _routes_view(live: history.LiveRoutes) -> RoutesView:
    from ttplan.views.stored import routes_view

    when = "" if live.at is None else f"routes live at {live.at:%Y-%m-%d %H:%M:%S} UTC"
    return routes_view(live.routes, title=when or "live routes")


def _history_view(route: history.RouteEvents) -> View:
    from ttplan.views.stored import route_history_view

    return route_history_view(route.events, route.name)


def _requests_view(page: request_ops.RequestPage) -> View:
    from ttplan.views.stored import requests_view

    return requests_view(page, exact=page.exact)


def _entries_view(page: store_chain.EntryPage) -> View:
    from ttplan.views.stored import entries_view

    return entries_view(page)


class Workspace(WorkspaceBase):
    """A store with its key: import logs, plan, apply, look, verify. `ttplan.open` returns one.

    Examples
    --------
    >>> ws = ttplan.open("plans.duckdb")
    >>> plan = ws.plan("routes.yaml", name="haiku for short chat")
    >>> ws.apply(plan, actor=ttplan.User.named("ada@example.com")).event
    'plan.applied'
    >>> list(ws.plans()["status"])
    ['projected', 'applied']
    >>> ws.verify(public_key=ws.public_key).verdict
    'verified'
    """

    # Logged requests
    import_logs = bound(request_ops.import_logs, ImportCard.of)
    check_logs = bound(request_ops.check_logs, DiagnosisCard)
    requests = bound(request_ops.requests, _requests_view)

    # Plans
    plan = bound(stored_plans.plan, Plan)
    show = bound(stored_plans.show, Plan)
    plans = bound(queries.plans, _plans_view)
    suggest = bound(evaluate.suggest, SuggestionsCard)
    backtest = bound(evaluate.backtest, BacktestCard)
    samples_needed = bound(judging.samples_needed, SamplesCard)
    check_quality = bound(judging.check_quality, Plan)
    set_labels = bound(judging.set_labels, Plan)
    savings = bound(queries.savings, _savings_view)
    latencies = bound(queries.latencies, _latencies_view)
    assumptions = bound(queries.assumptions, _assumptions_view)
    reconcile = bound(reconcile_ops.reconcile, ReconciliationCard)
    track_record = bound(track_record_ops.track_record, TrackRecordCard)

    # Policy and approvals
    set_policy = bound(policy.set_policy, EntryCard.of)
    check_policy = bound(policy.check_policy, PolicyCheckCard)
    approve = bound(policy.approve, EntryCard.of)

    # Live routes
    preview = bound(apply_ops.preview, PreviewCard)
    preview_revert = bound(apply_ops.preview_revert, PreviewCard)
    revert = bound(apply_ops.revert, EntryCard.of)
    apply = bound(apply_ops.apply, EntryCard.of)
    routes = bound(history.routes, _routes_view)
    route_history = bound(history.route_history, _history_view)
    drift = bound(drift_ops.drift, DriftCard)
    repair = bound(repair_ops.repair, entry_card_or_none)

    # Gateways
    export_routes = bound(export.export_routes, ExportCard)
    watch_routes = bound(export.watch_routes)
    adopt = bound(adopt_ops.adopt, Plan)

    # The audit chain
    verify = bound(store_chain.verify)
    entries = bound(store_chain.entries, _entries_view)
    anchor = bound(store_chain.anchor)
    export_chain = bound(store_chain.export_chain)

    # The store
    health = bound(health_ops.health, HealthCard)
    backup = bound(copy_ops.backup, BackupCard)
    copy = bound(copy_ops.copy, unpacked(StoreCopyCard))

    @property
    def public_key(self) -> str:
        """The key that the chain began with, 64 hex digits.

        An auditor needs it, and should receive it separately from the chain.

        Raises
        ------
        KeyFileError
            If there is no key yet. Reading does not create one.

        Examples
        --------
        >>> len(ws.public_key)
        64
        """
        return store_chain.public_key(self._context)

    @property
    def current_public_key(self) -> str:
        """The public half of the key that signs now, 64 hex digits.

        It is `public_key` until the chain is handed over to another key.

        Raises
        ------
        KeyFileError
            If there is no key yet. Reading does not create one.

        Examples
        --------
        >>> ws.current_public_key == ws.public_key
        True
        """
        return self._context.keys.existing().public_key.hex

    @property
    def evidence(self) -> Evidence:
        """What of this store convinces others: anchors, proofs, checkpoints and disclosures.

        Examples
        --------
        >>> entry = ws.apply("cheaper")
        >>> ws.evidence.prove(0).leaf_index
        0
        """
        return Evidence(self._context)

    def panel(self, *, who: User | str | None = None) -> Panel:
        """The panel: choose, apply and revert plans, verify, and browse routes and chain.

        Parameters
        ----------
        who : User or str, optional
            The person who uses it: an e-mail address, any other name, or a user id. Plans are
            applied in this name, which can be changed in the panel. If left out, it is what
            TTPLAN_USER or JUPYTERHUB_USER name, else the system's login name.

        Returns
        -------
        Panel
            A widget: end a notebook cell with it.

        Examples
        --------
        >>> panel = ws.panel(who="ada@example.com")
        """
        from ttplan.panel import Panel

        return Panel(PanelWorkspace(self._context), name=self._context.name, who=who)

    def label(self, plan: PlanRef, pairs: AnswerPairs) -> Labelling:
        """A widget to compare judged answers with those before: 1, 2 and 3 on the keyboard.

        It shows the pairs in blind order: neither which answer is new nor what the judge said.
        *Save labels* keeps them, as `set_labels` does.

        Parameters
        ----------
        plan : Plan, UUID or str
            The plan, its id, the first digits of its id, or its name.
        pairs : AnswerPairs
            The pairs that `check_quality` kept.

        Returns
        -------
        Labelling
            A widget: end a notebook cell with it.

        Examples
        --------
        >>> ws.label("cheaper", ttplan.AnswerPairs())
        Labelling(0 of 0 pairs labelled)
        """
        from ttplan.panel.labelling import Labelling

        return Labelling(pairs.pairs, lambda labels: self.set_labels(plan, labels))


class PanelWorkspace(Workspace):
    """A workspace with what only the panel needs: plans and entries exactly as they are stored."""

    def __init__(self, context: Context) -> None:
        self._context = context

    list_runs = bound(stored_plans.list_runs)
