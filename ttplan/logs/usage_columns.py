"""Fills the columns of tokens and fees from the usage objects and the sums of each row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ttplan.logs.rows import REQUEST_SCHEMA
from ttplan.prices.usage.parse import UsageCounts, parse_usage
from ttplan.prices.usage.reconcile import CACHED, REASONING, TOOL, WRITTEN, Parts, reconcile

Counting = Literal["provider", "inside", "beside", "exact"]
"""How a format counts cached, written and reasoning tokens: as the provider whose usage object it
passes on; inside of the input and output; beside them; or exactly as ttplan does, whatever the
usage object says. A row's own sums take precedence over all but the last."""

_USAGE = ("provider_usage", "other_usage")
_OF_USAGE = {
    "cached_tokens": "cached",
    "cache_write_1h_tokens": "write_1h",
    "reasoning_tokens": "reasoning",
    "input_audio_tokens": "in_audio",
    "output_audio_tokens": "out_audio",
    "input_image_tokens": "in_image",
    "output_image_tokens": "out_image",
    "web_searches": "searches",
}
"""The columns that are counts of a usage object."""
_COUNTS = ("input_tokens", "output_tokens", *_OF_USAGE, "cache_write_tokens")
_TEXTS = ("service_tier", "endpoint", "usage_reading")
_MARKERS = r"(?i)1h|search|grounding"
"""What the text of a usage object contains if it counts one-hour writes or searches."""
_STANDARD = frozenset(("", "standard", "default", "auto", "standard_only"))
_TRAFFIC = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
    "PROVISIONED_THROUGHPUT": "provisioned",
}
"""Google's types of traffic, as service tiers."""
_ANYWHERE = frozenset(("", "global", "not_available", "unknown"))
"""Values of `inference_geo` that no price depends on."""
_DECISIONS = {
    "input beside": "input_tokens: cached tokens counted beside it",
    "input inside": "input_tokens: cached tokens counted as a part of it",
    "output beside": "output_tokens: reasoning counted beside it",
    "output inside": "output_tokens: reasoning counted as a part of it",
}
UNEXPLAINED = "total_tokens: no sum of the row's counts gives it"
INVALID = "provider_usage: a count that is not a whole number"


