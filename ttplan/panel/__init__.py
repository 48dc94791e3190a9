"""A panel of ipywidgets for plans, verification, routes and chain. It only calls a workspace."""

from __future__ import annotations

from ttplan.panel.panel import Panel

__all__ = ["Panel"]
