"""The daily buckets that providers export: which file is one, and what each of its results says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ttplan.model.money import MAX_MONEY, round_money, to_decimal
from ttplan.model.results.totals import Total

Result = Mapping[str, Any]
_WHOLE = re.compile(r"\d{1,18}(\.0+)?", re.ASCII)
_AMOUNT = re.compile(r"-?\d{1,12}(\.\d{0,400})?([eE][+-]?\d{1,3})?", re.ASCII)
_CENT = Decimal("0.01")


class BadValue(ValueError):
    """A field of a result that cannot be used: which, what was found, what was expected."""

    def __init__(self, field: str, found: Any, expected: str) -> None:
        super().__init__(f"{field} is {repr(found)[:40]}; expected {expected}")


class BillingFormat(NamedTuple):
    """One kind of export: its name for people, the keys that its results have, and how a result becomes a `Total`.

    In JSON, results are inside buckets, which have the times; in CSV a row has both.
    """

    name: str
    title: str
    keys: frozenset[str]
    total: Callable[[Result], Total | None]


def detect_billing_format(keys: Iterable[str]) -> BillingFormat | None:
    """The format whose results have these keys, or None."""
    found = set(keys)
    return next((one for one in FORMATS if one.keys <= found), None)


def _whole(result: Result, field: str) -> int:
    """A count; nothing is 0, as both providers leave out what did not occur."""
    value = result.get(field)
    if value is None or value == "":
        return 0
    text = str(value)  # The console writes counts as 3.0.
    if isinstance(value, bool) or not _WHOLE.fullmatch(text):
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
    """The UTC day of a bucket, which may not be longer than one."""
    begin = _moment(result, start)
    if end is not None and _moment(result, end) - begin > timedelta(days=1):
        raise BadValue(
            end,
            result.get(end),
            "the end of a bucket of at most one day; export with a bucket_width of 1d",
        )
    return begin.date()


def _moment(result: Result, field: str) -> datetime:
    value = result.get(field)
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str):
        try:
            if _WHOLE.fullmatch(text):
                return datetime.fromtimestamp(int(text.split(".")[0]), UTC)
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            pass
    raise BadValue(field, value, "a time, such as 1777852800 or 2026-05-04T00:00:00Z")


def _in_usd(result: Result, field: str) -> None:
    currency = _text(result, field)
    if (currency or "usd").lower() != "usd":
        raise BadValue(field, currency, "USD; other currencies cannot be compared")


def _openai_usage(result: Result) -> Total | None:
    """Input includes what the cache read and wrote."""
    if not _text(result, "object") and result.get("num_model_requests") in (None, ""):
        return None  # A CSV has a row for an empty day, too.
    return Total(
        day=_day(result, "start_time", "end_time"),
        provider="openai",
        model=_text(result, "model"),
        requests=_whole(result, "num_model_requests"),
        input_tokens=_whole(result, "input_tokens"),
        cached_tokens=_whole(result, "input_cached_tokens"),
        output_tokens=_whole(result, "output_tokens"),
    )


def _openai_costs(result: Result) -> Total | None:
    """A line item is a model and a kind of token, such as `gpt-4o, cached input`, or a service."""
    flat = dict(result)
    amount = result.get("amount")
    if isinstance(amount, Mapping):
        flat |= {"amount_value": amount.get("value"), "amount_currency": amount.get("currency")}
    if flat.get("amount_value") in (None, ""):
        return None
    _in_usd(flat, "amount_currency")
    item = _text(flat, "line_item")
    return Total(
        day=_day(flat, "start_time", "end_time"),
        provider="openai",
        model=None if item is None else item.split(", ")[0],
        cost_usd=_money(flat, "amount_value"),
    )


def _anthropic_usage(result: Result) -> Total:
    """Counts stand beside one another; what was written to the cache for five minutes and for an hour is one count here."""
    created = result.get("cache_creation")
    written = sum(_whole(created, kind) for kind in created) if isinstance(created, Mapping) else 0
    cached = _whole(result, "cache_read_input_tokens")
    return Total(
        day=_day(result, "starting_at", "ending_at"),
        provider="anthropic",
        model=_text(result, "model"),
        input_tokens=_whole(result, "uncached_input_tokens") + written + cached,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_whole(result, "output_tokens"),
    )


def _anthropic_costs(result: Result) -> Total:
    """The API's amounts are cents."""
    _in_usd(result, "currency")
    return Total(
        day=_day(result, "starting_at", "ending_at"),
        provider="anthropic",
        model=_text(result, "model") or _text(result, "description"),
        cost_usd=round_money(_money(result, "amount") * _CENT),
    )


