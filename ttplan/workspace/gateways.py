"""Verbs between the live routes and the gateways that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ttplan.model.gateway import Gateway
from ttplan.workspace.wiring import PathLike, Wiring

if TYPE_CHECKING:
    from ttplan.cards.gateway import ShownExport
    from ttplan.operations.gateways import Watcher


class GatewayVerbs(Wiring):
    """Out to a gateway, and in from one."""

    def export_routes(
        self,
        path: PathLike,
        gateway: Gateway = "tokentrimmer",
        *,
        allow_loss: bool = False,
        overwrite: bool = False,
        providers: Mapping[str, str] | None = None,
    ) -> ShownExport:
        """Write the live routes for a gateway ("tokentrimmer", "litellm"), as JSON or YAML by the path's suffix.

        `providers` say which provider serves a model, as LiteLLM calls it, where it is not known. Raises Unsayable where the
        gateway has no words for something, unless `allow_loss`; InputError where there is such a file, unless `overwrite`.
        """
        from ttplan.cards.gateway import ShownExport
        from ttplan.operations.gateways import export_routes

        options: dict[str, Any] = {"allow_loss": allow_loss, "overwrite": overwrite, "providers": providers}
        return ShownExport(export_routes(self.store, path, gateway, **options))

    def watch_routes(
        self,
        path: PathLike,
        gateway: Gateway = "tokentrimmer",
        *,
        allow_loss: bool = False,
        providers: Mapping[str, str] | None = None,
    ) -> Watcher:
        """What keeps a file the live routes: `look()` writes it where they changed, `run(…)` does so until an interrupt."""
        from ttplan.operations.gateways import Watcher

        return Watcher(self.store, path, gateway, allow_loss=allow_loss, providers=providers)
