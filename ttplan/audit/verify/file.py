"""Verify an exported chain: a file, a key and perhaps an anchor, without a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from ttplan.audit.equivocation import MAX_EVIDENCE, check_evidence, find_equivocation
from ttplan.audit.jsonl import Preamble, read_blocks, read_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.proofs.customer_checkpoint import (
    MAX_CHECKPOINT,
    CustomerCheckpoint,
    check_customer_signature,
    parse_customer_checkpoint,
)
from ttplan.audit.verify.options import SignatureScope, VerifyOptions
from ttplan.audit.verify.parallel import read_segments
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.audit.verify.require import ChainHashes, collect_hashes
from ttplan.audit.verify.resume import ResumeFile
from ttplan.audit.verify.segment import Segment, count_entries
from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import Equivocation, InputError, KeyFileError, ProofError
from ttplan.util.files import read_small_file
from ttplan.util.monitor import show_progress
from ttplan.util.paths import PathLike

_Item = TypeVar("_Item", bound=StoredEntry | Segment)


def verify_file(
    path: PathLike,
    *,
    public_key: str | VerifyingKey | None = None,
    since: str | TipAnchor | None = None,
    anchor: str | TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    org_id: str | UUID | None = None,
    distrust_after: TipAnchor | None = None,
    signatures: SignatureScope = "all",
    progress: bool | None = None,
    on_fork: Callable[[bytes], None] | None = None,
    resume: PathLike | None = None,
) -> ChainReport:
    """Verify an exported chain, without a store.

    Parameters
    ----------
    path
        A chain as JSON lines, as `export_chain` writes it.
    public_key
        The chain's first key, or its 64 hex digits, from elsewhere than the file. Without it the
        key in the file's preamble is used, and the verdict says so. Rotations are followed.
    since
        A trusted entry, `<seq>:<hash>`. Only the entries after it are checked, and `public_key` is
        the key that signs there.
    anchor
        The entry at which the chain must end, `<seq>:<hash>`.
    passes_through
        Entries that the chain must contain.
    org_id
        The organisation whose chain it must be.
    distrust_after
        An entry after which nothing is trusted that the same key signed.
    signatures
        "all" checks every signature, "tip" the last one of each key, which vouches for the content
        of all entries before it.
    progress
        Whether to show a progress bar. None shows one on a terminal or in a notebook.
    on_fork
        Called with the evidence, as a file's content, if two signed entries have one seq.
    resume
        A file that records how far the verification is. If it exists, the verification continues
        from there.

    Returns
    -------
    ChainReport
        The verdict, what was checked and what was not, and the first bad entry, if any.

    Raises
    ------
    InputError
        If the file is missing, empty, cut off or not a chain, or `resume` belongs to another
        verification.

    Examples
    --------
    >>> import ttplan
    >>> try:
    ...     ttplan.verify_file("missing.jsonl")
    ... except ttplan.InputError as error:
    ...     print(error)
    missing.jsonl cannot be read: No such file or directory; expected a chain as JSON lines
    """
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
    resume_file, first_seq = open_resume_file(options)
    preamble, blocks = read_blocks(path, since=first_seq)
    total = None if preamble is None else preamble.entry_count
    with closing(blocks), show_progress("verifying", progress, total=total) as monitor:
        key, key_source = _choose_key(path, preamble, options.public_key)
        signer = key
        if resume_file is not None:
            resume_file.bind(options, key)
            if resume_file.verified is not None:
                signer = VerifyingKey.from_hex(resume_file.verified.key)
        with closing(read_segments(blocks, signer, signed=options.all_signatures)) as segments:
            return verify_with_report(
                check_preamble(preamble, segments, os.fspath(path), since=first_seq),
                key,
                options,
                key_source=key_source,
                progress=monitor.count,
                resume=resume_file,
            )


def open_resume_file(options: VerifyOptions) -> tuple[ResumeFile | None, int]:
    """Open the resume file, if any, and return the seq of the first entry that is needed."""
    if options.resume is None:
        return None, 0 if options.since is None else options.since.seq
    resume_file = ResumeFile(options.resume)
    return resume_file, resume_file.first_needed_seq(options.since)


def check_preamble(
    preamble: Preamble | None, entries: Iterable[_Item], name: str, *, since: int = 0
) -> Iterator[_Item]:
    """Yield the entries, and check that they match the preamble; `since` is as in `read_chain`.

    Raises InputError if their organisation or their number differs.
    """
    count = first_seq = 0
    for entry in entries:
        if preamble is not None and count == 0:
            if entry.org_id != str(preamble.org_id):
                raise InputError(
                    f"{name}: the preamble is for organisation {preamble.org_id}, the entries for "
                    f"{entry.org_id}"
                )
            first_seq = entry.seq if since else 0
        count += count_entries(entry)
        yield entry
    length = first_seq + count
    if preamble is not None and (count or not since) and length != preamble.entry_count:
        raise InputError(
            f"{name}: the preamble announces {preamble.entry_count:,} entries, but the file has "
            f"{length:,}; it may be cut off, so export it again"
        )


def collect_file_hashes(
    path: PathLike, public_key: str | VerifyingKey | None = None
) -> ChainHashes:
    """Return the hashes of an exported chain that verifies with its first key.

    Raises the errors of `verify_chain` and `verify_file`.
    """
    if isinstance(public_key, str):
        public_key = VerifyingKey.from_hex(public_key)
    preamble, records = read_chain(path)
    with closing(records):
        key, _ = _choose_key(path, preamble, public_key)
        return collect_hashes(check_preamble(preamble, records, os.fspath(path)), key)


def compare_files(one: PathLike, other: PathLike, key: VerifyingKey) -> Equivocation | None:
    """Find the first seq at which two exports of a chain have different, well-signed entries.

    Raises InputError as `verify_file` does.
    """
    _, records = read_chain(one)
    _, other_records = read_chain(other)
    with closing(records), closing(other_records):
        return find_equivocation(records, other_records, key)


def check_evidence_file(path: PathLike, key: VerifyingKey) -> Equivocation:
    """Return what an evidence file proves against the holder of `key`.

    Raises InputError if it is not an evidence file, and ProofError if it proves nothing.
    """
    data = read_small_file(path, "evidence of a fork", limit=MAX_EVIDENCE)
    return check_evidence(data, os.fspath(path), key)


def check_customer_file(
    path: PathLike, customer_key: str, chain: PathLike | None = None
) -> tuple[CustomerCheckpoint, ChainReport | None]:
    """Check a customer checkpoint, and report on the exported chain that it is of, if passed.

    The chain is verified with the audit key that the customer signed for, and must contain the
    entry that was its last then. Raises CustomerCheckpointError if this customer did not sign the
    checkpoint, and ProofError if the chain is of another organisation.
    """
    data = read_small_file(path, "a customer checkpoint", limit=MAX_CHECKPOINT)
    checkpoint = parse_customer_checkpoint(data, os.fspath(path))
    key = VerifyingKey.from_hex(customer_key, "the customer's public key")
    check_customer_signature(checkpoint, key)
    if chain is None:
        return checkpoint, None
    report = verify_file(
        chain, public_key=checkpoint.verifying_key, passes_through=[checkpoint.anchor]
    )
    if report.org_id not in (None, checkpoint.org_id):
        raise ProofError(
            f"the checkpoint is of the organisation {checkpoint.org_id}, the chain of "
            f"{report.org_id}"
        )
    key_source = f"the customer's checkpoint {os.fspath(path)}"
    return checkpoint, replace(report, key_source=key_source)


def _choose_key(
    path: PathLike, preamble: Preamble | None, key: VerifyingKey | None
) -> tuple[VerifyingKey, str]:
    """Return the key to verify with, and where it comes from."""
    if key is not None:
        return key, "the caller"
    if preamble is None:
        raise KeyFileError(f"{os.fspath(path)} has no preamble with a key; pass public_key")
    key = VerifyingKey.from_hex(preamble.verifying_key, "the key in the preamble")
    return key, "the chain's own preamble"
