"""What a store has, as DataFrames; its health, and copies of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ttplan.audit.keys import VerifyingKey
from ttplan.model.plan_run import LiveRoute, PlanRun
from ttplan.workspace.wiring import PathLike, Wiring

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.cards.health import ShownBackup, ShownHealth


class StoredVerbs(Wiring):
    """What is stored."""

    def plan_runs(self) -> list[PlanRun]:
        """All plans, oldest first."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return [] if org_id is None else snapshot.plans(org_id)

    def live_routes(self) -> list[LiveRoute]:
        """The routes that are live, by precedence."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return [] if org_id is None else snapshot.live_routes(org_id)

    def plans(self) -> pd.DataFrame:
        """All plans, oldest first; columns `ttplan.views.PLANS`."""
        from ttplan.views import plans_frame

        return plans_frame(self.plan_runs())

    def routes(self, *, at: datetime | None = None) -> pd.DataFrame:
        """The live routes, by precedence; columns `ttplan.views.ROUTES`.

        With `at` those that were live at that moment, from plan rows and chain alone. Raises InputError for a moment without a
        zone, DriftError where plan rows and chain do not say.
        """
        from ttplan.operations.history import routes_at
        from ttplan.views import routes_frame

        return routes_frame(self.live_routes() if at is None else routes_at(self.store, at))

    def routes_yaml(self, *, at: datetime | None = None) -> str:
        """The live routes, or those of a moment, as a plan file with their ids: to edit, rename in, and `plan` with.

        Raises what `routes` does, and InputError for a bound in USD with more digits than a number in YAML keeps.
        """
        from ttplan.operations.history import routes_at
        from ttplan.plan_file import plan_yaml

        live = self.live_routes() if at is None else routes_at(self.store, at)
        heading = "A route is known by its id: keep that, and change the name, to rename it. A new route needs no id."
        return plan_yaml([one.route for one in live], heading=heading)

    def route_history(self, name: str) -> pd.DataFrame:
        """What became of the route of that name, oldest first, from plan rows and chain alone; columns `ttplan.views.HISTORY`.

        Raises InputError where there never was one, DriftError where plan rows and chain do not say.
        """
        from ttplan.operations.history import route_turns
        from ttplan.views import history_frame

        return history_frame(route_turns(self.store, name))

    def savings(self) -> pd.DataFrame:
        """What each plan and each of its routes saves; columns `ttplan.views.SAVINGS`."""
        from ttplan.views import savings_frame

        return savings_frame(self.plan_runs())

    def backup(self, path: PathLike, *, overwrite: bool = False) -> ShownBackup:
        """Copy the store, in use or not, to `path`: consistent, whole or not at all, read back and verified.

        The signing key is not in it. Raises InputError where there is such a file already, unless `overwrite`; StoreError.
        """
        from ttplan.cards.health import ShownBackup
        from ttplan.operations.backup import back_up

        return ShownBackup(back_up(self.store, Path(path), self._keys.verifying_if_any(None), overwrite=overwrite))

    def health(self, *, public_key: str | VerifyingKey | None = None, price_age: timedelta = timedelta(days=30)) -> ShownHealth:
        """Check schema, key, chain, plans, live routes, orphans, and that live plans' prices are no older than `price_age`."""
        from ttplan.cards.health import ShownHealth
        from ttplan.operations.health import check_health

        given = None if public_key is None else self._keys.verifying(public_key)[0]
        return ShownHealth(check_health(self.store, self._keys.existing, given, at=self._clock(), price_age=price_age))
