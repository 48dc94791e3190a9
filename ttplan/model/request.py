"""One logged request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, FiniteFloat

from ttplan.model.base import LenientModel, NonEmptyText, OmitsDefaults, UtcDatetime
from ttplan.model.money import RequestMoney

MAX_TOKENS = 10**12
"""Upper bound of one request's tokens, so that sums over a log fit in 38 digits."""

Tokens = Annotated[int, Field(strict=True, ge=0, lt=MAX_TOKENS)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, lt=2**53)]


class RequestLog(OmitsDefaults, LenientModel):
    """One request as the gateway logged it. Unknown fields are ignored.

    Parameters
    ----------
    id, org_id : UUID
    ts : datetime
        Time zone required.
    provider, model : str
    input_tokens, output_tokens, cached_tokens : int
        `input_tokens` include `cached_tokens`.
    cost_usd, baseline_cost_usd : Decimal, float or int
        What was paid, and what would have been paid without routing and caching. USD.
    cached : bool
        Whether a gateway cache served the request.
    cache_layer : {"l1", "l2"}, optional
    matched_route_id : UUID, optional
    latency_ms : int or None
        None if the log has no latencies.
    status : int
        HTTP status.
    embedding : list of float, optional
    session_id, user_id, api_key_id : str, optional
        Which requests belong together.
    cache_write_tokens, reasoning_tokens, input_audio_tokens, output_audio_tokens : int, optional
    input_image_tokens, output_image_tokens : int, optional
        Parts of the input and output tokens that have a price of their own.
    cache_write_1h_tokens : int, optional
        Those of `cache_write_tokens` that last an hour.
    web_searches : int, optional
        Web searches that the provider bills.
    service_tier, endpoint : str, optional
        The service tier (``"batch"``) and the endpoint that the price depends on.
    provider_usage : str, optional
        The provider's own usage object, as JSON.
    prompt_hash, answer_hash : str, optional
        Hashes of the prompt (with all that changes the answer), and of the answer's text.

    Examples
    --------
    >>> from uuid import UUID
    >>> import ttplan
    >>> request = ttplan.RequestLog(
    ...     id=UUID(int=1),
    ...     org_id=UUID(int=2),
    ...     ts="2026-05-01T12:00:00Z",
    ...     provider="openai",
    ...     model="gpt-4o",
    ...     input_tokens=1_000,
    ...     output_tokens=100,
    ...     cached_tokens=0,
    ...     cost_usd=0.0035,
    ...     baseline_cost_usd=0.0035,
    ...     cached=False,
    ...     latency_ms=850,
    ...     status=200,
    ... )
    >>> request.cost_usd
    Decimal('0.003500000000')
    """

    id: UUID
    org_id: UUID
    ts: UtcDatetime
    provider: NonEmptyText
    model: NonEmptyText
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
    cache_write_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None
    input_audio_tokens: Tokens | None = None
    output_audio_tokens: Tokens | None = None
    input_image_tokens: Tokens | None = None
    output_image_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens | None = None
    web_searches: Tokens | None = None
    service_tier: str | None = None
    endpoint: str | None = None
    provider_usage: str | None = None
    prompt_hash: str | None = None
    answer_hash: str | None = None

    OMITTED: ClassVar[frozenset[str]] = frozenset(
        {
            "cache_write_tokens",
            "reasoning_tokens",
            "input_audio_tokens",
            "output_audio_tokens",
            "input_image_tokens",
            "output_image_tokens",
            "cache_write_1h_tokens",
            "web_searches",
            "service_tier",
            "endpoint",
            "provider_usage",
            "prompt_hash",
            "answer_hash",
        }
    )
