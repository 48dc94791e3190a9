"""Choose a plan, see its card and what it would change, confirm by typing its name, apply it or revert it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import ipywidgets as widgets

from ttplan.display.plan import plan_lines
from ttplan.model.audit import AuditEntry, User
from ttplan.model.errors import StoreLocked, TtplanError
from ttplan.model.stored_plan import StoredPlan
from ttplan.panel.backend import Backend
from ttplan.panel.chain_rows import entry_html
from ttplan.panel.controls import beside, button, field, page, row, stack
from ttplan.panel.errors import error_notice
from ttplan.panel.html import Notice, notice_html, shortened
from ttplan.panel.plan_state import Action, PlanState, missing, read_plan_state
from ttplan.panel.section import Section
from ttplan.panel.work import Task, Work

_DOING = {"apply": "Applying", "revert": "Reverting"}
_DONE = {"apply": "Applied", "revert": "Reverted"}
_NONE = Notice("idle", "No plans yet.", "Make one with ws.plan(…), then press Refresh.")
_UNREAD = Notice(
    "idle",
    "Nothing is shown that could be decided on.",
    "Press Refresh to read what is stored now.",
)


class PlansTab(Section):
    """The part of the panel that applies and reverts. `changed` is called after the store was written to."""

    def __init__(self, desk: Backend, who: str, changed: Callable[[], None]) -> None:
        super().__init__(desk)
        self._changed = changed
        self._guard = threading.Lock()
        self._seen: PlanState | None = None
        self._wanted: UUID | None = None
        self.choice = widgets.Select(
            description="Plan", options=(), rows=5, layout={"width": "auto"}
        )
        self.card, self.diff, self.against, self.recorded, self.lacks = (page() for _ in range(5))
        self.who = field("Who you are", "your e-mail address or user id", who)
        self.confirm = field("Plan's name", "type it to confirm")
        self.allow = widgets.Checkbox(
            description="apply this stale plan all the same",
            indent=False,
            layout={"display": "none"},
        )
        self.apply, self.revert = button("Apply", "primary"), button("Revert", "warning")
        self.refresh = button("Refresh")
        decision = stack(
            self.diff,
            self.against,
            self.allow,
            self.who,
            self.recorded,
            self.confirm,
            row(self.apply, self.revert, self.cancel, self.refresh),
            self.lacks,
            self.waiting,
            self.outcome,
        )
        self.box = stack(self.choice, beside(stack(self.card), decision))
        self.choice.observe(self._choose, "value")
        for one in (self.who, self.confirm, self.allow):
            one.observe(lambda _: self.settle(), "value")
        self.apply.on_click(lambda _: self._act("apply"))
        self.revert.on_click(lambda _: self._act("revert"))
        self.refresh.on_click(lambda _: self.reload())
        self.reload()

    def reload(self) -> None:
        """Read the plans, and the chosen one, as they are stored now."""
        self.say(Notice("idle", ""))
        self._forget()
        self.worker.start(self._reading(self._read), queued=True)

    # --- what a person does ---

    def _choose(self, change: Any) -> None:
        if change["new"] is None or change["new"] == self._wanted:  # the panel itself did it
            return
        self._wanted = change["new"]
        self.confirm.value = ""
        self.say(Notice("idle", ""))
        self._forget()
        self.worker.start(self._reading(self._read_plan), queued=True)

    def _act(self, action: Action) -> None:
        with self._guard:  # a double click calls twice, whatever is disabled by then
            seen = self._seen
            if seen is None or seen.action != action or self.worker.busy or self._missing(seen):
                return
            if seen.plan.plan_id != self._wanted:  # another was chosen in this very moment
                return
            self._seen = None
        actor, allow = User.named(self.who.value), self.allow.value
        self.confirm.value = ""
        if not self.worker.start(lambda task: self._do(action, seen, actor, allow, task)):
            self.reload()

    # --- what is done in the thread ---

    def _do(self, action: Action, seen: PlanState, actor: User, allow: bool, task: Task) -> None:
        plan_id = seen.plan.plan_id
        self.say(Notice("busy", f"{_DOING[action]} {shortened(seen.plan.name, 60)}"))
        try:
            now = read_plan_state(self.desk, plan_id)
            if now.basis != seen.basis:
                self.say(_changed(seen, now))
                self._read(task)
                return
            task.check()
            if action == "apply":
                entry = self.desk.apply(plan_id, actor=actor, allow_stale=allow)
            else:
                entry = self.desk.revert(plan_id, actor=actor)
        except Exception as error:
            self.say(error_notice(error))
            if not isinstance(error, StoreLocked):  # which would only wait once more
                self._read_again(task)
            return
        self.outcome.value = notice_html(_done(action, seen, entry)) + entry_html(entry)
        self._read_again(task)
        self._changed()

    def _read_again(self, task: Task) -> None:
        """Read after something was done; that stays said, whether it can be read again or not."""
        with suppress(TtplanError):
            self._reading(self._read)(task)

    def _reading(self, read: Work) -> Work:
        """Work that reads and, where that fails, says that nothing is read."""

        def work(task: Task) -> None:
            try:
                read(task)
            except BaseException:
                self.against.value = notice_html(_UNREAD)
                self.allow.layout.display = "none"
                raise

        return work

    def _read(self, task: Task) -> None:
        runs = self.desk.plan_runs()[::-1]
        ids = [run.plan_id for run in runs]
        if self._wanted not in ids:
            self._wanted = ids[0] if ids else None
        options = tuple((_option(run), run.plan_id) for run in runs)
        if options != self.choice.options:
            self.choice.index = None
            self.choice.options = options
        self.choice.value = self._wanted
        self._read_plan(task)

    def _read_plan(self, task: Task) -> None:
        wanted = self._wanted
        if wanted is None:
            self.against.value = notice_html(_NONE)
            return
        self._show(read_plan_state(self.desk, wanted))

    # --- what is shown ---

    def _show(self, seen: PlanState) -> None:
        self.card.value = seen.plan._repr_html_()
        shown = [
            part._repr_html_()
            for part in (seen.preview, seen.policy)
            if part is not None and part.result is not None
        ]
        self.diff.value = "".join(shown)
        self.against.value = notice_html(seen.against or Notice("idle", ""))
        self.allow.value = False
        self.allow.layout.display = "" if seen.action == "apply" and seen.stale else "none"
        self._seen = seen
        self.settle()

    def _forget(self) -> None:
        """Nothing can be done until the plan was read again."""
        self._seen = None
        self.settle()

    def _missing(self, seen: PlanState) -> list[str]:
        return missing(seen, who=self.who.value, typed=self.confirm.value, allow=self.allow.value)

    def settle(self) -> None:
        seen, busy = self._seen, self.worker.busy
        lacks = [] if seen is None else self._missing(seen)
        for action, control in (("apply", self.apply), ("revert", self.revert)):
            can = seen is not None and seen.action == action and not lacks and not busy
            control.disabled = not can
            control.tooltip = (
                f"{action.capitalize()} the chosen plan"
                if can
                else f"{action.capitalize()}: not possible yet"
            )
        self.refresh.disabled = busy
        self.lacks.value = (
            f'<p class="tt-empty">To {seen.action}: {", ".join(lacks)}.</p>'
            if seen and seen.action and lacks
            else ""
        )
        name = self.who.value
        self.recorded.value = (
            f'<p class="tt-empty">Recorded as user <code>{User.named(name).user_id}</code></p>'
            if name.strip()
            else ""
        )


def _option(run: StoredPlan) -> str:
    """A plan on one line; plans of one name differ in their ids."""
    figure = ""
    if run.status != "failed":
        line = plan_lines(run.result)[0]
        figure = f" · {line.label} {line.value} ({line.interval})"
    return f"{shortened(run.name, 60)} · {run.status}{figure} · {str(run.plan_id)[:8]}"


def _changed(seen: PlanState, now: PlanState) -> Notice:
    if now.basis.status != seen.basis.status:
        said = f"The plan is {now.basis.status} by now."
    elif now.stale:
        said = "Other routes are live by now, so the plan is stale."
    else:
        said = "Other routes are live by now, or other rules hold."
    return Notice(
        "changed",
        "Changed since you looked",
        f"{said} Nothing was written.",
        "Look at what is shown now, and decide again.",
    )


def _done(action: Action, seen: PlanState, entry: AuditEntry) -> Notice:
    said = f"{shortened(seen.plan.name, 60)}: status, routes and entry {entry.seq} of the chain, in one transaction."
    return Notice(
        "done",
        _DONE[action],
        said,
        f"keep its anchor elsewhere, to prove later that nothing was cut off: {entry.seq}:{entry.hash}",
    )
