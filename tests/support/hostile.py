"""One of each object that a notebook cell can show, with hostile text in each external field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.plots.test_plots import reconciled
from tests.support import full_results, plans
from ttplan import views
from ttplan.audit.c2sp.checkpoint import TreeHead
from ttplan.audit.c2sp.note import Note, NoteSignature
from ttplan.display.backtest import BacktestCard
from ttplan.display.checks import BackupCard, HealthCard, PolicyCheckCard
from ttplan.display.evidence import (
    CheckpointCard,
    CustomerCheckpointCard,
    DisclosureCard,
    EntryCard,
    ProofCard,
    PublishedAnchorCard,
    StoreCopyCard,
)
from ttplan.display.logs import DiagnosisCard, ImportCard
from ttplan.display.plan import Plan
from ttplan.display.quality import SamplesCard
from ttplan.display.reconciliation import ReconciliationCard, TrackRecordCard
from ttplan.display.routes import DriftCard, ExportCard, PreviewCard
from ttplan.display.suggestions import SuggestionsCard
from ttplan.history.compare import route_change
from ttplan.logs.report import FileRows, SkippedRows
from ttplan.model.audit import Anonymous, StoredEntry, TipAnchor
from ttplan.model.gateway import RouteExport, UnsupportedField
from ttplan.model.plan import Clusters, PerRouteBreakdown
from ttplan.model.policy import PolicyCheck, RuleVerdict
from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.full import CacheFit, IneligibleRequests
from ttplan.model.results.backtest import Backtest, BacktestComparison
from ttplan.model.results.changes import Preview, StaleRoute
from ttplan.model.results.diagnosis import Diagnosis, Finding
from ttplan.model.results.drift import Drift, DriftProblem, RouteDrift
from ttplan.model.results.health import Backup, Health, HealthCheck
from ttplan.model.results.reconciliation import TrackRecord
from ttplan.model.results.samples import SamplesNeeded, SamplesRow
from ttplan.model.results.suggestion import Suggestion, Suggestions
from ttplan.model.route import RouteAction, RouteConditions
from ttplan.model.stored_plan import CostBasis, LiveRoute
from ttplan.views.frame import View, make_view

IMG = "<img src=x onerror=alert(1)>"
TEXT = f"{IMG}\x1b[31m\x07\r\n\u202e\u2066\u200b\U000e0041\"'&{'x' * 120} 日本語テキスト{'長' * 60}"
AT = datetime(2026, 5, 1, tzinfo=UTC)
ID, HEX = UUID(int=7), "9f" * 32
ROUTE = plans.route(
    1,
    name=TEXT,
    when=RouteConditions(model_in=(TEXT,), tag_equals=TEXT, prompt_contains_any_of=(TEXT,)),
    then=RouteAction(target_model=TEXT, fallbacks=(TEXT,)),
)
LIVE = LiveRoute(route=ROUTE, plan_id=ID, applied_at=AT)
LOSS = UnsupportedField(route=TEXT, field=TEXT, reason=TEXT, effect="is left out")
OTHER = LiveRoute(route=plans.route(2, name=TEXT), plan_id=ID, applied_at=AT)


def plan(**changes: Any) -> Plan:
    part = PerRouteBreakdown(
        route_id=ID,
        route_name=TEXT,
        matched=1,
        baseline_cost_usd=Decimal(2),
        projected_cost_usd=Decimal(1),
        savings_usd=Decimal(1),
    )
    result = plans.result(ID, (ROUTE,)).model_copy(
        update={
            "per_route_breakdown": (part,),
            "caveats": (TEXT,),
            "interval_unit": TEXT,
            "clusters": Clusters(count=9, effective=3.0, largest_share=0.5),
        }
    )
    price = ModelPricing(input_per_million=Decimal(1), output_per_million=Decimal(1))
    fields: dict[str, Any] = {
        "name": TEXT,
        "pricing": {f"openai:{TEXT}": price},
        "price_sources": {f"openai:{TEXT}": TEXT},
        "cost_basis": CostBasis(
            recorded=1,
            recomputed=1,
            recorded_usd=Decimal(1),
            recomputed_usd=Decimal(1),
            was_recorded_usd=Decimal(1),
        ),
    }
    return Plan(plans.run(7, result=result, **(fields | changes)))


def full_plan() -> Plan:
    """A full projection with hostile models, routes and reasons."""
    about = {"source_model": TEXT, "target_model": TEXT, "route": TEXT}
    result = full_results.result(
        full_results.effect("ratio_out", 1, slope_usd=-9.0, break_even=2.0, **about),
        full_results.effect("ratio_out", 2, slope_usd=-9.0, **(about | {"target_model": "m"})),
        ineligible=(IneligibleRequests(reason=TEXT, requests=1, cost_usd=Decimal(1)),),
        cache_fit=(CacheFit(model=TEXT, recorded_tokens=1, predicted_tokens=2),),
        routes=(ROUTE,),
    )
    part = plan().result.per_route_breakdown[0]
    result = result.model_copy(update={"per_route_breakdown": (part,)})
    return Plan(plans.run(7, result=result, name=TEXT))


def preview() -> PreviewCard:
    changes = (
        route_change(TEXT, None, LIVE),
        route_change(TEXT, OTHER, LIVE),
        route_change(TEXT, LIVE, LIVE),
    )
    since = StaleRoute(name=TEXT, how="renamed", plan_id=None, to=TEXT)
    fields = {
        "plan_id": ID,
        "plan_name": TEXT,
        "status": "projected",
        "changes": changes,
        "untouched": 1,
    }
    return PreviewCard(Preview(action="apply", stale=(since,), live_now=HEX, **fields))


def drift() -> DriftCard:
    routes = (
        RouteDrift(
            name=TEXT,
            kind="edited",
            fields=("when.tag_equals", "then.target_model"),
            expected=LIVE,
            found=OTHER,
        ),
        RouteDrift(name=TEXT, kind="edited", unreadable=TEXT),
        RouteDrift(name=TEXT, kind="missing", expected=LIVE),
        RouteDrift(name=TEXT, kind="foreign", found=LIVE),
    )
    return DriftCard(
        Drift(entries=1, live=1, chain=TEXT, routes=routes, problems=(DriftProblem(message=TEXT),))
    )


def diagnosis() -> DiagnosisCard:
    finding = Finding(
        kind="k",
        title="costs are too low",
        provider=TEXT,
        model=TEXT,
        service_tier=TEXT,
        endpoint=TEXT,
        count=3,
        effect_usd=Decimal("-1.5"),
        detail=TEXT,
        examples=(TEXT, TEXT),
        in_a_plan="it saves too little",
        remedy="recompute",
    )
    amounts = {
        "recorded_usd": Decimal(1),
        "compared_recorded_usd": Decimal(1),
        "compared_expected_usd": Decimal(2),
    }
    return DiagnosisCard(
        Diagnosis(
            log=TEXT,
            prices=TEXT,
            rows=9,
            compared=9,
            agreeing=8,
            findings=(finding,),
            notes=(TEXT,),
            **amounts,
        )
    )


def samples() -> SamplesCard:
    return SamplesCard(
        SamplesNeeded(
            max_degraded=0.05,
            power=0.8,
            sensitivity=0.9,
            specificity=0.98,
            controls=100,
            plan=TEXT,
            judge=TEXT,
            rows=(
                SamplesRow(true_share=0.0, answers=73, cost_usd=Decimal("1.25")),
                SamplesRow(true_share=0.04, answers=None),
            ),
            notes=(TEXT,),
        )
    )


def suggestions() -> SuggestionsCard:
    item = Suggestion(
        route=ROUTE,
        requests=9,
        baseline_cost_usd=Decimal(9),
        actual_cost_usd=Decimal(9),
        projected_cost_usd=Decimal(1),
        selected_savings_usd=Decimal(4),
        heldout_requests=5,
        heldout_cost_usd=Decimal(5),
        heldout_savings_usd=Decimal(4),
        heldout_savings_usd_95=(3.0, 5.0),
        confirmed=False,
        note=TEXT,
    )
    window = {
        "window_start": AT,
        "split_at": AT + timedelta(days=1),
        "window_end": AT + timedelta(days=2),
    }
    return SuggestionsCard(
        Suggestions(
            org_id=ID,
            requests=9,
            heldout_requests=5,
            candidates=3,
            items=(item,),
            notes=(TEXT,),
            **window,
        )
    )


def backtest() -> BacktestCard:
    comparison = BacktestComparison(
        period_start=AT,
        next_start=AT,
        metric="savings_pct",
        projected=1.0,
        projected_95=(0.5, 1.5),
        found=2.0,
        found_95=None,
        inside=False,
        consistent=None,
    )
    fields = {
        "org_id": ID,
        "start": AT,
        "end": AT,
        "period_seconds": 604_800,
        "interval_unit": TEXT,
        "skipped": 1,
    }
    return BacktestCard(Backtest(comparisons=(comparison,), **fields))


def imported() -> ImportCard:
    rows = (SkippedRows(reason=TEXT, rows=2, examples=(TEXT, TEXT)),)
    return ImportCard(
        path=TEXT,
        format="own",
        kind="requests",
        why=TEXT,
        files=(FileRows(path=TEXT, rows=3), FileRows(path=TEXT, rows=3)),
        rows=6,
        used=2,
        skipped=rows,
        not_requests=rows,
        emptied=rows,
        findings=(TEXT,),
        assumed={TEXT: TEXT},
        ignored_columns=(TEXT,) * 9,
        added=2,
        already_there=0,
    )


def entry() -> EntryCard:
    payload = {"note": TEXT, TEXT: [TEXT, 1.5], "sample_size": 3}
    return EntryCard(
        id=ID,
        org_id=ID,
        seq=3,
        timestamp="2026-05-01T12:00:00+00:00",
        actor=Anonymous(),
        event=TEXT,
        payload=payload,
        prev_hash=HEX,
        hash=HEX,
        signature=HEX * 2,
    )


def reconciliation() -> ReconciliationCard:
    changes = {"plan_name": TEXT, "caveats": (TEXT,), "interval_unit": TEXT}
    return ReconciliationCard(reconciled().result.model_copy(update=changes))


def view() -> View:
    rows = [{"plan_id": TEXT, "name": TEXT, "status": "applied", "tag": TEXT, "savings_usd": 1.5}]
    columns = {"tag": "string", TEXT: "string"} | views.SAVINGS
    return make_view(rows, columns, title=TEXT, notes=[TEXT])


CARDS: dict[str, Callable[[], Any]] = {
    "plan": plan,
    "full plan": full_plan,
    "failed plan": lambda: plan(status="failed", failure=TEXT),
    "preview": preview,
    "drift": drift,
    "diagnosis": diagnosis,
    "samples": samples,
    "suggestions": suggestions,
    "backtest": backtest,
    "import": imported,
    "entry": entry,
    "reconciliation": reconciliation,
    "track record": lambda: TrackRecordCard(
        TrackRecord(
            plans=2,
            judged=2,
            inside=1,
            consistent=2,
            inside_pct_95=(9.0, 91.0),
            errors_pct=(1.0, -2.0),
            median_error_pct=1.5,
            bias_pct=-0.5,
        )
    ),
    "policy": lambda: PolicyCheckCard(
        PolicyCheck(
            plan_name=TEXT,
            plan_digest=HEX,
            policy_digest=HEX,
            verdicts=(RuleVerdict(rule=TEXT, level="blocking", ok=False, found=TEXT),),
        )
    ),
    "export": lambda: ExportCard(
        RouteExport(gateway="litellm", path=TEXT, routes=2, live=HEX, losses=(LOSS,), notes=(TEXT,))
    ),
    "health": lambda: HealthCard(
        Health(
            checks=(
                HealthCheck(name="schema", ok=True, said=TEXT),
                HealthCheck(name="key", ok=False, said=TEXT),
            )
        )
    ),
    "backup": lambda: BackupCard(
        Backup(path=TEXT, size_bytes=9, rows={"requests": 3}, anchor=None, chain=TEXT, drift=True)
    ),
    "view": view,
    "proof": lambda: ProofCard(TEXT, 0, 1, HEX, (HEX,), TEXT),
    "checkpoint": lambda: CheckpointCard(
        TreeHead(TEXT, 3, bytes(32)), Note(TEXT, (NoteSignature(TEXT, bytes(4), b""),))
    ),
    "customer checkpoint": lambda: CustomerCheckpointCard(
        1, ID, HEX, TipAnchor(2, HEX), TEXT, HEX, HEX
    ),
    "disclosure": lambda: DisclosureCard(
        [{"name": TEXT}], HEX, StoredEntry(str(ID), 0, HEX, HEX, HEX, b"{}"), 3, (bytes(32),)
    ),
    "anchor": lambda: PublishedAnchorCard(TipAnchor(2, HEX), True),
    "copy": lambda: StoreCopyCard(ID, 1, 2, 3, 4, None, TEXT),
}
HARMLESS = {"track record", "disclosure", "anchor"}
"""Those that show no external text."""
