"""The live routes written for a gateway, once or whenever they change."""

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
from ttplan.operations.routes.drift import find_drift
from ttplan.store.duckdb.store import DuckDBStore
from ttplan.store.protocol import Snapshot, Store
from ttplan.util.files import atomic_write, remove_temporary_files
from ttplan.util.paths import PathLike

# By the catalogue's id, where LiteLLM calls a provider otherwise.
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
_SHOWN = 5
_SETTLED_NS = 2_000_000_000
"""How long ago a file has to have changed for its time and size to tell it from any later state."""


def export_routes(
    store: Store,
    path: PathLike,
    gateway: Gateway,
    *,
    allow_loss: bool = False,
    allow_drift: bool = False,
    overwrite: bool = False,
    providers: Mapping[str, str] | None = None,
    key: VerifyingKey | None = None,
) -> RouteExport:
    """Write the live routes for a gateway, as JSON or YAML by the path's suffix, whole or not at all.

    `providers` say for LiteLLM which provider serves a model, where plans, log and catalogue do not tell, or tell otherwise.
    `key` verifies the chain, if there is one. Raises DriftError where the live routes are not what was signed for, unless
    `allow_drift`; UnsupportedByGateway where the gateway has no words for something, unless `allow_loss`; InputError where there is such a
    file already, unless `overwrite`, or something cannot be used; and StoreError. Nothing is written then.
    """
    text, found = _written(
        store, Path(path), _Wanted(gateway, allow_loss, allow_drift, providers or {}, key)
    )
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(text)
    return found


class Watcher:
    """Keeps a file what the live routes are: each `look` writes it where it is not."""

    def __init__(
        self,
        store: Store,
        path: PathLike,
        gateway: Gateway,
        *,
        allow_loss: bool = False,
        allow_drift: bool = False,
        providers: Mapping[str, str] | None = None,
        key: VerifyingKey | None = None,
    ) -> None:
        self._store = store
        self._path = Path(path)
        self._wanted = _Wanted(gateway, allow_loss, allow_drift, providers or {}, key)
        self._settled: _Marks | None = None
        remove_temporary_files(self._path)  # of a watch that was killed as it wrote

    def look(self) -> RouteExport | None:
        """Write the file where it does not hold the live routes; None where neither store nor file changed since the last look.

        Raises what `export_routes` does, but for a file that is there already; the file stays as it was then. The store is only
        opened where its file, or that which is written, has changed.
        """
        before = self._marks()
        if before is not None and before == self._settled:
            return None
        text, found = _written(self._store, self._path, self._wanted)
        changed = _bytes(self._path) != text
        if changed:
            with atomic_write(self._path, overwrite=True) as file:
                file.write(text)
        # A store that changed while it was read is read again at the next look.
        after = self._marks()
        still = before is not None and after is not None and before.store == after.store
        self._settled = after if still and after is not None and after.is_old() else None
        return found.model_copy(update={"changed": changed})

    def run(
        self,
        tell: Callable[[RouteExport], None],
        complain: Callable[[TtplanError], None],
        *,
        every: float = 2.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> NoReturn:
        """Look every so many seconds, until an interrupt: `tell` what was written, and `complain` once of what goes wrong.

        After an error the file stays as it was, and it is tried again.
        """
        complained = ""
        while True:
            try:
                found = self.look()
            except TtplanError as error:
                if str(error) != complained:
                    complain(error)
                complained = str(error)
            else:
                complained = complained if found is None else ""
                if found is not None and found.changed:
                    tell(found)
            pause(every)

    def _marks(self) -> _Marks | None:
        """The states of store and file, without opening either; None for a store that is no file."""
        if not isinstance(self._store, DuckDBStore):
            return None
        wal = self._store.path.with_name(self._store.path.name + ".wal")
        return _Marks((_mark(self._store.path), _mark(wal)), _mark(self._path))


class _Mark(NamedTuple):
    """What tells states of a file apart."""

    inode: int
    size: int
    changed_ns: int


class _Marks(NamedTuple):
    """The states of a store (its file, and the log beside it) and of the file that is written."""

    store: tuple[_Mark | None, _Mark | None]
    written: _Mark | None

    def is_old(self) -> bool:
        """Whether any later state would differ from this one: clocks of files are coarse."""
        newest = max(
            (mark.changed_ns for mark in (*self.store, self.written) if mark is not None), default=0
        )
        return time.time_ns() - newest > _SETTLED_NS


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Mark(found.st_ino, found.st_size, found.st_mtime_ns)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}; choose a file that this user may write"
        ) from None


