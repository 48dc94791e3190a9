"""Verify an exported chain: a file, a key and perhaps an anchor, with no store at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing

from ttplan.audit.equivocation import MAX_EVIDENCE, check_evidence, find_equivocation
from ttplan.audit.jsonl import Preamble, check_preamble, read_blocks, read_chain
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.proofs.anchors import parse_anchor
from ttplan.audit.proofs.customer_checkpoint import (
    MAX_CHECKPOINT,
    CustomerCheckpoint,
    check_customer_signature,
    parse_customer_checkpoint,
)
from ttplan.audit.verify.chain import SignatureScope
from ttplan.audit.verify.parallel import read_segments
from ttplan.audit.verify.report import ChainReport
from ttplan.audit.verify.reporting import verify_with_report
from ttplan.audit.verify.require import ChainHashes, collect_hashes
from ttplan.audit.verify.resume import Asked, ResumeFile, first_needed
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import Equivocation, KeyFileError, ProofError
from ttplan.util.files import read_small_file
from ttplan.util.progress import counting

PathLike = str | os.PathLike[str]


def verify_file(
    path: PathLike,
    *,
    public_key: str | VerifyingKey | None = None,
    since: str | TipAnchor | None = None,
    anchor: str | TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    signatures: SignatureScope = "all",
    progress: bool | None = None,
    on_fork: Callable[[bytes], None] | None = None,
    resume: PathLike | None = None,
) -> ChainReport:
    """Verify an exported chain, with no store at all. Without `public_key` that of its preamble is used, and the verdict says so.

    `public_key` is the chain's first one; rotations are followed. `anchor` says where the chain has to end, `passes_through`
    which entries it has to have, `distrust_after` after which entry its key is not trusted. `on_fork` is handed evidence of two
    histories. With `since`, a trusted entry, only those after it are checked, and `public_key` is the one that signs there. In
    the file `resume` is kept how far the verification has come: one that was interrupted goes on from there.

    Raises InputError where the file is missing, empty, cut off or not a chain, or `resume` is of another verification.
    """
    begin, end, through = parse_anchor(since), parse_anchor(anchor), tuple(passes_through)
    kept = None if resume is None else ResumeFile(resume)
    first = first_needed(begin, kept)
    preamble, pieces = read_blocks(path, since=first)
    total = None if preamble is None else preamble.entry_count
    with closing(pieces), counting("verifying", total, progress) as count:
        key, source = _file_key(path, preamble, public_key)
        if kept is not None:
            kept.bind(Asked(key, signatures, begin, end, through, distrust_after))
        start = (
            VerifyingKey.from_hex(kept.reached.key)
            if kept is not None and kept.reached is not None
            else key
        )
        with closing(read_segments(pieces, start, signed=signatures == "all")) as entries:
            return verify_with_report(
                check_preamble(preamble, entries, os.fspath(path), since=first),
                key,
                key_source=source,
                own_key=public_key is None,
                since=begin,
                anchor=end,
                passes_through=through,
                distrust_after=distrust_after,
                signatures=signatures,
                progress=count,
                on_fork=on_fork,
                resume=kept,
            )


def collect_file_hashes(
    path: PathLike, public_key: str | VerifyingKey | None = None
) -> ChainHashes:
    """The hashes of an exported chain, which verifies with its first key. Raises what `verify_chain` and `verify_file` raise."""
    preamble, records = read_chain(path)
    with closing(records):
        key, _ = _file_key(path, preamble, public_key)
        return collect_hashes(check_preamble(preamble, records, os.fspath(path)), key)


def compare_files(one: PathLike, other: PathLike, key: VerifyingKey) -> Equivocation | None:
    """The first two entries for one place, both well signed, of two exports of a chain. InputError as in `verify_file`."""
    _, records = read_chain(one)
    _, others = read_chain(other)
    with closing(records), closing(others):
        return find_equivocation(records, others, key)


def check_evidence_file(path: PathLike, key: VerifyingKey) -> Equivocation:
    """What an evidence file proves against the holder of a key. InputError where it is none, ProofError where that is nothing."""
    return check_evidence(
        read_small_file(path, "evidence of a fork", limit=MAX_EVIDENCE), os.fspath(path), key
    )


def _file_key(
    path: PathLike, preamble: Preamble | None, given: str | VerifyingKey | None
) -> tuple[VerifyingKey, str]:
    if isinstance(given, VerifyingKey):
        return given, "the caller"
    if given is not None:
        return VerifyingKey.from_hex(given), "the caller"
    if preamble is None:
        raise KeyFileError(
            f"{os.fspath(path)} has no preamble with a key; give the public key (--key-hex)"
        )
    return VerifyingKey.from_hex(
        preamble.verifying_key, "the key in the preamble"
    ), "the chain's own preamble"


def check_customer_file(
    path: PathLike, customer_key: str, chain: PathLike | None = None
) -> tuple[CustomerCheckpoint, ChainReport | None]:
    """A customer checkpoint, of either form, signed with this key; and a report on the exported chain that it is of.

    The chain is verified with the audit key that the customer signed for, and has to have the entry that was its last then.

    Raises CheckpointError where the checkpoint is none of this customer's, and ProofError where the chain is of another
    organisation.
    """
    found = parse_customer_checkpoint(
        read_small_file(path, "a customer checkpoint", limit=MAX_CHECKPOINT), os.fspath(path)
    )
    check_customer_signature(
        found, VerifyingKey.from_hex(customer_key, "the customer's public key")
    )
    if chain is None:
        return found, None
    report = verify_file(chain, public_key=found.verifying_key, passes_through=[found.anchor])
    if report.org_id not in (None, found.org_id):
        raise ProofError(
            f"the checkpoint is of the organisation {found.org_id}, the chain of {report.org_id}"
        )
    return found, report.model_copy(
        update={"key_source": f"the customer's checkpoint {os.fspath(path)}"}
    )
