"""Put assumptions from all sources into the order in which they apply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.model.errors import StoreError
from ttplan.model.projection.assumption import Assumption
from ttplan.model.stored_plan import StoredPlan
from ttplan.store.protocol import Snapshot

if TYPE_CHECKING:
    from ttplan.operations.plans.replay import ReplayOptions


def with_measured(options: ReplayOptions, snapshot: Snapshot, org_id: UUID | None) -> ReplayOptions:
    """Return the options of a full projection with what the store's plans measured of its targets,
    after what was given.
    """
    if org_id is None or options.config.projection != "full":
        return options
    from ttplan.operations.plans.measured import rollout_assumptions

    targets = {route.then.target_model for route in options.routes if route.enabled}
    rollouts = rollout_assumptions(snapshot, org_id, targets)
    judged = judged_answers(snapshot, org_id, targets)
    return replace(options, assumptions=collect_assumptions(options.assumptions, rollouts, judged))


def judged_answers(snapshot: Snapshot, org_id: UUID, targets: Iterable[str]) -> list[Assumption]:
    """What judged answers of the organisation's plans measured of some targets, the latest plan
    first.
    """
    from ttplan.quality.measured import judged_assumptions

    wanted, found = set(targets), []
    for run in reversed(list(_plans(snapshot, org_id))):
        if run.result.quality is not None:
            found += [
                one.model_copy(update={"note": f"{one.note}, plan {run.name!r:.60}"})
                for one in judged_assumptions(run.result.quality)
                if one.target_model in wanted
            ]
    return found


def _plans(snapshot: Snapshot, org_id: UUID) -> Iterator[StoredPlan]:
    """The plans that can be read, oldest first: a corrupt one measures nothing."""
    try:
        yield from snapshot.plans(org_id)
        return
    except StoreError:
        plan_ids = list(snapshot.statuses(org_id))
    for plan_id in plan_ids:
        try:
            run = snapshot.plan(plan_id)
        except StoreError:
            continue
        if run is not None:
            yield run


def collect_assumptions(
    given: Iterable[Assumption] = (),
    rollouts: Iterable[Assumption] = (),
    judged: Iterable[Assumption] = (),
) -> tuple[Assumption, ...]:
    """Return the assumptions in order of precedence: the first that applies to a request wins.

    What the user gave precedes what rollouts measured, and that what judged answers measured. Of
    one source, the more specific comes first. An assumption that can never apply, since an earlier
    one of its name covers all that it is about, is left out.

    Examples
    --------
    >>> given = Assumption(name="ratio_out", value=1.6, target_model="gpt-4o-mini")
    >>> judged = given.model_copy(update={"source_model": "gpt-4o", "source": "judged"})
    >>> [assumption.source for assumption in collect_assumptions([given], [], [judged])]
    ['user']
    """
    kept: list[Assumption] = []
    for source in (given, rollouts, judged):
        for assumption in sorted(source, key=_generality):
            if not any(_covers(earlier, assumption) for earlier in kept):
                kept.append(assumption)
    return tuple(kept)


def _generality(assumption: Assumption) -> int:
    """How many of source model, target model and route are open."""
    return assumption.key.count(None)


def _covers(general: Assumption, other: Assumption) -> bool:
    """Whether `general` applies wherever `other` does."""
    pairs = zip(general.key, other.key, strict=True)
    return all(theirs is None or theirs == own for theirs, own in pairs)
