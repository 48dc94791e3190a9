"""The panel: plans, verification, routes and chain with the mouse or the keyboard. It calls a workspace and nothing else."""

from __future__ import annotations

from ttplan.panel.panel import Panel

__all__ = ["Panel"]
