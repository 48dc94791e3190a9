"""A verification told to a person: what was checked, what was not, and what it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from textwrap import wrap
from typing import Literal, TypedDict
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.audit.keys import VerifyingKey
from ttplan.audit.verify import Strength, verify_chain, verify_chain_with_anchor
from ttplan.model.audit import AuditEntry, Record, TipAnchor
from ttplan.model.errors import BadSignature, ChainError, Equivocation, TruncatedChain

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
Verdict = Literal["verified", "consistent with its own key", "broken"]
_EXIT = {"verified": 0, "consistent with its own key": 4, "broken": 1}


class FirstBad(BaseModel):
    """The first entry that does not verify: where, which check, and what it should have been."""

    model_config = ConfigDict(frozen=True)

    index: int
    error: str
    message: str
    expected: str | None = None
    found: str | None = None
    reason: str | None = None
    """Where the chain is not an anchor's: short, longer, tip_differs or rewritten."""


class LaterKey(BaseModel):
    """A key that the chain was handed over to, and the seq of the first entry that it signs."""

    model_config = ConfigDict(frozen=True)

    since: int
    key: str


class ChainReport(BaseModel):
    """The outcome of a verification.

    `verified` needs a key from elsewhere; with the key that the chain brings itself it is only consistent with its own key.
    `exit_code` is 0, 4 and 1 for the three verdicts.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    org_id: UUID | None
    entries: int
    """How many entries passed the `checks`, counted from the first."""
    tip: TipAnchor | None
    key: str
    key_source: str
    checks: tuple[str, ...]
    not_checked: tuple[str, ...]
    signatures_checked: int | None = None
    """How many signatures were checked, all of them good; None where the chain is broken."""
    anchor: TipAnchor | None = None
    """Where the chain had to end, where an anchor was given."""
    passes_through: tuple[TipAnchor, ...] = ()
    """Entries that the chain had to have, where anchors were given."""
    distrust_after: TipAnchor | None = None
    """After which entry its key was not trusted any more, where that was said."""
    rotations: tuple[LaterKey, ...] = ()
    """The keys that the chain was handed over to, and from which seq on; `key` is the first one."""
    first_bad: FirstBad | None = None

    @property
    def exit_code(self) -> int:
        """0 where the chain is verified, 4 where it is only consistent with its own key, 1 where it is broken."""
        return _EXIT[self.verdict]

    @property
    def ok(self) -> bool:
        """Whether the chain is verified, with a key from elsewhere."""
        return self.verdict == "verified"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"{self.verdict.upper()}: {self.entries:,} {'entry' if self.entries == 1 else 'entries'}"]
        if self.first_bad is not None:
            bad, cut = self.first_bad, self.first_bad.error == TruncatedChain.__name__
            lines.append(f"  not its anchor's chain ({bad.error})" if cut else f"  first bad entry: {bad.index} ({bad.error})")
            if bad.expected is not None:
                lines += [f"    expected {bad.expected}", f"    found    {bad.found}"]
            else:
                lines += wrap(bad.message, 78, initial_indent="    ", subsequent_indent="    ")
            if not cut:
                lines.append("  nothing from there on can be trusted")
        if self.tip is not None:
            lines += [f"  ends at   {self.tip.seq}:", f"            {self.tip.hash}"]
        lines += [f"  key       {self.key}", f"            from {self.key_source}"]
        for span in self.rotations:
            lines += [f"            {span.key}", f"            from seq {span.since} on"]
        for label, texts in (("checked", self.checks), ("NOT", self.not_checked)):
            for text in texts:
                lines += wrap(text, 78, initial_indent=f"  {label:<10}", subsequent_indent=" " * 12)
        return "\n".join(lines)


class _Options(TypedDict):
    """What `verify_chain` takes beside the chain and the key."""

    signatures: Strength
    passes_through: tuple[TipAnchor, ...]
    distrust_after: TipAnchor | None
    progress: Callable[[int], None] | None


def check_chain(
    entries: Iterable[AuditEntry | Record],
    public_key: VerifyingKey,
    *,
    key_source: str,
    own_key: bool = False,
    anchor: TipAnchor | None = None,
    passes_through: Iterable[TipAnchor] = (),
    distrust_after: TipAnchor | None = None,
    signatures: Strength = "all",
    progress: Callable[[int], None] | None = None,
    on_fork: Callable[[bytes], None] | None = None,
) -> ChainReport:
    """Verify as `verify_chain` does, and report instead of raising. `own_key` says that the key came with the chain itself.

    `on_fork` is handed the evidence, as a file's content, where the chain has two entries for one place.

    Raises InputError where the entries cannot be read at all.
    """
    done: list[str] = ["every seq, prev_hash and hash, and that all entries are of one organisation"]
    missing: list[str] = []
    if signatures == "all":
        done.append("every signature")
    else:
        done.append("the last signature of each key, which vouches for the content of all entries before it")
        missing.append("the signatures of the other entries")
    if anchor is not None:
        done.append(f"that the chain ends at seq {anchor.seq} of the anchor")
    else:
        missing.append("whether entries are missing at the end: give an anchor for that")
    through = tuple(passes_through)
    if through:
        entries_of = "entry" if len(through) == 1 else "entries"
        done.append(
            f"that the chain has the {entries_of} of {len(through)} earlier {'anchor' if len(through) == 1 else 'anchors'}"
        )
    if distrust_after is not None:
        done.append(f"that nothing after seq {distrust_after.seq} is signed with the key that is distrusted from there on")
    if own_key:
        missing.append("whose key this is: it came with the chain, so give one from elsewhere")
    seen: list[str] = []
    entries = _noting_org(entries, seen)
    try:
        options = _Options(signatures=signatures, passes_through=through, distrust_after=distrust_after, progress=progress)
        if anchor is None:
            verified = verify_chain(entries, public_key, **options)
        else:
            verified = verify_chain_with_anchor(entries, public_key, anchor, **options)
    except ChainError as error:
        if isinstance(error, Equivocation) and on_fork is not None:
            on_fork(error.evidence)
        if not isinstance(error, TruncatedChain):
            done, missing = _before(error.index, signatures), _left_out(error, signatures, missing)
        return ChainReport(
            verdict="broken",
            org_id=None if not seen else UUID(seen[0]),
            entries=error.index,
            tip=None,
            key=public_key.hex,
            key_source=key_source,
            checks=tuple(done),
            not_checked=tuple(missing),
            anchor=anchor,
            passes_through=through,
            distrust_after=distrust_after,
            first_bad=_first_bad(error),
        )
    if verified.entries == 0:
        missing.insert(0, "anything: the chain has no entries, be it new or wiped")
    return ChainReport(
        verdict="consistent with its own key" if own_key else "verified",
        org_id=verified.org_id,
        entries=verified.entries,
        tip=verified.tip,
        key=public_key.hex,
        key_source=key_source,
        checks=tuple(done),
        not_checked=tuple(missing),
        signatures_checked=verified.signatures_checked,
        anchor=anchor,
        passes_through=through,
        distrust_after=distrust_after,
        rotations=tuple(LaterKey(since=span.since, key=span.key) for span in verified.keys[1:]),
    )


def _before(index: int, signatures: Strength) -> list[str]:
    """What passed before the first bad entry. Signatures only where each is checked: the tip's vouches once it is reached."""
    what = "seq, prev_hash, hash and signature" if signatures == "all" else "seq, prev_hash and hash"
    return [f"{what} of the {index:,} {'entry' if index == 1 else 'entries'} before it"] if index else []


def _left_out(error: ChainError, signatures: Strength, missing: list[str]) -> list[str]:
    """What a broken chain leaves unsaid, beside what nobody asked for."""
    if signatures == "tip" and not isinstance(error, BadSignature):
        missing = ["any signature: who wrote the entries before it is not known", *missing[1:]]
    return [*missing, "the entries after the first bad one"]


def _noting_org(entries: Iterable[AuditEntry | Record], seen: list[str]) -> Iterator[AuditEntry | Record]:
    """The entries; whose the first is goes into `seen`, since a broken chain gives no verification to read it from."""
    for entry in entries:
        if not seen and UUID_TEXT.fullmatch(str(entry.org_id)):
            seen.append(str(entry.org_id))
        yield entry


def _first_bad(error: ChainError) -> FirstBad:
    expected, found = getattr(error, "expected", None), getattr(error, "got", None)
    return FirstBad(
        index=error.index,
        error=type(error).__name__,
        message=str(error),
        expected=None if expected is None else str(expected),
        found=None if found is None else str(found),
        reason=error.reason if isinstance(error, TruncatedChain) else None,
    )
