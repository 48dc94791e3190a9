"""The tab that shows, applies and reverts plans; the user confirms by typing the plan's name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import ipywidgets as widgets

from ttplan.display.evidence import EntryCard
from ttplan.display.plan import plan_lines
from ttplan.model.audit import AuditEntry, User
from ttplan.model.errors import StoreLocked, TtplanError
from ttplan.model.stored_plan import StoredPlan
from ttplan.panel.backend import Backend
from ttplan.panel.controls import button, columns, field, html_area, row, stack
from ttplan.panel.errors import error_notice
from ttplan.panel.html import Notice, notice_html, shortened
from ttplan.panel.plan_state import Action, PlanState, missing, read_plan_state
from ttplan.panel.section import Section
from ttplan.panel.work import Work
from ttplan.util.monitor import Monitor

_DOING = {"apply": "Applying", "revert": "Reverting"}
_DONE = {"apply": "Applied", "revert": "Reverted"}
_NO_PLANS = Notice("idle", "No plans yet.", "Make one with ws.plan(…), then press Refresh.")
_NOTHING_READ = Notice(
    "idle",
    "The plan could not be read.",
    "Press Refresh to read what is stored now.",
)


class PlansTab(Section):
    """The tab Plans. `changed` is called after the store was changed."""

    def __init__(self, backend: Backend, who: str, changed: Callable[[], None]) -> None:
        super().__init__(backend)
        self._changed = changed
        self._lock = threading.Lock()
        self._state: PlanState | None = None
        self._chosen_id: UUID | None = None
        self.choice = widgets.Select(
            description="Plan", options=(), rows=5, layout={"width": "auto"}
        )
        self.card, self.diff, self.objection, self.recorded, self.missing_steps = (
            html_area() for _ in range(5)
        )
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
            self.objection,
            self.allow,
            self.who,
            self.recorded,
            self.confirm,
            row(self.apply, self.revert, self.cancel, self.refresh),
            self.missing_steps,
            self.waiting,
            self.outcome,
        )
        self.box = stack(self.choice, columns(stack(self.card), decision))
        self.choice.observe(self._choose, "value")
        for control in (self.who, self.confirm, self.allow):
            control.observe(lambda _: self.settle(), "value")
        self.apply.on_click(lambda _: self._act("apply"))
        self.revert.on_click(lambda _: self._act("revert"))
        self.refresh.on_click(lambda _: self.reload())
        self.reload()

    def reload(self) -> None:
        """Read the plans and the chosen one from the store."""
        self.show_notice(Notice("idle", ""))
        self._forget()
        self.worker.start(self._reading(self._read), queued=True)

    # --- user actions ---

    def _choose(self, change: Any) -> None:
        if change["new"] is None or change["new"] == self._chosen_id:  # set by the panel itself
            return
        self._chosen_id = change["new"]
        self.confirm.value = ""
        self.show_notice(Notice("idle", ""))
        self._forget()
        self.worker.start(self._reading(self._read_plan), queued=True)

    def _act(self, action: Action) -> None:
        with self._lock:  # a double click calls twice, even if the button is disabled by then
            state = self._state
            if state is None or state.action != action or self.worker.busy or self._missing(state):
                return
            if state.plan.plan_id != self._chosen_id:  # another plan was chosen meanwhile
                return
            self._state = None
        actor, allow = User.named(self.who.value), self.allow.value
        self.confirm.value = ""
        if not self.worker.start(lambda task: self._do(action, state, actor, allow, task)):
            self.reload()

    # --- work in the thread ---

    def _do(
        self, action: Action, state: PlanState, actor: User, allow: bool, task: Monitor
    ) -> None:
        plan_id = state.plan.plan_id
        self.show_notice(Notice("busy", f"{_DOING[action]} {shortened(state.plan.name, 60)}"))
        try:
            now = read_plan_state(self.backend, plan_id)
            if now.basis != state.basis:
                self.show_notice(_changed(state, now))
                self._read(task)
                return
            task.check()
            if action == "apply":
                entry = self.backend.apply(plan_id, actor=actor, allow_stale=allow)
            else:
                entry = self.backend.revert(plan_id, actor=actor)
        except Exception as error:
            self.show_notice(error_notice(error))
            if not isinstance(error, StoreLocked):  # reading would wait again
                self._read_again(task)
            return
        self.outcome.value = (
            notice_html(_done(action, state, entry)) + EntryCard.of(entry)._repr_html_()
        )
        self._read_again(task)
        self._changed()

    def _read_again(self, task: Monitor) -> None:
        """Read after a change; its notice stays, even if the read fails."""
        with suppress(TtplanError):
            self._reading(self._read)(task)

    def _reading(self, read: Work) -> Work:
        """Work that reads, and shows a notice if that fails."""

        def work(task: Monitor) -> None:
            try:
                read(task)
            except BaseException:
                self.objection.value = notice_html(_NOTHING_READ)
                self.allow.layout.display = "none"
                raise

        return work

    def _read(self, task: Monitor) -> None:
        runs = self.backend.list_runs()[::-1]
        ids = [run.plan_id for run in runs]
        if self._chosen_id not in ids:
            self._chosen_id = ids[0] if ids else None
        options = tuple((_option(run), run.plan_id) for run in runs)
        if options != self.choice.options:
            self.choice.index = None
            self.choice.options = options
        self.choice.value = self._chosen_id
        self._read_plan(task)

    def _read_plan(self, task: Monitor) -> None:
        chosen_id = self._chosen_id
        if chosen_id is None:
            self.objection.value = notice_html(_NO_PLANS)
            return
        self._show(read_plan_state(self.backend, chosen_id))

    # --- display ---

    def _show(self, state: PlanState) -> None:
        self.card.value = state.plan._repr_html_()
        shown = [
            part._repr_html_()
            for part in (state.preview, state.policy)
            if part is not None and part.result is not None
        ]
        self.diff.value = "".join(shown)
        self.objection.value = notice_html(state.objection or Notice("idle", ""))
        self.allow.value = False
        self.allow.layout.display = "" if state.action == "apply" and state.stale else "none"
        self._state = state
        self.settle()

    def _forget(self) -> None:
        """Disable actions until the plan is read again."""
        self._state = None
        self.settle()

    def _missing(self, state: PlanState) -> list[str]:
        return missing(state, who=self.who.value, typed=self.confirm.value, allow=self.allow.value)

    def settle(self) -> None:
        state, busy = self._state, self.worker.busy
        missing_steps = [] if state is None else self._missing(state)
        for action, control in (("apply", self.apply), ("revert", self.revert)):
            can = state is not None and state.action == action and not missing_steps and not busy
            control.disabled = not can
            control.tooltip = (
                f"{action.capitalize()} the chosen plan"
                if can
                else f"{action.capitalize()}: not possible yet"
            )
        self.refresh.disabled = busy
        self.missing_steps.value = (
            f'<p class="tt-empty">To {state.action}: {", ".join(missing_steps)}.</p>'
            if state and state.action and missing_steps
            else ""
        )
        name = self.who.value
        self.recorded.value = (
            f'<p class="tt-empty">Recorded as user <code>{User.named(name).user_id}</code></p>'
            if name.strip()
            else ""
        )


def _option(run: StoredPlan) -> str:
    """A plan on one line, with the start of its id."""
    figure = ""
    if run.status != "failed":
        line = plan_lines(run.result)[0]
        figure = f" · {line.label} {line.value} ({line.interval})"
    return f"{shortened(run.name, 60)} · {run.status}{figure} · {str(run.plan_id)[:8]}"


def _changed(state: PlanState, now: PlanState) -> Notice:
    if now.basis.status != state.basis.status:
        detail = f"The plan is {now.basis.status} now."
    elif now.stale:
        detail = "Other routes are live now, so the plan is stale."
    else:
        detail = "Other routes are live now, or the policy changed."
    return Notice(
        "changed",
        "Changed since you read it",
        f"{detail} Nothing was written.",
        "Check what is shown now and decide again.",
    )


def _done(action: Action, state: PlanState, entry: AuditEntry) -> Notice:
    detail = (
        f"{shortened(state.plan.name, 60)}: status, routes and entry {entry.seq} of the "
        "chain, in one transaction."
    )
    return Notice(
        "done",
        _DONE[action],
        detail,
        "keep its anchor elsewhere, to prove later that no entry was removed: "
        f"{entry.seq}:{entry.hash}",
    )
