"""Verify and report instead of raising, and say what was checked and what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ttplan.audit.entries import format_timestamp
from ttplan.audit.entry_checks import UUID_TEXT
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.verify.chain import Entries, verify_entries
from ttplan.audit.verify.options import EMPTY_CHAIN, VerifyOptions
from ttplan.audit.verify.report import ChainReport, FirstBad, LaterKey
from ttplan.audit.verify.resume import ResumeFile
from ttplan.audit.verify.segment import Segment, count_entries
from ttplan.audit.verify.walker import Verification
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import BadSignature, ChainError, Equivocation, TruncatedChain, TtplanError

_CLOCK_SKEW = timedelta(minutes=5)
_NO_ENTRIES = (
    f"anything: the chain has no entries. If that is expected, give the anchor {EMPTY_CHAIN!r}; if "
    "entries were written, they were deleted: look for them in a backup or an export"
)


def verify_with_report(
    entries: Entries,
    key: VerifyingKey,
    options: VerifyOptions,
    *,
    key_source: str,
    progress: Callable[[int], None] | None = None,
    resume: ResumeFile | None = None,
    now: datetime | None = None,
) -> ChainReport:
    """Verify as `verify_chain` does, and report a bad chain instead of raising its error.

    `key` is `options.public_key`; if that is None, `key` is the one that comes with the chain, and
    the report says so. With `resume`, the verification continues where that file says an earlier
    one was, and keeps its own progress there. Entries that are dated after `now` (by default, the
    current time) give a warning.

    Raises InputError if the entries cannot be read at all, or an anchor is before `options.since`.
    """
    checks, not_checked = _describe_checks(options)
    first_key, effective = key, options
    if resume is not None and resume.verified is not None:
        begin = resume.verified.anchor
        not_checked.append(
            f"the entries up to seq {begin.seq}, nor anchors among them: {resume.path} says that "
            "an earlier run found them good, and whoever can write to that file can lie"
        )
        first_key = VerifyingKey.from_hex(resume.verified.key)
        distrust = options.distrust_after
        effective = replace(
            options,
            since=begin,
            passes_through=tuple(a for a in options.passes_through if a.seq >= begin.seq),
            distrust_after=None if distrust is None or distrust.seq < begin.seq else distrust,
        )
    elif options.since is not None:
        not_checked.append(
            f"the entries up to seq {options.since.seq}, which stand and fall with the anchor that "
            "was given"
        )
    since = effective.since
    counter = _EntryCounter(entries, from_zero=since is None)
    outcome: dict[str, Any]
    try:
        verified = verify_entries(
            counter,
            first_key,
            effective,
            progress=progress,
            reached=None if resume is None else resume.note,
        )
    except ChainError as error:
        if isinstance(error, Equivocation) and options.on_fork is not None:
            options.on_fork(error.evidence)
        good = max(error.index - (0 if since is None else since.seq + 1), 0)
        untrusted = None
        if isinstance(error, TruncatedChain):
            checks = [check for check in checks if check not in _describe_anchor_checks(options)]
            if since is not None and error.expected_len == since.seq + 1:
                checks = []  # the trusted entry itself is missing
        else:
            checks = _describe_partial_checks(good, options)
            untrusted, unread = counter.count_after(error.index)
            not_checked = [*_describe_left_out(error, options, not_checked), *unread]
        outcome = {
            "verdict": "broken",
            "org_id": counter.org_id,
            "entries": good,
            "tip": None,
            "first_bad": _describe_error(error, untrusted),
        }
    except BaseException:
        if resume is not None:
            resume.write()
        raise
    else:
        verdict = "consistent with its own key" if options.public_key is None else "verified"
        if verified.entries == 0 and since is not None:
            not_checked.insert(0, "anything: no entry follows on the trusted one")
        elif verified.entries == 0 and options.expect_empty:
            checks = ["that the chain has no entries, as the anchor says"]
        elif verified.entries == 0:
            verdict, checks, not_checked = "nothing to verify", [], [_NO_ENTRIES]
        outcome = {
            "verdict": verdict,
            "org_id": verified.org_id,
            "entries": verified.entries,
            "tip": verified.tip,
            "signatures_checked": verified.signatures_checked,
            "warnings": _describe_dates(verified, now or datetime.now(UTC)),
            "rotations": tuple(
                LaterKey(since=span.since, key=span.key)
                for span in verified.keys
                if span.key != key.hex
            ),
        }
    if resume is not None:
        resume.finish()
    return ChainReport(
        key=key.hex,
        key_source=key_source,
        checks=tuple(checks),
        not_checked=tuple(not_checked),
        since=since,
        anchor=options.anchor,
        passes_through=options.passes_through,
        distrust_after=options.distrust_after,
        **outcome,
    )


def _describe_checks(options: VerifyOptions) -> tuple[list[str], list[str]]:
    """Return what these options check if all is good, and what they leave unchecked."""
    checks = ["every seq, prev_hash and hash, and that all entries are of one organisation"]
    not_checked: list[str] = []
    if options.all_signatures:
        checks.append("every signature")
    else:
        checks.append(
            "the last signature of each key, which vouches for the content of all entries before it"
        )
        not_checked.append("the signatures of the other entries")
    checks += _describe_anchor_checks(options)
    if options.anchor is None and not options.expect_empty:
        not_checked.append("whether entries are missing at the end: give an anchor for that")
    if options.org_id is not None:
        checks.append(f"that it is the chain of organisation {options.org_id}")
    if options.distrust_after is not None:
        checks.append(
            f"that nothing after seq {options.distrust_after.seq} is signed with the key that is "
            "distrusted from there on"
        )
    if options.public_key is None:
        not_checked.append("whose key this is: it came with the chain, so give one from elsewhere")
    return checks, not_checked


def _describe_anchor_checks(options: VerifyOptions) -> list[str]:
    checks = []
    if options.expect_empty:
        checks.append("that the chain has no entries")
    elif options.anchor is not None:
        checks.append(f"that the chain ends at seq {options.anchor.seq} of the anchor")
    if count := len(options.passes_through):
        entries, anchors = ("entry", "anchor") if count == 1 else ("entries", "anchors")
        checks.append(f"that the chain has the {entries} of {count} earlier {anchors}")
    return checks


def _describe_dates(verified: Verification, now: datetime) -> tuple[str, ...]:
    """Warn of entries that are dated against the chain's order, or in the future."""
    warnings = []
    claim = "a time is its writer's claim: a clock was wrong, or the time was chosen"
    if verified.backdated:
        first, count = verified.backdated[0], len(verified.backdated)
        which = f"entry {first.seq} is"
        if count > 1:
            which = f"{count:,} entries, from {first.seq} on, are"
        warnings.append(f"{which} dated before an entry that precedes it ({first.time}); {claim}")
    latest = verified.latest
    if latest is not None and latest.time > format_timestamp(now + _CLOCK_SKEW):
        warnings.append(
            f"entry {latest.seq} is dated in the future ({latest.time}, now it is "
            f"{format_timestamp(now.replace(microsecond=0))}); {claim}"
        )
    return tuple(warnings)


