"""Put assumptions from all sources into the order in which they apply."""

from __future__ import annotations

from collections.abc import Iterable

from ttplan.model.projection.assumption import Assumption


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
