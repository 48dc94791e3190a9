"""Verbs between the live routes and the gateways that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ttplan.model.gateway import Gateway
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.routes import ExportCard
    from ttplan.operations.routes.export import Watcher


class GatewayVerbs(Wiring):
    """Out to a gateway, and in from one."""

    def export_routes(
        self,
        path: PathLike,
        gateway: Gateway = "tokentrimmer",
        *,
        allow_loss: bool = False,
        allow_drift: bool = False,
        overwrite: bool = False,
        providers: Mapping[str, str] | None = None,
    ) -> ExportCard:
        """Write the live routes for a gateway ("tokentrimmer", "litellm"), as JSON or YAML by the path's suffix.

        `providers` say which provider serves a model, as LiteLLM calls it, where it is not known. Raises DriftError where the
        live routes are not what was signed for, unless `allow_drift`; Unsayable where the gateway has no words for something,
        unless `allow_loss`; InputError where there is such a file, unless `overwrite`. Nothing is written then.
        """
        from ttplan.display.routes import ExportCard
        from ttplan.operations.routes.export import export_routes

        options: dict[str, Any] = {
            "allow_loss": allow_loss,
            "allow_drift": allow_drift,
            "providers": providers,
        }
        key = self._keys.verifying_if_any(None)
        return ExportCard(
            export_routes(self.store, path, gateway, overwrite=overwrite, key=key, **options)
        )

    def watch_routes(
        self,
        path: PathLike,
        gateway: Gateway = "tokentrimmer",
        *,
        allow_loss: bool = False,
        allow_drift: bool = False,
        providers: Mapping[str, str] | None = None,
    ) -> Watcher:
        """What keeps a file the live routes: `look()` writes it where they changed, `run(…)` does so until an interrupt.

        Where they are not what was signed for, the file stays as it was, unless `allow_drift`.
        """
        from ttplan.operations.routes.export import Watcher

        options: dict[str, Any] = {
            "allow_loss": allow_loss,
            "allow_drift": allow_drift,
            "providers": providers,
        }
        return Watcher(self.store, path, gateway, key=self._keys.verifying_if_any(None), **options)
