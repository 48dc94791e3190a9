"""Judge semantic cache hits: the answer that a cache would have served, against the own one.

At each threshold the hits with the smallest ranks are drawn, where a rank is a hash of the seed and
the two ids. So each threshold has a simple random sample of its hits, whose share holds however the
hits depend on one another, and samples of neighbouring thresholds overlap as much as they can.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from blake3 import blake3

from ttplan.model.request import RequestLog
from ttplan.model.results.quality import (
    CacheHitQuality,
    CacheHitScore,
    SampleScore,
    ScoreCounts,
    Verdict,
)
from ttplan.model.results.risk import possible_bands
from ttplan.quality.chat_format import MAX_BODY, read_answer
from ttplan.quality.judge.accuracy import Rates, band_fields, share_fields
from ttplan.quality.protocols import ReroutedRequest
from ttplan.quality.runner import CaseKey, JudgeCase

_NO_CHARGE = Decimal(0)
Hit = tuple[str, str, int]
"""The ids of a request and of the one whose answer it is served, and the thresholds at which it is,
as bits."""


class ThresholdHits(NamedTuple):
    """The hits at a threshold, and how many of them cannot be judged since bodies are missing."""

    threshold: float
    hits: int
    unrecorded: int


class DrawnHit(NamedTuple):
    """A hit to judge, and the thresholds for which it was drawn."""

    request_id: UUID
    source_id: UUID
    thresholds: tuple[float, ...]


class HitSample(NamedTuple):
    """The hits to judge in random order, so that a run that ends early has judged a sample, too."""

    of: tuple[ThresholdHits, ...] = ()
    drawn: tuple[DrawnHit, ...] = ()

    @property
    def ids(self) -> set[UUID]:
        """The requests and the sources of all drawn hits."""
        return {key for hit in self.drawn for key in (hit.request_id, hit.source_id)}


NO_HITS = HitSample()


def draw_hits(
    hits: Iterable[Hit],
    thresholds: Sequence[float],
    recorded: Container[str],
    size: int,
    *,
    seed: int,
) -> HitSample:
    """Draw `size` hits at each threshold, among those whose two requests are `recorded`."""
    counts, missing = [0] * len(thresholds), [0] * len(thresholds)
    ranked: list[list[tuple[bytes, str, str]]] = [[] for _ in thresholds]
    for request, source, mask in hits:
        is_recorded = request in recorded and source in recorded
        rank = blake3(f"{seed} {request} {source}".encode()).digest(length=16)
        for t in range(len(thresholds)):
            if mask >> t & 1:
                counts[t] += 1
                missing[t] += not is_recorded
                if is_recorded:
                    ranked[t].append((rank, request, source))
    at: dict[tuple[bytes, str, str], list[float]] = {}
    for threshold, ranks in zip(thresholds, ranked, strict=True):
        for hit in sorted(ranks)[:size]:
            at.setdefault(hit, []).append(threshold)
    return HitSample(
        tuple(map(ThresholdHits, thresholds, counts, missing)),
        tuple(DrawnHit(UUID(hit[1]), UUID(hit[2]), tuple(at[hit])) for hit in sorted(at)),
    )


def hit_cases(
    sample: HitSample,
    requests: Mapping[UUID, RequestLog],
    judge_usd: Callable[[ReroutedRequest], Decimal],
) -> list[JudgeCase]:
    """The drawn hits as cases, in order: the served answer stands where the new one would.

    Those without text to compare are left out.
    """
    cases = []
    for hit in sample.drawn:
        request = requests[hit.request_id]
        own, served = (_answer(requests[key]) for key in (hit.request_id, hit.source_id))
        if own is None or served is None or not request.body or len(request.body) > MAX_BODY:
            continue
        rerouted = ReroutedRequest(request, f"the cached answer to {hit.source_id}")
        equal = own.strip() == served.strip()
        cost = _NO_CHARGE if equal else judge_usd(rerouted)
        cases.append(
            JudgeCase(rerouted, own, _NO_CHARGE, cost, planted=served, source_id=hit.source_id)
        )
    return cases


def is_settled(case: JudgeCase) -> bool:
    """Whether a hit need not be judged, since both answers are the same."""
    return case.source_id is not None and case.original.strip() == (case.planted or "").strip()


def hit_scores(
    sample: HitSample, cases: Iterable[JudgeCase], scores: Mapping[CaseKey, SampleScore]
) -> tuple[CacheHitScore, ...]:
    """The verdicts on the drawn hits, in their order."""
    by_key = {case.key: case for case in cases}
    found = []
    for hit in sample.drawn:
        key: CaseKey = (hit.request_id, hit.source_id)
        if key not in by_key:
            continue
        verdict, reason = Verdict.ACCEPTABLE, "the same answer"
        if not is_settled(by_key[key]):
            if key not in scores:
                continue
            verdict, reason = scores[key].verdict, scores[key].reason
        found.append(CacheHitScore(**hit._asdict(), verdict=verdict, reason=reason))
    return tuple(found)


def hit_qualities(
    of: Iterable[ThresholdHits], scores: Sequence[CacheHitScore], rates: Rates | None
) -> tuple[CacheHitQuality, ...]:
    """The share of wrong hits at each threshold."""
    qualities = []
    for at in of:
        own = [score for score in scores if at.threshold in score.thresholds]
        counts = ScoreCounts.of(own)
        degraded = counts["degraded_count"]
        share = share_fields(degraded, counts["acceptable_count"] + degraded, rates)
        interval = share.get("corrected_pct_95") or share["degraded_pct_95"]
        bands = band_fields(possible_bands(interval))
        qualities.append(CacheHitQuality(**at._asdict(), **counts, **share, **bands))
    return tuple(qualities)


def _answer(request: RequestLog) -> str | None:
    """The text of a recorded answer; None if there is none that can be judged."""
    body = request.response_body
    return None if not body or len(body) > MAX_BODY else read_answer(body)
