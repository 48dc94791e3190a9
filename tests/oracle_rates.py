"""A plain reading of the full projection's prices and assumptions, one request at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from ttplan.model.pricing import ModelPricing
from ttplan.model.projection.assumption import Assumption, AssumptionName
from ttplan.model.projection.full import PricePiece
from ttplan.model.request import RequestLog

STANDARD_TIERS = ("", "default", "standard", "standard_only", "auto", "on_demand", "on-demand")
INPUT = ("cached", "write_1h", "write", "in_audio", "in_image", "input")
OUTPUT = ("reasoning", "out_audio", "out_image", "output")


class Key(NamedTuple):
    """What a price is asked by, besides the time and the length of the prompt."""

    provider: str
    model: str
    endpoint: str | None
    tier: str | None

    @property
    def name(self) -> str:
        """The key of its facts."""
        return f"{self.provider}:{self.model}"


def key_of(r: RequestLog) -> Key:
    """The price key of a request; an empty endpoint or tier is none."""
    return Key(r.provider, r.model, r.endpoint or None, r.service_tier or None)


def rounded(amount: Fraction, digits: int = 12) -> Fraction:
    """Half away from zero."""
    whole = int(abs(amount) * 10**digits + Fraction(1, 2))
    return Fraction(whole if amount >= 0 else -whole, 10**digits)


def money(amount: Fraction) -> Decimal:
    """An amount of whole 10^-12 USD."""
    assert amount.denominator in {2**a * 5**b for a in range(13) for b in range(13)}
    return Decimal(int(amount * 10**12)).scaleb(-12)


def scaled(tokens: int, ratio: Fraction) -> int:
    """Tokens times a ratio, rounded half away from zero."""
    return int(tokens * ratio + Fraction(1, 2))


class Rates(NamedTuple):
    """A price: USD per token by part, the fee of a request and that of a search."""

    piece: PricePiece
    of: dict[str, Fraction]
    fee: Fraction
    search: Fraction

    def cost(self, parts: dict[str, int], searches: int) -> Fraction:
        """The exact cost of these tokens, and the fees."""
        tokens = sum((self.of[name] * n for name, n in parts.items()), Fraction(0))
        return tokens + self.fee + self.search * searches


def rates_of(piece: PricePiece) -> Rates:
    """Every part has a rate: its own, else that of its side."""
    r = piece.rates
    write = r.input_per_million if r.cache_write_per_million is None else r.cache_write_per_million
    side = {
        "cached": (r.cached_input_per_million, r.input_per_million),
        "write": (write, write),
        "write_1h": (r.cache_write_1h_per_million, write),
        "in_audio": (r.input_audio_per_million, r.input_per_million),
        "in_image": (r.input_image_per_million, r.input_per_million),
        "input": (r.input_per_million, r.input_per_million),
        "reasoning": (r.reasoning_per_million, r.output_per_million),
        "out_audio": (r.output_audio_per_million, r.output_per_million),
        "out_image": (r.output_image_per_million, r.output_per_million),
        "output": (r.output_per_million, r.output_per_million),
    }
    per_token = {
        name: Fraction(other if own is None else own) / 10**6 for name, (own, other) in side.items()
    }
    return Rates(piece, per_token, Fraction(r.request_usd or 0), Fraction(r.web_search_usd or 0))


def rates_at(
    pieces: Sequence[PricePiece], key: Key | None, at: datetime, tokens: int
) -> Rates | None:
    """The price of a key at an instant for a prompt of that length; None if it has none."""
    second = at.hour * 3600 + at.minute * 60 + at.second
    for p in pieces:
        if (
            Key(p.provider, p.model, p.endpoint, p.service_tier) == key
            and (p.start is None or p.start <= at)
            and (p.end is None or at < p.end)
            and p.day_from <= second < p.day_until
            and p.over_input_tokens < tokens
            and (p.up_to_input_tokens is None or tokens <= p.up_to_input_tokens)
        ):
            return rates_of(p)
    return None


def target_key(
    r: Key, model: str, pricing: dict[str, ModelPricing], pieces: Sequence[PricePiece]
) -> Key | None:
    """The request's own provider if it offers the target, else the first; its own service tier
    there if that has a price, else the standard one."""
    providers = [r.provider] if f"{r.provider}:{model}" in pricing else []
    providers += [k.split(":", 1)[0] for k in sorted(pricing) if k.split(":", 1)[1] == model]
    if not providers:
        return None
    own = providers[0] == r.provider and f"{r.provider}:{model}" in pricing
    standard = (r.tier or "").strip().lower() in STANDARD_TIERS
    known = {Key(p.provider, p.model, p.endpoint, p.service_tier) for p in pieces}
    for tier in [None] if standard else [r.tier, None]:
        for endpoint in [r.endpoint, None] if own else [None]:
            if Key(providers[0], model, endpoint, tier) in known:
                return Key(providers[0], model, endpoint, tier)
    return None


def split(order: Sequence[str], total: int, claims: dict[str, int]) -> dict[str, int]:
    """Tokens by part: each takes what it claims of what the earlier left; the last takes the
    rest."""
    parts, rest = {}, total
    for name in order[:-1]:
        parts[name] = min(claims.get(name, 0), rest)
        rest -= parts[name]
    return parts | {order[-1]: rest}


def counted(r: RequestLog, *names: str) -> int:
    """The first count under one of these names in the provider's usage."""
    found = re.search(f'"(?:{"|".join(names)})"\\s*:\\s*([0-9]{{1,9}})', r.provider_usage or "")
    return int(found[1]) if found else 0


def searches(r: RequestLog) -> int:
    """Web searches that the usage counts."""
    return counted(r, "web_search_requests", "web_search_calls", "num_search_queries")


def long_writes(r: RequestLog) -> int:
    """Cache writes that last an hour."""
    return counted(r, "ephemeral_1h_input_tokens")


class Chosen(NamedTuple):
    """The assumption that applies to a pair: its value, None if only the scope is known."""

    value: Fraction | None
    scope: str | None
    error: float | None = None


@dataclass(frozen=True)
class Assumed:
    """Assumptions, and values that replace them to see what they change."""

    given: Sequence[Assumption]
    forced: dict[AssumptionName, Fraction] = field(default_factory=dict)

    def pick(
        self, name: AssumptionName, key: Key, target: Key | None, route: str | None
    ) -> Chosen | None:
        """The one that names most of source, target and route; of equals the first."""
        fitting = [
            a
            for a in self.given
            if a.name == name
            and a.source_model in (None, key.model, key.name)
            and a.target_model in (None, *([] if target is None else [target.model, target.name]))
            and a.route in ((None,) if route is None else (None, route))
        ]
        best = max(
            fitting,
            key=lambda a: sum(x is not None for x in (a.source_model, a.target_model, a.route)),
            default=None,
        )
        scope = None if best is None else best.scope
        if name in self.forced:
            return Chosen(self.forced[name], scope)
        if best is None:
            return None
        value = None if best.value is None else Fraction(best.value)
        return Chosen(value, scope, best.standard_error)

    def value(
        self, name: AssumptionName, key: Key, target: Key | None, route: str | None, neutral: int
    ) -> Fraction:
        """The value, else the neutral one."""
        chosen = self.pick(name, key, target, route)
        return Fraction(neutral) if chosen is None or chosen.value is None else chosen.value
