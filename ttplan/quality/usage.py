"""Read the usage object of a chat completion, and what its tokens cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ttplan.model.money import round_money
from ttplan.model.pricing import ModelPricing
from ttplan.model.request import MAX_TOKENS
from ttplan.model.results.quality import TokenUsage


def read_usage(completion: Any) -> TokenUsage | None:
    """Return the tokens that a completion reports; None without counts of input and output.

    Some services count reasoning in `total_tokens`, but not in `completion_tokens`. Their output
    is the difference between the total and the input, as it is billed.
    """
    usage = _object(completion, "usage")
    input_tokens, output = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if input_tokens is None or output is None:
        return None
    reasoning = _count(_object(usage, "completion_tokens_details"), "reasoning_tokens")
    cached = _count(_object(usage, "prompt_tokens_details"), "cached_tokens")
    hidden = (_count(usage, "total_tokens") or 0) - input_tokens - output
    if hidden > 0 and reasoning in (None, hidden):
        output, reasoning = output + hidden, hidden
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output,
        reasoning_tokens=None if reasoning is None else min(reasoning, output),
        cached_tokens=None if cached is None else min(cached, input_tokens),
    )


def token_cost_usd(
    price: ModelPricing | None, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> Decimal | None:
    """Return the cost of the tokens in USD; None without a price."""
    if price is None:
        return None
    input_usd = (input_tokens - cached_tokens) * price.input_per_million
    input_usd += cached_tokens * price.cached_rate
    return round_money((input_usd + output_tokens * price.output_per_million) / 10**6)


def usage_cost_usd(price: ModelPricing | None, usage: TokenUsage | None) -> Decimal | None:
    """Return the cost of reported tokens in USD; None if they or the price are unknown."""
    if usage is None:
        return None
    cached = usage.cached_tokens or 0
    return token_cost_usd(price, usage.input_tokens, usage.output_tokens, cached)


def _object(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, dict) else None


def _count(content: Any, name: str) -> int | None:
    count = _object(content, name)
    return count if type(count) is int and 0 <= count < MAX_TOKENS // 2 else None
