"""Compare the live routes with what plan rows and chain say they should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.options import VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.history.compare import changed_fields
from ttplan.history.timeline import History, load_history
from ttplan.model.audit import TipAnchor
from ttplan.model.results.drift import Drift, DriftProblem, RouteDrift
from ttplan.model.stored_plan import LiveRoute, UnreadableRoute
from ttplan.operations.chain.verify import describe_edited_column, describe_foreign_entries
from ttplan.operations.context import Context
from ttplan.store.protocol import Snapshot

UNVERIFIED = "not verified: there is no key"


def drift(
    context: Context,
    *,
    public_key: str | VerifyingKey | None = None,
    passes_through: Iterable[TipAnchor] = (),
    org_id: str | UUID | None = None,
) -> Drift:
    """Check that the live routes are the signed ones.

    Parameters
    ----------
    public_key : str or VerifyingKey, optional
        The key to verify the chain with; the workspace's own, if it has one, if left out.
    passes_through : iterable of TipAnchor, optional
        Anchors that the chain must contain.
    org_id : UUID or str, optional
        The organisation that the store must belong to.

    Returns
    -------
    DriftCard
        Each live route that is not what plan rows and chain say, and what is wrong with them.

    Raises
    ------
    StoreError
        If the store cannot be read.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.drift().result.ok
    True
    """
    options = VerifyOptions.parse(passes_through=passes_through, org_id=org_id)
    key = context.keys.verifying_or_none(public_key)
    if key is None and options.passes_through:
        context.keys.verifying(public_key)  # raises: without a key anchors cannot be compared
    with context.store.read() as snapshot:
        return find_drift(
            snapshot, snapshot.org_id(), key, own_key=public_key is None, options=options
        )


def find_drift(
    snapshot: Snapshot,
    org_id: UUID | None,
    key: VerifyingKey | None,
    *,
    own_key: bool,
    options: VerifyOptions | None = None,
) -> Drift:
    """Compare an organisation's live routes with its plan rows and chain, and verify the chain.

    `options` has the organisation and the anchors that are expected. Without a key the chain is not
    verified, and the report says so.
    """
    options = options or VerifyOptions()
    foreign = describe_foreign_entries(snapshot.foreign_entries(org_id))
    others = () if foreign is None else (DriftProblem(message=foreign),)
    if options.org_id not in (None, org_id):
        message = f"the store belongs to organisation {org_id}, not to {options.org_id}"
        return Drift(entries=0, live=0, chain="broken", problems=_blocking(message, others))
    if org_id is None and options.passes_through:
        message = f"the store has no chain, and must have the entry {options.passes_through[0]}"
        return Drift(entries=0, live=0, chain="broken", problems=_blocking(message, others))
    if org_id is None:
        return Drift(entries=0, live=0, chain="empty", problems=others)
    report = None if key is None else _check(snapshot, org_id, key, own_key, options)
    broken = (
        ()
        if report is None or report.first_bad is None
        else (DriftProblem(message=report.first_bad.message, blocks=True),)
    )
    # A broken chain is not followed: its entries may not even be JSON.
    history = History() if broken else load_history(snapshot, org_id)
    rows = snapshot.live_route_rows(org_id)
    return Drift(
        entries=history.entries,
        live=len(rows),
        chain=UNVERIFIED if report is None else report.verdict,
        routes=() if broken else tuple(_routes(history, rows)),
        problems=(
            *broken,
            *history.problems,
            *([] if broken else _statuses(history, snapshot.statuses(org_id))),
            *([] if broken else _edited_columns(snapshot, org_id)),
            *others,
        ),
    )


def _blocking(message: str, others: tuple[DriftProblem, ...]) -> tuple[DriftProblem, ...]:
    return (DriftProblem(message=message, blocks=True), *others)


def _check(
    snapshot: Snapshot, org_id: UUID, key: VerifyingKey, own_key: bool, expected: VerifyOptions
) -> ChainReport:
    # The last signature covers the content of all entries, which is what counts here.
    first = list_keys(snapshot.entries(org_id), key)[0] if own_key else key
    options = replace(expected, public_key=None if own_key else key, signatures="tip")
    return verify_with_report(snapshot.entries(org_id), first, options, key_source="drift")


def _edited_columns(snapshot: Snapshot, org_id: UUID) -> Iterator[DriftProblem]:
    for edited in snapshot.edited_columns(org_id):
        yield DriftProblem(seq=edited.seq, message=describe_edited_column(edited))


def _routes(history: History, rows: list[LiveRoute | UnreadableRoute]) -> Iterator[RouteDrift]:
    """The differences, by name; names whose expected route is unknown are left out."""
    actual = {row.name if isinstance(row, UnreadableRoute) else row.route.name: row for row in rows}
    for name in sorted(actual.keys() | history.live.keys()):
        if name not in history.unknown:
            drift = _compare(name, history.live.get(name), actual.get(name))
            if drift is not None:
                yield drift


def _compare(
    name: str, expected: LiveRoute | None, actual: LiveRoute | UnreadableRoute | None
) -> RouteDrift | None:
    unreadable = actual.reason if isinstance(actual, UnreadableRoute) else None
    row = actual if isinstance(actual, LiveRoute) else None
    if expected is None:
        return RouteDrift(name=name, kind="foreign", found=row, unreadable=unreadable)
    if actual is None:
        return RouteDrift(name=name, kind="missing", expected=expected)
    fields = () if row is None else _fields(expected, row)
    if row is not None and not fields:
        return None
    return RouteDrift(
        name=name, kind="edited", fields=fields, expected=expected, found=row, unreadable=unreadable
    )


def _fields(expected: LiveRoute, actual: LiveRoute) -> tuple[str, ...]:
    own = tuple(
        name
        for name in ("plan_id", "applied_at")
        if getattr(expected, name) != getattr(actual, name)
    )
    return (*(change.field for change in changed_fields(expected.route, actual.route)), *own)


def _statuses(history: History, rows: Mapping[UUID, str]) -> Iterator[DriftProblem]:
    """The plans whose row has another status than the chain says."""
    for plan_id in sorted(rows.keys() | history.statuses.keys()):
        row, signed = rows.get(plan_id), history.statuses.get(plan_id)
        if row is None:
            continue  # following the chain has reported it
        if signed is None and row in ("applied", "reverted"):
            yield DriftProblem(
                plan_id=plan_id,
                message=f"the row of plan {plan_id} says {row}, and no entry of the chain does",
            )
        elif signed is not None and row != signed:
            yield DriftProblem(
                plan_id=plan_id,
                message=f"the row of plan {plan_id} says {row}, and the chain that it is {signed}",
            )
