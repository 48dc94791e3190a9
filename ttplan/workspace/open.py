"""Open a workspace: a store in a file or on a server, with the key that signs its chain."""

from __future__ import annotations

import os
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
from ttplan.operations.context import new_nonce
from ttplan.store.duckdb.store import LOCK_TIMEOUT, DuckDBStore
from ttplan.store.protocol import Store
from ttplan.util.paths import PathLike, is_postgres_url, redact_url
from ttplan.workspace import Workspace

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from ttplan.operations.stores.copy import StoreCopy
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
    new_nonce: Callable[[], str] = new_nonce,
) -> Workspace:
    """Open the store at a path, with the key that signs its chain.

    Parameters
    ----------
    path : path or str
        A DuckDB file, created if it does not exist, or the URL of a PostgreSQL database
        ("postgresql://…", extra ``postgres``) that ``ttplan migrate`` has prepared.
    org_id : UUID or str, optional
        The organisation, if a database has several; ``?org=…`` in the URL says the same.
    key : Signer, optional
        The key that signs. If both `key` and `key_file` are left out, it is what the environment
        names (a command in ``TTPLAN_SIGN_COMMAND``, a key in ``TT_AUDIT_SIGNING_KEY``), else the
        key file ``<path>.key.pem``, which is created with a new store.
    key_file : path, optional
        The file of the key that signs. Key files are encrypted with the passphrase in
        ``TTPLAN_KEY_PASSPHRASE``, if that is set.
    create : bool, default True
        Create a store that does not exist.
    lock_timeout : float, default 30
        How long to wait for the store's lock, in seconds.
    requests : path or sequence of paths, optional
        Parquet files with the requests of a store in a database, as in `Workspace.plan`.
    clock, new_id, new_nonce : callable, optional
        Sources of times, ids and nonces: pinned by tests and notebooks.

    Returns
    -------
    Workspace
        Each new tip of its chain is appended to the file in ``TTPLAN_ANCHOR_FILE`` and passed to
        the command in ``TTPLAN_ANCHOR_COMMAND``, if they are set.

    Raises
    ------
    InputError
        If there is no such store and it is not to be created.
    StoreError
        If `path` is not a store.
    KeyFileError
        If a key cannot be used.

    Examples
    --------
    >>> ttplan.open("plans.duckdb").anchor() is None
    True
    """
    organisation = UUID(org_id) if isinstance(org_id, str) else org_id
    passphrase = passphrase_from_env(os.environ)
    signer = key or (
        None if key_file is not None else signer_from_env(os.environ) or key_from_env(os.environ)
    )
    wiring: dict[str, Any] = {
        "key": signer,
        "passphrase": passphrase,
        "publisher": publisher_from_env(os.environ),
        "org_id": organisation,
        "clock": clock,
        "new_id": new_id,
        "new_nonce": new_nonce,
    }
    own_file = None if signer is not None or key_file is None else Path(key_file)
    if is_postgres_url(path):
        store = _open_on_server(os.fspath(path), organisation, lock_timeout, requests)
        return Workspace(
            store,
            name=redact_url(os.fspath(path)),
            key_file=own_file,
            own_org=store.org_id,
            **wiring,
        )
    if requests is not None:
        raise InputError(
            "requests outside the store are for a store on a server; with a file, "
            "give them to each "
            "plan (requests)"
        )
    store_path = Path(path)
    # Not Path.exists, which raises where a folder may not be entered.
    is_new = not os.path.exists(store_path)
    if is_new and not create:
        raise InputError(
            f"{store_path}: no such store; create one with "
            f"`ttplan import FILE --store {store_path}`"
        )
    file_store = DuckDBStore(store_path, lock_timeout=lock_timeout)
    beside = store_path.with_name(store_path.name + ".key.pem")
    file = None if signer is not None else own_file or beside
    if is_new and file == beside:
        ensure_key(beside, passphrase=passphrase)
    return Workspace(file_store, name=str(path), key_file=file, makes_key=file == beside, **wiring)


def migrate_store(path: PathLike, *, roles: bool = False) -> tuple[str, ...]:
    """Bring a store's schema to the current one, and return the names of the steps taken.

    In a database, a store is created if there is none, and with `roles` the roles that
    docs/postgres.md describes. A file is migrated whenever it is opened. Raises InputError if there
    is no such file, and StoreError.
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


def copy_store(source: PathLike, target: PathLike, *, public_key: str | None = None) -> StoreCopy:
    """Copy a store into a new file or an empty database, whole or not at all.

    The copy's chain is verified with `public_key`, or else the source's key. Raises InputError and
    StoreError.
    """
    opened = open_workspace(source, create=False)
    with opened.store.read() as snapshot:
        org_id = snapshot.org_id()
    is_new = not is_postgres_url(target) and not os.path.exists(target)
    copy: Store = (
        _open_on_server(os.fspath(target), org_id, LOCK_TIMEOUT, None)
        if is_postgres_url(target)
        else DuckDBStore(Path(target))
    )
    try:
        return opened.copy(copy, public_key=public_key)
    except BaseException:
        if is_new:
            Path(target).unlink()
        raise


def _open_on_server(
    url: str,
    org_id: UUID | None,
    lock_timeout: float,
    requests: PathLike | Sequence[PathLike] | None,
) -> PostgresStore:
    with _with_psycopg():
        from ttplan.store.postgres.store import PostgresStore

    opener = None if requests is None else partial(_open_requests, requests)
    return PostgresStore(url, org_id=org_id, lock_timeout=lock_timeout, requests=opener)


@contextmanager
def _open_requests(requests: PathLike | Sequence[PathLike]) -> Iterator[ir.Table]:
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