def _anthropic_usage_csv(result: Result) -> Total:
    written = _whole(result, "usage_input_tokens_cache_write_5m") + _whole(
        result, "usage_input_tokens_cache_write_1h"
    )
    cached = _whole(result, "usage_input_tokens_cache_read")
    return Total(
        day=_day(result, "usage_date_utc", None),
        provider="anthropic",
        model=_text(result, "model_version"),
        input_tokens=_whole(result, "usage_input_tokens_no_cache") + written + cached,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=_whole(result, "usage_output_tokens"),
    )


def _anthropic_costs_csv(result: Result) -> Total:
    """The console's amounts are USD in whole cents, line by line."""
    return Total(
        day=_day(result, "usage_date_utc", None),
        provider="anthropic",
        model=_text(result, "model") or _text(result, "cost_type"),
        cost_usd=_money(result, "cost_usd"),
        rounding_usd=_CENT / 2,
    )


def _openrouter_days(result: Result) -> Total:
    """With a key of one's own, what the provider takes is beside what OpenRouter does."""
    return Total(
        day=_day(result, "date", None),
        provider="openrouter",
        model=_text(result, "model_permaslug") or _text(result, "model"),
        requests=_whole(result, "requests"),
        input_tokens=_whole(result, "prompt_tokens"),
        output_tokens=_whole(result, "completion_tokens"),
        cost_usd=_money(result, "usage") + _money(result, "byok_usage_inference"),
    )


def _openrouter_days_csv(result: Result) -> Total:
    names = {
        "Date": "date",
        "Slug": "model",
        "Usage": "usage",
        "BYOK Usage": "byok_usage_inference",
        "Requests": "requests",
        "Prompt Tokens": "prompt_tokens",
        "Completion Tokens": "completion_tokens",
    }
    return _openrouter_days({names.get(name, name): value for name, value in result.items()})


def _format(
    name: str, title: str, keys: str, total: Callable[[Result], Total | None]
) -> BillingFormat:
    return BillingFormat(name, title, frozenset(keys.split(",")), total)


# The first whose keys are all there.
FORMATS = (
    _format(
        "openai_usage",
        "OpenAI usage by day",
        "num_model_requests,input_tokens,output_tokens",
        _openai_usage,
    ),
    _format("openai_costs", "OpenAI costs by day", "amount,line_item,project_id", _openai_costs),
    _format(
        "openai_costs_csv",
        "OpenAI costs by day",
        "amount_value,amount_currency,line_item",
        _openai_costs,
    ),
    _format(
        "anthropic_usage",
        "Anthropic usage by day",
        "uncached_input_tokens,cache_read_input_tokens",
        _anthropic_usage,
    ),
    _format(
        "anthropic_costs",
        "Anthropic costs by day",
        "amount,currency,description,cost_type",
        _anthropic_costs,
    ),
    _format(
        "anthropic_usage_csv",
        "Anthropic usage by day",
        "usage_date_utc,usage_input_tokens_no_cache",
        _anthropic_usage_csv,
    ),
    _format(
        "anthropic_costs_csv",
        "Anthropic costs by day",
        "usage_date_utc,token_type,cost_usd",
        _anthropic_costs_csv,
    ),
    _format(
        "openrouter_days",
        "OpenRouter activity by day",
        "date,usage,byok_usage_inference,requests",
        _openrouter_days,
    ),
    _format(
        "openrouter_days_csv",
        "OpenRouter activity by day",
        "Date,Slug,Usage,Requests",
        _openrouter_days_csv,
    ),
)
NO_REPLAY = (
    "sums of whole days, from which no single request can be replayed. Import a log with one row a request, and hold its totals "
    "against this file with ttplan.read_totals and ttplan.compare_totals, or ttplan check-logs"
)
"""Why such a file is no log, for whoever wants to import one."""
