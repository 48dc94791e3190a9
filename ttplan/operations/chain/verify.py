"""A store's audit chain: verified, and written to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from ttplan.audit import standalone
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.proofs.anchors import parse_anchor
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.chain import SignatureScope
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.audit.verify.resume import Asked, ResumeFile, first_needed
from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import InputError
from ttplan.store.protocol import Store
from ttplan.util.files import atomic_write, file_exists
from ttplan.util.progress import Counted, counting

VERIFIER = "verify_chain.py"
"""What the verifier in one file is called beside an exported chain."""


def write_verifier(path: Path, *, overwrite: bool = False) -> None:
    """Write the verifier in one file, which needs nothing of ttplan. InputError where there is another, unless `overwrite`."""
    source = Path(standalone.__file__).read_bytes()
    if file_exists(path) and path.read_bytes() == source:
        return
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(source)


def verify_store(
    store: Store,
    key: VerifyingKey,
    *,
    key_source: str,
    own_key: bool,
    since: str | TipAnchor | None = None,
    anchor: str | TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    signatures: SignatureScope = "all",
    progress: bool | Counted | None = None,
    on_fork: Callable[[bytes], None] | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> ChainReport:
    """Verify the chain of a store's organisation and report the first bad entry. `progress` of None shows a bar to a person;
    a function is told how many entries are done, of how many, and may raise to end it.

    With `own_key` the `key` is the one that the store signs with now, and the chain is verified with the one that it began with,
    or that signs after `since`.
    """
    begin, end, through = parse_anchor(since), parse_anchor(anchor), tuple(passes_through)
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        tip = None if org_id is None else snapshot.tip(org_id)
        if own_key and org_id is not None:
            key = list_keys(snapshot.entries(org_id, since=0 if begin is None else begin.seq), key)[
                0
            ]
        kept = None if resume is None else ResumeFile(resume)
        if kept is not None:
            kept.bind(Asked(key, signatures, begin, end, through, distrust_after))
        first = (
            first_needed(begin, kept) if tip is None else min(first_needed(begin, kept), tip.seq)
        )
        entries = iter(()) if org_id is None else snapshot.entries(org_id, since=first)
        with counting("verifying", None if tip is None else tip.seq + 1, progress) as count:
            return verify_with_report(
                entries,
                key,
                key_source=key_source,
                own_key=own_key,
                since=begin,
                anchor=end,
                passes_through=through,
                distrust_after=distrust_after,
                signatures=signatures,
                progress=count,
                on_fork=on_fork,
                resume=kept,
            )


def read_entries(store: Store, since: int, limit: int) -> list[StoredEntry]:
    """At most `limit` entries of the chain from seq `since` on, as they are stored: nothing of them is verified."""
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return [] if org_id is None else list(islice(snapshot.entries(org_id, since=since), limit))


def export_chain(
    store: Store,
    key: VerifyingKey,
    path: str | os.PathLike[str],
    *,
    name: str,
    overwrite: bool = False,
    until: int | None = None,
    with_verifier: bool = False,
) -> int:
    """Write the chain as JSON lines, whole or not at all, and return how many entries it has. `key` signs it now.

    With `until` it ends with that seq. With `with_verifier` the verifier in one file is put beside it, as `verify_chain.py`.

    Raises InputError where there is such a file already, unless `overwrite`, or where the store, called `name`, has no such
    chain.
    """
    with atomic_write(path, overwrite=overwrite) as file, store.read() as snapshot:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(
                f"{name} has no entries to export; import a log first, with `ttplan import` or import_logs"
            )
        tip = snapshot.tip(org_id)
        count = 0 if tip is None else tip.seq + 1
        if until is not None:
            if not 0 <= until < count:
                raise InputError(f"the chain has no entry {until}; it has {count}, counted from 0")
            count = until + 1
        key = list_keys(snapshot.entries(org_id), key)[0]
        write_chain(
            file,
            islice(snapshot.entries(org_id), count),
            verifying_key=key,
            org_id=org_id,
            entry_count=count,
        )
    if with_verifier:
        write_verifier(Path(path).with_name(VERIFIER), overwrite=overwrite)
    return count
