"""Plans, live routes and audit entries as rows of the tables of an SQL database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError

from ttplan.model.audit import TipAnchor
from ttplan.model.errors import StoreError
from ttplan.model.route import ProposedRoute
from ttplan.model.stored_entry import StoredEntry
from ttplan.model.stored_plan import LiveRoute, StoredPlan, UnreadableRoute
from ttplan.store.protocol import EditedColumn
from ttplan.util.yaml_files import describe_validation_error

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
    "sticky",
)
_JSON_COLUMNS = (
    "config",
    "pricing",
    "price_sources",
    "cost_basis",
    "live_seen",
    "replaced",
    "author",
    "result",
)


class EntryRow(NamedTuple):
    """A row of `audit_entries`."""

    org_id: UUID
    seq: int
    event: str
    logged_at: str
    body: str
    prev_hash: str
    hash: str
    signature: str


def plan_row(run: StoredPlan) -> list[Any]:
    """A plan as the values of `PLAN_COLUMNS`."""
    fields = run.model_dump()
    for name in _JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = write_exact(fields[name])
    return [fields[name] for name in PLAN_COLUMNS]


def plan_from_row(row: Sequence[Any]) -> StoredPlan:
    """The plan of a row of `PLAN_COLUMNS`. Raises StoreError if the row is corrupt."""
    fields = dict(zip(PLAN_COLUMNS, row, strict=True))
    try:
        for name in _JSON_COLUMNS:
            if fields[name] is not None:
                fields[name] = read_exact(fields[name])
        return StoredPlan.model_validate(fields)
    except ValueError as error:  # invalid JSON, or a field out of bounds
        raise StoreError(
            f"the row of plan {fields['plan_id']} is corrupt: {first_line(error)}"
        ) from error


def live_route_row(live: LiveRoute) -> list[Any]:
    """A live route as the values of `LIVE_COLUMNS`."""
    route = live.route
    conditions, action = write_exact(route.when), write_exact(route.then)
    return [
        *(route.id, route.name, route.priority, route.enabled),
        *(conditions, action, live.plan_id, live.applied_at, route.sticky),
    ]


def live_route_from_row(row: Sequence[Any]) -> LiveRoute | UnreadableRoute:
    """The live route of a row of `LIVE_COLUMNS`, or the reason why it cannot be read."""
    route_id, name, priority, enabled, conditions, action, plan_id, applied_at, sticky = row
    fields = {"id": route_id, "name": name, "priority": priority, "enabled": enabled}
    try:
        fields |= {"when": read_exact(conditions), "then": read_exact(action), "sticky": sticky}
        route = ProposedRoute.model_validate(fields)
    except ValueError as error:
        return UnreadableRoute(name, first_line(error))
    return LiveRoute(route=route, plan_id=plan_id, applied_at=applied_at)


def readable_routes(rows: Sequence[LiveRoute | UnreadableRoute]) -> list[LiveRoute]:
    """The live routes. Raises StoreError if a row cannot be read."""
    routes = []
    for row in rows:
        if isinstance(row, UnreadableRoute):
            raise StoreError(
                f"the row of the live route {row.name!r:.60} is corrupt: {row.reason}; see "
                "`ttplan drift`"
            )
        routes.append(row)
    return routes


def first_line(error: ValueError) -> str:
    """The error in one line."""
    return (
        describe_validation_error(error)
        if isinstance(error, ValidationError)
        else str(error).splitlines()[0]
    )


def record_from_row(org_id: UUID, row: Sequence[Any]) -> StoredEntry:
    """The record of a row `seq, prev_hash, hash, signature, body`."""
    seq, prev_hash, digest, signature, body = row
    return StoredEntry(str(org_id), seq, prev_hash, digest, signature, body.encode())


def entry_row(record: StoredEntry, tip: TipAnchor | None) -> EntryRow:
    """The row of a record that is to follow `tip`.

    Raises StoreError if its seq is not the next one.
    """
    check_next_seq(record, 0 if tip is None else tip.seq + 1)
    body = orjson.loads(record.body)
    return EntryRow(
        UUID(record.org_id),
        record.seq,
        body["event"],
        body["timestamp"],
        record.body.decode(),
        record.prev_hash,
        record.hash,
        record.signature,
    )


def edited_columns_from_row(row: Sequence[Any]) -> list[EditedColumn]:
    """The columns of a row of `select_edited_columns` that contradict its body.

    There are none if the body cannot be read: its hash shows that.
    """
    seq, event, logged_at, body, event_differs, time_differs = row
    try:
        fields = orjson.loads(body)
        signed_event, signed_time = str(fields["event"]), str(fields["timestamp"])
    except (ValueError, KeyError, TypeError):
        return []
    edited = [EditedColumn(seq, "event", event, signed_event)] if event_differs else []
    if time_differs:
        edited.append(EditedColumn(seq, "logged_at", logged_at, signed_time))
    return edited


def check_next_seq(record: StoredEntry, expected: int) -> None:
    """Raise StoreError if a record is not the next entry of its chain."""
    if record.seq != expected:
        raise StoreError(f"an entry with seq {record.seq} cannot follow; expected {expected}")


def write_exact(value: BaseModel | dict[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    """A model, or the output of `model_dump`, as JSON text whose numbers keep all digits of a
    decimal."""
    plain = value.model_dump() if isinstance(value, BaseModel) else value
    return orjson.dumps(plain, default=_decimal).decode()


def read_exact(text: str) -> Any:
    """Parse the output of `write_exact`: numbers with a fraction or an exponent become decimals."""
    return json.loads(text, parse_float=Decimal)


def _decimal(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"{value!r} cannot be stored as JSON")
    return orjson.Fragment(str(value))
