"""The panel as a whole: four tabs over one workspace. It keeps nothing: whoever runs its cell again sees what is stored."""

from __future__ import annotations

import getpass
import os
from html import escape
from typing import Any

import ipywidgets as widgets

from ttplan.model.audit import User
from ttplan.panel.backend import Backend
from ttplan.panel.browsing import ChainTab, RoutesTab
from ttplan.panel.controls import STYLE, page, stack
from ttplan.panel.html import shortened
from ttplan.panel.plans import PlansTab
from ttplan.panel.verifying import VerifyTab

_NAMES = ("TTPLAN_USER", "JUPYTERHUB_USER")
_TITLES = ("Plans", "Verify", "Routes", "Chain")


class Panel:
    """A workspace with the mouse or the keyboard: a cell can end with it. Made by `Workspace.panel`."""

    def __init__(self, desk: Backend, *, name: str, who: User | str | None = None) -> None:
        """`who` is the person at the panel, by name, e-mail address or id; it can be changed in the panel."""
        self._name = name
        self.plans = PlansTab(desk, _said(who), self._changed)
        self.verifying = VerifyTab(desk)
        self.routes = RoutesTab(desk)
        self.chain = ChainTab(desk)
        self.tabs = widgets.Tab(
            [self.plans.box, self.verifying.box, self.routes.box, self.chain.box], titles=_TITLES
        )
        self.tabs.observe(lambda change: self._open(change["new"]), "selected_index")
        self.box = stack(
            page(f'{STYLE}<p class="tt-title"><strong>{escape(shortened(name))}</strong></p>'),
            self.tabs,
        )
        self.box.add_class("tt-panel")

    def join(self) -> bool:
        """Wait until nothing is under way in any tab; whether that is so."""
        return all(tab.join() for tab in (self.plans, self.verifying, self.routes, self.chain))

    def _open(self, index: int | None) -> None:
        """Read what a tab shows as it is turned to."""
        if index is not None and _TITLES[index] in ("Routes", "Chain"):
            (self.routes if _TITLES[index] == "Routes" else self.chain).reload()

    def _changed(self) -> None:
        self.routes.reload()
        self.chain.reload()

    def __repr__(self) -> str:
        return f"Panel({shortened(os.path.basename(self._name), 60)!r})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The controls, and a line of text where there are none."""
        bundle = self.box._repr_mimebundle_(**options)
        return bundle | {"text/plain": repr(self)}


def _said(who: User | str | None) -> str:
    """Who is at the panel: whoever is named, else whom the environment names, else the system's login name."""
    if isinstance(who, User):
        return str(who.user_id)
    if who is not None:
        return who
    for name in _NAMES:
        if os.environ.get(name):
            return os.environ[name]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
