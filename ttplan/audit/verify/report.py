"""The report of a verification, as data, text and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Literal
from uuid import UUID

from ttplan.model.audit import Record, TipAnchor
from ttplan.model.errors import InputError, TruncatedChain

Verdict = Literal["verified", "consistent with its own key", "broken", "nothing to verify"]
_EXIT_CODES = {
    "verified": 0,
    "consistent with its own key": 4,
    "broken": 1,
    "nothing to verify": InputError.exit_code,
}
_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; font-weight: bold; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0;
  border-bottom: 1px solid GrayText; }
th { width: 9rem; }
code { overflow-wrap: anywhere; }
"""
_LEFT = ' style="text-align:left;vertical-align:top"'


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBad(Record):
    """The first entry that does not verify: where, which check, and what was expected."""

    index: int
    error: str
    message: str
    expected: str | None = None
    found: str | None = None
    reason: str | None = None
    """How the chain misses an anchor: short, longer, tip_differs or rewritten."""
    hint: str | None = None
    """A cause without bad intent, if one explains the error."""
    untrusted: int | None = None
    """How many untrusted entries follow it; None if the chain only misses an anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterKey(Record):
    """A key to which the chain was rotated, and the seq of the first entry that it signs."""

    since: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChainReport(Record):
    """The outcome of a verification.

    The verdict is "verified" only with a key from elsewhere. With the key that comes with the
    chain it is "consistent with its own key". A chain without entries is "nothing to verify",
    unless the anchor says that it is empty. `exit_code` is 0 for "verified", 4, 2, and 1 for
    "broken".
    """

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
    """How many signatures were checked, all of them good; None if the chain is broken."""
    since: TipAnchor | None = None
    """The trusted entry after which the checks began; None if they began with the first entry."""
    anchor: TipAnchor | None = None
    """The entry at which the chain had to end, if an anchor was passed."""
    passes_through: tuple[TipAnchor, ...] = ()
    """The entries that the chain had to contain, if anchors were passed."""
    distrust_after: TipAnchor | None = None
    """The entry after which its key was not trusted, if one was passed."""
    warnings: tuple[str, ...] = ()
    """What is odd but no error: entries dated against the chain's order, or in the future."""
    rotations: tuple[LaterKey, ...] = ()
    """The keys after `key`, the first one, and the seqs from which they sign."""
    first_bad: FirstBad | None = None

    @property
    def exit_code(self) -> int:
        """0 if the chain is verified, 1 if it is broken, 2 if it has no entries, 4 if it is only
        consistent with its own key."""
        return _EXIT_CODES[self.verdict]

    @property
    def ok(self) -> bool:
        """Whether the chain is verified, with a key from elsewhere."""
        return self.verdict == "verified"

    @property
    def headline(self) -> str:
        """The verdict and the number of entries, in one line."""
        since = "" if self.since is None else f" after seq {self.since.seq}"
        return f"{self.verdict.upper()}: {_count_entries(self.entries)}{since}"

    @property
    def is_cut(self) -> bool:
        """Whether all entries are good, but the chain misses an anchor."""
        return self.first_bad is not None and self.first_bad.error == TruncatedChain.__name__

    def page(self, source: str) -> str:
        """Return the report on `source`, a name, as an HTML page without scripts or links."""
        title = escape(f"{self.verdict}: {source}")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_PAGE_STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>Audit chain of {escape(source)}</h1>\n{_html(self)}\n</main>\n</body>\n</html>\n"
        )

    def _repr_html_(self) -> str:
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="verification">'
            f"{_html(self)}</div>"
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [self.headline]
        if self.first_bad is not None:
            lines += _error_lines(self.first_bad, self.is_cut)
        for label, anchor in (("follows", self.since), ("ends at", self.tip)):
            if anchor is not None:
                lines += [f"  {label:<10}{anchor.seq}:", f"            {anchor.hash}"]
        lines += [f"  key       {self.key}", f"            from {self.key_source}"]
        for span in self.rotations:
            lines += [f"            {span.key}", f"            from seq {span.since} on"]
        for label, texts in (
            ("WARNING", self.warnings),
            ("checked", self.checks),
            ("NOT", self.not_checked),
        ):
            for text in texts:
                lines += wrap(text, 78, initial_indent=f"  {label:<10}", subsequent_indent=" " * 12)
        return "\n".join(lines)


def describe_untrusted(after: int) -> str:
    """Say how many entries cannot be trusted, beginning with a bad one."""
    if after == 0:
        return "untrusted: it, which is the last entry"
    return f"untrusted: it and the {'entry' if after == 1 else f'{after:,} entries'} after it"


def _count_entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _error_lines(bad: FirstBad, is_cut: bool) -> list[str]:
    lines = [
        f"  not its anchor's chain ({bad.error})"
        if is_cut
        else f"  first bad entry: {bad.index} ({bad.error})"
    ]
    texts = [bad.hint]
    if bad.expected is not None:
        lines += [f"    expected {bad.expected}", f"    found    {bad.found}"]
    else:
        texts.insert(0, bad.message)
    for text in texts:
        lines += wrap(text or "", 78, initial_indent="    ", subsequent_indent="    ")
    if bad.untrusted is not None:
        lines.append(f"  {describe_untrusted(bad.untrusted)}")
    return lines


def _html(report: ChainReport) -> str:
    tables = (
        ("What is wrong", _error_rows(report)),
        ("What is odd", [("warning", escape(text)) for text in report.warnings]),
        ("The chain", _chain_rows(report)),
        ("What was checked", [("checked", escape(text)) for text in report.checks]),
        ("What was not", [("NOT checked", escape(text)) for text in report.not_checked]),
    )
    return f"<p><strong>{escape(report.headline)}</strong></p>" + "".join(
        _html_table(caption, rows) for caption, rows in tables if rows
    )


def _html_table(caption: str, rows: list[tuple[str, str]]) -> str:
    """Return a table of names and values, which are HTML already."""
    lines = "".join(
        f'<tr><th scope="row"{_LEFT}>{escape(name)}</th><td{_LEFT}>{value}</td></tr>'
        for name, value in rows
    )
    return (
        f'<table style="margin:0.5em 0"><caption{_LEFT}>{escape(caption)}</caption>'
        f"<tbody>{lines}</tbody></table>"
    )


def _error_rows(report: ChainReport) -> list[tuple[str, str]]:
    bad = report.first_bad
    if bad is None:
        return []
    rows = [
        ("not its anchor's chain" if report.is_cut else "first bad entry", str(bad.index)),
        ("check", escape(bad.error)),
    ]
    if bad.expected is not None:
        rows += [("expected", _code(bad.expected)), ("found", _code(bad.found or ""))]
    rows.append(("in words", escape(bad.message)))
    if bad.untrusted is not None:
        rows.append(("untrusted after it", _count_entries(bad.untrusted)))
    return rows


def _chain_rows(report: ChainReport) -> list[tuple[str, str]]:
    values = (
        ("organisation", report.org_id),
        ("follows", report.since),
        ("ends at", report.tip),
    )
    rows = [(name, _code(str(value))) for name, value in values if value is not None]
    rows.append(("public key", f"{_code(report.key)}, from {escape(report.key_source)}"))
    rows += [(f"key from seq {span.since} on", _code(span.key)) for span in report.rotations]
    if report.signatures_checked is not None:
        rows.append(("signatures checked", f"{report.signatures_checked:,}"))
    return rows


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
