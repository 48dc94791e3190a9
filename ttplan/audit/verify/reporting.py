"""A verification that reports instead of raising, and says what it checked and what it did not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.chain import (
    SignatureScope,
    VerifiedPrefix,
    verify_chain,
    verify_chain_with_anchor,
)
from ttplan.audit.verify.report import ChainReport, FirstBad, LaterKey
from ttplan.audit.verify.resume import ResumeFile
from ttplan.audit.verify.segment import Segment, count_entries
from ttplan.audit.verify.walker import KeySpan
from ttplan.model.audit import AuditEntry, StoredEntry, TipAnchor
from ttplan.model.errors import BadSignature, ChainError, Equivocation, TruncatedChain, TtplanError

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class _Options(TypedDict):
    """What `verify_chain` takes beside the chain and the key."""

    signatures: SignatureScope
    since: TipAnchor | None
    passes_through: tuple[TipAnchor, ...]
    distrust_after: TipAnchor | None
    progress: Callable[[int], None] | None
    reached: Callable[[VerifiedPrefix], None] | None


def verify_with_report(
    entries: Iterable[AuditEntry | StoredEntry | Segment],
    public_key: VerifyingKey,
    *,
    key_source: str,
    own_key: bool = False,
    since: TipAnchor | None = None,
    anchor: TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    signatures: SignatureScope = "all",
    progress: Callable[[int], None] | None = None,
    on_fork: Callable[[bytes], None] | None = None,
    resume: ResumeFile | None = None,
) -> ChainReport:
    """Verify as `verify_chain` does, and report instead of raising. `own_key` says that the key came with the chain itself.

    `on_fork` is handed the evidence, as a file's content, where the chain has two entries for one place. With `resume` the
    verification begins where that file says that an earlier one had come to, and keeps there how far it comes itself.

    Raises InputError where the entries cannot be read at all, or an anchor is before `since`.
    """
    through = tuple(passes_through)
    done, missing = _asked(signatures, anchor, through, distrust_after, own_key=own_key)
    begin, key = since, public_key
    options = _Options(
        signatures=signatures,
        since=since,
        passes_through=through,
        distrust_after=distrust_after,
        progress=progress,
        reached=None,
    )
    if resume is not None:
        options["reached"] = resume.note
    if resume is not None and resume.reached is not None:
        begin, key = resume.reached.anchor, VerifyingKey.from_hex(resume.reached.key)
        missing.append(
            f"the entries up to seq {begin.seq}, nor anchors among them: {resume.path} says that an earlier run found them good, "
            "and whoever can write to that file can lie"
        )
        options["since"] = begin
        options["passes_through"] = tuple(one for one in through if one.seq >= begin.seq)
        if distrust_after is not None and distrust_after.seq < begin.seq:
            options["distrust_after"] = None
    elif since is not None:
        missing.append(
            f"the entries up to seq {since.seq}, which stand and fall with the anchor that was given"
        )
    start = 0 if begin is None else begin.seq + 1
    seen = _Seen(entries)
    try:
        if anchor is None:
            verified = verify_chain(seen, key, **options)
        else:
            verified = verify_chain_with_anchor(seen, key, anchor, **options)
    except ChainError as error:
        if isinstance(error, Equivocation) and on_fork is not None:
            on_fork(error.evidence)
        untrusted = None
        if not isinstance(error, TruncatedChain):
            done, missing = (
                _before(max(error.index - start, 0), signatures),
                _left_out(error, signatures, missing),
            )
            untrusted, unread = seen.after(error.index, counted_from_seq=begin is not None)
            missing += unread
        report = ChainReport(
            verdict="broken",
            org_id=seen.org_id,
            entries=max(error.index - start, 0),
            tip=None,
            key=public_key.hex,
            key_source=key_source,
            checks=tuple(done),
            not_checked=tuple(missing),
            since=begin,
            anchor=anchor,
            passes_through=through,
            distrust_after=distrust_after,
            first_bad=_first_bad(error, untrusted),
        )
    except BaseException:
        if resume is not None:
            resume.write()
        raise
    else:
        if verified.entries == 0:
            what = (
                "the chain has no entries, be it new or wiped"
                if begin is None
                else "no entry follows on the trusted one"
            )
            missing.insert(0, f"anything: {what}")
        report = ChainReport(
            verdict="consistent with its own key" if own_key else "verified",
            org_id=verified.org_id,
            entries=verified.entries,
            tip=verified.tip,
            key=public_key.hex,
            key_source=key_source,
            checks=tuple(done),
            not_checked=tuple(missing),
            signatures_checked=verified.signatures_checked,
            since=begin,
            anchor=anchor,
            passes_through=through,
            distrust_after=distrust_after,
            rotations=_later(verified.keys, public_key),
        )
    if resume is not None:
        resume.finish()
    return report


def _asked(
    signatures: SignatureScope,
    anchor: TipAnchor | None,
    through: tuple[TipAnchor, ...],
    distrust: TipAnchor | None,
    *,
    own_key: bool,
) -> tuple[list[str], list[str]]:
    """What a verification with this question checks where all is good, and what nobody asked for."""
    done = ["every seq, prev_hash and hash, and that all entries are of one organisation"]
    missing: list[str] = []
    if signatures == "all":
        done.append("every signature")
    else:
        done.append(
            "the last signature of each key, which vouches for the content of all entries before it"
        )
        missing.append("the signatures of the other entries")
    if anchor is not None:
        done.append(f"that the chain ends at seq {anchor.seq} of the anchor")
    else:
        missing.append("whether entries are missing at the end: give an anchor for that")
    if through:
        one = len(through) == 1
        done.append(
            f"that the chain has the {'entry' if one else 'entries'} of {len(through)} earlier anchor{'' if one else 's'}"
        )
    if distrust is not None:
        done.append(
            f"that nothing after seq {distrust.seq} is signed with the key that is distrusted from there on"
        )
    if own_key:
        missing.append("whose key this is: it came with the chain, so give one from elsewhere")
    return done, missing


def _before(count: int, signatures: SignatureScope) -> list[str]:
    """What passed before the first bad entry. Signatures only where each is checked: the tip's vouches once it is reached."""
    what = (
        "seq, prev_hash, hash and signature" if signatures == "all" else "seq, prev_hash and hash"
    )
    return (
        [f"{what} of the {count:,} {'entry' if count == 1 else 'entries'} before it"]
        if count
        else []
    )


