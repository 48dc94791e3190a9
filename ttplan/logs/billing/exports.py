"""Billing exports of providers (daily usage or costs): how to detect one and parse its results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ttplan.model.money import MAX_MONEY, round_money, to_decimal
from ttplan.model.results.totals import Total

Result = Mapping[str, Any]
Parser = Callable[[Result], Total | None]
_COUNT = re.compile(r"\d{1,18}(\.0+)?", re.ASCII)
_AMOUNT = re.compile(r"-?\d{1,12}(\.\d{0,400})?([eE][+-]?\d{1,4})?", re.ASCII)
_CENT = Decimal("0.01")


class BadValue(ValueError):
    """A field of a result that is not valid: its name, its value, and what was expected."""

    def __init__(self, field: str, value: Any, expected: str) -> None:
        super().__init__(f"{field} is {repr(value)[:40]}; expected {expected}")


class BillingFormat(NamedTuple):
    """A kind of export: its title, the keys of its results, and how to parse a result.

    In JSON, results are inside buckets, which have the times; in CSV a row has both.
    """

    name: str
    title: str
    keys: frozenset[str]
    parse: Parser


BILLING_FORMATS: list[BillingFormat] = []
"""In the order of their parsers in this module."""


def detect_billing_format(keys: Iterable[str]) -> BillingFormat | None:
    """The first format whose keys are all there, or None."""
    return next((f for f in BILLING_FORMATS if f.keys <= set(keys)), None)


def _parses(name: str, title: str, keys: str) -> Callable[[Parser], Parser]:
    """Register a parser of results that have these keys."""

    def register(parse: Parser) -> Parser:
        BILLING_FORMATS.append(
            BillingFormat(name, f"{title} by day", frozenset(keys.split()), parse)
        )
        return parse

    return register


def _count(result: Result, field: str) -> int:
    """A count; 0 if it is missing, since the providers omit what did not occur."""
    value = result.get(field)
    if value is None or value == "":
        return 0
    text = str(value)  # The console writes counts as 3.0.
    if isinstance(value, bool) or not _COUNT.fullmatch(text):
        raise BadValue(field, value, "a whole number, not negative")
    return int(text.split(".")[0])


def _money(result: Result, field: str) -> Decimal:
    """USD; credits are negative."""
    value = result.get(field)
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        amount = Decimal(value)
    else:
        try:
            amount = to_decimal(value)
        except ValueError:
            raise BadValue(field, value, "an amount") from None
    if abs(amount) >= MAX_MONEY:
        raise BadValue(field, value, "an amount below 10^12")
    return round_money(amount)


def _text(result: Result, field: str) -> str | None:
    value = result.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadValue(field, value, "a text")
    return value[:512]


def _day(result: Result, start: str, end: str | None) -> date:
    """The UTC day of a bucket, which covers at most one day."""
    begin = _time(result, start)
    if end is not None and _time(result, end) - begin > timedelta(days=1):
        raise BadValue(
            end,
            result.get(end),
            "the end of a bucket of at most one day; export with a bucket_width of 1d",
        )
    return begin.date()


def _time(result: Result, field: str) -> datetime:
    value = result.get(field)
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str):
        try:
            if _COUNT.fullmatch(text):
                return datetime.fromtimestamp(int(text.split(".")[0]), UTC)
            time = datetime.fromisoformat(text)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            pass
    raise BadValue(field, value, "a time, such as 1777852800 or 2026-05-04T00:00:00Z")


def _check_usd(result: Result, field: str) -> None:
    currency = _text(result, field)
    if (currency or "usd").lower() != "usd":
        raise BadValue(field, currency, "USD; other currencies cannot be compared")


@_parses("openai_usage", "OpenAI usage", "num_model_requests input_tokens output_tokens")
def _openai_usage(result: Result) -> Total | None:
    """Input includes cache reads and writes."""
    if not _text(result, "object") and result.get("num_model_requests") in (None, ""):
        return None  # An empty day has a row in CSV, too.
    return Total(
        day=_day(result, "start_time", "end_time"),
        provider="openai",
        model=_text(result, "model"),
        requests=_count(result, "num_model_requests"),
        input_tokens=_count(result, "input_tokens"),
        cached_tokens=_count(result, "input_cached_tokens"),
        output_tokens=_count(result, "output_tokens"),
    )


@_parses("openai_costs_csv", "OpenAI costs", "amount_value amount_currency line_item")
@_parses("openai_costs", "OpenAI costs", "amount line_item project_id")
def _openai_costs(result: Result) -> Total | None:
    """A line item is a model and a kind of token, such as `gpt-4o, cached input`, or a service."""
    flat = dict(result)
    amount = result.get("amount")
    if isinstance(amount, Mapping):
        flat |= {"amount_value": amount.get("value"), "amount_currency": amount.get("currency")}
    if flat.get("amount_value") in (None, ""):
        return None
    _check_usd(flat, "amount_currency")
    item = _text(flat, "line_item")
    return Total(
        day=_day(flat, "start_time", "end_time"),
        provider="openai",
        model=None if item is None else item.split(", ")[0],
        cost_usd=_money(flat, "amount_value"),
    )


@_parses("anthropic_usage", "Anthropic usage", "uncached_input_tokens cache_read_input_tokens")
def _anthropic_usage(result: Result) -> Total:
    """Counts are disjoint; cache writes for five minutes and for an hour become one count."""
    created = result.get("cache_creation")
    written = sum(_count(created, kind) for kind in created) if isinstance(created, Mapping) else 0
    cached = _count(result, "cache_read_input_tokens")
    return Total(
        day=_day(result, "starting_at", "ending_at"),
        provider="anthropic",
        model=_text(result, "model"),
        input_tokens=_count(result, "uncached_input_tokens") + written + cached,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_count(result, "output_tokens"),
    )


@_parses("anthropic_costs", "Anthropic costs", "amount currency description cost_type")
def _anthropic_costs(result: Result) -> Total:
    """The API's amounts are in cents."""
    _check_usd(result, "currency")
    return Total(
        day=_day(result, "starting_at", "ending_at"),
        provider="anthropic",
        model=_text(result, "model") or _text(result, "description"),
        cost_usd=round_money(_money(result, "amount") * _CENT),
    )