class _Wanted(NamedTuple):
    """How routes are to be written: for whom, and in spite of what; `key` verifies the chain."""

    gateway: Gateway
    allow_loss: bool
    allow_drift: bool
    providers: Mapping[str, str]
    key: VerifyingKey | None


def _written(store: Store, path: Path, wanted: _Wanted) -> tuple[bytes, RouteExport]:
    gateway = wanted.gateway
    if gateway not in GATEWAYS:
        raise InputError(
            f"{gateway!r:.40} is no gateway that is known; expected one of {', '.join(GATEWAYS)}"
        )
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: a file of routes ends in {', '.join(SUFFIXES)}; choose such a name"
        )
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        drifted = None if org_id is None else _drifted(snapshot, org_id, wanted.key)
        if drifted is not None and not wanted.allow_drift:
            raise DriftError(
                f"{drifted}; put it right, or write what is live as it is with allow_drift"
            )
        live = [] if org_id is None else snapshot.live_routes(org_id)
        words = _words(snapshot, live, wanted)
    if words.losses and not wanted.allow_loss:
        raise UnsupportedByGateway(GATEWAYS[gateway], words.losses)
    left_out = [LEFT_OUT_NOTE] if any(loss.effect == "is left out" for loss in words.losses) else []
    return encode_routes_file(words.content, path.suffix), RouteExport(
        gateway=gateway,
        path=str(path),
        routes=len(live),
        live=live_digest(seen_routes(live)),
        losses=tuple(words.losses),
        notes=(
            *([] if drifted is None else [f"{drifted[0].upper()}{drifted[1:]}."]),
            *left_out,
            *words.notes,
        ),
    )


def _drifted(snapshot: Snapshot, org_id: UUID, key: VerifyingKey | None) -> str | None:
    """How the live routes are not what was signed for, if they are not."""
    drift = find_drift(snapshot, org_id, key, own_key=True)
    blocking = next((problem.message for problem in drift.problems if problem.blocks), None)
    if blocking is not None:
        return f"it cannot be known whether what is live was signed for: {blocking} (see `ttplan drift`)"
    if not drift.routes:
        return None
    shown = [f"{one.name!r:.60} {one.kind}" for one in drift.routes[:_SHOWN]]
    more = f" and {len(drift.routes) - _SHOWN} more" if len(drift.routes) > _SHOWN else ""
    return f"what is live is not what was signed for: {', '.join(shown)}{more} (see `ttplan drift`, `ttplan repair`)"


def _words(snapshot: Snapshot, live: list[LiveRoute], wanted: _Wanted) -> RenderedRoutes:
    routes = [one.route for one in live]
    if wanted.gateway == "tokentrimmer":
        return to_tokentrimmer(routes)
    return to_litellm(routes, _providers(snapshot, live, wanted.providers))


def _providers(
    snapshot: Snapshot, live: list[LiveRoute], given: Mapping[str, str]
) -> Callable[[str], str]:
    """How LiteLLM calls a model: with the provider that is given, or that log, plans or catalogue have, in this order."""
    known = [_logged(snapshot), _priced(snapshot, live)]

    def call(model: str) -> str:
        if model in given:
            return _prefixed(given[model], model)
        for source in known:
            found = source.get(model, set())
            if len(found) > 1:
                raise InputError(
                    f"{model!r:.60} is served by {', '.join(sorted(found))}; say which, as LiteLLM calls it, with "
                    "`providers`"
                )
            if found:
                provider = next(iter(found))
                return _prefixed(_LITELLM_NAMES.get(provider, provider), model)
        owner = normalise_model("", model).provider
        if not owner:
            raise InputError(
                f"no plan, log or catalogue says who serves {model!r:.60}; say it, as LiteLLM calls it, with "
                "`providers`"
            )
        return _prefixed(_LITELLM_NAMES.get(owner, owner), model)

    return call


def _prefixed(provider: str, model: str) -> str:
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"


def _logged(snapshot: Snapshot) -> dict[str, set[str]]:
    """Which providers served each model of the log."""
    from ttplan.engine.dialects import fetch

    found: dict[str, set[str]] = defaultdict(set)
    if snapshot.request_count():
        for row in fetch(snapshot.requests().select("provider", "model").distinct()).to_pylist():
            found[row["model"]].add(row["provider"])
    return found


def _priced(snapshot: Snapshot, live: list[LiveRoute]) -> dict[str, set[str]]:
    """Which providers the prices of the live routes' plans are of."""
    found: dict[str, set[str]] = defaultdict(set)
    for plan_id in {one.plan_id for one in live}:
        run = snapshot.plan(plan_id)
        for key in {} if run is None else run.pricing:
            provider, model = split_price_key(key)
            found[model].add(provider)
    return found
