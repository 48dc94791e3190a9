"""A plan as it is stored, and a route as it is live."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.audit import Hex64
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import Instant
from ttplan.model.route import ProposedRoute

Status = Literal["projected", "applied", "reverted", "failed"]


class PlanRun(BaseModel):
    """A stored plan: what it found, what it was computed with, and where it is in its life.

    `nonce` (32 bytes, hex) blinds the commitment to the plan's routes in the audit chain; it never leaves the store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_id: UUID
    org_id: UUID
    name: str
    status: Status = "projected"
    created_at: Instant
    applied_at: Instant | None = None
    nonce: Hex64 = Field(repr=False)
    seed: int
    bootstrap_iterations: int
    config: PlanConfig
    pricing: dict[str, ModelPricing]
    result: PlanResult


class LiveRoute(BaseModel):
    """A route that the gateway follows now, and which plan put it there when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: ProposedRoute
    plan_id: UUID
    applied_at: Instant