def _left_out(error: ChainError, signatures: SignatureScope, missing: list[str]) -> list[str]:
    """What a broken chain leaves unsaid, beside what nobody asked for."""
    if signatures == "tip" and not isinstance(error, BadSignature):
        missing = ["any signature: who wrote the entries before it is not known", *missing[1:]]
    return [*missing, "the entries after the first bad one"]


def _later(spans: tuple[KeySpan, ...], first: VerifyingKey) -> tuple[LaterKey, ...]:
    """The keys other than the one that was asked about."""
    return tuple(
        LaterKey(since=span.since, key=span.key) for span in spans if span.key != first.hex
    )


class _Seen:
    """The entries as they are read: whose the first is, and how many there are, since a broken chain gives no verification to
    read that from."""

    def __init__(self, entries: Iterable[AuditEntry | StoredEntry | Segment]) -> None:
        self._entries = iter(entries)
        self._count = 0
        self._first = 0
        self.org_id: UUID | None = None

    def __iter__(self) -> Iterator[AuditEntry | StoredEntry | Segment]:
        for entry in self._entries:
            if self._count == 0:
                self._first = entry.seq
                if UUID_TEXT.fullmatch(str(entry.org_id)):
                    self.org_id = UUID(str(entry.org_id))
            self._count += count_entries(entry)
            yield entry

    def after(self, index: int, *, counted_from_seq: bool) -> tuple[int, list[str]]:
        """How many entries stand after a bad one, and, where the rest cannot be read, what keeps it from that."""
        unread = []
        try:
            for entry in self._entries:
                self._count += count_entries(entry)
        except TtplanError as error:
            unread.append(f"how many more there are, since the rest cannot be read: {error}")
        first = self._first if counted_from_seq else 0
        return max(first + self._count - index - 1, 0), unread


def _first_bad(error: ChainError, untrusted: int | None) -> FirstBad:
    expected, found = getattr(error, "expected", None), getattr(error, "got", None)
    return FirstBad(
        index=error.index,
        error=type(error).__name__,
        message=str(error),
        expected=None if expected is None else str(expected),
        found=None if found is None else str(found),
        reason=error.reason if isinstance(error, TruncatedChain) else None,
        hint=getattr(error, "hint", None),
        untrusted=untrusted,
    )
