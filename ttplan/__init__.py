"""What-if plans for LLM traffic, applied in one transaction and provable afterwards.

`ttplan.open(path)` returns a workspace, which has everything that a notebook needs. The other names
are for programs. Each is imported when it is first used, so that `ttplan.audit` and `ttplan.apply`
work without pandas, DuckDB and the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttplan import plots as plots
    from ttplan import views as views
    from ttplan.apply import StoreChain as StoreChain
    from ttplan.apply import apply_plan as apply_plan
    from ttplan.apply import revert_plan as revert_plan
    from ttplan.audit.keys.key_files import VerifyingKey as VerifyingKey
    from ttplan.audit.keys.signer import CommandSigner as CommandSigner
    from ttplan.audit.keys.signer import Signer as Signer
    from ttplan.audit.verify.chain import verify_chain as verify_chain
    from ttplan.audit.verify.chain import verify_chain_with_anchor as verify_chain_with_anchor
    from ttplan.audit.verify.file import verify_file as verify_file
    from ttplan.audit.verify.report import ChainReport as ChainReport
    from ttplan.display.plan import Plan as Plan
    from ttplan.engine.replay import replay as replay
    from ttplan.engine.replay import replay_table as replay_table
    from ttplan.engine.suggest.suggest import suggest as suggest
    from ttplan.logs.billing.compare import compare_totals as compare_totals
    from ttplan.logs.billing.totals import read_totals as read_totals
    from ttplan.model.audit import Anonymous as Anonymous
    from ttplan.model.audit import ApiKey as ApiKey
    from ttplan.model.audit import AuditEntry as AuditEntry
    from ttplan.model.audit import System as System
    from ttplan.model.audit import TipAnchor as TipAnchor
    from ttplan.model.audit import User as User
    from ttplan.model.errors import *  # noqa: F403
    from ttplan.model.plan import Aggregates as Aggregates
    from ttplan.model.plan import ConfidenceIntervals as ConfidenceIntervals
    from ttplan.model.plan import PlanConfig as PlanConfig
    from ttplan.model.plan import PlanInput as PlanInput
    from ttplan.model.plan import PlanResult as PlanResult
    from ttplan.model.policy import Override as Override
    from ttplan.model.policy import Policy as Policy
    from ttplan.model.pricing import ModelPricing as ModelPricing
    from ttplan.model.request import RequestLog as RequestLog
    from ttplan.model.results.backtest import Backtest as Backtest
    from ttplan.model.results.quality import QualityResult as QualityResult
    from ttplan.model.results.suggestion import Suggestion as Suggestion
    from ttplan.model.results.suggestion import Suggestions as Suggestions
    from ttplan.model.results.totals import Total as Total
    from ttplan.model.results.totals import Totals as Totals
    from ttplan.model.results.totals import TotalsComparison as TotalsComparison
    from ttplan.model.route import ProposedRoute as ProposedRoute
    from ttplan.model.route import RouteAction as RouteAction
    from ttplan.model.route import RouteConditions as RouteConditions
    from ttplan.quality.chat import ChatJudge as ChatJudge
    from ttplan.quality.chat import ChatProposer as ChatProposer
    from ttplan.quality.judge.labels import AnswerPairs as AnswerPairs
    from ttplan.quality.protocols import QualitySettings as QualitySettings
    from ttplan.store.duckdb.store import DuckDBStore as DuckDBStore
    from ttplan.store.memory import MemoryStore as MemoryStore
    from ttplan.store.postgres.store import PostgresStore as PostgresStore
    from ttplan.workspace import Workspace as Workspace
    from ttplan.workspace.open import open_workspace
    from ttplan.workspace.read_logs import Logs as Logs
    from ttplan.workspace.read_logs import read_logs as read_logs

    open = open_workspace

_HOMES = {
    "ttplan.apply": ("apply_plan", "revert_plan", "StoreChain"),
    "ttplan.audit.verify.report": ("ChainReport",),
    "ttplan.audit.keys.signer": ("CommandSigner", "Signer"),
    "ttplan.audit.verify.chain": ("verify_chain", "verify_chain_with_anchor"),
    "ttplan.engine.replay": ("replay", "replay_table"),
    "ttplan.engine.suggest.suggest": ("suggest",),
    "ttplan.logs.billing.compare": ("compare_totals",),
    "ttplan.logs.billing.totals": ("read_totals",),
    "ttplan.model.audit": ("Anonymous", "ApiKey", "AuditEntry", "System", "TipAnchor", "User"),
    "ttplan.model.errors": (
        "ApplyError",
        "AuditError",
        "BadRotation",
        "BadSignature",
        "BrokenChain",
        "CanonicalError",
        "ChainError",
        "DataError",
        "DistrustedKey",
        "DriftError",
        "Equivocation",
        "ForeignOrg",
        "HashMismatch",
        "HexError",
        "InputError",
        "InvalidState",
        "KeyFileError",
        "OutcomeUnknown",
        "PlanNotFound",
        "PolicyBlocked",
        "ProofError",
        "ReplayFailed",
        "SeqGap",
        "StalePlan",
        "StoreConflict",
        "StoreError",
        "StoreLocked",
        "SupersededPlan",
        "TruncatedChain",
        "TtplanError",
        "UnsupportedByGateway",
    ),
    "ttplan.model.plan": (
        "Aggregates",
        "ConfidenceIntervals",
        "PlanConfig",
        "PlanInput",
        "PlanResult",
    ),
    "ttplan.model.pricing": ("ModelPricing",),
    "ttplan.model.policy": ("Override", "Policy"),
    "ttplan.model.request": ("RequestLog",),
    "ttplan.audit.keys.key_files": ("VerifyingKey",),
    "ttplan.display.plan": ("Plan",),
    "ttplan.store.postgres.store": ("PostgresStore",),
    "ttplan.model.route": ("ProposedRoute", "RouteAction", "RouteConditions"),
    "ttplan.model.results.suggestion": ("Suggestion", "Suggestions"),
    "ttplan.model.results.totals": ("Total", "Totals", "TotalsComparison"),
    "ttplan.store.duckdb.store": ("DuckDBStore",),
    "ttplan.store.memory": ("MemoryStore",),
    "ttplan.audit.verify.file": ("verify_file",),
    "ttplan.model.results.backtest": ("Backtest",),
    "ttplan.model.results.quality": ("QualityResult",),
    "ttplan.workspace.open": ("open",),
    "ttplan.workspace.read_logs": ("Logs", "read_logs"),
    "ttplan.quality.chat": ("ChatJudge", "ChatProposer"),
    "ttplan.quality.judge.labels": ("AnswerPairs",),
    "ttplan.quality.protocols": ("QualitySettings",),
    "ttplan.workspace": ("Workspace",),
}
_RENAMED = {"open": "open_workspace"}
_MODULES = ("plots", "views")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, *_MODULES])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"ttplan.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ttplan' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
