"""Connections to a PostgreSQL server, and their errors as ttplan errors.

The password of a URL never appears in a message, a repr or a traceback of an error that is raised
here.
"""

from __future__ import annotations

import os
import socket
import weakref
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

import psycopg
from psycopg import conninfo, errors

from ttplan.model.errors import InputError, StoreConflict, StoreError, StoreLocked
from ttplan.util.paths import redact_url

Connection = psycopg.Connection[tuple[Any, ...]]
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""A server that disappears silently is noticed after a minute."""
_SETTINGS = (
    "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false), "
    # No function that another user created is called by accident.
    "set_config('search_path', 'pg_catalog, pg_temp', false), "
    # An acknowledged commit is on disk, regardless of the server's default.
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN "
    "set_config('synchronous_commit', 'local', false) END, "
    "set_config('lock_timeout', %s, false)"
)
_FORKED: list[Connection] = []
"""Connections of the parent process, after a fork: closing them here would end them there, so
they are kept unused."""


class Address:
    """The URL of a store's server; its parameter `org` may name an organisation."""

    def __init__(self, url: str) -> None:
        """Raises InputError if the URL cannot be read."""
        self.shown = redact_url(url)
        try:
            parts = urlsplit(url)
        except ValueError:
            raise self._unreadable() from None
        # libpq would take the rest of the password for a host, and print it.
        if parts.netloc.count("@") > 1:
            raise InputError(f"{self.shown} has an @ in its user or password; write it as %40")
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.org_id = _parse_org([value for name, value in query if name == "org"])
        rest = urlencode([(name, value) for name, value in query if name != "org"], safe="/,")
        self._dsn = urlunsplit(parts._replace(query=rest))
        try:
            self._fields = conninfo.conninfo_to_dict(self._dsn)
        except psycopg.Error:  # its message contains the URL
            raise self._unreadable() from None

    def _unreadable(self) -> InputError:
        return InputError(
            f"{self.shown} cannot be read as a PostgreSQL URL; expected "
            "postgresql://user@host:port/database, with special "
            "characters of a password written as %xx"
        )

    def connect(self, lock_timeout: float) -> Connection:
        """A new connection. Raises psycopg.Error."""
        name = f"ttplan, process {os.getpid()} on {socket.gethostname()}"[:63]
        defaults = {name: value for name, value in _DEFAULTS.items() if name not in self._fields}
        options = (
            {"application_name": name}
            | {name: str(value) for name, value in self._fields.items()}
            | defaults
        )
        connection: Connection = psycopg.connect(
            autocommit=True,
            **options,  # type: ignore[arg-type]
        )
        try:
            connection.execute(_SETTINGS, [f"{max(1, round(lock_timeout * 1000))}ms"])
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the database, without the password."""
        name = self._fields.get("dbname") or self._fields.get("user") or ""
        return (
            str(name),
            *(str(self._fields.get(part) or "") for part in ("host", "hostaddr", "port")),
        )

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


class Session:
    """The one connection of a store, opened on first use, and again if it was lost or belongs to
    the parent process."""

    def __init__(self, address: Address, lock_timeout: float) -> None:
        self._address = address
        self._lock_timeout = lock_timeout
        self._open: list[tuple[int, Connection]] = []
        weakref.finalize(self, _close, self._open)

    def connection(self) -> Connection:
        """The connection. Raises psycopg.Error."""
        if self._open:
            process, connection = self._open[0]
            if process == os.getpid() and not connection.closed:
                return connection
            self.close()
        connection = self._address.connect(self._lock_timeout)
        self._open.append((os.getpid(), connection))
        return connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        _close(self._open)


def _close(connections: list[tuple[int, Connection]]) -> None:
    while connections:
        process, connection = connections.pop()
        if process == os.getpid():
            connection.close()
        else:
            _FORKED.append(connection)


def _parse_org(values: list[str]) -> UUID | None:
    try:
        return UUID(values[-1]) if values else None
    except ValueError:
        raise InputError(
            f"org is {values[-1]!r:.80} in the store's URL; expected an organisation's UUID"
        ) from None


_REASONS: dict[type[psycopg.Error], str] = {
    errors.ReadOnlySqlTransaction: "it is read-only, as a standby is; write to the primary",
    errors.InsufficientPrivilege: (
        "this login may not do that ({}); docs/postgres.md lists the rights of each role"
    ),
    errors.DiskFull: "its disk is full ({}); free space there",
    errors.UniqueViolation: "such a row exists already ({})",
    errors.AdminShutdown: "the server shut down or ended the connection",
    errors.CannotConnectNow: "the server is starting up or shutting down; try again",
}
_CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)
_NUL = "cannot contain NUL"


def translate_error(
    shown: str, error: psycopg.Error, *, holder: str = "", waited: float = 0.0
) -> StoreError | InputError:
    """A psycopg error as a ttplan error.

    `holder` held the lock that was waited for, for `waited` seconds.
    """
    reason = first_line(error)
    if isinstance(error, errors.LockNotAvailable):
        return StoreLocked(
            f"{shown} is in use by {holder or 'another session'}; waited {waited:.1f} s for it. "
            "Close it there, or try again"
        )
    if isinstance(error, _CONFLICTS):
        return StoreConflict(
            f"{shown}: a conflict with another writer ({reason}), and nothing was written; try "
            "again"
        )
    if _NUL in reason or isinstance(error, errors.CharacterNotInRepertoire):
        return InputError(
            f"{shown}: a text contains a NUL character, which PostgreSQL cannot store; nothing "
            "was written"
        )
    for error_class, template in _REASONS.items():
        if isinstance(error, error_class):
            reason = template.format(reason)
            break
    else:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            reason = f"the connection failed or was lost: {reason}"
    return StoreError(f"{shown}: the operation failed and nothing was written: {reason}")


def first_line(error: Exception) -> str:
    """The error's message in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
