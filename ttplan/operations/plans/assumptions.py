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
    """Return the assumptions so that the most specific, of equal ones the first, is the one to use.

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
    preferred: list[Assumption] = []
    for source in (given, rollouts, judged):
        kept: list[Assumption] = []
        for assumption in sorted(source, key=_generality):
            if any(_covers(earlier, assumption) for earlier in (*preferred, *kept)):
                continue
            shared = (_narrowed(earlier, assumption) for earlier in preferred)
            kept += [one for one in shared if one is not None and one not in preferred]
            kept.append(assumption)
        preferred += kept
    return tuple(preferred)


def _generality(assumption: Assumption) -> int:
    """How many of source model, target model and route are open."""
    return assumption.key.count(None)


def _covers(general: Assumption, other: Assumption) -> bool:
    """Whether `general` applies wherever `other` does."""
    pairs = zip(general.key, other.key, strict=True)
    return all(theirs is None or theirs == own for theirs, own in pairs)


def _narrowed(preferred: Assumption, other: Assumption) -> Assumption | None:
    """`preferred` for what both are about; None if that is nothing.

    A replay takes the most specific assumption: without this, a measured one of two models would
    replace a given one of a route.
    """
    narrow: list[str | None] = []
    for own, theirs in zip(preferred.key, other.key, strict=True):
        if own is not None and theirs is not None and not _is_same_model(own, theirs):
            return None
        narrow.append(max(own or "", theirs or "", key=len) or None)
    fields = dict(zip(("source_model", "target_model", "route"), narrow[1:], strict=True))
    return preferred.model_copy(update=fields)


def _is_same_model(name: str, other: str) -> bool:
    """Whether two texts are equal, but for the provider before a colon that only one may have."""
    return name == other or name.endswith(f":{other}") or other.endswith(f":{name}")
