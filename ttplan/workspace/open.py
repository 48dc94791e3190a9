"""Open a workspace: the store at a path, made where there is none, or on a server, with the key that signs its chain."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from ttplan.apply import Clock, utc_now
from ttplan.audit.keys.key_files import ensure_key, key_from_env, passphrase_from_env
from ttplan.audit.keys.signer import Signer, signer_from_env
from ttplan.audit.proofs.anchors import publisher_from_env
from ttplan.model.errors import InputError
from ttplan.store.duckdb.store import LOCK_TIMEOUT, DuckDBStore
from ttplan.store.protocol import Store
from ttplan.util.paths import PathLike, is_postgres_url, redact_url
from ttplan.workspace import Workspace

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from ttplan.operations.stores.copy import Copied
    from ttplan.store.postgres.store import PostgresStore


def open_workspace(
    path: PathLike,
    *,
    org_id: UUID | str | None = None,
    key: Signer | None = None,
    key_file: PathLike | None = None,
    create: bool = True,
    lock_timeout: float = LOCK_TIMEOUT,
    requests: PathLike | Sequence[PathLike] | None = None,
    clock: Clock = utc_now,
    new_id: Callable[[], UUID] = uuid4,
    new_nonce: Callable[[], str] = lambda: secrets.token_hex(32),
) -> Workspace:
    """Open the store at `path`, made where there is none, with its signing key.

    `path` is a DuckDB file, or the URL of a PostgreSQL database ("postgresql://…", extra `postgres`) in which `ttplan migrate`
    has made a store. That has many organisations: `org_id`, or `?org=…` in the URL, says which is meant. Its requests may be
    elsewhere, in Parquet files: `requests`, as in `Workspace.plan`.

    The key is `key`, else that in `key_file`, else what the environment names (a command in `TTPLAN_SIGN_COMMAND`, a key in
    `TT_AUDIT_SIGNING_KEY`), else that in the file beside the store, `<path>.key.pem`, which is made with a new store; beside one
    on a server there is none. Key files are read and written with the passphrase in `TTPLAN_KEY_PASSPHRASE`, where that is set.
    Each new tip of the chain is appended to the file in `TTPLAN_ANCHOR_FILE` and handed to the command in
    `TTPLAN_ANCHOR_COMMAND`. `clock`, `new_id` and `new_nonce` are for tests and notebooks, which have to come out the same.

    Raises StoreError where `path` is not a store, and KeyFileError where a key cannot be used.
    """
    wanted = UUID(org_id) if isinstance(org_id, str) else org_id
    passphrase = passphrase_from_env(os.environ)
    chosen = key or (
        None if key_file is not None else signer_from_env(os.environ) or key_from_env(os.environ)
    )
    wiring: dict[str, Any] = {
        "key": chosen,
        "passphrase": passphrase,
        "on_tip": publisher_from_env(os.environ),
        "org_id": wanted,
        "clock": clock,
        "new_id": new_id,
        "new_nonce": new_nonce,
    }
    given = None if chosen is not None or key_file is None else Path(key_file)
    if is_postgres_url(path):
        store = _on_server(os.fspath(path), wanted, lock_timeout, requests)
        return Workspace(
            store, name=redact_url(os.fspath(path)), key_file=given, own_org=store.org_id, **wiring
        )
    if requests is not None:
        raise InputError(
            "requests elsewhere are for a store on a server; with a file, give them to each plan (requests)"
        )
    store_path = Path(path)
    # Not Path.exists, which raises where a folder may not be entered.
    is_new = not os.path.exists(store_path)
    if is_new and not create:
        raise InputError(f"{store_path}: no such store; make one with `ttplan import`")
    file_store = DuckDBStore(store_path, lock_timeout=lock_timeout)
    beside = store_path.with_name(store_path.name + ".key.pem")
    file = None if chosen is not None else given or beside
    if is_new and file == beside:
        ensure_key(beside, passphrase=passphrase)
    return Workspace(file_store, name=str(path), key_file=file, makes_key=file == beside, **wiring)


def migrate_store(path: PathLike, *, roles: bool = False) -> tuple[str, ...]:
    """Bring a store's schema to the current one, and return the names of the steps that a database was without.

    In a database one is made where there is none, and with `roles` the roles that docs/postgres.md speaks of. A file is brought
    forward whenever it is opened; here, too. Raises InputError where there is no such file, and StoreError.
    """
    if is_postgres_url(path):
        with _with_psycopg():
            from ttplan.store.postgres.migrate import migrate

        return migrate(os.fspath(path), roles=roles).steps
    if roles:
        raise InputError(
            f"{os.fspath(path)} is a file, which has no roles; those are for a PostgreSQL database"
        )
    DuckDBStore(Path(path), create=False)
    return ()


def copy_store(source: PathLike, target: PathLike, *, public_key: str | None = None) -> Copied:
    """Copy a store into an empty one, a file that is made or a database, whole or not at all: with the same hashes.

    The copy's chain is verified with `public_key`, else with the key that the source has. Raises InputError and StoreError.
    """
    opened = open_workspace(source, create=False)
    with opened.store.read() as snapshot:
        org_id = snapshot.org_id()
    is_new = not is_postgres_url(target) and not os.path.exists(target)
    copy: Store = (
        _on_server(os.fspath(target), org_id, LOCK_TIMEOUT, None)
        if is_postgres_url(target)
        else DuckDBStore(Path(target))
    )
    try:
        return opened.copy_to(copy, public_key=public_key)
    except BaseException:
        if is_new:
            Path(target).unlink()
        raise


def _on_server(
    url: str,
    org_id: UUID | None,
    lock_timeout: float,
    requests: PathLike | Sequence[PathLike] | None,
) -> PostgresStore:
    with _with_psycopg():
        from ttplan.store.postgres.store import PostgresStore

    elsewhere = None if requests is None else partial(_open_elsewhere, requests)
    return PostgresStore(url, org_id=org_id, lock_timeout=lock_timeout, requests=elsewhere)


@contextmanager
def _open_elsewhere(requests: PathLike | Sequence[PathLike]) -> Iterator[ir.Table]:
    from ttplan.logs.sources.parquet import open_parquet_log

    with open_parquet_log(requests) as lake:
        yield lake.table


@contextmanager
def _with_psycopg() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"a store in PostgreSQL needs psycopg ({error}); install ttplan[postgres]"
        ) from None
