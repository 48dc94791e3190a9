"""The live routes written for a gateway, once or whenever they change."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from uuid import UUID

from ttplan.files import whole_file
from ttplan.gateways.litellm import to_litellm
from ttplan.gateways.tokentrimmer import to_tokentrimmer
from ttplan.gateways.words import LEFT_OUT, SUFFIXES, Words, as_text
from ttplan.live.history import live_digest, seen
from ttplan.logs.names import normalise
from ttplan.model.errors import InputError, TtplanError, Unsayable
from ttplan.model.gateway import GATEWAYS, Gateway, RouteExport
from ttplan.model.plan_run import LiveRoute
from ttplan.model.pricing import split_price_key
from ttplan.store.duckdb import DuckDBStore
from ttplan.store.protocol import Snapshot, Store

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
_SETTLED_NS = 2_000_000_000
"""How long ago a file has to have changed for its time and size to tell it from any later state."""


def export_routes(
    store: Store,
    path: str | os.PathLike[str],
    gateway: Gateway,
    *,
    allow_loss: bool = False,
    overwrite: bool = False,
    providers: Mapping[str, str] | None = None,
) -> RouteExport:
    """Write the live routes for a gateway, as JSON or YAML by the path's suffix, whole or not at all.

    `providers` say for LiteLLM which provider serves a model, where plans, log and catalogue do not tell, or tell otherwise.
    Raises Unsayable where the gateway has no words for something, unless `allow_loss`; InputError where there is such a file
    already, unless `overwrite`, or something cannot be used; and StoreError. Nothing is written then.
    """
    text, found = _written(store, Path(path), gateway, allow_loss, providers or {})
    with whole_file(path, overwrite=overwrite) as file:
        file.write(text)
    return found


class Watcher:
    """Keeps a file what the live routes are: each `look` writes it where it is not."""

    def __init__(
        self,
        store: Store,
        path: str | os.PathLike[str],
        gateway: Gateway,
        *,
        allow_loss: bool = False,
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._path = Path(path)
        self._gateway = gateway
        self._allow_loss = allow_loss
        self._providers = providers or {}
        self._settled: _Marks | None = None

    def look(self) -> RouteExport | None:
        """Write the file where it does not hold the live routes; None where neither store nor file changed since the last look.

        Raises what `export_routes` does, but for a file that is there already; the file stays as it was then. The store is only
        opened where its file, or that which is written, has changed.
        """
        before = self._marks()
        if before is not None and before == self._settled:
            return None
        text, found = _written(self._store, self._path, self._gateway, self._allow_loss, self._providers)
        changed = _bytes(self._path) != text
        if changed:
            with whole_file(self._path, overwrite=True) as file:
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
        newest = max((mark.changed_ns for mark in (*self.store, self.written) if mark is not None), default=0)
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
        raise InputError(f"{path} cannot be read: {error.strerror}; choose a file that this user may write") from None


def _written(
    store: Store, path: Path, gateway: Gateway, allow_loss: bool, providers: Mapping[str, str]
) -> tuple[bytes, RouteExport]:
    if gateway not in GATEWAYS:
        raise InputError(f"{gateway!r:.40} is no gateway that is known; expected one of {', '.join(GATEWAYS)}")
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a file of routes ends in {', '.join(SUFFIXES)}; choose such a name")
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        live = [] if org_id is None else snapshot.live_routes(org_id)
        words = _words(snapshot, org_id, live, gateway, providers)
    if words.losses and not allow_loss:
        raise Unsayable(GATEWAYS[gateway], words.losses)
    left_out = [LEFT_OUT] if any(loss.effect == "is left out" for loss in words.losses) else []
    return as_text(words.content, path.suffix), RouteExport(
        gateway=gateway,
        path=str(path),
        routes=len(live),
        live=live_digest(seen(live)),
        losses=tuple(words.losses),
        notes=(*left_out, *words.notes),
    )


def _words(
    snapshot: Snapshot, org_id: UUID | None, live: list[LiveRoute], gateway: Gateway, providers: Mapping[str, str]
) -> Words:
    routes = [one.route for one in live]
    if gateway == "tokentrimmer":
        return to_tokentrimmer(routes)
    return to_litellm(routes, _providers(snapshot, live, providers))


def _providers(snapshot: Snapshot, live: list[LiveRoute], given: Mapping[str, str]) -> Callable[[str], str]:
    """How LiteLLM calls a model: with the provider that is given, or that log, plans or catalogue have, in this order."""
    known = [_logged(snapshot), _priced(snapshot, live)]

    def call(model: str) -> str:
        if model in given:
            return _prefixed(given[model], model)
        for source in known:
            found = source.get(model, set())
            if len(found) > 1:
                raise InputError(
                    f"{model!r:.60} is served by {', '.join(sorted(found))}; say which, as LiteLLM calls it, with providers "
                    f"(--provider {model}=…)"
                )
            if found:
                provider = next(iter(found))
                return _prefixed(_LITELLM_NAMES.get(provider, provider), model)
        owner = normalise("", model).provider
        if not owner:
            raise InputError(
                f"no plan, log or catalogue says who serves {model!r:.60}; say it, as LiteLLM calls it, with providers "
                f"(--provider {model}=openai)"
            )
        return _prefixed(_LITELLM_NAMES.get(owner, owner), model)

    return call


def _prefixed(provider: str, model: str) -> str:
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"


def _logged(snapshot: Snapshot) -> dict[str, set[str]]:
    """Which providers served each model of the log."""
    from ttplan.engine.portable import fetch

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
