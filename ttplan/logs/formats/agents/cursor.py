"""Cursor: the CSV of its dashboard's usage events.

The three columns of input are disjoint: tokens written to a cache, fresh ones, and cache reads. An
event has no id, so all of its columns make one. Names of models have Cursor's order and suffixes
(`claude-4.5-sonnet-thinking`).
"""

from __future__ import annotations

from ttplan.logs.format import FindText, Format, Signature
from ttplan.logs.mapping.mapping import FormatMapping

_FRESH, _WRITTEN, _READ = "Input (w/o Cache Write)", "Input (w/ Cache Write)", "Cache Read"
_OUTPUT = ["Output Tokens", "Output"]
_COST = ["Cost", "Cost to you"]
_NAMES_OF_PLANS = ("Pro", "Pro+", "Ultra", "Business", "Team", "Teams")
_INCLUDED = ["Included", "Free", *(f"Included in {name}" for name in _NAMES_OF_PLANS)]
"""Kinds of events, or costs, that a subscription includes."""
_IDENTIFYING = ("Date", "User", "Kind", "Model", _FRESH, _WRITTEN, _READ, *_OUTPUT, *_COST)


def _cost(find: FindText) -> str:
    """The amount without its sign; 0 for what is not charged."""
    cost = find(*_COST)
    return f"CASE WHEN {cost} = '-' THEN '0' ELSE ltrim({cost}, '$') END"


def _status(find: FindText) -> str:
    return (
        f"CASE WHEN {find('Kind')} LIKE 'Errored%' THEN '500'"
        f" WHEN {find('Kind')} LIKE 'Aborted%' THEN '499' ELSE '200' END"
    )


def _resolved(find: FindText) -> str:
    """The provider's name of the model: without effort and mode, Claude's family first."""
    bare = (
        f"regexp_replace({find('Model')},"
        " '(-(thinking|fast|max|high|medium|low|xhigh|minimal|none|preview))+$', '')"
    )
    return f"regexp_replace({bare}, '^claude-([0-9.]+)-(sonnet|opus|haiku)$', 'claude-\\2-\\1')"


FORMAT = Format(
    title="Cursor usage events",
    mapping=FormatMapping.model_validate(
        {
            "name": "cursor",
            "fields": {
                "id": {"join": list(_IDENTIFYING)},
                "ts": {"path": "Date", "unit": "iso_utc"},
                "provider": {"constant": "unknown"},
                "model": "Model",
                "input_tokens": {"sum": [_FRESH, _WRITTEN, _READ]},
                "output_tokens": _OUTPUT,
                "cached_tokens": _READ,
                "cache_write_tokens": _WRITTEN,
                "total_tokens": "Total Tokens",
                "cost_usd": _COST,
                "tag": "Kind",
                "user_id": "User",
            },
            "skip": [
                *(
                    {
                        "path": path,
                        "is": _INCLUDED,
                        "reason": "included in the subscription, so without a cost of its own",
                    }
                    for path in (_COST, ["Kind"])
                ),
            ],
        }
    ),
    signature=Signature(
        required=("Date", "Model", _WRITTEN, _FRESH, _READ),
        any_of=(tuple(_OUTPUT),),
        typical=("Kind", "Max Mode", "User", "Total Tokens"),
    ),
    rules={"cost_usd": _cost, "status": _status, "resolved_model": _resolved},
    counting="inside",
)
