"""Write the live routes for a gateway, once or whenever they change."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from uuid import UUID

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.gateways.litellm import to_litellm
from ttplan.gateways.rendered import LEFT_OUT_NOTE, SUFFIXES, RenderedRoutes, encode_routes_file
from ttplan.gateways.tokentrimmer import to_tokentrimmer
from ttplan.history.timeline import live_digest, seen_routes
from ttplan.logs.model_names import normalise_model
from ttplan.model.errors import DriftError, InputError, TtplanError, UnsupportedByGateway
from ttplan.model.gateway import GATEWAYS, Gateway, RouteExport
from ttplan.model.pricing import split_price_key
from ttplan.model.stored_plan import LiveRoute
from ttplan.operations.context import Context
from ttplan.operations.routes.drift import find_drift
from ttplan.store.protocol import Snapshot, Store
from ttplan.util.files import atomic_write, remove_temporary_files
from ttplan.util.paths import PathLike

# By the catalogue's id: the providers that LiteLLM has another name for.
_LITELLM_NAMES = {
    "aws": "bedrock",
    "fireworks": "fireworks_ai",
    "github-copilot": "github_copilot",
    "google": "gemini",
    "moonshotai": "moonshot",
    "together": "together_ai",
    "voyageai": "voyage",
    "x-ai": "xai",
    "zhipuai": "zai",
}
_MAX_SHOWN = 5
_SETTLED_NS = 2_000_000_000
"""A file that changed this long ago differs from any later state in its time or size."""


def export_routes(
    context: Context,
    path: PathLike,
    gateway: Gateway = "tokentrimmer",
    *,
    allow_loss: bool = False,
    allow_drift: bool = False,
    overwrite: bool = False,
    providers: Mapping[str, str] | None = None,
) -> RouteExport:
    """Write the live routes for a gateway, whole or not at all.

    Parameters
    ----------
    path : path
        The file to write; its suffix says whether it is JSON or YAML.
    gateway : {"tokentrimmer", "litellm"}, default "tokentrimmer"
        Which gateway the file is for.
    allow_loss : bool, default False
        Leave out what the gateway cannot express.
    allow_drift : bool, default False
        Write the live routes even if they are not the signed ones.
    overwrite : bool, default False
        Replace a file that exists.
    providers : mapping of str to str, optional
        For LiteLLM: the provider that serves a model. It takes precedence over the log, the plans
        and the catalogue.

    Returns
    -------
    ExportCard
        What was written, and what the gateway cannot express.

    Raises
    ------
    DriftError
        If the live routes are not the signed ones, unless `allow_drift`.
    UnsupportedByGateway
        If the gateway cannot express something, unless `allow_loss`.
    InputError
        If the file exists, or something cannot be used.
    StoreError
        If the store cannot be read.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.export_routes("gateway.json").result.routes
    3
    """
    options = _options(context, gateway, allow_loss, allow_drift, providers)
    text, export = _render(context.store, Path(path), options)
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(text)
    return export


def watch_routes(
    context: Context,
    path: PathLike,
    gateway: Gateway = "tokentrimmer",
    *,
    allow_loss: bool = False,
    allow_drift: bool = False,
    providers: Mapping[str, str] | None = None,
) -> RouteWatcher:
    """Keep a gateway's file in step with the live routes.

    Parameters
    ----------
    path, gateway, allow_loss, allow_drift, providers
        As in `export_routes`; a file that exists is replaced.

    Returns
    -------
    RouteWatcher
        ``update()`` writes the file if it has other routes; ``run(on_write, on_error)`` does so
        until an interrupt.

    Raises
    ------
    InputError
        If drafts of an earlier watch cannot be removed.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> watcher = ws.watch_routes("gateway.json")
    >>> watcher.update().changed
    True
    """
    options = _options(context, gateway, allow_loss, allow_drift, providers)
    return RouteWatcher(context.store, Path(path), options)


class RouteWatcher:
    """Keeps a file in step with the live routes: each `update` writes it if it has other ones."""

    def __init__(self, store: Store, path: Path, options: _ExportOptions) -> None:
        self._store = store
        self._path = path
        self._options = options
        self._settled: _FileStates | None = None
        remove_temporary_files(self._path)  # of a watch that was killed while it wrote

    def update(self) -> RouteExport | None:
        """Write the file if it does not hold the live routes.

        Returns None if neither store nor file changed since the last update. Raises what
        `export_routes` does, except for a file that exists; the file then stays as it was. The
        store is only opened if its file, or the written one, has changed.
        """
        before = self._states()
        if before is not None and before == self._settled:
            return None
        text, export = _render(self._store, self._path, self._options)
        changed = _read_bytes(self._path) != text
        if changed:
            with atomic_write(self._path, overwrite=True) as file:
                file.write(text)
        # A store that changed while it was read is read again at the next update.
        after = self._states()
        same = before is not None and after is not None and before.store == after.store
        self._settled = after if same and after is not None and after.is_old() else None
        return export.model_copy(update={"changed": changed})

    def run(
        self,
        on_write: Callable[[RouteExport], None],
        on_error: Callable[[TtplanError], None],
        *,
        interval: float = 2.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> NoReturn:
        """Update every `interval` seconds until an interrupt.

        `on_write` receives what was written, `on_error` each error once. After an error the file
        stays as it was, and the next update tries again.
        """
        last_error = ""
        while True:
            try:
                export = self.update()
            except TtplanError as error:
                if str(error) != last_error:
                    on_error(error)
                last_error = str(error)
            else:
                last_error = last_error if export is None else ""
                if export is not None and export.changed:
                    on_write(export)
            sleep(interval)

    def _states(self) -> _FileStates | None:
        """The states of store and file, without opening either; None if the store is not a file."""
        from ttplan.store.duckdb.store import DuckDBStore

        if not isinstance(self._store, DuckDBStore):
            return None
        wal = self._store.path.with_name(self._store.path.name + ".wal")
        return _FileStates((_state(self._store.path), _state(wal)), _state(self._path))


class _FileState(NamedTuple):
    """What distinguishes states of a file."""

    inode: int
    size: int
    changed_ns: int


class _FileStates(NamedTuple):
    """The states of a store (its file and its write-ahead log) and of the written file."""

    store: tuple[_FileState | None, _FileState | None]
    written: _FileState | None

    def is_old(self) -> bool:
        """Whether any later state would differ from this one: file clocks are coarse."""
        states = [state for state in (*self.store, self.written) if state is not None]
        newest = max((state.changed_ns for state in states), default=0)
        return time.time_ns() - newest > _SETTLED_NS


def _state(path: Path) -> _FileState | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _FileState(stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _read_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}; choose a file that this user may write"
        ) from None


class _ExportOptions(NamedTuple):
    """How to write routes; `key` verifies the chain."""

    gateway: Gateway
    allow_loss: bool
    allow_drift: bool
    providers: Mapping[str, str]
    key: VerifyingKey | None


def _options(
    context: Context,
    gateway: Gateway,
    allow_loss: bool,
    allow_drift: bool,
    providers: Mapping[str, str] | None,
) -> _ExportOptions:
    key = context.keys.verifying_or_none(None)
    return _ExportOptions(gateway, allow_loss, allow_drift, providers or {}, key)


def _render(store: Store, path: Path, options: _ExportOptions) -> tuple[bytes, RouteExport]:
    gateway = options.gateway
    if gateway not in GATEWAYS:
        raise InputError(
            f"{gateway!r:.40} is not a known gateway; expected one of {', '.join(GATEWAYS)}"
        )
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: the name of a file of routes ends in {', '.join(SUFFIXES)}; "
            "choose such a name"
        )
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        drift = None if org_id is None else _drift_text(snapshot, org_id, options.key)
        if drift is not None and not options.allow_drift:
            raise DriftError(
                f"{drift}; repair the routes, or write what is live as it is with allow_drift"
            )
        live = [] if org_id is None else snapshot.live_routes(org_id)
        rendered = _rendered(snapshot, live, options)
    if rendered.losses and not options.allow_loss:
        raise UnsupportedByGateway(GATEWAYS[gateway], rendered.losses)
    left_out = (
        [LEFT_OUT_NOTE] if any(loss.effect == "is left out" for loss in rendered.losses) else []
    )
    return encode_routes_file(rendered.content, path.suffix), RouteExport(
        gateway=gateway,
        path=str(path),
        routes=len(live),
        live=live_digest(seen_routes(live)),
        losses=tuple(rendered.losses),
        notes=(
            *([] if drift is None else [f"{drift[0].upper()}{drift[1:]}."]),
            *left_out,
            *rendered.notes,
        ),
    )


def _drift_text(snapshot: Snapshot, org_id: UUID, key: VerifyingKey | None) -> str | None:
    """How the live routes differ from the signed ones, if they do."""
    drift = find_drift(snapshot, org_id, key, own_key=True)
    blocking = next((problem.message for problem in drift.problems if problem.blocks), None)
    if blocking is not None:
        return (
            f"it cannot be known whether the live routes are the signed ones: {blocking} "
            "(see `ttplan drift`)"
        )
    if not drift.routes:
        return None
    shown = [f"{route.name!r:.60} {route.kind}" for route in drift.routes[:_MAX_SHOWN]]
    more = len(drift.routes) - len(shown)
    return (
        f"what is live is not what was signed for: {', '.join(shown)}"
        f"{f' and {more} more' if more else ''} (see `ttplan drift`, `ttplan repair`)"
    )


def _rendered(snapshot: Snapshot, live: list[LiveRoute], options: _ExportOptions) -> RenderedRoutes:
    routes = [live_route.route for live_route in live]
    if options.gateway == "tokentrimmer":
        return to_tokentrimmer(routes)
    return to_litellm(routes, _providers(snapshot, live, options.providers))


def _providers(
    snapshot: Snapshot, live: list[LiveRoute], providers: Mapping[str, str]
) -> Callable[[str], str]:
    """LiteLLM's name of a model: the provider is from `providers`, log, plans or catalogue."""
    sources = [_logged_providers(snapshot), _priced_providers(snapshot, live)]

    def litellm_name(model: str) -> str:
        if model in providers:
            return _prefixed(providers[model], model)
        for source in sources:
            names = source.get(model, set())
            if len(names) > 1:
                raise InputError(
                    f"{model!r:.60} is served by {', '.join(sorted(names))}; say which one with "
                    "providers, by LiteLLM's name"
                )
            if names:
                provider = next(iter(names))
                return _prefixed(_LITELLM_NAMES.get(provider, provider), model)
        owner = normalise_model("", model).provider
        if not owner:
            raise InputError(
                f"no plan, log or catalogue says who serves {model!r:.60}; name the provider with "
                "providers, by LiteLLM's name, such as openai"
            )
        return _prefixed(_LITELLM_NAMES.get(owner, owner), model)

    return litellm_name


def _prefixed(provider: str, model: str) -> str:
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"


def _logged_providers(snapshot: Snapshot) -> dict[str, set[str]]:
    """Which providers served each model of the log."""
    from ttplan.engine.dialects import fetch

    providers: dict[str, set[str]] = defaultdict(set)
    if snapshot.request_count():
        for row in fetch(snapshot.requests().select("provider", "model").distinct()).to_pylist():
            providers[row["model"]].add(row["provider"])
    return providers


def _priced_providers(snapshot: Snapshot, live: list[LiveRoute]) -> dict[str, set[str]]:
    """Which providers the prices of the live plans are from."""
    providers: dict[str, set[str]] = defaultdict(set)
    for plan_id in {live_route.plan_id for live_route in live}:
        run = snapshot.plan(plan_id)
        for key in {} if run is None else run.pricing:
            provider, model = split_price_key(key)
            providers[model].add(provider)
    return providers
