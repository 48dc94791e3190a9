"""Read a provider's export of daily buckets, to hold a log against it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from ttplan.logs.billing.exports import FORMATS, BadValue, BillingFormat, detect_billing_format
from ttplan.model.errors import InputError
from ttplan.model.results.totals import MEASURES, Total, Totals
from ttplan.util.paths import PathLike

MAX_BYTES = 64 * 2**20
"""The largest export, unpacked: a year of days by model and key is a few of them."""


def read_totals(path: PathLike) -> Totals:
    """The totals by day, provider and model of an export of buckets: usage or costs of OpenAI or Anthropic, days of OpenRouter.

    JSON as the APIs answer (a page, several in an array, or one a line) or CSV as the consoles export; `.gz`, too. Raises
    InputError where it is none of these, or where any result cannot be used: a sum with holes would be no sum.
    """
    file = Path(path)
    text = _text(file)
    try:
        results, notes = (
            _json_results(text)
            if text.lstrip()[:1] in ("{", "[")
            else (list(_csv_results(text)), ())
        )
    except (orjson.JSONDecodeError, csv.Error, RecursionError) as error:
        reason = (
            "it is nested too deeply"
            if isinstance(error, RecursionError)
            else str(error).split(":")[0][:80]
        )
        raise InputError(
            f"{file} cannot be read as JSON or CSV ({reason}); check that the file is whole"
        ) from None
    kind = _recognise(file, results)
    return Totals(
        path=str(file),
        format=kind.name,
        why=f"its results have {', '.join(sorted(kind.keys))}",
        rows=len(results),
        totals=_sums(file, kind, results),
        notes=notes,
    )


def _text(file: Path) -> str:
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; expected a provider's export of usage or costs by day"
        )
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{file} has more than {MAX_BYTES:,} bytes; export fewer days at a time"
            )
        return content.decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise InputError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is cut off or no gzip'}"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is no text in UTF-8; expected JSON or CSV") from None


def _json_results(text: str) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Each bucket's results with the bucket's times, and what to know about them."""
    try:
        pages = orjson.loads(text)
    except orjson.JSONDecodeError:
        pages = [orjson.loads(line) for line in text.splitlines() if line.strip()]
    pages = pages if isinstance(pages, list) else [pages]
    unfinished = bool(pages) and isinstance(pages[-1], dict) and pages[-1].get("has_more") is True
    notes = ("the export has further pages, which are not in the file",) if unfinished else ()
    return [result for page in pages for result in _of_page(page)], notes


def _of_page(page: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(page, dict):
        return
    for bucket in page["data"] if isinstance(page.get("data"), list) else [page]:
        if isinstance(bucket, dict):
            inner = bucket.get("results")
            times = {
                key: value for key, value in bucket.items() if key not in ("results", "object")
            }
            for result in (
                inner if isinstance(inner, list) else [{}] if inner is not None else [bucket]
            ):
                if isinstance(result, dict):
                    yield times | result


def _csv_results(text: str) -> Iterator[Mapping[str, Any]]:
    for row in csv.DictReader(io.StringIO(text), strict=True):
        yield {name: value for name, value in row.items() if name is not None}


def _recognise(file: Path, results: list[Mapping[str, Any]]) -> BillingFormat:
    for result in results[:1000]:
        if (found := detect_billing_format(result)) is not None:
            return found
    known = "; ".join(sorted({f"{one.title} ({', '.join(sorted(one.keys))})" for one in FORMATS}))
    raise InputError(f"{file} has no totals by day that are known; expected one of: {known}")


def _sums(file: Path, kind: BillingFormat, results: list[Mapping[str, Any]]) -> tuple[Total, ...]:
    sums: dict[tuple[Any, ...], Total] = {}
    for number, result in enumerate(results, 1):
        try:
            total = kind.total(result)
        except BadValue as error:
            raise InputError(f"{file}: result {number}: {error}") from None
        if total is not None:
            key = (total.day, total.provider, total.model or "")
            sums[key] = added(sums[key], total) if key in sums else total
    return tuple(sums[key] for key in sorted(sums))


def added(one: Total, other: Total) -> Total:
    """The sum of two totals, under the names of the first; what neither has stays None."""
    measures: dict[str, Any] = {}
    for name in MEASURES:
        found = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        measures[name] = sum(found[1:], found[0]) if found else None
    rounding: Decimal = one.rounding_usd + other.rounding_usd
    return one.model_copy(update=measures | {"rounding_usd": rounding})
