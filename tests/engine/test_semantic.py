"""The semantic cache: exact against a plain loop, whatever the blocks."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle, oracle_cosine
from tests.oracle import Row
from tests.support.strategies import ORG, START
from ttplan.engine.semantic_cache import sweep
from ttplan.engine.semantic_cache.cosine import approximate, exact, scaled, tolerance
from ttplan.engine.semantic_cache.hits import Sweep, diverged_or_short
from ttplan.engine.semantic_cache.sweep import LookupBatch, sweep_thresholds
from ttplan.model.request import RequestLog


def request(
    number: int, second: int, embedding: list[float] | None, **fields: object
) -> RequestLog:
    plain: dict[str, object] = {
        "id": UUID(int=number),
        "org_id": ORG,
        "ts": START + timedelta(seconds=second),
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 10,
        "output_tokens": 100,
        "cached_tokens": 0,
        "cost_usd": 1,
        "baseline_cost_usd": 1,
        "cached": False,
        "latency_ms": 100,
        "status": 200,
        "embedding": embedding,
    }
    return RequestLog(**(plain | fields))  # type: ignore[arg-type]


def lookups(requests: list[RequestLog]) -> list[list[LookupBatch]]:
    """What the engine hands to `sweep_thresholds`: a list of parts for each (provider, model)."""
    known = [r for r in requests if r.embedding is not None]
    known.sort(key=lambda r: (r.provider, r.model, r.ts, r.id))
    batches = []
    for _, group in groupby(known, key=lambda r: (r.provider, r.model)):
        rows = list(group)
        batches.append(
            [
                LookupBatch(
                    [str(r.id) for r in rows],
                    np.array(
                        [round((r.ts - START).total_seconds() * 1e6) for r in rows], dtype=np.int64
                    ),
                    [r.finish_reason for r in rows],
                    np.array([r.output_tokens for r in rows], dtype=np.int64),
                    [np.array(r.embedding, dtype=np.float32) for r in rows],
                    [r.answer_hash for r in rows],
                )
            ]
        )
    return batches


def agree(sweep: Sweep, requests: list[RequestLog], ttl: int) -> None:
    rows = [Row(r) for r in requests]
    poisoned = set()
    for t, threshold in enumerate(sweep.thresholds):
        expected = oracle.project(rows, threshold, timedelta(seconds=ttl))
        hits = {UUID(i) for i, mask in zip(sweep.ids, sweep.masks, strict=True) if mask >> t & 1}
        assert hits == set(expected.hits)
        assert (sweep.total, sweep.hits[t]) == (expected.total, len(expected.hits))
        named = {UUID(c.request.id): UUID(c.source.id) for c in sweep.candidates if t in c.at}
        assert named == {i: expected.hits[i] for i in expected.poisoned}
        assert sweep.poisoned[t] == len(expected.poisoned)
        poisoned |= expected.poisoned
    assert sweep.poisoned_requests == len(poisoned)


# Few directions, so that many cosines are equal, and some are exactly a threshold: (3, 4) / 5 has
# 0.6 and 0.8.
axes = st.sampled_from(
    [
        [1.0, 0.0],
        [0.0, 1.0],
        [3.0, 4.0],
        [4.0, 3.0],
        [-3.0, 4.0],
        [0.0, 0.0],
        [0.9, 0.4358899],
        [2.0, 0.0],
    ]
)
odd = st.sampled_from(
    [[1.0], [0.0], [1.0, 0.0, 0.0], [3e38, 3e38], [1e-40, 0.0], [1e-40, 1e-40, 1e-40]]
)
noise = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3)
embeddings = st.none() | axes | axes | odd | noise


@st.composite
def logs(draw: st.DrawFn) -> list[RequestLog]:
    return [
        request(
            number,
            draw(st.integers(0, 12)),
            draw(embeddings),
            model=draw(st.sampled_from(["gpt-4o", "gpt-4o", "gpt-4o-mini"])),
            provider=draw(st.sampled_from(["openai", "openai", "azure"])),
            output_tokens=draw(st.sampled_from([0, 20, 21, 100, 125, 126])),
            finish_reason=draw(st.sampled_from([None, "stop", "length"])),
        )
        for number in draw(st.permutations(range(draw(st.integers(0, 14)))))
    ]


thresholds = st.lists(
    st.sampled_from([0.85, 0.9, 0.6, 0.8, 0.96, 1.0, 0.0, -0.5, -1.0]), max_size=4
)


@given(logs(), thresholds, st.sampled_from([0, 1, 4, 100]), st.sampled_from([1, 2, 3, 512]))
@settings(max_examples=100, deadline=None)
def test_every_threshold_equals_the_row_loop_for_any_block_size(
    requests: list[RequestLog], levels: list[float], ttl: int, block: int
) -> None:
    agree(sweep_thresholds(lookups(requests), levels, ttl, block=block), requests, ttl)


@pytest.mark.parametrize("chunk", [7, 8192])
def test_chunks_and_expiry_change_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "CHUNK", chunk)
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(12, 8))
    requests = [
        request(
            n,
            n // 3,
            (centres[rng.integers(12)] + rng.normal(size=8) * rng.choice([0, 0.2, 0.4])).tolist(),
        )
        for n in range(400)
    ]
    agree(sweep_thresholds(lookups(requests), (0.85, 0.9, 0.95, 1.0), 20, block=16), requests, 20)


@pytest.mark.slow
def test_near_ties_in_many_dimensions_are_decided_exactly() -> None:
    """Entries whose cosines differ by less than a float32 product can tell."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=1536)
    requests = [request(n, n, (centre + rng.normal(size=1536) * 0.5).tolist()) for n in range(60)]
    requests += [
        request(60 + n, 60 + n, (centre * (1 + n / 7) + rng.normal(size=1536) * 1e-4).tolist())
        for n in range(40)
    ]
    levels = sorted(
        {
            float(oracle_cosine.cosine(requests[70].embedding or [], r.embedding or []))
            for r in requests[:60]
        }
    )
    agree(
        sweep_thresholds(
            lookups(requests),
            (levels[30], levels[59], np.nextafter(levels[59], 2)),
            10**6,
            block=32,
        ),
        requests,
        10**6,
    )


