"""Verify a store's audit chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.file import open_resume_file
from ttplan.audit.verify.options import VerifyOptions
from ttplan.audit.verify.report import ChainReport, FirstBad
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.store.protocol import EditedColumn, Store
from ttplan.util.monitor import CountCallback, show_progress


def verify_store(
    store: Store,
    key: VerifyingKey,
    options: VerifyOptions,
    *,
    key_source: str,
    progress: bool | CountCallback | None = None,
    now: datetime | None = None,
) -> ChainReport:
    """Verify the chain of a store's organisation, and report the first bad entry.

    If `options.public_key` is None, `key` is the one that the store signs with now, and the chain
    is verified with its first key, or the one that signs after `options.since`. With `progress`
    None a bar is shown on a terminal or in a notebook. A function is called with the number of
    entries done and their total, and may raise to stop.
    """
    resume_file, first_seq = open_resume_file(options)
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        tip = None if org_id is None else snapshot.tip(org_id)
        if options.public_key is None and org_id is not None:
            since = 0 if options.since is None else options.since.seq
            key = list_keys(snapshot.entries(org_id, since=since), key)[0]
        if resume_file is not None:
            resume_file.bind(options, key)
        if tip is not None:
            first_seq = min(first_seq, tip.seq)
        entries = iter(()) if org_id is None else snapshot.entries(org_id, since=first_seq)
        total = None if tip is None else tip.seq + 1
        with show_progress("verifying", progress, total=total) as monitor:
            report = verify_with_report(
                entries,
                key,
                options,
                key_source=key_source,
                progress=monitor.count,
                resume=resume_file,
                now=now,
            )
        report = _with_foreign_entries(report, snapshot.foreign_entries(org_id))
        if org_id is None or report.first_bad is not None or not report.entries:
            return report
        return _with_edited_columns(report, snapshot.edited_columns(org_id))


def describe_foreign_entries(foreign: Mapping[UUID, int]) -> str | None:
    """Say that the store has entries of organisations other than its own; None if it has none."""
    if not foreign:
        return None
    counts = " and ".join(
        f"{count:,} {'entry' if count == 1 else 'entries'} of organisation {org_id}"
        for org_id, count in foreign.items()
    )
    return (
        f"the store also holds {counts}, which is not the one that its setting org_id names. A "
        "store belongs to one organisation: find out who changed the setting or added the entries"
    )


def _with_foreign_entries(report: ChainReport, foreign: Mapping[UUID, int]) -> ChainReport:
    message = describe_foreign_entries(foreign)
    if message is None:
        return report
    return replace(report, not_checked=(f"the rest: {message}", *report.not_checked))


def describe_edited_column(edited: EditedColumn) -> str:
    """Say which column contradicts which entry, and what to do."""
    return (
        f"entry {edited.seq}: the store's column {edited.column} says {edited.stored[:80]!r}, the "
        f"signed entry says {edited.signed[:80]!r}; the column was edited without ttplan. The "
        "entry itself is signed: set the column to what it says, and find out who can write to "
        "the store"
    )


def _with_edited_columns(report: ChainReport, edited: list[EditedColumn]) -> ChainReport:
    """Add to a report on a good chain whether the store's columns say what its entries say."""
    check = "that the columns event and logged_at, which nothing signs, say what the entries say"
    report = replace(report, checks=(*report.checks, check))
    if not edited:
        return report
    first_bad = FirstBad(
        index=edited[0].seq,
        error="ColumnMismatch",
        message=describe_edited_column(edited[0]),
        expected=edited[0].signed,
        found=edited[0].stored,
        hint=describe_edited_column(edited[0]),
    )
    return replace(report, verdict="broken", first_bad=first_bad)
