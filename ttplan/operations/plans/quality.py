"""Check quality: re-run a sample of what a stored plan reroutes, have the answers judged, and keep
what was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import ibis.expr.types as ir
import pyarrow as pa
from pydantic import ValidationError

from ttplan.engine.cost import REROUTED
from ttplan.engine.dialects import fetch
from ttplan.engine.project import find_semantic_hits, map_requests
from ttplan.engine.replay_spec import ReplaySpec
from ttplan.engine.semantic_cache.hits import ServedPair
from ttplan.model.errors import InputError, StoreError
from ttplan.model.plan import PlanConfig
from ttplan.model.request import RequestLog
from ttplan.model.results.parts import PoisoningCandidate
from ttplan.model.results.quality import QualityResult
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import StoredPlan
from ttplan.prices import catalogue_price
from ttplan.quality.assess import assess_sync
from ttplan.quality.cache_hits import NO_HITS, HitSample, draw_hits
from ttplan.quality.chat import ChatJudge, ChatProposer
from ttplan.quality.judge.labels import AnswerPairs, Labels, read_labels
from ttplan.quality.protocols import (
    CostEstimator,
    Judge,
    ProposedAnswer,
    Proposer,
    QualitySettings,
    ReroutedRequest,
    display_name,
)
from ttplan.quality.result import unverified_result, with_labels
from ttplan.quality.runner import Progress
from ttplan.quality.sampling import Sample, draw_sample
from ttplan.store.protocol import Store, Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.yaml_files import describe_validation_error

SAMPLE_SIZE = 200
_NO_CHARGE = Decimal(0)
_NEEDED = (
    "id",
    "org_id",
    "ts",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "baseline_cost_usd",
    "cached",
    "latency_ms",
    "status",
    "tag",
    "body",
    "response_body",
    "reasoning_tokens",
)


def judge_sample(
    store: Store,
    run: StoredPlan,
    judge: Judge,
    proposer: Proposer,
    settings: QualitySettings,
    *,
    sample_size: int = SAMPLE_SIZE,
    seed: int = 0,
    controls: int = 0,
    cache_hits: int = 0,
    pairs: AnswerPairs | None = None,
    cancel: Event | None = None,
    progress: Progress | None = None,
) -> QualityResult:
    """Draw a sample of what `run` reroutes, have it answered by its new models and judged, and
    store the result with the plan.

    Poisoning candidates of the plan's semantic cache are always in, at most as many as are drawn;
    what they would be served is the other request's recorded answer, which costs nothing. Of its
    hits at each threshold, `cache_hits` are judged. The store is not held while models are
    asked. Raises what `assess` raises before anything is sent; a run that was cut short is stored
    as far as it came.
    """
    drawn = _draw(store, run, sample_size, cache_hits, seed)
    if drawn.sample is None:
        found = unverified_result(drawn.why, population=drawn.population, seed=seed)
    else:
        found = assess_sync(
            drawn.sample,
            drawn.requests,
            judge,
            _WithCachedAnswers(proposer, drawn.answers),
            settings=settings,
            unrecorded=drawn.unrecorded,
            controls=controls,
            hits=drawn.hits,
            pairs=pairs,
            cancel=cancel,
            progress=progress,
        )
    run_in_transaction(store, lambda tx: tx.set_quality(run.plan_id, found))
    return found


def store_labels(store: Store, run: StoredPlan, labels: Labels) -> QualityResult:
    """Store people's labels with the last quality check of `run`, in place of earlier ones, and
    correct its share by them.
    """
    quality = run.result.quality
    if quality is None or not quality.sampled_examples:
        raise InputError(
            f"plan {run.name!r:.60} has no judged answers to label; check its quality first"
        )
    labelled = with_labels(quality, read_labels(labels, quality))

    def work(tx: Transaction) -> None:
        stored = tx.plan(run.plan_id)
        if stored is None or stored.result.quality != quality:
            raise StoreError(
                f"the quality check of plan {run.plan_id} was replaced meanwhile; nothing was "
                "written. Label the new one"
            )
        tx.set_quality(run.plan_id, labelled)

    run_in_transaction(store, work)
    return labelled


def quality_limits(
    settings: QualitySettings | None, budget_usd: Decimal | float, allow_bodies: bool
) -> QualitySettings:
    """The settings with that budget and permission, the rest as they are or by default. InputError
    where one cannot be used.
    """
    given = {} if settings is None else settings.model_dump()
    try:
        return QualitySettings.model_validate(
            given | {"budget_usd": budget_usd, "allow_bodies": allow_bodies}
        )
    except ValidationError as error:
        raise InputError(
            f"the limits of a quality check: {describe_validation_error(error)}"
        ) from None


def chat_endpoints(
    run: StoredPlan,
    base_url: str,
    judge_model: str,
    *,
    at: datetime,
    api_key_env: str | None = None,
    seed: int = 0,
) -> tuple[ChatJudge, ChatProposer]:
    """The ready judge and proposer for a plan, both at one OpenAI-compatible API, with the
    catalogue's price for the judge.
    """
    quote = catalogue_price(None, judge_model, at)
    price = None if quote is None else quote.pricing
    judge = ChatJudge(base_url, judge_model, api_key_env=api_key_env, price=price, seed=seed)
    return judge, ChatProposer(base_url, api_key_env=api_key_env, pricing=run.pricing)


class _Drawn(NamedTuple):
    """What is to be judged; no sample, and why, where nothing can be."""

    sample: Sample | None
    why: str = ""
    population: int = 0
    unrecorded: int = 0
    requests: Mapping[UUID, ReroutedRequest] = {}
    answers: Mapping[UUID, str] = {}
    hits: HitSample = NO_HITS


class _WithCachedAnswers:
    """A proposer that answers poisoning candidates with what the cache would serve, and asks
    another for the rest.
    """

    def __init__(self, proposer: Proposer, answers: Mapping[UUID, str]) -> None:
        self.name = display_name(proposer)
        self._proposer = proposer
        self._answers = answers
        self._stack = AsyncExitStack()

    async def __call__(self, request: RequestLog, target_model: str, /) -> str | ProposedAnswer:
        if request.id in self._answers:
            return ProposedAnswer(self._answers[request.id], _NO_CHARGE)
        return await self._proposer(request, target_model)

    def estimate_usd(self, rerouted: ReroutedRequest) -> Decimal | None:
        if rerouted.request.id in self._answers:
            return _NO_CHARGE
        return (
            self._proposer.estimate_usd(rerouted)
            if isinstance(self._proposer, CostEstimator)
            else None
        )

    async def __aenter__(self) -> _WithCachedAnswers:
        if isinstance(self._proposer, AbstractAsyncContextManager):
            await self._stack.enter_async_context(self._proposer)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()


def _draw(store: Store, run: StoredPlan, size: int, cache_hits: int, seed: int) -> _Drawn:
    spec = rerouting_spec(run)
    with store.read() as snapshot:
        log = snapshot.requests()
        bodied = log.filter(is_recorded(log.body), is_recorded(log.response_body))
        with map_requests(log, spec) as mapped:
            moved = mapped.filter((mapped.outcome == REROUTED) & ~mapped.hit).select("id", "route")
            total = int(fetch(moved.aggregate(n=moved.count()))["n"][0].as_py())
            rows = fetch(bodied.join(moved, "id").select("id", "tag", "input_tokens", "route"))
        poisoning = _counted(run)[:size]
        hits = _draw_hits(log, bodied, run, cache_hits, seed)
        ends = _requests(bodied, {i for one in poisoning for i in (one.request_id, one.source_id)})
        served = {
            one.request_id: one
            for one in poisoning
            if one.request_id in ends and one.source_id in ends
        }
        if not rows.num_rows and not served and not hits.drawn:
            why = (
                "no rerouted request has its prompt and answer recorded; "
                "import the log with bodies."
            )
            return _Drawn(None, why if total else "the plan reroutes no request.", population=total)
        sample = draw_sample(rows, size, seed=seed, forced=served)
        requests = _requests(bodied, set(sample.drawn) | hits.ids) | {i: ends[i] for i in served}
    routes = _routes(rows, spec, set(sample.drawn))
    served = {i: one for i, one in served.items() if i not in routes}
    rerouted = {
        i: ReroutedRequest(requests[i], route.then.target_model, route.name)
        for i, route in routes.items()
    } | {
        i: ReroutedRequest(requests[i], f"the cached answer to {one.source_id}")
        for i, one in served.items()
    }
    others = hits.ids - rerouted.keys()
    rerouted |= {i: ReroutedRequest(requests[i], requests[i].model) for i in others}
    return _Drawn(
        sample=sample,
        population=rows.num_rows,
        unrecorded=total - rows.num_rows,
        requests=rerouted,
        answers={i: str(ends[one.source_id].response_body) for i, one in served.items()},
        hits=hits,
    )


def _draw_hits(log: ir.Table, bodied: ir.Table, run: StoredPlan, size: int, seed: int) -> HitSample:
    """Hits of the plan's semantic cache to judge, `size` at each threshold."""
    if not size:
        return NO_HITS
    found: list[ServedPair] = []
    if find_semantic_hits(log, ReplaySpec.from_run(run), pairs=found) is None:
        raise InputError(
            f"plan {run.name!r:.60} projects no semantic cache, so it has no hits to judge; set "
            "l2_ttl_seconds, and import the log with embeddings"
        )
    embedded = bodied.filter(bodied.embedding.notnull())
    ids = embedded.select(id=embedded.id.cast("string"))
    recorded = set(fetch(ids)["id"].to_pylist())
    thresholds = run.config.l2_threshold_sweep
    return draw_hits(found, thresholds, recorded, size, seed=seed)


