"""A panel of ipywidgets for plans, verification, routes and chain. It only calls a workspace."""

from __future__ import annotations

# ruff: noqa: E402
from ttplan.util.extras import require_extra

require_extra("ipywidgets", "notebook", "the panel")

from ttplan.panel.panel import Panel

__all__ = ["Panel"]
