"""The tab that verifies the chain, with progress and a cancel button."""

from __future__ import annotations

import ipywidgets as widgets

from ttplan.audit.verify.report import ChainReport
from ttplan.panel.backend import Backend
from ttplan.panel.controls import button, field, html_area, row, stack
from ttplan.panel.html import Notice, shortened
from ttplan.panel.section import Section
from ttplan.util.monitor import Monitor


class VerifyTab(Section):
    """The tab Verify."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.key = field(
            "Public key", "64 hex digits, from a source other than this store", width="53em"
        )
        self.anchor = field("Anchor", "<seq>:<hash>, if you have one", width="53em")
        self.verify = button("Verify", "primary")
        self.bar = widgets.IntProgress(
            min=0, max=1, value=0, layout={"width": "16em", "display": "none"}
        )
        self.count, self.report = html_area(), html_area()
        self.count.layout.width = "auto"
        self.box = stack(
            html_area(
                '<p class="tt-title">Without a key from another source, a chain can only be shown '
                "to be consistent with its own key.</p>"
            ),
            self.key,
            self.anchor,
            row(self.verify, self.cancel, self.bar, self.count),
            self.waiting,
            self.outcome,
            self.report,
        )
        self.verify.on_click(lambda _: self.worker.start(self._do))
        self._settle()

    def _do(self, task: Monitor) -> None:
        self.report.value, self.count.value = "", ""
        self.bar.value, self.bar.layout.display = 0, ""
        self.show_notice(Notice("busy", "Verifying the chain"))

        def progress(done: int, total: int | None) -> None:
            task.check()
            self.bar.max, self.bar.value = max(total or done, 1), done
            self.count.value = f"{done:,} of {'?' if total is None else format(total, ',')} entries"

        key, anchor = self.key.value.strip(), self.anchor.value.strip()
        report = self.backend.verify(
            public_key=key or None, anchor=anchor or None, progress=progress
        )
        self.report.value = report._repr_html_()
        self.show_notice(verdict(report))

    def settle(self) -> None:
        self.verify.disabled = self.worker.busy
        if not self.worker.busy:
            self.bar.layout.display = "none"


def verdict(report: ChainReport) -> Notice:
    """The notice for a verification: its result and what it means."""
    entries = f"{report.entries:,} {'entry' if report.entries == 1 else 'entries'}"
    if report.first_bad is not None and report.is_cut:
        return Notice(
            "broken",
            "Broken: this is not the anchor's chain",
            shortened(report.first_bad.message, 400),
            "Its entries are valid, but entries up to the anchor are missing; look for them in a "
            "backup or an export.",
        )
    if report.first_bad is not None:
        return Notice(
            "broken",
            "Broken: the chain does not verify",
            shortened(report.first_bad.message, 400),
            "Do not rely on that entry or any after it; keep this file as it is, and compare it "
            "with an export or a backup.",
        )
    if report.verdict == "nothing to verify":
        return Notice(
            "own-key", "Nothing to verify: the chain has no entries", report.not_checked[0]
        )
    if report.verdict == "verified" and report.anchor is None:
        return Notice(
            "verified",
            f"Verified: {entries}",
            "",
            "Give an anchor too, to know that no entry is missing at the end.",
        )
    if report.verdict == "verified":
        return Notice("verified", f"Verified: {entries}, and the chain ends at its anchor")
    return Notice(
        "own-key",
        f"Consistent with its own key, which proves little: {entries}",
        "Whoever forges a chain can include a key of their own.",
        "Give the public key that you have from another source.",
    )
