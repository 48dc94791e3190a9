"""A verification told to a person: what was checked, what was not, and what it means."""

from __future__ import annotations

from textwrap import wrap
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ttplan.audit.verify.report_html import report_html, report_page
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import TruncatedChain

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
    hint: str | None = None
    """Why it may be so without anybody meaning harm, where that can be told."""
    untrusted: int | None = None
    """How many entries stand after it, none of which can be trusted; None where the chain is only not an anchor's."""


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
    """How many entries passed the `checks`, counted from the first, or from `since` on."""
    tip: TipAnchor | None
    key: str
    key_source: str
    checks: tuple[str, ...]
    not_checked: tuple[str, ...]
    signatures_checked: int | None = None
    """How many signatures were checked, all of them good; None where the chain is broken."""
    since: TipAnchor | None = None
    """The trusted entry after which the checks began; None where they began with the first."""
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

    def _repr_html_(self) -> str:
        return report_html(self)

    def page(self, source: str) -> str:
        """The report on `source`, a name, as an HTML page that needs nothing else."""
        return report_page(self, source)

    @property
    def headline(self) -> str:
        """The verdict and what it is of, in one line."""
        count = f"{self.entries:,} {'entry' if self.entries == 1 else 'entries'}"
        return f"{self.verdict.upper()}: {count}" + (
            "" if self.since is None else f" after seq {self.since.seq}"
        )

    @property
    def is_cut(self) -> bool:
        """Whether all entries are good, but the chain is not an anchor's."""
        return self.first_bad is not None and self.first_bad.error == TruncatedChain.__name__

    def __str__(self) -> str:
        lines = [self.headline]
        if self.first_bad is not None:
            bad = self.first_bad
            lines.append(
                f"  not its anchor's chain ({bad.error})"
                if self.is_cut
                else f"  first bad entry: {bad.index} ({bad.error})"
            )
            if bad.expected is not None:
                lines += [f"    expected {bad.expected}", f"    found    {bad.found}"]
            else:
                lines += wrap(bad.message, 78, initial_indent="    ", subsequent_indent="    ")
            if bad.hint is not None:
                lines += wrap(bad.hint, 78, initial_indent="    ", subsequent_indent="    ")
            if bad.untrusted is not None:
                lines.append(f"  {untrusted_words(bad.untrusted)}")
        if self.since is not None:
            lines += [f"  follows   {self.since.seq}:", f"            {self.since.hash}"]
        if self.tip is not None:
            lines += [f"  ends at   {self.tip.seq}:", f"            {self.tip.hash}"]
        lines += [f"  key       {self.key}", f"            from {self.key_source}"]
        for span in self.rotations:
            lines += [f"            {span.key}", f"            from seq {span.since} on"]
        for label, texts in (("checked", self.checks), ("NOT", self.not_checked)):
            for text in texts:
                lines += wrap(text, 78, initial_indent=f"  {label:<10}", subsequent_indent=" " * 12)
        return "\n".join(lines)


def untrusted_words(after: int) -> str:
    """How many entries nobody should believe, beginning with a bad one."""
    if after == 0:
        return "untrusted: it, which is the last entry"
    return f"untrusted: it and the {'entry' if after == 1 else f'{after:,} entries'} after it"