def _describe_partial_checks(good: int, options: VerifyOptions) -> list[str]:
    """Return what was checked before the first bad entry; signatures only if each is checked."""
    if good == 0:
        return []
    fields = (
        "seq, prev_hash, hash and signature"
        if options.all_signatures
        else "seq, prev_hash and hash"
    )
    return [f"{fields} of the {good:,} {'entry' if good == 1 else 'entries'} before it"]


def _describe_left_out(
    error: ChainError, options: VerifyOptions, not_checked: list[str]
) -> list[str]:
    """Add what a broken chain leaves unchecked."""
    if not options.all_signatures and not isinstance(error, BadSignature):
        unsigned = "any signature: who wrote the entries before it is not known"
        not_checked = [unsigned, *not_checked[1:]]
    return [*not_checked, "the entries after the first bad one"]


class _EntryCounter:
    """Counts entries as they are read: for a broken chain there is no other count."""

    def __init__(self, entries: Entries, *, from_zero: bool) -> None:
        self._entries = iter(entries)
        self._from_zero = from_zero
        self._count = 0
        self._first_seq = 0
        self.org_id: UUID | None = None

    def __iter__(self) -> Iterator[AuditEntry | StoredEntry | Segment]:
        for entry in self._entries:
            if self._count == 0:
                self._first_seq = 0 if self._from_zero else entry.seq
                if UUID_TEXT.fullmatch(str(entry.org_id)):
                    self.org_id = UUID(str(entry.org_id))
            self._count += count_entries(entry)
            yield entry

    def count_after(self, index: int) -> tuple[int, list[str]]:
        """Count the entries after a bad one; the texts say why the rest could not be read."""
        unread = []
        try:
            for entry in self._entries:
                self._count += count_entries(entry)
        except TtplanError as error:
            unread.append(f"how many more there are, since the rest cannot be read: {error}")
        return max(self._first_seq + self._count - index - 1, 0), unread


def _describe_error(error: ChainError, untrusted: int | None) -> FirstBad:
    expected, actual = getattr(error, "expected", None), getattr(error, "got", None)
    return FirstBad(
        index=error.index,
        error=type(error).__name__,
        message=str(error),
        expected=None if expected is None else str(expected),
        found=None if actual is None else str(actual),
        reason=error.reason if isinstance(error, TruncatedChain) else None,
        hint=getattr(error, "hint", None),
        untrusted=untrusted,
    )