class UsageColumns:
    """Normalises batches of rows; `notes` has what was found in the last one, by row."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self.decided: list[tuple[str, int]] = []
        """Which rows were read by their own sums, and how."""
        self.left_out: list[tuple[str, int]] = []
        """Which values were left out."""

    def normalise(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch whose counts contain all their parts."""
        self.decided, self.left_out = [], []
        rows = pc.indices_nonzero(self._needed(batch)).to_pylist()
        if not rows:
            return batch
        columns = {name: batch[name].to_pylist() for name in (*_COUNTS, *_TEXTS)}
        taken = batch.take(pa.array(rows))
        documents = zip(*(taken[name].to_pylist() for name in _USAGE), strict=True)
        totals = taken["total_tokens"].to_pylist()
        for row, texts, total in zip(rows, documents, totals, strict=True):
            usage = parse_usage(*texts)
            if self._counting == "exact":
                _fill(columns, row, usage, ("cache_write_1h_tokens", "web_searches"))
            else:
                self._normalise_row(columns, row, usage, total)
        for name, values in columns.items():
            place = batch.schema.get_field_index(name)
            field = REQUEST_SCHEMA.field(name)
            batch = batch.set_column(place, field, pa.array(values, field.type))
        return batch

    def _needed(self, batch: pa.RecordBatch) -> pa.Array:
        usage = batch["provider_usage"].cast(pa.string())
        if self._counting == "exact":
            counted = pc.and_(
                pc.is_valid(batch["cache_write_1h_tokens"]), pc.is_valid(batch["web_searches"])
            )
            marked = pc.fill_null(pc.match_substring_regex(usage, _MARKERS), False)
            return pc.and_not(marked, counted)
        needed = pc.or_(pc.is_valid(usage), pc.is_valid(batch["other_usage"]))
        needed = pc.or_(needed, pc.is_valid(batch["total_tokens"]))
        for name in ("cached_tokens", "cache_write_tokens", "reasoning_tokens"):
            needed = pc.or_(needed, pc.fill_null(pc.greater(batch[name], 0), False))
        return needed

    def _normalise_row(
        self, columns: dict[str, list[Any]], row: int, usage: UsageCounts, total: int | None
    ) -> None:
        if usage.invalid is not None:
            self.left_out.append((INVALID, row))
        _fill(columns, row, usage, _OF_USAGE)
        long, written = columns["cache_write_1h_tokens"][row], usage.written
        if long is not None or written is not None:
            column = columns["cache_write_tokens"]
            column[row] = max(column[row] or 0, long or 0, written or 0)
        self._set_wholes(columns, row, usage, total)
        texts = usage.texts
        if texts:
            columns["service_tier"][row] = _tier(texts, columns["service_tier"][row])
            geo = texts.get("geo", "").lower()
            if geo not in _ANYWHERE and columns["endpoint"][row] is None:
                columns["endpoint"][row] = geo

    def _set_wholes(
        self, columns: dict[str, list[Any]], row: int, usage: UsageCounts, total: int | None
    ) -> None:
        """Set the input and output to counts that contain their parts."""
        own = usage.counts
        own_input, own_output = own.get("input"), own.get("output")
        cached = columns["cached_tokens"][row] or 0
        written = columns["cache_write_tokens"][row] or 0
        input_tokens = columns["input_tokens"][row] or own_input
        if not input_tokens:
            input_tokens = own["uncached"] + cached + written if "uncached" in own else 0
        output_tokens = columns["output_tokens"][row] or own_output or 0
        same_input, same_output = own_input == input_tokens, own_output == output_tokens
        if total is None and (same_input or own_input is None):
            total = own.get("total") if same_output or own_output is None else None
        parts = Parts(
            input_tokens,
            output_tokens,
            cached,
            written,
            own.get("tool_prompt", 0) if same_input else 0,
            columns["reasoning_tokens"][row] or 0,
            total,
            own.get("uncached"),
        )
        reading = reconcile(parts, self._documented(usage, same_input, same_output))
        columns["input_tokens"][row] = reading.input_tokens
        columns["output_tokens"][row] = reading.output_tokens
        if not reading.is_explained:
            columns["usage_reading"][row] = "unexplained"
            self.decided.append((UNEXPLAINED, row))
        elif reading.decisions:
            columns["usage_reading"][row] = "decided"
        for decision in reading.decisions:
            self.decided.append((_DECISIONS[decision], row))

    def _documented(self, usage: UsageCounts, same_input: bool, same_output: bool) -> int:
        """The reading that the format documents, or the usage object if the counts are its own."""
        if self._counting == "beside":
            return CACHED | WRITTEN | REASONING | TOOL
        reading = TOOL
        if self._counting == "inside":
            return reading
        if same_input and usage.input_beside:
            reading |= CACHED | WRITTEN
        if same_output and usage.output_beside:
            reading |= REASONING
        return reading


def _fill(
    columns: dict[str, list[Any]], row: int, usage: UsageCounts, names: Iterable[str]
) -> None:
    """Set the counts that a usage object has, unless the row has larger ones."""
    for name in names:
        count = usage.counts.get(_OF_USAGE[name])
        if count is not None:
            column = columns[name]
            known = column[row]
            if known is None or count > known:
                column[row] = count


def _tier(texts: dict[str, str], logged: str | None) -> str | None:
    """The service tier that a request was served in: the usage object knows it, unless the log says
    that it was part of a batch, which only some providers repeat there."""
    served = texts.get("tier")
    served = _TRAFFIC.get(served or "", served)
    tier = logged if served is None or (logged or "").lower() == "batch" else served
    fast = texts.get("speed", "").lower() == "fast"
    return "fast" if fast and (tier or "").lower() in _STANDARD else tier
