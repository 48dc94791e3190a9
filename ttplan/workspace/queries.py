"""What a store has, as DataFrames; its health, and copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.display.plan import Plan
from ttplan.model.stored_plan import LiveRoute, Status, StoredPlan
from ttplan.store.protocol import Store
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring
from ttplan.workspace.filters import Moment, limit_of, moment_of, which_plans

if TYPE_CHECKING:
    from ttplan.display.checks import BackupCard, HealthCard
    from ttplan.display.evidence import StoreCopyCard
    from ttplan.views.frame import View


class StoredVerbs(Wiring):
    """What is stored."""

    def plan_runs(self) -> list[StoredPlan]:
        """All plans, oldest first."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return [] if org_id is None else snapshot.plans(org_id)

    def live_routes(self) -> list[LiveRoute]:
        """The routes that are live, by precedence."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return [] if org_id is None else snapshot.live_routes(org_id)

    def plans(
        self,
        *,
        status: Status | None = None,
        name: str | None = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
        exact: bool = False,
    ) -> View:
        """The plans, oldest first; columns `ttplan.views.PLANS`.

        `name` is a part of the name, as it is spelt; `since` (inclusive) and `until` (exclusive) bound when a plan was made, and
        are moments with a zone, or text such as "2026-05-01", a day's beginning in UTC; `limit` keeps the newest. Money is
        floats, or, with `exact`, decimals to the last digit. Raises InputError; StoreError where a plan's row is none any more.
        """
        from ttplan.operations.queries import plan_summaries
        from ttplan.views.stored import plans_view

        which = which_plans(status=status, name=name, since=since, until=until, limit=limit)
        return plans_view(plan_summaries(self.store, which), exact=exact)

    def savings(
        self,
        by: str | Sequence[str] = "plan",
        *,
        plan: Plan | UUID | str | None = None,
        status: Status | None = None,
        name: str | None = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
        exact: bool = False,
    ) -> View:
        """What plans save, projected, against the baseline and against what was paid; columns `ttplan.views.SAVINGS`.

        `by` is "plan", or one or more of "route", "tag", "model", "target_model" and "day": the plans' requests are then asked
        again, in the store, with the routes and prices that the plans have, and the parts add up to what was found for the whole.
        The rest as in `plans`. Raises InputError where `by` is unknown, or the requests of the one `plan` that is asked for are
        not in the store as they were then, and PlanNotFound.
        """
        from ttplan.operations.queries import plan_summaries, savings_by
        from ttplan.views.savings import savings_by_view
        from ttplan.views.stored import savings_view

        plan_id = None if plan is None else self._id(plan)
        which = which_plans(
            plan_id=plan_id, status=status, name=name, since=since, until=until, limit=limit
        )
        if by == "plan":
            return savings_view(plan_summaries(self.store, which), exact=exact)
        names = [by] if isinstance(by, str) else list(by)
        return savings_by_view(savings_by(self.store, names, which), names, exact=exact)

    def latencies(self, plan: Plan | UUID | str) -> View:
        """A plan's requests by latency, as it was and as it is projected; columns `ttplan.views.LATENCIES`.

        Raises PlanNotFound, and InputError where its requests are not in the store as they were then.
        """
        from ttplan.operations.queries import latencies
        from ttplan.views.savings import latencies_view

        return latencies_view(latencies(self.store, self._id(plan)))

    def routes(
        self,
        *,
        at: Moment = None,
        name: str | None = None,
        plan: Plan | UUID | str | None = None,
        target_model: str | None = None,
    ) -> View:
        """The live routes, by precedence; columns `ttplan.views.ROUTES`.

        With `at` those that were live at that moment, from plan rows and chain alone; `name` is a part of a route's name, `plan`
        the one that put it live. Raises InputError for a moment without a zone, DriftError where plan rows and chain do not say.
        """
        from ttplan.operations.routes.history import routes_at
        from ttplan.views.stored import routes_view

        moment = moment_of(at, "at")
        found = self.live_routes() if moment is None else routes_at(self.store, moment)
        plan_id = None if plan is None else self._id(plan)
        chosen = [
            one
            for one in found
            if (name is None or name in one.route.name)
            and (plan_id is None or one.plan_id == plan_id)
            and (target_model is None or one.route.then.target_model == target_model)
        ]
        return routes_view(
            chosen,
            title="live routes"
            if moment is None
            else f"routes live at {moment:%Y-%m-%d %H:%M:%S} UTC",
        )

    def routes_yaml(self, *, at: Moment = None) -> str:
        """The live routes, or those of a moment, as a plan file with their ids: to edit, rename in, and `plan` with.

        Raises what `routes` does, and InputError for a bound in USD with more digits than a number in YAML keeps.
        """
        from ttplan.gateways.plan_file import plan_yaml
        from ttplan.operations.routes.history import routes_at

        moment = moment_of(at, "at")
        live = self.live_routes() if moment is None else routes_at(self.store, moment)
        heading = "A route is known by its id: keep that, and change the name, to rename it. A new route needs no id."
        return plan_yaml([one.route for one in live], heading=heading)

    def route_history(self, name: str) -> View:
        """What became of the route of that name, oldest first, from plan rows and chain alone; columns `ttplan.views.ROUTE_HISTORY`.

        Raises InputError where there never was one, DriftError where plan rows and chain do not say.
        """
        from ttplan.operations.routes.history import route_turns
        from ttplan.views.stored import route_history_view

        return route_history_view(route_turns(self.store, name), name)

    def requests(
        self,
        *,
        limit: int = 1_000,
        after: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        status: int | None = None,
        since: Moment = None,
        until: Moment = None,
        exact: bool = False,
    ) -> View:
        """A page of the logged requests, by time and id, of at most `limit`; columns `ttplan.views.REQUESTS`.

        It says where more follow: `after` is the id of the last request of the page before. Moments and `exact` as in `plans`.
        Raises InputError.
        """
        from ttplan.operations.queries import WhichRequests, request_page
        from ttplan.views.stored import requests_view

        which = WhichRequests(
            provider=provider,
            model=model,
            tag=tag,
            status=status,
            since=moment_of(since, "since"),
            until=moment_of(until, "until"),
            after=after,
            limit=limit_of(limit) or 0,
        )
        return requests_view(request_page(self.store, which), exact=exact)

    def chain(
        self,
        *,
        event: str | None = None,
        plan: Plan | UUID | str | None = None,
        since: Moment = None,
        until: Moment = None,
        after: int = -1,
        limit: int = 1_000,
    ) -> View:
        """A page of the audit chain, by seq, of at most `limit` entries; columns `ttplan.views.ENTRIES`.

        It says where more follow: `after` is the seq of the last entry of the page before. `plan` is the one that an entry speaks
        of; moments as in `plans`. Nothing is verified: that is `verify`. Raises InputError.
        """
        from ttplan.operations.queries import entry_page
        from ttplan.store.protocol import EntryFilter
        from ttplan.views.stored import entries_view

        which = EntryFilter(
            event=event,
            plan_id=None if plan is None else self._id(plan),
            since=moment_of(since, "since"),
            until=moment_of(until, "until"),
            after=after,
            limit=limit_of(limit),
        )
        return entries_view(entry_page(self.store, which))

    def backup(self, path: PathLike, *, overwrite: bool = False) -> BackupCard:
        """Copy the store, in use or not, to `path`: consistent, whole or not at all, read back and verified.

        The signing key is not in it. Raises InputError where there is such a file already, unless `overwrite`; StoreError.
        """
        from ttplan.display.checks import BackupCard
        from ttplan.operations.stores.backup import back_up

        return BackupCard(
            back_up(self.store, Path(path), self._keys.verifying_if_any(None), overwrite=overwrite)
        )

    def copy_to(
        self, target: Store, *, public_key: str | VerifyingKey | None = None
    ) -> StoreCopyCard:
        """Copy plans, routes, chain and requests into an empty store of whatever kind, whole or not at all, and verify the copy.

        The signing key is not copied. Raises InputError where this store is empty or that one is not, and StoreError.
        """
        from ttplan.display.evidence import StoreCopyCard
        from ttplan.operations.stores.copy import copy_into

        key = self._keys.verifying_if_any(public_key)
        return StoreCopyCard(*copy_into(self.store, target, key, own_key=public_key is None))

    def health(
        self,
        *,
        public_key: str | VerifyingKey | None = None,
        price_age: timedelta = timedelta(days=30),
    ) -> HealthCard:
        """Check schema, key, chain, plans, live routes, orphans, and that live plans' prices are no older than `price_age`."""
        from ttplan.display.checks import HealthCard
        from ttplan.operations.stores.health import check_health

        given = None if public_key is None else self._keys.verifying(public_key)[0]
        return HealthCard(
            check_health(
                self.store, self._keys.existing, given, at=self._clock(), price_age=price_age
            )
        )
