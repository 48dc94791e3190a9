"""Synthetic sessions whose requests resemble one another, and how often intervals of such logs
cover the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from tests.support.strategies import ORG, START
from ttplan.engine.intervals import bootstrap, clusters, edgeworth
from ttplan.model.request import RequestLog

TRUTH = 47.0
"""Savings in percent of the plan of tests/support/universe.py: half of what is spent is chat, and
costs 0.15 in place of 2.5 there."""
Ints = npt.NDArray[np.int64]
SEED = 7
RESAMPLES = 2_000


@dataclass(frozen=True)
class Log:
    """Requests of some sessions, in order: the session, the tokens and whether it is chat of
    each."""

    session: Ints
    tokens: Ints
    chat: npt.NDArray[np.bool_]

    @property
    def amounts(self) -> tuple[Ints, Ints]:
        """Difference and baseline of each request, as whole 10^-12 USD."""
        baseline = self.tokens * 2_500_000
        return np.where(self.chat, baseline - self.tokens * 150_000, 0), baseline

    def by_request(self) -> tuple[float, float]:
        """The interval of the savings in percent that takes each request as independent."""
        difference, baseline = self.amounts
        step = clusters.step_for(difference, baseline)
        powers = clusters.grid_powers(difference, baseline, step)
        interval = edgeworth.ratio_interval(
            powers, step, int(difference.sum()), int(baseline.sum()), len(baseline)
        )
        assert interval is not None
        return interval[0] * 100, interval[1] * 100

    def by_session(self) -> tuple[float, float]:
        """The interval that takes each session as independent; resampled below 200 of them, as
        replay does."""
        difference, baseline = (
            np.bincount(self.session, weights=a).astype(np.int64) for a in self.amounts
        )
        # Keys are sorted as text.
        order = np.argsort([str(n) for n in range(len(baseline))])
        difference, baseline = difference[order], baseline[order]
        if len(baseline) < 200:
            interval = bootstrap.ratio_interval(difference, baseline, SEED + 1, RESAMPLES)
        else:
            ends = clusters.ratio_interval(difference, baseline)
            assert ends is not None
            interval = ends
        return interval[0] * 100, interval[1] * 100

    def requests(self) -> tuple[RequestLog, ...]:
        """The log itself."""
        return tuple(
            RequestLog(
                id=UUID(int=number),
                org_id=ORG,
                ts=START + timedelta(seconds=session),
                provider="openai",
                model="gpt-4o",
                input_tokens=tokens,
                output_tokens=0,
                cached_tokens=0,
                cost_usd=Decimal(tokens * 25).scaleb(-7),
                baseline_cost_usd=Decimal(tokens * 25).scaleb(-7),
                cached=False,
                latency_ms=100,
                status=200,
                tag="chat" if chat else "code",
                session_id=str(session),
            )
            for number, (session, tokens, chat) in enumerate(
                zip(self.session.tolist(), self.tokens.tolist(), self.chat.tolist(), strict=True)
            )
        )


def bursts(rng: np.random.Generator, sessions: int) -> Log:
    """Sessions of some 25 requests: their size, and whether they are chat, are the session's."""
    length = 1 + rng.poisson(24, sessions)
    session = np.repeat(np.arange(sessions), length)
    size = rng.lognormal(6, 0.5, sessions)[session]
    tokens = np.maximum(1, (size * rng.lognormal(0, 0.3, len(session))).astype(np.int64))
    return Log(session, tokens, (rng.random(sessions) < 0.5)[session])


def coverage(sessions: int, logs: int, seed: int) -> tuple[float, float]:
    """The share of logs of so many sessions whose interval covers the truth: by request, and by
    session."""
    rng = np.random.default_rng(seed)
    covered = [0, 0]
    for _ in range(logs):
        log = bursts(rng, sessions)
        for i, (low, high) in enumerate((log.by_request(), log.by_session())):
            covered[i] += low <= TRUTH <= high
    return covered[0] / logs, covered[1] / logs
