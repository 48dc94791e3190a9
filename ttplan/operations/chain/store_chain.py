"""A store's audit chain: verify it, look at it, export it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from ttplan.audit import standalone
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError
from ttplan.model.stored_entry import StoredEntry
from ttplan.operations.context import Context, PlanRef
from ttplan.operations.filters import TimeLike, check_limit, parse_time_or_none
from ttplan.store.protocol import EntryFilter
from ttplan.util.files import atomic_write
from ttplan.util.monitor import CountCallback
from ttplan.util.paths import PathLike, file_exists

VERIFIER = "verify_chain.py"
"""The name of the single-file verifier beside an exported chain."""
PAGE_SIZE = 1_000
"""How many entries a page has by default."""


class EntryPage(NamedTuple):
    """Entries by seq, and whether more follow."""

    records: list[StoredEntry]
    more: bool


def verify(
    context: Context,
    *,
    public_key: str | VerifyingKey | None = None,
    since: str | TipAnchor | None = None,
    anchor: str | TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    org_id: str | UUID | None = None,
    distrust_after: TipAnchor | None = None,
    signatures: SignatureScope = "all",
    progress: bool | CountCallback | None = None,
    on_fork: Callable[[bytes], None] | None = None,
    resume: PathLike | None = None,
) -> ChainReport:
    """Verify the audit chain and report the first bad entry.

    Parameters
    ----------
    public_key : str or VerifyingKey, optional
        The key that the chain began with, from a source of your own: the verdict is then
        "verified". If left out, the workspace's own key is used, and the verdict is at most
        "consistent with its own key".
    since : str or TipAnchor, optional
        A trusted anchor ``<seq>:<hash>``: only what follows it is verified.
    anchor : str or TipAnchor, optional
        An anchor ``<seq>:<hash>`` that the chain must still contain.
    passes_through : iterable of TipAnchor, optional
        More anchors that the chain must contain.
    org_id : UUID or str, optional
        The organisation whose chain it must be.
    distrust_after : TipAnchor, optional
        Refuse entries of a compromised key after this anchor.
    signatures : {"all", "tip"}, default "all"
        Which signatures to verify.
    progress : bool or callable, optional
        Show a progress bar, or call a function with the entries done and their total. It may
        raise to end the verification.
    on_fork : callable, optional
        Receives the evidence if the chain was forked.
    resume : path, optional
        A file that remembers what was verified before.

    Returns
    -------
    ChainReport
        The verdict, and the first bad entry if there is one.

    Raises
    ------
    KeyFileError
        If there is no key to verify with.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.verify().verdict
    'consistent with its own key'
    >>> ws.verify(public_key=ws.public_key, anchor=ws.anchor()).verdict
    'verified'
    """
    from ttplan.operations.chain.verify import verify_store

    key, source = context.keys.verifying(public_key)
    options = VerifyOptions.parse(
        public_key=public_key,
        since=since,
        anchor=anchor,
        passes_through=passes_through,
        org_id=org_id,
        distrust_after=distrust_after,
        signatures=signatures,
        on_fork=on_fork,
        resume=resume,
    )
    return verify_store(
        context.store, key, options, key_source=source, progress=progress, now=context.clock()
    )


def entries(
    context: Context,
    *,
    event: str | None = None,
    plan: PlanRef | None = None,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    after: int = -1,
    limit: int = PAGE_SIZE,
) -> EntryPage:
    """Show a page of the audit chain, by seq. Nothing is verified: that is `verify`.

    Parameters
    ----------
    event : str, optional
        Only entries of this event, such as "plan.applied".
    plan : Plan, UUID or str, optional
        Only entries about this plan.
    since, until : time, optional
        When the entry was made: from (inclusive) and to (exclusive). A timezone-aware datetime,
        an ISO 8601 string or a date (00:00 UTC).
    after : int, optional
        The seq of the last entry of the page before.
    limit : int, default 1,000
        The most entries to show.

    Returns
    -------
    View
        A DataFrame with the columns `ttplan.views.CHAIN`. A note says if more follow.

    Raises
    ------
    InputError
        If a filter cannot be used.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.entries(event="plan.applied")["seq"].tolist()
    [0]
    """
    filters = EntryFilter(
        event=event,
        plan_id=None if plan is None else context.plan_id(plan),
        since=parse_time_or_none(since, "since"),
        until=parse_time_or_none(until, "until"),
        after=after,
        limit=check_limit(limit) + 1,
    )
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        records = [] if org_id is None else snapshot.find_entries(org_id, filters)
    return EntryPage(records[:limit], len(records) > limit)


def anchor(context: Context) -> TipAnchor | None:
    """Return where the chain ends now.

    Kept elsewhere, an anchor later proves that nothing was cut off.

    Returns
    -------
    TipAnchor or None
        The last entry's seq and hash. None if the chain has no entries.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.anchor() == ttplan.TipAnchor(0, entry.hash)
    True
    """
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        return None if org_id is None else snapshot.tip(org_id)


def public_key(context: Context) -> str:
    """The key that the chain began with, 64 hex digits. Raises KeyFileError if there is none."""
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        current = context.keys.existing().public_key
        return (
            current.hex if org_id is None else list_keys(snapshot.entries(org_id), current)[0].hex
        )


def export_chain(
    context: Context,
    path: PathLike,
    *,
    overwrite: bool = False,
    last_seq: int | None = None,
    with_verifier: bool = False,
) -> int:
    """Write the audit chain to a file of JSON lines, whole or not at all.

    Parameters
    ----------
    path : path
        The file to write.
    overwrite : bool, default False
        Replace a file that exists.
    last_seq : int, optional
        The seq of the last entry to write; the chain's last if left out.
    with_verifier : bool, default False
        Write the single-file verifier ``verify_chain.py`` beside it.

    Returns
    -------
    int
        How many entries were written.

    Raises
    ------
    InputError
        If the file exists, or there is nothing to export.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.export_chain("chain.jsonl")
    1
    >>> ttplan.verify_file("chain.jsonl", public_key=ws.public_key).verdict
    'verified'
    """
    key = context.keys.existing().public_key
    with atomic_write(path, overwrite=overwrite) as file, context.store.read() as snapshot:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(
                f"{context.name} has no entries to export; import a log first, with "
                "`ttplan import` or import_logs"
            )
        tip = snapshot.tip(org_id)
        count = 0 if tip is None else tip.seq + 1
        if last_seq is not None:
            if not 0 <= last_seq < count:
                raise InputError(
                    f"the chain has no entry {last_seq}; it has {count}, counted from 0"
                )
            count = last_seq + 1
        write_chain(
            file,
            islice(snapshot.entries(org_id), count),
            verifying_key=list_keys(snapshot.entries(org_id), key)[0],
            org_id=org_id,
            entry_count=count,
        )
    if with_verifier:
        write_verifier(Path(path).with_name(VERIFIER), overwrite=overwrite)
    return count


def verifier_digest() -> str:
    """The SHA-256 of the single-file verifier, which the documentation publishes, as hex."""
    return sha256(Path(standalone.__file__).read_bytes()).hexdigest()


def write_verifier(path: Path, *, overwrite: bool = False) -> None:
    """Write the single-file verifier, which needs nothing of ttplan.

    Raises InputError if another file is there, unless `overwrite`.
    """
    source = Path(standalone.__file__).read_bytes()
    if file_exists(path) and path.read_bytes() == source:
        return
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(source)
