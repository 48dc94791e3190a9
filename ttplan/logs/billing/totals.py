"""Reads a provider's billing export into totals by day, provider and model."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from ttplan.logs.billing.exports import (
    BILLING_FORMATS,
    BadValue,
    BillingFormat,
    Result,
    detect_billing_format,
)
from ttplan.model.errors import InputError
from ttplan.model.results.totals import MEASURES, Total, Totals
from ttplan.util.paths import PathLike

MAX_BYTES = 64 * 2**20
"""Size of the largest export, uncompressed; a year by day, model and key has a few MiB."""


def read_totals(path: PathLike) -> Totals:
    """Read a provider's billing export: the totals by day, provider and model.

    Parameters
    ----------
    path : str or path
        Daily usage or costs of OpenAI or Anthropic, or daily activity of OpenRouter: JSON as the
        APIs respond (a page, an array of pages, or one page per line), or CSV as the consoles
        export; also compressed (`.gz`).

    Returns
    -------
    Totals
        Token counts, and costs in USD, for `compare_totals`.

    Raises
    ------
    InputError
        If it is not such a file, or a result is not valid: a sum with gaps would be wrong.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import ttplan
    >>> export = pathlib.Path(tempfile.mkdtemp()) / "activity.csv"
    >>> _ = export.write_text(
    ...     "Date,Slug,Usage,BYOK Usage,Requests\\n2026-05-04,openai/gpt-4o,1.5,0,20\\n"
    ... )
    >>> total = ttplan.read_totals(export).totals[0]
    >>> print(total.day, total.model, total.requests)
    2026-05-04 openai/gpt-4o 20
    """
    file = Path(path)
    text = _read_text(file)
    try:
        if text.lstrip()[:1] in ("{", "["):
            results, notes = _json_results(text)
        else:
            results, notes = list(_csv_results(text)), ()
    except (orjson.JSONDecodeError, csv.Error, RecursionError) as error:
        reason = (
            "it is nested too deeply"
            if isinstance(error, RecursionError)
            else str(error).split(":")[0][:80]
        )
        raise InputError(
            f"{file} cannot be read as JSON or CSV ({reason}); check that the file is whole"
        ) from None
    kind = _detect(file, results)
    return Totals(
        path=str(file),
        format=kind.name,
        why=f"its results have {', '.join(sorted(kind.keys))}",
        rows=len(results),
        totals=_sum_results(file, kind, results),
        notes=notes,
    )


def add_totals(first: Total, second: Total) -> Total:
    """The sum of two totals, with the names of the first; a measure that neither has stays None."""
    measures: dict[str, Any] = {"rounding_usd": first.rounding_usd + second.rounding_usd}
    for name in MEASURES:
        values = [getattr(total, name) for total in (first, second)]
        known = [value for value in values if value is not None]
        measures[name] = sum(known[1:], known[0]) if known else None
    return first.model_copy(update=measures)


def _read_text(file: Path) -> str:
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; expected a provider's export of usage or costs by day"
        )
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{file} has more than {MAX_BYTES:,} bytes; export fewer days at a time"
            )
        return content.decode("utf-8-sig")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is cut off, or not gzip"
        raise InputError(f"{file} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text; expected JSON or CSV") from None


def _json_results(text: str) -> tuple[list[Result], tuple[str, ...]]:
    """The results with the times of their buckets, and notes on them."""
    try:
        pages = orjson.loads(text)
    except orjson.JSONDecodeError:
        pages = [orjson.loads(line) for line in text.splitlines() if line.strip()]
    pages = pages if isinstance(pages, list) else [pages]
    unfinished = bool(pages) and isinstance(pages[-1], dict) and pages[-1].get("has_more") is True
    notes = ("the export has further pages, which are not in the file",) if unfinished else ()
    return [result for page in pages for result in _page_results(page)], notes


def _page_results(page: Any) -> Iterator[Result]:
    if not isinstance(page, dict):
        return
    for bucket in page["data"] if isinstance(page.get("data"), list) else [page]:
        if not isinstance(bucket, dict):
            continue
        times = {key: value for key, value in bucket.items() if key not in ("results", "object")}
        inner = bucket.get("results")
        without_list = [bucket] if inner is None else [{}]
        results = inner if isinstance(inner, list) else without_list
        yield from (times | result for result in results if isinstance(result, dict))


def _csv_results(text: str) -> Iterator[Result]:
    for row in csv.DictReader(io.StringIO(text), strict=True):
        yield {name: value for name, value in row.items() if name is not None}


def _detect(file: Path, results: list[Result]) -> BillingFormat:
    for result in results[:1000]:
        if (kind := detect_billing_format(result)) is not None:
            return kind
    known = "; ".join(sorted({f"{f.title} ({', '.join(sorted(f.keys))})" for f in BILLING_FORMATS}))
    raise InputError(f"{file} has no known totals by day; expected one of: {known}")


def _sum_results(
    file: Path, kind: BillingFormat, results: list[Mapping[str, Any]]
) -> tuple[Total, ...]:
    sums: dict[tuple[Any, ...], Total] = {}
    for number, result in enumerate(results, 1):
        try:
            total = kind.parse(result)
        except BadValue as error:
            raise InputError(f"{file}: result {number}: {error}") from None
        if total is not None:
            key = (total.day, total.provider, total.model or "")
            sums[key] = add_totals(sums[key], total) if key in sums else total
    return tuple(sums[key] for key in sorted(sums))
