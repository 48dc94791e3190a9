"""The face that a notebook talks to: `ttplan.open(path)`. It wires store, key and engine, and has no rule of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from ttplan.apply import Clock, StoreChain, apply_plan, now, revert_plan
from ttplan.audit.keys import VerifyingKey
from ttplan.audit.report import ChainReport
from ttplan.audit.signer import Signer
from ttplan.audit.verify import Strength
from ttplan.cards.plan import Plan
from ttplan.keyring import Keyring
from ttplan.model.audit import Actor, Anonymous, AuditEntry, TipAnchor
from ttplan.model.errors import InputError
from ttplan.model.plan import BOOTSTRAP_ITERATIONS, IntervalMethod, PlanConfig
from ttplan.model.plan_run import LiveRoute, PlanRun
from ttplan.model.pricing import ModelPricing
from ttplan.model.route import ProposedRoute
from ttplan.store.protocol import Snapshot, Store

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.cards.backtest import ShownBacktest
    from ttplan.cards.changes import ShownPreview
    from ttplan.cards.diagnosis import ShownDiagnosis
    from ttplan.cards.drift import ShownDrift
    from ttplan.cards.gateway import ShownExport
    from ttplan.cards.health import ShownBackup, ShownHealth
    from ttplan.cards.reconciliation import ShownReconciliation, ShownTrackRecord
    from ttplan.cards.suggestions import SuggestedRoutes
    from ttplan.doctor.basis import CostChoice
    from ttplan.evidence import Evidence
    from ttplan.logs.opening import MappingLike
    from ttplan.logs.reader import OnBadRows
    from ttplan.logs.report import ReadReport
    from ttplan.model.gateway import Gateway
    from ttplan.operations.gateways import Watcher
    from ttplan.planning import Asked
    from ttplan.quality.judge import Judge, Proposer, QualitySettings

PathLike = str | os.PathLike[str]


class Workspace:
    """A store with its key: import logs, plan, apply, look, verify. Made by `ttplan.open`."""

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        key: Signer | None = None,
        key_file: Path | None = None,
        makes_key: bool = False,
        passphrase: bytes | None = None,
        on_tip: Callable[[TipAnchor, datetime], None] | None = None,
        org_id: UUID | None = None,
        clock: Clock = now,
        new_id: Callable[[], UUID] = uuid4,
        new_nonce: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self.store = store
        self._name = name
        self._keys = Keyring(store, key, key_file, makes_key=makes_key, passphrase=passphrase)
        self._on_tip = on_tip
        self._clock = clock
        self._new_id = new_id
        self._new_nonce = new_nonce
        if org_id is not None:
            with store.read() as snapshot:
                decided = snapshot.org_id()
            if decided != org_id:
                with store.transaction() as tx:
                    tx.set_org_id(org_id)

    # --- requests ----------------------------------------------------------------------------------------------------

    def import_logs(
        self,
        path: PathLike | Sequence[PathLike],
        *,
        format: str | None = None,
        mapping: MappingLike | None = None,
        table: str | None = None,
        on_bad_rows: OnBadRows = "refuse",
        cost: CostChoice = "recorded",
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        with_bodies: bool = False,
        with_embeddings: bool = False,
        progress: bool | None = None,
    ) -> ReadReport:
        """Add the requests of a log, of any format that is known or mapped, in one transaction or not at all.

        `path` is a file, a folder, a glob, several of them, or a database, of which `table` is read. `format` is only needed
        where it cannot be seen, `mapping` (a YAML file or a dict) for any other format. Importing a file again adds nothing. With
        `on_bad_rows="skip"` rows that cannot be used are left out and reported, with "refuse" they refuse the file. `cost` says
        what the baseline is made of: costs as "recorded", "recomputed" from tokens and prices (one's own `prices` over the
        catalogue's of each request's day), or by the "doctor": recorded, but recomputed where the record is certainly wrong.
        Prompts and answers are kept only with `with_bodies`, embeddings only with `with_embeddings`. `progress` of None shows a
        bar on a terminal or in a notebook.

        Raises InputError, naming file, row and field, after which the store is as it was.
        """
        from ttplan.operations.importing import import_log

        return import_log(
            self.store,
            path,
            new_id=self._new_id,
            cost=cost,
            prices=prices,
            format=format,
            mapping=mapping,
            table=table,
            on_bad_rows=on_bad_rows,
            with_bodies=with_bodies,
            with_embeddings=with_embeddings,
            progress=progress,
        )

    def check_logs(
        self,
        *,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        totals: PathLike | Sequence[PathLike] = (),
    ) -> ShownDiagnosis:
        """Hold every request against its price and the requests against one another, and say where the log is wrong.

        `prices` are one's own, over the catalogue's of each request's day. `totals` are a provider's exports of usage or costs by
        day, to hold the log against. Nothing is changed. Raises InputError where one of them cannot be used.
        """
        from ttplan.cards.diagnosis import ShownDiagnosis
        from ttplan.operations.checking import check_store

        days = [totals] if isinstance(totals, str | os.PathLike) else totals
        return ShownDiagnosis(check_store(self.store, self._name, prices=prices, totals=days, at=self._clock()))

    # --- plans -------------------------------------------------------------------------------------------------------

    def plan(
        self,
        routes: PathLike | Sequence[ProposedRoute],
        *,
        name: str,
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        config: PlanConfig | None = None,
        seed: int = 0,
        bootstrap_iterations: int = BOOTSTRAP_ITERATIONS,
        interval_method: IntervalMethod = "limit",
        allow_unpriced: bool = False,
        requests: PathLike | Sequence[PathLike] | None = None,
        memory_limit: str | None = None,
        progress: bool | None = None,
    ) -> Plan:
        """Replay the logged requests against `routes` (a YAML file, or routes), and keep the result as a projected plan.

        `window` is (inclusive, exclusive), the whole log where it is left out. `prices` are one's own, over the catalogue's of
        today. `requests` are Parquet files in our column names (a path, a glob, a folder, or several) that are replayed where
        they are, instead of the imported ones, in at most `memory_limit` ("2GB") of DuckDB's memory. `progress` of None shows a
        bar on a terminal or in a notebook.

        Raises InputError where something cannot be used, a target model without a price unless `allow_unpriced`, and
        KeyboardInterrupt at an interrupt; nothing is written then. A replay that breaks by itself is kept as a failed plan, with
        its reason: ReplayFailed, or DataError where rows are the reason.
        """
        from ttplan.operations.plans import Elsewhere, Made, make_plan

        if not name.strip():
            raise InputError("a plan needs a name; expected some text")
        if not 0 <= seed < 2**64:
            raise InputError(f"seed is {seed}; expected a whole number from 0 to 2^64 - 1")
        if memory_limit is not None and requests is None:
            raise InputError("memory_limit is for requests that are replayed where they are; give requests (--requests), too")
        asked = self._asked(routes, config, window, prices, interval_method, allow_unpriced)
        run = make_plan(
            self.store,
            asked._replace(seed=seed, bootstrap_iterations=bootstrap_iterations),
            lambda: Made(name, self._clock(), self._new_nonce()),
            log=self._name,
            elsewhere=None if requests is None else Elsewhere(requests, memory_limit),
            new_id=self._new_id,
            progress=progress,
        )
        return Plan(run)

    def suggest(
        self,
        target_models: Sequence[str],
        by: Sequence[str] = ("tag", "model", "input_tokens"),
        *,
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        min_share: float = 0.01,
        limit: int = 20,
    ) -> SuggestedRoutes:
        """Propose routes to `target_models`, ranked by projected savings, with conditions on the dimensions `by`.

        The first half of the window chooses, the second confirms; what is shown are the second's figures. `routes` of what is
        returned are the confirmed ones, to edit (`to_yaml`) and to `plan` with. `window` and `prices` as in `plan`; each route
        earns at least `min_share` (0..1) of the cost. Raises InputError where something cannot be used, or nothing has a price.
        """
        from ttplan.cards.suggestions import SuggestedRoutes
        from ttplan.planning import suggest_routes

        targets = [target_models] if isinstance(target_models, str) else list(target_models)
        with self.store.read() as snapshot:
            org_id, at = self._org(snapshot), self._clock()
            return SuggestedRoutes(
                suggest_routes(
                    snapshot.requests(), targets, by, window, prices, at, org_id, self._name, min_share=min_share, limit=limit
                )
            )

    def backtest(
        self,
        routes: PathLike | Sequence[ProposedRoute],
        *,
        period: timedelta = timedelta(days=7),
        window: tuple[datetime, datetime] | None = None,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        config: PlanConfig | None = None,
        interval_method: IntervalMethod = "limit",
        allow_unpriced: bool = False,
    ) -> ShownBacktest:
        """Replay `routes` on each whole `period` of the log, and hold each one's intervals against the period after it.

        `window`, `prices` and `allow_unpriced` as in `plan`; nothing is stored. Raises InputError where something cannot be used,
        or the log has not two whole periods.
        """
        from ttplan.cards.backtest import ShownBacktest
        from ttplan.planning import backtest_log

        asked = self._asked(routes, config, window, prices, interval_method, allow_unpriced)
        with self.store.read() as snapshot:
            return ShownBacktest(backtest_log(snapshot.requests(), asked, self._org(snapshot), self._name, period))

    def check_quality(
        self,
        plan: Plan | UUID | str,
        *,
        judge: Judge,
        proposer: Proposer,
        budget_usd: Decimal | float,
        allow_bodies: bool = False,
        sample_size: int = 200,
        seed: int = 0,
        settings: QualitySettings | None = None,
        progress: bool | None = None,
    ) -> Plan:
        """Have a sample of what a plan reroutes answered by its new models and judged, and keep the result with the plan.

        Recorded prompts and answers are sent to `proposer` and `judge` (`ttplan.ChatProposer` and `ChatJudge` are ready), which
        has to be allowed with `allow_bodies=True`. `settings` has further limits. An interrupt keeps what was scored by then.
        Raises InputError before anything is sent where the budget would not do, or something is not known.
        """
        from ttplan.operations.quality import check_quality, limits_of
        from ttplan.progress import counting

        run = self.get(plan.plan_id if isinstance(plan, Plan) else plan).run
        limits = limits_of(settings, budget_usd, allow_bodies)
        with counting("judging", sample_size, progress) as count:
            check_quality(self.store, run, judge, proposer, limits, sample_size=sample_size, seed=seed, progress=count)
        return self.get(run.plan_id)

    def get(self, plan_id: UUID | str) -> Plan:
        """A stored plan by its id or the first digits of one, at least 4. Raises PlanNotFound, InputError where it is unclear."""
        from ttplan.operations.plans import find_plan

        return Plan(find_plan(self.store, plan_id))

    def preview(self, plan: Plan | UUID | str) -> ShownPreview:
        """What applying a plan would change in the live routes: + new, ~ replaced, = same. Raises PlanNotFound."""
        from ttplan.cards.changes import ShownPreview
        from ttplan.operations.preview import preview

        return ShownPreview(preview(self.store, self._id(plan), self._clock()))

    def apply(self, plan: Plan | UUID | str, *, actor: Actor | None = None, allow_stale: bool = False) -> AuditEntry:
        """Make a projected plan live: its status, its routes and a signed audit entry, in one transaction.

        `actor` is who does it (`ttplan.User(id)`, …), Anonymous where nobody is named. A plan that was computed against other
        live routes is applied only with `allow_stale`, which the entry then says. Raises PlanNotFound, InvalidState, StalePlan,
        StoreError, AuditError or KeyFileError; nothing is written then.
        """
        found = self.get(plan.plan_id if isinstance(plan, Plan) else plan)
        chain, by = self._chain(), actor or Anonymous()
        return apply_plan(self.store, chain, found.result, by, allow_stale=allow_stale, clock=self._clock)

    def preview_revert(self, plan: Plan | UUID | str) -> ShownPreview:
        """What reverting a plan would change: - removed, ~ put back, = same. Raises what `revert` would; nothing is written."""
        from ttplan.cards.changes import ShownPreview
        from ttplan.operations.preview import preview_revert

        return ShownPreview(preview_revert(self.store, self._id(plan)))

    def revert(self, plan: Plan | UUID | str, *, actor: Actor | None = None) -> AuditEntry:
        """Put back what an applied plan replaced: status, routes and a signed audit entry, in one transaction.

        Raises PlanNotFound, InvalidState, TouchedSince (it names the later plan to revert first), DriftError, StoreError,
        AuditError or KeyFileError; nothing is written then.
        """
        return revert_plan(self.store, self._chain(), self._id(plan), actor or Anonymous(), clock=self._clock)

    def reconcile(self, plan: Plan | UUID | str, *, until: datetime | None = None) -> ShownReconciliation:
        """Hold an applied plan against the requests that were logged while its routes were live, and keep what was found.

        Raises PlanNotFound, InvalidState where it was not applied, InputError where there is nothing to compare, StoreError.
        """
        from ttplan.cards.reconciliation import ShownReconciliation
        from ttplan.operations.reconcile import reconcile

        return ShownReconciliation(reconcile(self.store, self._id(plan), self._clock(), until=until))

    def track_record(self) -> ShownTrackRecord:
        """How the plans did that were reconciled, each by its last reconciliation: the trust in the next one."""
        from ttplan.cards.reconciliation import ShownTrackRecord
        from ttplan.operations.reconcile import read_track_record

        return ShownTrackRecord(read_track_record(self.store))

    def drift(self, *, public_key: str | VerifyingKey | None = None) -> ShownDrift:
        """Check that the live routes are what plan rows and chain come to; each that is not is named.

        The chain is verified with `public_key`, else with the workspace's own key, where it has one. Raises StoreError.
        """
        from ttplan.cards.drift import ShownDrift
        from ttplan.operations.drift import find_drift

        key = self._keys.verifying_if_any(public_key)
        with self.store.read() as snapshot:
            return ShownDrift(find_drift(snapshot, snapshot.org_id(), key, own_key=public_key is None))

    def repair(self, *, actor: Actor | None = None) -> AuditEntry | None:
        """Write back the live routes that were signed for, with an entry `routes.repaired`; None where nothing is to repair.

        Raises DriftError where it cannot be known what was signed for, StoreError, AuditError or KeyFileError; nothing is
        written then.
        """
        from ttplan.operations.repair import repair_routes

        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
        by = actor or Anonymous()
        return None if org_id is None else repair_routes(self._chain(), org_id, by, clock=self._clock)

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

    # --- what is stored ----------------------------------------------------------------------------------------------

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

    # --- the chain ---------------------------------------------------------------------------------------------------

    def verify(
        self,
        *,
        public_key: str | VerifyingKey | None = None,
        anchor: str | TipAnchor | None = None,
        passes_through: Iterable[TipAnchor] = (),
        distrust_after: TipAnchor | None = None,
        signatures: Strength = "all",
        progress: bool | None = None,
        on_fork: Callable[[bytes], None] | None = None,
    ) -> ChainReport:
        """Verify the audit chain and report the first bad entry.

        With `public_key` from elsewhere the verdict is "verified"; without one, the workspace's own key is used, and the chain is
        only "consistent with its own key". The rest is as in `ttplan.verify_file`.
        """
        from ttplan.operations.chain import verify_store

        key, source = self._keys.verifying(public_key)
        return verify_store(
            self.store,
            key,
            key_source=source,
            own_key=public_key is None,
            anchor=anchor,
            passes_through=passes_through,
            distrust_after=distrust_after,
            signatures=signatures,
            progress=progress,
            on_fork=on_fork,
        )

    def export_chain(self, path: PathLike, *, overwrite: bool = False) -> int:
        """Write the audit chain as JSON lines and return how many entries it has.

        The file appears whole or not at all. Raises InputError where there is one already, unless `overwrite`.
        """
        from ttplan.operations.chain import export_chain

        key, _ = self._keys.verifying(None)
        return export_chain(self.store, key, path, name=self._name, overwrite=overwrite)

    @property
    def public_key(self) -> str:
        """The key that verifies this workspace's chain, 64 hex digits: what an auditor needs, handed over on a way of its own."""
        return self._keys.signing().public_key.hex

    def anchor(self) -> TipAnchor | None:
        """Where the chain ends now; kept elsewhere, it later proves that nothing was cut off."""
        with self.store.read() as snapshot:
            org_id = snapshot.org_id()
            return None if org_id is None else snapshot.tip(org_id)

    @property
    def evidence(self) -> Evidence:
        """What of this store convinces others: anchors, proofs, checkpoints, disclosures, and handing over to another key."""
        from ttplan.evidence import Evidence

        return Evidence(self.store, self._keys, self._chain, clock=self._clock)

    # --- wiring ------------------------------------------------------------------------------------------------------

    def _asked(self, *asked: Any) -> Asked:
        from ttplan.planning import asked_of

        return asked_of(*asked, plan_id=self._new_id(), at=self._clock())

    def _id(self, plan: Plan | UUID | str) -> UUID:
        return plan.plan_id if isinstance(plan, Plan) else self.get(plan).plan_id

    def _chain(self) -> StoreChain:
        return StoreChain(self.store, self._keys.signing(), clock=self._clock, new_id=self._new_id, on_tip=self._on_tip)

    def _org(self, snapshot: Snapshot) -> UUID:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError(f"{self._name} has no requests to replay; import a log first, with `ttplan import` or import_logs")
        return org_id

    def __repr__(self) -> str:
        return f"Workspace({self._name!r})"
