"""Plans and live routes as rows of a database's tables: which columns there are, and what a row is as one of our types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import StoreError
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_plan import LiveRoute, StoredPlan, UnreadableRoute
from ttplan.util.files import describe_validation_error

PLAN_COLUMNS = (
    "plan_id",
    "org_id",
    "name",
    "status",
    "created_at",
    "applied_at",
    "reverted_at",
    "nonce",
    "seed",
    "bootstrap_iterations",
    "config",
    "pricing",
    "price_sources",
    "cost_basis",
    "live_seen",
    "replaced",
    "failure",
    "author",
    "result",
)
LIVE_COLUMNS = (
    "route_id",
    "name",
    "priority",
    "enabled",
    "conditions",
    "action",
    "plan_id",
    "applied_at",
)
_AS_JSON = (
    "config",
    "pricing",
    "price_sources",
    "cost_basis",
    "live_seen",
    "replaced",
    "author",
    "result",
)


def plan_row(run: StoredPlan) -> list[Any]:
    """A plan as the values of `PLAN_COLUMNS`."""
    fields = run.model_dump()
    fields |= {name: write_exact(fields[name]) for name in _AS_JSON if fields[name] is not None}
    return [fields[name] for name in PLAN_COLUMNS]


def plan_of(row: Sequence[Any]) -> StoredPlan:
    """The plan of a row of `PLAN_COLUMNS`. StoreError where it is none any more."""
    fields = dict(zip(PLAN_COLUMNS, row, strict=True))
    try:
        fields |= {name: read_exact(fields[name]) for name in _AS_JSON if fields[name] is not None}
        return StoredPlan.model_validate(fields)
    except ValueError as error:  # JSON that is none, or a field that is out of its bounds
        raise StoreError(
            f"the row of plan {fields['plan_id']} is no plan any more: {first_line(error)}"
        ) from error


def live_row(live: LiveRoute) -> list[Any]:
    """A live route as the values of `LIVE_COLUMNS`."""
    route = live.route
    conditions, action = write_exact(route.when), write_exact(route.then)
    return [
        route.id,
        route.name,
        route.priority,
        route.enabled,
        conditions,
        action,
        live.plan_id,
        live.applied_at,
    ]


def live_of(row: Sequence[Any]) -> LiveRoute | UnreadableRoute:
    """The live route of a row of `LIVE_COLUMNS`, or why it is none any more."""
    route_id, name, priority, enabled, conditions, action, plan_id, applied_at = row
    try:
        route = ProposedRoute.model_validate(
            {
                "id": route_id,
                "name": name,
                "priority": priority,
                "enabled": enabled,
                "when": read_exact(conditions),
                "then": read_exact(action),
            }
        )
    except ValueError as error:
        return UnreadableRoute(name, first_line(error))
    return LiveRoute(route=route, plan_id=plan_id, applied_at=applied_at)


def only_routes(rows: Sequence[LiveRoute | UnreadableRoute]) -> list[LiveRoute]:
    """The live routes. StoreError where a row is no route any more."""
    found = []
    for row in rows:
        if isinstance(row, UnreadableRoute):
            raise StoreError(
                f"the live route {row.name!r:.60} is no route any more: {row.reason}; see `ttplan drift`"
            )
        found.append(row)
    return found


def first_line(error: ValueError) -> str:
    """What is wrong, in one line."""
    return (
        describe_validation_error(error)
        if isinstance(error, ValidationError)
        else str(error).splitlines()[0]
    )


def record_of(org_id: UUID, row: Sequence[Any]) -> StoredEntry:
    """The record of a row `seq, prev_hash, hash, signature, body`."""
    seq, prev_hash, digest, signature, body = row
    return StoredEntry(str(org_id), seq, prev_hash, digest, signature, body.encode())


def entry_row(record: StoredEntry, tip: TipAnchor | None) -> tuple[Any, ...]:
    """The row of a record that follows `tip`, in the order of the table's columns. Raises StoreError where it does not."""
    expected = 0 if tip is None else tip.seq + 1
    if record.seq != expected:
        raise StoreError(f"an entry with seq {record.seq} cannot follow; expected {expected}")
    body = orjson.loads(record.body)
    return (
        UUID(record.org_id),
        record.seq,
        body["event"],
        body["timestamp"],
        record.body.decode(),
        record.prev_hash,
        record.hash,
        record.signature,
    )


def write_exact(value: BaseModel | dict[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    """A model, or what `model_dump` gave, as JSON text, its decimals as numbers with all their digits."""
    plain = value.model_dump() if isinstance(value, BaseModel) else value
    return orjson.dumps(plain, default=_decimal).decode()


def read_exact(text: str) -> Any:
    """What `write_exact` wrote, ready to be validated: numbers with a fraction or an exponent as decimals."""
    return json.loads(text, parse_float=Decimal)


def _decimal(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"{value!r} cannot be stored as JSON")
    return orjson.Fragment(str(value))
