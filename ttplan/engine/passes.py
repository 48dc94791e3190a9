"""What a replay is doing: the passes that it makes, by name, in order."""

from __future__ import annotations

from collections.abc import Callable

from ttplan.model.plan import PlanConfig

Report = Callable[[str, float], None]
"""Told the name of a pass when it begins, with 0, and the share of it that is done where that is known here. What it raises ends
the replay."""

COUNTING = "counting the window's requests"
SEMANTIC = "looking up embeddings"
KEEPING = "keeping the window's requests"
ORDERING = "ordering by cache key"
LOOKING_UP = "looking up cache keys"
JOINING = "noting the hits"
LATENCIES = "counting latencies and the largest amounts"
SUMMING = "summing costs"
INFERRING = "computing intervals"


def passes(config: PlanConfig) -> list[str]:
    """The passes that a replay with that configuration makes; a log that has nothing to do in one skips it."""
    exact = [ORDERING, LOOKING_UP] if config.l1_ttl_seconds is not None else []
    semantic = [SEMANTIC] if config.l2_ttl_seconds is not None else []
    cached = [KEEPING, *exact, JOINING] if exact or semantic else []
    return [COUNTING, *semantic, *cached, LATENCIES, SUMMING, INFERRING]


def unheard(_name: str, _share: float) -> None:
    """Nobody is told."""
