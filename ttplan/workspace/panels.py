"""The verb that shows the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttplan.model.audit import User
from ttplan.workspace.chain import ChainVerbs
from ttplan.workspace.policy import PolicyVerbs
from ttplan.workspace.queries import StoredVerbs
from ttplan.workspace.routes import LiveVerbs

if TYPE_CHECKING:
    from ttplan.panel import Panel


class PanelVerbs(PolicyVerbs, LiveVerbs, StoredVerbs, ChainVerbs):
    """All of it with the mouse."""

    def panel(self, *, who: User | str | None = None) -> Panel:
        """The panel: choose, apply and revert plans, verify, and browse routes and chain. A cell can end with it.

        `who` is the person at it, in whose name plans are applied: an e-mail address or any name (`ttplan.User.named`), or a
        user id. Left out, it is whom TTPLAN_USER or JUPYTERHUB_USER name, else the system's login name; it can be changed there.
        """
        from ttplan.panel import Panel

        return Panel(self, name=self._name, who=who)
