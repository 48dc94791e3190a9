"""Simulated sums of a plan's window and of what came afterwards, with a known truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ttplan.engine.reconcile.parts import InputRates, Sums

KINDS = 4
SOURCE_RATE, TARGET_RATE, OUTPUT_FACTOR = 10e-6, 1e-6, 2.0
"""USD per input token, and how much dearer an output token is."""
RATES = InputRates(
    rerouted=np.full(KINDS, TARGET_RATE),
    others=np.full(KINDS, SOURCE_RATE),
    source=np.full(KINDS, SOURCE_RATE),
)


def sessions(
    draw: np.random.Generator,
    days: int,
    a_day: float,
    *,
    projected: bool,
    spread: float = 0.5,
    rerouted_output: float = 1.0,
    other_output: float = 1.0,
    prompts: float = 1.0,
    price: float = 1.0,
    rerouted_share: float = 1.0,
    shock: float = 0.0,
) -> tuple[Sums, np.ndarray[Any, Any]]:
    """Sessions of some 20 requests, each of one kind and about one size, and the day of each.

    The plan reroutes the sessions of the first two kinds. `projected`: the sums are those of a
    window, whose costs are projected; otherwise of what came. The factors are the truth. Answers
    and prompts are longer on some days than on others by a `shock`.
    """
    count = draw.poisson(days * a_day)
    kind = draw.integers(0, KINDS, count)
    size = draw.geometric(1 / 20, count).astype(float)
    own = np.exp(spread * draw.standard_normal(count) - spread**2 / 2)
    day = draw.integers(0, days, count)
    of_day = np.exp(shock * draw.standard_normal((2, days)) - shock**2 / 2)[:, day]
    tokens = size * 800 * prompts * own * of_day[0]
    output = size * 150 * of_day[1]
    output = output * np.exp(spread * draw.standard_normal(count) - spread**2 / 2)
    rerouted, at_source = kind < 2, output
    if not projected:
        rerouted &= draw.random(count) < rerouted_share
        output = output * np.where(rerouted, rerouted_output, other_output)
    rate = np.where(rerouted, TARGET_RATE, SOURCE_RATE)
    priced = rate * (tokens + OUTPUT_FACTOR * output)
    sums = Sums(
        clusters=count,
        cluster=np.arange(count),
        kind=kind,
        rerouted=rerouted,
        requests=size,
        usd=priced if projected else priced * price,
        input=tokens,
        priced=priced,
        source_usd=SOURCE_RATE * (tokens + OUTPUT_FACTOR * at_source),
        source_input=tokens,
    )
    return sums, day


def by_day(sums: Sums, day: np.ndarray[Any, Any]) -> Sums:
    """The same, whose clusters are days."""
    return replace(sums, clusters=int(day.max()) + 1, cluster=day)


def until(sums: Sums, day: np.ndarray[Any, Any], days: int) -> Sums:
    """The sessions of the first days."""
    own = day < days
    columns = {
        name: getattr(sums, name)[own]
        for name in (
            *("kind", "rerouted", "requests", "usd", "input", "priced"),
            *("source_usd", "source_input"),
        )
    }
    return Sums(clusters=int(own.sum()), cluster=np.arange(own.sum()), **columns)
