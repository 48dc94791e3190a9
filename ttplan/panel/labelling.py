"""Compare pairs of answers, in blind order, with the mouse or the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from ttplan.display.plan import Plan
from ttplan.display.quality import quality_lines
from ttplan.display.text import escape
from ttplan.model.errors import TtplanError
from ttplan.model.results.verdicts import AnswerPair, Label, Worse
from ttplan.panel.controls import STYLE, button, columns, field, html_area, row, stack
from ttplan.panel.errors import error_notice
from ttplan.panel.html import Notice, notice_html

_CHOICES: Mapping[Worse, tuple[str, str]] = {
    "a": ("1", "A is clearly worse"),
    "same": ("2", "neither is"),
    "b": ("3", "B is clearly worse"),
    "unclear": ("0", "cannot tell"),
}
_BY_KEY = {key: worse for worse, (key, _) in _CHOICES.items()}
_TEXT = "white-space:pre-wrap; overflow-wrap:anywhere; max-height:24em; overflow:auto; margin:0"


class Labelling:
    """A widget that shows one pair of answers after the other, made by `Workspace.label`.

    It does not tell which answer is new, nor what the judge said. Typed keys stay in their field:
    Backspace there takes the last one back.
    """

    def __init__(
        self, pairs: Sequence[AnswerPair], save: Callable[[Sequence[Label]], Plan]
    ) -> None:
        self._pairs = tuple(pairs)
        self._save = save
        self._labels: dict[UUID, Worse] = {}
        self._at = 0
        self.progress, self.prompt, self.outcome = html_area(), html_area(), html_area()
        self.first, self.second = html_area(), html_area()
        self.choices = {worse: button(f"{key}: {text}") for worse, (key, text) in _CHOICES.items()}
        for worse, control in self.choices.items():
            control.on_click(lambda _, worse=worse: self.choose(worse))
        self.back = button("Back")
        self.back.on_click(lambda _: self.go_back())
        self.keys = field("Keys", "click here, then type 1, 2, 3 or 0")
        self.keys.observe(lambda change: self._typed(change["old"], change["new"]), "value")
        self.keep = button("Save labels", "primary")
        self.keep.on_click(lambda _: self.save())
        self.box = stack(
            html_area(STYLE),
            self.progress,
            self.prompt,
            columns(self.first, self.second),
            row(*self.choices.values(), self.back),
            row(self.keys, self.keep),
            self.outcome,
        )
        self.box.add_class("tt-panel")
        self._show()

    @property
    def labels(self) -> tuple[Label, ...]:
        """The verdicts on the new answers that were given so far."""
        return tuple(
            Label(
                request_id=pair.request_id, verdict=pair.verdict_of(self._labels[pair.request_id])
            )
            for pair in self._pairs
            if pair.request_id in self._labels
        )

    def choose(self, worse: Worse) -> None:
        """Label the shown pair, and show the next one."""
        if self._at < len(self._pairs):
            self._labels[self._pairs[self._at].request_id] = worse
            self._at += 1
            self._show()

    def go_back(self) -> None:
        """Show the pair before, to label it again."""
        self._at = max(0, self._at - 1)
        self._show()

    def save(self) -> None:
        """Keep the labels given so far, in place of earlier ones of the plan."""
        try:
            plan = self._save(self.labels)
        except TtplanError as error:
            notice = error_notice(error)
        else:
            _, share, interval = quality_lines(plan.run.result.quality)[0]
            notice = Notice("done", f"{len(self._labels):,} labels kept", f"{share} {interval}")
        self.outcome.value = notice_html(notice)

    def _typed(self, before: str, now: str) -> None:
        """Take the keys that were added; each that was deleted goes back by one pair."""
        differs = (i for i, (old, new) in enumerate(zip(before, now, strict=False)) if old != new)
        kept = next(differs, min(len(before), len(now)))
        for _ in filter(_BY_KEY.get, before[kept:]):
            self.go_back()
        for key in now[kept:]:
            if key in _BY_KEY:
                self.choose(_BY_KEY[key])

    def _show(self) -> None:
        count = len(self._pairs)
        is_done = self._at >= count
        for control in self.choices.values():
            control.disabled = is_done
        self.back.disabled = self._at == 0
        self.keep.disabled = not self._labels
        if is_done:
            text = "All pairs are labelled." if count else "No pairs of answers were kept."
            self.progress.value = _paragraph(text)
            self.prompt.value = self.first.value = self.second.value = ""
            return
        pair = self._pairs[self._at]
        chosen = self._labels.get(pair.request_id)
        said = f" You said: {_CHOICES[chosen][1]}." if chosen is not None else ""
        question = f"Pair {self._at + 1} of {count}: is one answer clearly worse?{said}"
        self.progress.value = _paragraph(question)
        self.prompt.value = _block("Prompt", pair.prompt)
        self.first.value = _block("Answer A", pair.answer_a)
        self.second.value = _block("Answer B", pair.answer_b)

    def __repr__(self) -> str:
        return f"Labelling({len(self._labels)} of {len(self._pairs)} pairs labelled)"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widgets, and a line of text for front ends without widgets."""
        bundle = self.box._repr_mimebundle_(**options)
        return bundle | {"text/plain": repr(self)}


def _paragraph(text: str) -> str:
    return f'<p class="tt-title" role="status"><strong>{escape(text)}</strong></p>'


def _block(title: str, text: str) -> str:
    """A text with its line breaks and indents; everything in it is escaped."""
    lines = "\n".join(_indent(line) + escape(line) for line in text.splitlines())
    return f'<div><strong>{escape(title)}</strong><div style="{_TEXT}">{lines}</div></div>'


def _indent(line: str) -> str:
    line = line.expandtabs(4)
    return " " * (len(line) - len(line.lstrip(" ")))
