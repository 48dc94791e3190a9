"""What judged answers measure: the same requests, answered by the old and by the new model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.universes.providers import Model
from tests.universes.traffic import Ints, Requests
from ttplan.model.projection.assumption import Assumption, AssumptionName


class Judged(NamedTuple):
    """An assumption that so many judged answers measure."""

    name: AssumptionName
    answers: int = 120
    source: str | None = None
    """The source model that it is about, if it is about one only."""


def judge(
    judged: Judged,
    requests: Requests,
    models: Sequence[Model],
    chosen: Ints,
    redo: float,
    rng: np.random.Generator,
) -> Assumption:
    """Measure an assumption on a random sample of the requests that routes move."""
    target = int(chosen[chosen != requests.source][0])
    able = (chosen == target) & (requests.source != target) & ~requests.hit & ~requests.failed
    able &= ~models[target].refuses(requests) & ~models[target].too_long(requests)
    if judged.source is not None:
        able &= requests.source == [m.name for m in models].index(judged.source)
    rows = np.flatnonzero(able)
    sample = rng.choice(rows, min(judged.answers, len(rows)), replace=False)
    asked = Requests(**{name: array[sample] for name, array in vars(requests).items()})
    old, new = models[int(asked.source[0])], models[target]
    n = len(sample)
    if judged.name == "redo":
        rejected = (rng.random(n) < redo).astype(float)
        # One pseudo-observation of each kind keeps the error from being 0.
        share = (rejected.sum() + 1) / (n + 2)
        value, error = rejected.mean(), np.sqrt(share * (1 - share) / n)
    elif judged.name == "reasoning_tokens":
        hidden = new.think(asked)
        value, error = hidden.mean(), hidden.std(ddof=1) / np.sqrt(n)
    else:
        counts = {
            "ratio_in": Model.read,
            "ratio_out": Model.write,
            "ratio_reasoning": Model.think,
        }[judged.name]
        value, error = _ratio(counts(new, asked), counts(old, asked))
    return Assumption(
        name=judged.name,
        value=float(value),
        standard_error=float(error),
        source_model=judged.source,
        target_model=new.name,
        source="judged",
        note=f"{n} judged answers",
    )


def _ratio(new: Ints, old: Ints) -> tuple[float, float]:
    """The ratio of two sums over a sample, and its standard error (the delta method)."""
    n, ratio = len(new), new.sum() / old.sum()
    residual = new - ratio * old
    return float(ratio), float(np.sqrt((residual**2).sum() / (n * (n - 1))) / old.mean())
