"""The face that a notebook talks to: `ttplan.open(path)`. It wires store, key and engine, and has no rule of its own.

Each file has the verbs on one thing; the class is the list of them.
"""

from __future__ import annotations

from ttplan.util.paths import PathLike
from ttplan.workspace.chain import ChainVerbs
from ttplan.workspace.gateways import GatewayVerbs
from ttplan.workspace.panels import PanelVerbs
from ttplan.workspace.plans import PlanVerbs
from ttplan.workspace.policy import PolicyVerbs
from ttplan.workspace.queries import StoredVerbs
from ttplan.workspace.reconcile import RecordVerbs
from ttplan.workspace.requests import RequestVerbs
from ttplan.workspace.routes import LiveVerbs

__all__ = ["PathLike", "Workspace"]


class Workspace(
    PanelVerbs,
    RequestVerbs,
    PlanVerbs,
    PolicyVerbs,
    LiveVerbs,
    GatewayVerbs,
    RecordVerbs,
    StoredVerbs,
    ChainVerbs,
):
    """A store with its key: import logs, plan, apply, look, verify. Made by `ttplan.open`."""
