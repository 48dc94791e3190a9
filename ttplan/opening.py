"""Open a workspace: the store at a path, made where there is none, with the key that signs its chain."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

from ttplan.apply import Clock, now
from ttplan.audit.anchors import publisher_from_env
from ttplan.audit.keys import ensure_key, key_from_env, passphrase_from_env
from ttplan.audit.signer import Signer, signer_from_env
from ttplan.model.errors import InputError
from ttplan.store.duckdb import LOCK_TIMEOUT, DuckDBStore
from ttplan.workspace import PathLike, Workspace


def open_workspace(
    path: PathLike,
    *,
    org_id: UUID | str | None = None,
    key: Signer | None = None,
    key_file: PathLike | None = None,
    create: bool = True,
    lock_timeout: float = LOCK_TIMEOUT,
    clock: Clock = now,
    new_id: Callable[[], UUID] = uuid4,
    new_nonce: Callable[[], str] = lambda: secrets.token_hex(32),
) -> Workspace:
    """Open the store at `path`, made where there is none, with its signing key.

    The key is `key`, else that in `key_file`, else what the environment names (a command in `TTPLAN_SIGN_COMMAND`, a key in
    `TT_AUDIT_SIGNING_KEY`), else that in the file beside the store, `<path>.key.pem`, which is made with a new store. Key files
    are read and written with the passphrase in `TTPLAN_KEY_PASSPHRASE`, where that is set. Each new tip of the chain is
    appended to the file in `TTPLAN_ANCHOR_FILE` and handed to the command in `TTPLAN_ANCHOR_COMMAND`. `clock`, `new_id` and
    `new_nonce` are for tests and notebooks, which have to come out the same.

    Raises StoreError where `path` is not a store, and KeyFileError where a key cannot be used.
    """
    store_path = Path(path)
    # Not Path.exists, which raises where a folder may not be entered.
    is_new = not os.path.exists(store_path)
    if is_new and not create:
        raise InputError(f"{store_path}: no such store; make one with `ttplan import FILE --store {store_path}`")
    store = DuckDBStore(store_path, lock_timeout=lock_timeout)
    beside = store_path.with_name(store_path.name + ".key.pem")
    passphrase = passphrase_from_env(os.environ)
    chosen = key or (None if key_file is not None else signer_from_env(os.environ) or key_from_env(os.environ))
    file = None if chosen is not None else Path(key_file) if key_file is not None else beside
    if is_new and file == beside:
        ensure_key(beside, passphrase=passphrase)
    return Workspace(
        store,
        name=str(path),
        key=chosen,
        key_file=file,
        makes_key=file == beside,
        passphrase=passphrase,
        on_tip=publisher_from_env(os.environ),
        org_id=UUID(org_id) if isinstance(org_id, str) else org_id,
        clock=clock,
        new_id=new_id,
        new_nonce=new_nonce,
    )
