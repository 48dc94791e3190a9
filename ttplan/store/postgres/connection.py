"""A connection to a PostgreSQL server: opened when it is needed, and what goes wrong with it in words of ours.

A password in the URL is in no message, no repr and no traceback's text of what is raised here.
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
"""A server that is gone without a word is noticed after a minute."""
_SETTINGS = (
    "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false), "
    # Who may make functions somewhere has none called here by mistake.
    "set_config('search_path', 'pg_catalog, pg_temp', false), "
    # A commit that is acknowledged is on the disk, whatever the server's default is.
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'local', false) END, "
    "set_config('lock_timeout', %s, false)"
)
_FORKED: list[Connection] = []
"""Connections of the process that this one was forked from: never used and never closed here, which would end them there."""


class Address:
    """Where a store is: a server's URL, whose parameter `org` may say whose plans are meant."""

    def __init__(self, url: str) -> None:
        """Raises InputError where the URL is none."""
        self.shown = redact_url(url)
        try:
            parts = urlsplit(url)
        except ValueError:
            raise self._unreadable() from None
        if (
            parts.netloc.count("@") > 1
        ):  # the server's library would take the rest of the password for a host, and say it
            raise InputError(f"{self.shown} has an @ in its user or password; write it as %40")
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.org_id = _org([value for name, value in query if name == "org"])
        rest = urlencode([(name, value) for name, value in query if name != "org"], safe="/,")
        self._dsn = urlunsplit(parts._replace(query=rest))
        try:
            self._fields = conninfo.conninfo_to_dict(self._dsn)
        except psycopg.Error:  # whose message has the whole URL
            raise self._unreadable() from None

    def _unreadable(self) -> InputError:
        return InputError(
            f"{self.shown} cannot be read as a PostgreSQL URL; expected postgresql://user@host:port/database, with special "
            "characters of a password written as %xx"
        )

    def connect(self, lock_timeout: float) -> Connection:
        """A new connection. Raises psycopg.Error."""
        name = f"ttplan, process {os.getpid()} on {socket.gethostname()}"[:63]
        defaults = {name: value for name, value in _DEFAULTS.items() if name not in self._fields}
        given = (
            {"application_name": name}
            | {name: str(value) for name, value in self._fields.items()}
            | defaults
        )
        connection: Connection = psycopg.connect(autocommit=True, **given)  # type: ignore[arg-type]
        try:
            connection.execute(_SETTINGS, [f"{max(1, round(lock_timeout * 1000))}ms"])
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def key(self) -> tuple[str, ...]:
        """What two addresses of one database have in common; without the password."""
        name = self._fields.get("dbname") or self._fields.get("user") or ""
        return (
            str(name),
            *(str(self._fields.get(part) or "") for part in ("host", "hostaddr", "port")),
        )

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


class Session:
    """The one connection of a store, made when it is first needed, and again where it was lost or another process made it."""

    def __init__(self, address: Address, lock_timeout: float) -> None:
        self._address = address
        self._lock_timeout = lock_timeout
        self._held: list[tuple[int, Connection]] = []
        weakref.finalize(self, _let_go, self._held)

    def connection(self) -> Connection:
        """The connection; a new one is asked for nothing but its settings. Raises psycopg.Error."""
        if self._held:
            process, connection = self._held[0]
            if process == os.getpid() and not connection.closed:
                return connection
            self.close()
        connection = self._address.connect(self._lock_timeout)
        self._held.append((os.getpid(), connection))
        return connection

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        _let_go(self._held)


def _let_go(held: list[tuple[int, Connection]]) -> None:
    while held:
        process, connection = held.pop()
        if process == os.getpid():
            connection.close()
        else:
            _FORKED.append(connection)


def _org(given: list[str]) -> UUID | None:
    try:
        return UUID(given[-1]) if given else None
    except ValueError:
        raise InputError(
            f"org is {given[-1]!r:.80} in the store's URL; expected an organisation's UUID"
        ) from None


_WORDS: dict[type[psycopg.Error], str] = {
    errors.ReadOnlySqlTransaction: "it is read-only, as a standby is; write to the primary",
    errors.InsufficientPrivilege: "this login may not do that ({}); docs/postgres.md says which role may do what",
    errors.DiskFull: "its disk is full ({}); make room there",
    errors.UniqueViolation: "another row is there already ({})",
    errors.AdminShutdown: "the server shut down or ended the connection",
    errors.CannotConnectNow: "the server is starting up or shutting down; try again",
}
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
_NUL = "cannot contain NUL"


def explained(
    shown: str, error: psycopg.Error, *, holder: str = "", waited: float = 0.0
) -> StoreError | InputError:
    """An error of the server or of the connection as one of ours. `holder` says who had what was waited for, for `waited` s."""
    reason = first_line(error)
    if isinstance(error, errors.LockNotAvailable):
        return StoreLocked(
            f"{shown} is in use by {holder or 'another session'}; waited {waited:.1f} s for it. Close it there, or try again"
        )
    if isinstance(error, _AGAIN):
        return StoreConflict(
            f"{shown}: others wrote at the same moment ({reason}), and nothing was written; try again"
        )
    if _NUL in reason or isinstance(error, errors.CharacterNotInRepertoire):
        return InputError(
            f"{shown}: a text has a NUL character in it, which PostgreSQL cannot keep; nothing was written"
        )
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            reason = words.format(reason)
            break
    else:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            reason = f"the connection could not be made, or was lost: {reason}"
    return StoreError(f"{shown}: the operation failed and nothing was written: {reason}")


def first_line(error: Exception) -> str:
    """What the server said, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
