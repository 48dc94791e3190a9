"""Where a store's chain ends, read back and checked, and handed to a place that the operator cannot
rewrite.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ttplan.audit.entry_checks import check_content
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.proofs.anchors import append_anchor, last_anchors, run_anchor_command
from ttplan.audit.rotation import is_continued_by
from ttplan.model.audit import StoredEntry, TipAnchor
from ttplan.model.errors import BadSignature, InputError, TruncatedChain, TruncationReason
from ttplan.store.chain import find_missed_anchor
from ttplan.store.protocol import Snapshot, Store
from ttplan.util.paths import PathLike


class PublishedAnchor(NamedTuple):
    """A tip, and whether it was written to the file: not where its last line says the same and no
    heartbeat was asked for.
    """

    tip: TipAnchor
    appended: bool


def verified_tip(snapshot: Snapshot, key: VerifyingKey) -> tuple[UUID, TipAnchor]:
    """Whose the chain is and where it ends, the stored row read back and checked against `key`, the
    one the chain goes on with.

    Raises InputError where there are no entries, and the ChainError that the last one deserves.
    """
    org_id = snapshot.org_id()
    tip = None if org_id is None else snapshot.tip(org_id)
    if org_id is None or tip is None:
        raise InputError("the chain has no entries yet; apply a plan first")
    last = _entry_at(snapshot, org_id, tip.seq)
    if last is None or last.hash != tip.hash:
        raise TruncatedChain(
            tip.seq + 1, tip.seq, f"the store says that it ends at {tip}, but has not that entry"
        )
    check_content(last, tip.seq)
    if not is_continued_by(last, key):
        raise BadSignature(
            tip.seq, f"it was not made with {key.hex}, nor does the entry hand over to that key"
        )
    return org_id, tip


def publish_anchor(
    store: Store,
    key: VerifyingKey,
    at: datetime,
    *,
    file: PathLike | None = None,
    command: Sequence[str] | None = None,
    heartbeat: bool = False,
) -> PublishedAnchor:
    """The chain's tip, appended to a file of anchors and handed to a command, each where it is
    given.

    The chain must still have the entries of the file's last anchors: TruncatedChain where it has
    not, and nothing is appended. Where the last anchor is the tip already, `heartbeat` appends it
    all the same, which says that the chain was still there then.
    """
    with store.read() as snapshot:
        org_id, tip = verified_tip(snapshot, key)
        kept = [] if file is None or not os.path.exists(file) else last_anchors(file)
        missed = find_missed_anchor(snapshot, org_id, kept)
        if missed is not None:
            seq = missed.anchor.seq
            reason: TruncationReason = "short"
            if missed.found is not None:
                reason = "tip_differs" if seq == tip.seq else "rewritten"
            detail = f"{os.fspath(file or '')} has the anchor {missed}"
            raise TruncatedChain(seq + 1, tip.seq + 1, detail, reason=reason)
    last = kept[-1] if kept else None
    appended = file is not None and (heartbeat or last != tip)
    if file is not None and appended:
        append_anchor(file, tip, at)
    if command is not None:
        run_anchor_command(command, tip, at)
    return PublishedAnchor(tip, appended)


def _entry_at(snapshot: Snapshot, org_id: UUID, seq: int) -> StoredEntry | None:
    found = next(iter(snapshot.entries(org_id, since=seq)), None)
    return found if found is not None and found.seq == seq else None
