"""What a log shows of its models: counts and sums by price key, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import fetch_from
from ttplan.model.errors import InputError
from ttplan.model.projection.full import PricePiece
from ttplan.prices.usage.spellings import count_pattern

SESSION_COLUMNS = ("session_id", "user_id", "api_key_id")
"""The columns that may tell which requests share a prompt, the best first."""
COUNTED = (
    "cache_write_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
)
"""Optional counts of tokens with a price of their own."""
USAGE, LONG_WRITES, SEARCHES = "provider_usage", "cache_write_1h_tokens", "web_searches"
"""The provider's own usage object, and what logs have of it: one-hour cache writes, searches."""
FEWEST_OBSERVED = 20
"""With fewer requests, the log does not tell whether a model thinks."""


class LogKey(NamedTuple):
    """What determines the price of a request besides its time and size."""

    provider: str
    model: str
    endpoint: str | None
    service_tier: str | None

    @classmethod
    def of(cls, piece: PricePiece) -> LogKey:
        """The key that a piece of a price is for."""
        return cls(piece.provider, piece.model, piece.endpoint, piece.service_tier)

    @property
    def name(self) -> str:
        """The key of the model's facts and prices."""
        return f"{self.provider}:{self.model}"


class KeyCounts(NamedTuple):
    """The requests of one price key: how many, sums of their tokens, and the most that one has;
    `most_usd` is the largest recorded cost or baseline, without its cents."""

    requests: int
    reasoning_known: int
    reasoning: int
    reasoning_squares: int
    thinking: int
    writes: int
    long_writes: int
    most_input: int
    most_output: int
    most_usd: int


class LogFacts(NamedTuple):
    """Counts by price key, the optional columns that have values, the session column, and whether
    answers are recorded."""

    keys: dict[LogKey, KeyCounts]
    filled: frozenset[str]
    session: str | None
    answers: bool

    def thinks(self, name: str) -> bool | None:
        """Whether the requests of `provider:model` have reasoning tokens; None if too few tell."""
        own = [counts for key, counts in self.keys.items() if key.name == name]
        if sum(c.thinking for c in own):
            return True
        known = sum(c.reasoning_known for c in own)
        return False if known >= FEWEST_OBSERVED else None

    def mean_reasoning(self, name: str) -> tuple[float, float] | None:
        """The mean number of reasoning tokens of `provider:model` and its standard error; None if
        too few requests tell."""
        own = [counts for key, counts in self.keys.items() if key.name == name]
        n = sum(c.reasoning_known for c in own)
        if n < FEWEST_OBSERVED:
            return None
        mean = sum(c.reasoning for c in own) / n
        variance = max(sum(c.reasoning_squares for c in own) / n - mean * mean, 0.0)
        return mean, sqrt(variance / (n - 1))


def fetch_log_facts(window: ir.Table, session: str | None) -> LogFacts:
    """The facts of the rows of a window.

    `session` is the session column that a plan names. Raises InputError if there is none.
    """
    if session is not None and session not in window.columns:
        raise InputError(
            f"config.session is {session!r}, and the log has no such column; expected one of "
            f"{', '.join(SESSION_COLUMNS)} or another column"
        )
    candidates = SESSION_COLUMNS if session is None else (session,)
    optional = (*COUNTED, USAGE, SEARCHES, *candidates)
    columns = tuple(name for name in optional if name in window.columns)
    rows = fetch_from(window, _counts, columns).to_pylist()
    filled = frozenset(c for c in columns if any(row[f"has_{c}"] for row in rows))
    names = list(price_key(window))
    keys = {
        LogKey(*(row[name] or None for name in names)): KeyCounts(  # type: ignore[arg-type]
            *(int(row[name] or 0) for name in KeyCounts._fields)
        )
        for row in sorted(rows, key=lambda row: [row[name] for name in names])
    }
    session = next((c for c in candidates if c in filled), None)
    return LogFacts(keys, filled, session, _has_answers(window))


def _has_answers(window: ir.Table) -> bool:
    if "response_body" not in window.columns:
        return False
    return bool(fetch_from(window, _first_answer)["n"][0].as_py())


def _first_answer(window: ir.Table) -> ir.Table:
    answered = window.filter(window.response_body != "").limit(1)
    return answered.aggregate(n=answered.count())


def _counts(window: ir.Table, columns: Sequence[str]) -> ir.Table:
    def tokens(name: str) -> ir.IntegerValue:
        null = ibis.null("int64")
        return window[name].cast("int64") if name in window.columns else null

    reasoning, writes = tokens("reasoning_tokens"), tokens("cache_write_tokens")
    rows = window.mutate(
        **price_key(window),
        counted_reasoning=ibis.least(reasoning, window.output_tokens.cast("int64")),
        counted_writes=writes,
        counted_long=long_writes(window),
    )
    capped = ibis.least(rows.counted_reasoning, 10**6)
    return rows.group_by(*price_key(window)).aggregate(
        requests=rows.count(),
        reasoning_known=rows.counted_reasoning.count(),
        reasoning=rows.counted_reasoning.sum(),
        reasoning_squares=(capped * capped).sum(),
        thinking=(rows.counted_reasoning > 0).sum(),
        writes=rows.counted_writes.sum(),
        long_writes=rows.counted_long.sum(),
        most_input=rows.input_tokens.max(),
        most_output=rows.output_tokens.max(),
        most_usd=ibis.greatest(rows.cost_usd.max(), rows.baseline_cost_usd.max()),
        **{f"has_{name}": rows[name].count() for name in columns},
    )


def price_key(window: ir.Table) -> dict[str, ir.StringValue]:
    """The four columns of a `LogKey`, without nulls."""

    def text(name: str) -> ir.StringValue:
        return window[name].fill_null("") if name in window.columns else ibis.literal("")

    return {
        "key_provider": window.provider,
        "key_model": window.model,
        "key_endpoint": text("endpoint"),
        "key_tier": text("service_tier"),
    }


def long_writes(window: ir.Table) -> ir.IntegerValue:
    """The cache writes that last an hour."""
    return _counted(window, LONG_WRITES, "write_1h")


def web_searches(window: ir.Table) -> ir.IntegerValue:
    """The web searches, which have a fee."""
    return _counted(window, SEARCHES, "searches")


def _counted(window: ir.Table, column: str, name: str) -> ir.IntegerValue:
    """A count: its column, else what the row's usage object says, else 0."""
    counts = [window[column].cast("int64")] if column in window.columns else []
    if USAGE in window.columns:
        digits = window[USAGE].re_extract(count_pattern(name), 1)
        counts.append(digits.nullif("").cast("int64"))
    return ibis.coalesce(*counts, ibis.literal(0, "int64"))
