"""How suggested routes are written and named, and the notes of a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_URL, uuid5

from ttplan.engine.rows import LeftOut
from ttplan.engine.suggest.division import MOST_UNSERVED, Choice, Segment
from ttplan.engine.suggest.segments import Segments
from ttplan.model.route import ProposedRoute, RouteAction, RouteConditions

NAMESPACE = uuid5(NAMESPACE_URL, "ttplan:suggested-routes")
"""The namespace of the ids of suggested routes: the same route has the same id in every log."""
_SHOWN = 40


def make_route(choice: Choice, log: Segments, name: str, priority: int) -> ProposedRoute:
    """The route of a choice. Bounds are strict: 1,000 or more is above 999."""
    segment = choice.segment
    when = RouteConditions(
        model_in=() if segment.model is None else (segment.model,),
        tag_equals=segment.tag,
        input_tokens_gt=log.bounds[segment.low - 1] - 1 if segment.low else None,
        input_tokens_lt=log.bounds[segment.high - 1] if segment.high <= len(log.bounds) else None,
    )
    then = RouteAction(target_model=log.targets[choice.target])
    identity = " ".join(part.model_dump_json(exclude_defaults=True) for part in (when, then))
    return ProposedRoute(
        id=uuid5(NAMESPACE, identity), name=name, priority=priority, when=when, then=then
    )


def route_name(choice: Choice, log: Segments) -> str:
    """What a route takes, and where it goes."""
    return (
        f"{', '.join(describe_segment(choice.segment, log)) or 'everything'} → "
        f"{shorten(log.targets[choice.target])}"
    )


def describe_segment(segment: Segment, log: Segments) -> list[str]:
    """A segment's conditions in words."""
    low = log.bounds[segment.low - 1] if segment.low else None
    high = log.bounds[segment.high - 1] if segment.high <= len(log.bounds) else None
    sizes = {
        (False, False): [],
        (False, True): [f"under {high or 0:,} tokens"],
        (True, False): [f"from {low or 0:,} tokens"],
        (True, True): [f"{low or 0:,} to {(high or 1) - 1:,} tokens"],
    }
    named = [shorten(name) for name in (segment.tag, segment.model) if name is not None]
    return named + sizes[(low is not None, high is not None)]


def shorten(name: str) -> str:
    """A tag or model in a route's name: one printable line, shortened if it is long."""
    flat = "".join(char if char.isprintable() else " " for char in name)
    text = " ".join(flat.split()) or repr(name)[: _SHOWN + 2]
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def unpriced(targets: Sequence[str], priced: Sequence[str]) -> Iterator[str]:
    """A note for each target without a price."""
    for target in targets:
        if target not in priced:
            yield f"No price for {shorten(target)}: nothing is proposed for it."


def left_out_notes(left_out: LeftOut) -> Iterator[str]:
    """Notes on the requests that are left out."""
    if left_out.outside_window:
        yield f"{left_out.outside_window:,} requests outside the window left out."
    if left_out.other_org:
        yield f"{left_out.other_org:,} requests of another organisation left out."


def nothing_saved(targets: Sequence[str], min_share: float) -> str:
    """The sentence of a result without routes."""
    names = " or ".join(shorten(target) for target in targets)
    least = f"{100 * min_share:.3g} % of what was paid" if min_share else "anything"
    return f"No route to {names} would have saved {least}."


def unserved_notes(left_out: int) -> Iterator[str]:
    """A note on the candidates that are left out."""
    if left_out:
        yield (
            f"{left_out:,} candidates are left out: their target cannot serve more than "
            f"{100 * MOST_UNSERVED:.0f} % of their requests."
        )


def unreachable(log: Segments, by: Sequence[str]) -> Iterator[str]:
    """Notes on the requests that no condition reaches."""
    if log.untagged and "tag" in by:
        yield (
            f"{log.untagged:,} requests have no tag: only a route without a condition on the tag "
            f"takes them."
        )
    for name, count in log.pooled.items():
        yield (
            f"Only the {count} most costly {name}s are told apart; no condition on the {name} "
            f"takes the others."
        )