def test_identical_vectors_hit_at_threshold_one_for_any_scale() -> None:
    rng = np.random.default_rng(8)
    vector = rng.normal(size=1536).astype(np.float32)
    requests = [
        request(0, 0, vector.tolist()),
        request(1, 1, vector.tolist()),
        request(2, 2, (vector * 4).tolist()),
    ]
    result = sweep_thresholds(lookups(requests), [1.0], 60)
    assert result.hits == [2]


def test_zero_vectors_and_other_lengths_have_a_cosine_of_zero() -> None:
    requests = [
        request(0, 0, [0.0, 0.0]),
        request(1, 1, [0.0, 0.0]),
        request(2, 2, [1.0]),
        request(3, 3, [1.0, 0.0]),
    ]
    assert sweep_thresholds(lookups(requests), [0.01], 60).hits == [0]
    assert sweep_thresholds(lookups(requests), [0.0], 60).hits == [3]


def test_rough_cosines_stay_within_their_tolerance() -> None:
    rng = np.random.default_rng(1)
    for length in (1, 3, 256, 1536):
        values = rng.normal(size=(40, length)) * np.exp(rng.normal(size=(40, 1)) * 30)
        vectors = scaled(values)
        rough = approximate(vectors, vectors)
        for i in range(40):
            assert np.abs(rough[i] - exact(vectors.values[i], vectors.values)).max() <= tolerance(
                length
            )


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.data(),
)
def test_exact_cosines_are_the_oracles(vector: list[float], data: st.DataObject) -> None:
    other = data.draw(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            min_size=len(vector),
            max_size=len(vector),
        )
    )
    vectors = scaled(np.array([vector, other]))
    cosine = exact(vectors.values[0], vectors.values[1:])[0]
    expected = oracle_cosine.cosine(vector, other)
    # Scaling costs numbers below 2^-120 digits; no threshold is anywhere near such a cosine.
    assert cosine == expected or max(abs(cosine), abs(expected)) < 2.0**-120


def labelled(answers: list[str], known: bool) -> Sweep:
    """A sweep over labels of under 20 tokens that all hit the first one, with or without hashes of
    the answers, by the rule of full projections."""
    requests = [
        request(
            n,
            n,
            [1.0, 0.0],
            output_tokens=1 + n % 8,
            finish_reason="stop",
            answer_hash=answer if known else None,
        )
        for n, answer in enumerate(answers)
    ]
    return sweep_thresholds(lookups(requests), (0.9,), 3_600, differs=diverged_or_short)


def test_labels_that_may_differ_are_suspects() -> None:
    answers = ["yes"] * 3 + [f"label {n}" for n in range(57)]  # 95 % of the hits are wrong
    unknown, known = labelled(answers, known=False), labelled(answers, known=True)
    assert (unknown.hits, unknown.poisoned) == ([59], [59])
    assert (known.hits, known.poisoned) == ([59], [57])


def test_suspects_are_all_counted_and_the_first_listed() -> None:
    sweep = labelled([f"{n}" for n in range(1_100)], known=True)
    assert (sweep.suspects, sweep.poisoned_requests, len(sweep.candidates)) == (1_099, 1_099, 1_000)
