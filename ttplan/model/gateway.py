"""Routes in the format of a gateway: what was written, and what it cannot express."""

from __future__ import annotations

from typing import Literal

from ttplan.model.base import FrozenModel, Hex64

Gateway = Literal["tokentrimmer", "litellm"]
GATEWAYS: dict[Gateway, str] = {"tokentrimmer": "TokenTrimmer", "litellm": "LiteLLM"}
"""The gateways that routes are written for, and their display names."""
UnsupportedEffect = Literal[
    "is left out", "goes without it", "has it rounded", "is tried in another order"
]


class UnsupportedField(FrozenModel):
    """Part of a route that the other format cannot express, why, and what becomes of the route."""

    route: str
    field: str
    reason: str
    effect: UnsupportedEffect

    def __str__(self) -> str:
        return f"route {self.route!r:.60}, {self.field}: {self.reason}; the route {self.effect}"


class RouteExport(FrozenModel):
    """Live routes as written for a gateway.

    `routes` counts the live routes, `live` is their digest. `losses` lists what the file cannot
    express, `notes` what a user of the file has to know. `changed` is false if the file had this
    content already.
    """

    gateway: Gateway
    path: str
    routes: int
    live: Hex64
    losses: tuple[UnsupportedField, ...] = ()
    notes: tuple[str, ...] = ()
    changed: bool = True
