"""The panel: four tabs over one workspace. It keeps no state: a new panel shows what is stored."""

from __future__ import annotations

import getpass
import os
from html import escape
from typing import Any

import ipywidgets as widgets

from ttplan.model.audit import User
from ttplan.panel.backend import Backend
from ttplan.panel.browsing import ChainTab, RoutesTab
from ttplan.panel.controls import STYLE, html_area, stack
from ttplan.panel.html import shortened
from ttplan.panel.plans import PlansTab
from ttplan.panel.verifying import VerifyTab

_NAMES = ("TTPLAN_USER", "JUPYTERHUB_USER")
_TITLES = ("Plans", "Verify", "Routes", "Chain")


class Panel:
    """A panel for a notebook cell, made by `Workspace.panel`."""

    def __init__(self, backend: Backend, *, name: str, who: User | str | None = None) -> None:
        """`who` is the user's name, e-mail address or id; it can be changed in the panel."""
        self._name = name
        self.plans = PlansTab(backend, _user_name(who), self._changed)
        self.verifying = VerifyTab(backend)
        self.routes = RoutesTab(backend)
        self.chain = ChainTab(backend)
        self.tabs = widgets.Tab(
            [self.plans.box, self.verifying.box, self.routes.box, self.chain.box], titles=_TITLES
        )
        self.tabs.observe(lambda change: self._read_tab(change["new"]), "selected_index")
        self.box = stack(
            html_area(f'{STYLE}<p class="tt-title"><strong>{escape(shortened(name))}</strong></p>'),
            self.tabs,
        )
        self.box.add_class("tt-panel")

    def join(self) -> bool:
        """Wait until no tab is busy; False if that takes too long."""
        return all(tab.join() for tab in (self.plans, self.verifying, self.routes, self.chain))

    def _read_tab(self, index: int | None) -> None:
        """Read what a tab shows when it is opened."""
        if index is not None and _TITLES[index] in ("Routes", "Chain"):
            (self.routes if _TITLES[index] == "Routes" else self.chain).reload()

    def _changed(self) -> None:
        self.routes.reload()
        self.chain.reload()

    def __repr__(self) -> str:
        return f"Panel({shortened(os.path.basename(self._name), 60)!r})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widgets, and a line of text for front ends without widgets."""
        bundle = self.box._repr_mimebundle_(**options)
        return bundle | {"text/plain": repr(self)}


def _user_name(who: User | str | None) -> str:
    """The user: `who`, else the user that the environment names, else the login name."""
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
