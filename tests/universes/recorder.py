"""The log of a gateway, with the faults that loggers have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from tests.universes.gateway import Served
from tests.universes.providers import Model, bill
from tests.universes.traffic import START, Bools, Floats, Ints, Requests

MONEY = pa.decimal128(38, 12)


@dataclass(frozen=True)
class Recorder:
    """How a gateway logs. The default logs everything as it was."""

    who: str | None = "session_id"
    """The column that says whose request it is."""
    failed_at_list: bool = False
    """Logs failed calls with what their tokens would cost."""
    streamed_free: bool = False
    """Logs streamed calls with a cost of 0."""
    aborted_free: bool = False
    """Logs aborted streams with a cost of 0."""
    rounded: bool = False
    """Rounds costs to a millionth of a dollar."""
    usage: bool = False
    """Keeps the provider's usage object: searches, and writes that last an hour."""


def log(
    requests: Requests,
    models: Sequence[Model],
    served: Served,
    factors: Sequence[float],
    recorder: Recorder,
    name: str,
) -> pa.Table:
    """The log of requests as they were served: one call each, none for hits of the gateway.

    `factors` are what is paid for each model, to its list price.
    """
    n = len(requests)
    usage = {field: np.zeros(n, np.int64) for field in served.usage._fields}
    for field, values in served.usage._asdict().items():
        usage[field][served.request] = values
    source = requests.source
    # What a hit would have used is what the gateway knows of it.
    usage["input"] = np.choose(source, [m.read(requests) for m in models])
    usage["reasoning"] = np.choose(source, [m.think(requests) for m in models])
    visible = np.choose(source, [m.write(requests) for m in models])
    usage["output"] = visible + usage["reasoning"]
    factor = np.array(factors)[source]
    cost = _recorded(requests, models, served, recorder, factor)
    latency = (200 + 12 * usage["output"] * np.exp(0.3 * requests.noise)).astype(np.int64)
    columns: dict[str, object] = {
        "id": [f"{name}-{i}" for i in range(n)],
        "ts": [START + timedelta(milliseconds=round(ts * 1_000)) for ts in requests.ts.tolist()],
        "provider": [models[m].provider for m in source],
        "model": [models[m].name for m in source],
        "input_tokens": usage["input"],
        "output_tokens": usage["output"],
        "cached_tokens": usage["cached"],
        "cache_write_tokens": usage["written"],
        "reasoning_tokens": usage["reasoning"],
        "input_image_tokens": requests.image,
        "cost_usd": _money(cost),
        "cached": requests.hit,
        "cache_layer": ["l1" if hit else None for hit in requests.hit],
        "latency_ms": np.where(requests.hit, 5, latency),
        "status": np.where(requests.failed, 500, 200),
        "tag": requests.tag,
        "streamed": requests.streamed,
        "service_tier": [tier or None for tier in requests.tier],
    }
    if recorder.who is not None:
        columns[recorder.who] = [f"{recorder.who}-{s}" for s in requests.session]
    if recorder.usage:
        columns["provider_usage"] = [
            json.dumps(
                {
                    "server_tool_use": {"web_search_requests": searches},
                    "cache_creation": {"ephemeral_1h_input_tokens": long},
                }
            )
            for searches, long in zip(
                requests.searches.tolist(), usage["long_written"].tolist(), strict=True
            )
        ]
    return pa.table(columns)


def _recorded(
    requests: Requests,
    models: Sequence[Model],
    served: Served,
    recorder: Recorder,
    factor: Floats,
) -> Ints:
    cost = served.per_request(len(requests))
    if recorder.failed_at_list:
        asked = Requests(**{k: v[served.request] for k, v in vars(requests).items()})
        for position, model in enumerate(models):
            listed = bill(model, served.usage, asked.ts, asked.tier, asked.searches)
            rows = asked.failed & (served.model == position)
            cost[served.request[rows]] = listed[rows]
    free: Bools = requests.streamed & recorder.streamed_free
    free = free | (requests.aborted & recorder.aborted_free)
    unit = 10**6 if recorder.rounded else 1
    return np.where(free, 0, np.floor(cost * factor / unit + 0.5).astype(np.int64) * unit)


def _money(pico: Ints) -> pa.Array:
    return pa.array([Decimal(amount).scaleb(-12) for amount in pico.tolist()], MONEY)