@_parses("anthropic_usage_csv", "Anthropic usage", "usage_date_utc usage_input_tokens_no_cache")
def _anthropic_usage_csv(result: Result) -> Total:
    written = _count(result, "usage_input_tokens_cache_write_5m") + _count(
        result, "usage_input_tokens_cache_write_1h"
    )
    cached = _count(result, "usage_input_tokens_cache_read")
    return Total(
        day=_day(result, "usage_date_utc", None),
        provider="anthropic",
        model=_text(result, "model_version"),
        input_tokens=_count(result, "usage_input_tokens_no_cache") + written + cached,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_count(result, "usage_output_tokens"),
    )


@_parses("anthropic_costs_csv", "Anthropic costs", "usage_date_utc token_type cost_usd")
def _anthropic_costs_csv(result: Result) -> Total:
    """The console's amounts are in USD, rounded to cents line by line."""
    return Total(
        day=_day(result, "usage_date_utc", None),
        provider="anthropic",
        model=_text(result, "model") or _text(result, "cost_type"),
        cost_usd=_money(result, "cost_usd"),
        rounding_usd=_CENT / 2,
    )


@_parses("openrouter_days", "OpenRouter activity", "date usage byok_usage_inference requests")
def _openrouter_days(result: Result) -> Total:
    """With the user's own provider key (BYOK), the provider charges separately."""
    return Total(
        day=_day(result, "date", None),
        provider="openrouter",
        model=_text(result, "model_permaslug") or _text(result, "model"),
        requests=_count(result, "requests"),
        input_tokens=_count(result, "prompt_tokens"),
        output_tokens=_count(result, "completion_tokens"),
        cost_usd=_money(result, "usage") + _money(result, "byok_usage_inference"),
    )


_OPENROUTER_KEYS = {
    "Date": "date",
    "Slug": "model",
    "Usage": "usage",
    "BYOK Usage": "byok_usage_inference",
    "Requests": "requests",
    "Prompt Tokens": "prompt_tokens",
    "Completion Tokens": "completion_tokens",
}


@_parses("openrouter_days_csv", "OpenRouter activity", "Date Slug Usage Requests")
def _openrouter_days_csv(result: Result) -> Total | None:
    renamed = {_OPENROUTER_KEYS.get(name, name): value for name, value in result.items()}
    return _openrouter_days(renamed)


NOT_A_LOG = (
    "sums of whole days, from which no single request can be replayed. Import a log with one row a"
    " request, and compare its totals with this file: check_logs with totals, or"
    " ttplan.read_totals and ttplan.compare_totals"
)
"""Why such a file is refused as a log, and what to do with it."""
