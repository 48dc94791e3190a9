"""One logged request."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat

from ttplan.model.money import RequestMoney

MAX_TOKENS = 10**12
"""No request has this many tokens; it bounds what 38 digits have to hold when a log is summed."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A moment in UTC. A time without a zone is refused."""
Tokens = Annotated[int, Field(strict=True, ge=0, lt=MAX_TOKENS)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Name = Annotated[str, Field(strict=True, min_length=1)]


class RequestLog(BaseModel):
    """One request as the gateway logged it. Unknown fields are ignored.

    `input_tokens` include `cached_tokens`. `cost_usd` is what was paid, `baseline_cost_usd` what would have been paid with
    no routing or caching. `latency_ms` is None where the log has none. `session_id`, `user_id` and `api_key_id` say which
    requests belong together.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    org_id: UUID
    ts: UtcDatetime
    provider: Name
    model: Name
    input_tokens: Tokens
    output_tokens: Tokens
    cached_tokens: Tokens
    cost_usd: RequestMoney
    baseline_cost_usd: RequestMoney
    cached: bool = Field(strict=True)
    cache_layer: Literal["l1", "l2"] | None = None
    matched_route_id: UUID | None = None
    latency_ms: Milliseconds | None
    upstream_latency_ms: Milliseconds | None = None
    status: int = Field(strict=True, ge=0, le=65535)
    tag: str | None = None
    embedding: list[FiniteFloat] | None = None
    finish_reason: str | None = None
    body: str | None = None
    response_body: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