def rerouting_spec(run: StoredPlan) -> ReplaySpec:
    """What tells which requests `run` reroutes, and which of them an exact cache answers."""
    config = PlanConfig(
        l1_ttl_seconds=run.config.l1_ttl_seconds,
        session=run.config.session,
        projection=run.config.projection,
    )
    return replace(ReplaySpec.from_run(run), config=config)


def is_recorded(text: ir.StringColumn) -> ir.BooleanValue:
    """Whether a prompt or an answer is there."""
    return text.notnull() & (text != "")


def _counted(run: StoredPlan) -> Sequence[PoisoningCandidate]:
    """The candidates at the threshold whose hits count for cost; all of them where the cache only
    informs.
    """
    chosen = run.config.l2_threshold
    return [
        one for one in run.result.poisoning_candidates if chosen is None or chosen in one.thresholds
    ]


def _requests(log: ir.Table, ids: set[UUID]) -> dict[UUID, RequestLog]:
    """The requests of those ids."""
    if not ids:
        return {}
    chosen = log.filter(log.id.cast("string").isin(sorted(map(str, ids)))).select(*_NEEDED)
    found = [RequestLog.model_validate(row) for row in fetch(chosen).to_pylist()]
    if len(found) > len(ids):
        raise InputError("the log has a request id twice; expected every id once")
    return {request.id: request for request in found}


def _routes(rows: pa.Table, spec: ReplaySpec, ids: set[UUID]) -> dict[UUID, ProposedRoute]:
    """The route that each of some drawn requests would take."""
    active_routes = spec.active_routes
    pairs = zip(rows["id"].cast(pa.string()).to_pylist(), rows["route"].to_pylist(), strict=True)
    return {UUID(i): active_routes[route] for i, route in pairs if UUID(i) in ids}
