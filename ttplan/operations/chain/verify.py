"""Verify a store's audit chain, list its entries, and export it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ttplan.audit import standalone
from ttplan.audit.jsonl import write_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.file import open_resume_file
from ttplan.audit.verify.options import VerifyOptions
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import InputError
from ttplan.store.protocol import Store
from ttplan.util.files import atomic_write
from ttplan.util.monitor import CountCallback, show_progress
from ttplan.util.paths import PathLike, file_exists

VERIFIER = "verify_chain.py"
"""The file name of the standalone verifier next to an exported chain."""


def verify_store(
    store: Store,
    key: VerifyingKey,
    options: VerifyOptions,
    *,
    key_source: str,
    progress: bool | CountCallback | None = None,
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
            return verify_with_report(
                entries,
                key,
                options,
                key_source=key_source,
                progress=monitor.count,
                resume=resume_file,
            )


def read_entries(store: Store, since: int, limit: int) -> list[StoredEntry]:
    """Return at most `limit` entries of the chain from seq `since` on, without verifying them."""
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return [] if org_id is None else list(islice(snapshot.entries(org_id, since=since), limit))


def export_chain(
    store: Store,
    key: VerifyingKey,
    path: PathLike,
    *,
    name: str,
    overwrite: bool = False,
    until: int | None = None,
    with_verifier: bool = False,
) -> int:
    """Write the chain as JSON lines, in full or not at all, and return the number of entries.

    `key` is the one that the store signs with now, `until` the last seq to write. With
    `with_verifier` the standalone verifier is written next to it, as `verify_chain.py`.

    Raises InputError if such a file exists, unless `overwrite`, or if the store, called `name`, has
    no such chain.
    """
    with atomic_write(path, overwrite=overwrite) as file, store.read() as snapshot:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(f"{name} has no entries to export; import a log first")
        tip = snapshot.tip(org_id)
        count = 0 if tip is None else tip.seq + 1
        if until is not None:
            if not 0 <= until < count:
                raise InputError(f"the chain has no entry {until}; it has {count}, counted from 0")
            count = until + 1
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


def write_verifier(path: Path, *, overwrite: bool = False) -> None:
    """Write the standalone verifier, which does not need ttplan.

    Raises InputError if there is another file, unless `overwrite`.
    """
    source = Path(standalone.__file__).read_bytes()
    if file_exists(path) and path.read_bytes() == source:
        return
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(source)
