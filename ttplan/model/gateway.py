"""Routes in the words of a gateway: what was written, and what could not be said."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ttplan.model.audit import Hex64

_FROZEN = ConfigDict(frozen=True, extra="forbid")
Gateway = Literal["tokentrimmer", "litellm"]
GATEWAYS: dict[Gateway, str] = {"tokentrimmer": "TokenTrimmer", "litellm": "LiteLLM"}
"""The gateways that routes are written for, and how they spell themselves."""


class RouteExport(BaseModel):
    """Live routes as they were written for a gateway.

    `routes` are how many are live, `live` is the digest of those (64 hex digits). `losses` are what the file does not say,
    `notes` what to know when using it. `changed` is false where the file held exactly this already.
    """

    model_config = _FROZEN

    gateway: Gateway
    path: str
    routes: int
    live: Hex64
    losses: tuple[UnsupportedField, ...] = ()
    notes: tuple[str, ...] = ()
    changed: bool = True


UnsupportedEffect = Literal[
    "is left out", "goes without it", "has it rounded", "is tried in another order"
]


class UnsupportedField(BaseModel):
    """What one side says of a route and the other has no words for, why, and what becomes of the route all the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str
    field: str
    reason: str
    effect: UnsupportedEffect

    def __str__(self) -> str:
        return f"route {self.route!r:.60}, {self.field}: {self.reason}; the route {self.effect}"
