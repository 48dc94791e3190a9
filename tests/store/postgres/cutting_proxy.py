"""A proxy for a PostgreSQL server that cuts a connection at a chosen message: before the server
gets it, or before the client gets the reply."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

PORT = 5432
Side = Literal["before", "after"]
_CHUNK = 2**16
_SHORT = 4
_STARTS = {80877103, 80877104}
"""The code of a request for encryption, which the proxy does not support."""


class Cutting:
    """Listens on a PostgreSQL socket in a folder and forwards to another one. `passed` counts the
    messages of the client.

    The connection ends at the message that `arm` names: with `before` it is not handed on, with
    `after` it is, and its answer is not. While it is `away` new connections are refused.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self._server = str(server / f".s.PGSQL.{PORT}")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / f".s.PGSQL.{PORT}"))
        self._listening.listen()
        self._lock = threading.Lock()
        self.away = False
        self.arm(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Cutting:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.away = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def arm(
        self, cut_at: int, side: Side = "before", *, saying: bytes = b"", away: bool = False
    ) -> None:
        """Cut at the message with this number among the next ones that contain `saying`; 0 is
        never.

        With `away` there is no server afterwards."""
        with self._lock:
            self.passed, self.cut_at, self.side = 0, cut_at, side
            self._saying, self._goes_away = saying, away

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.away:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            lost = threading.Event()
            threading.Thread(
                target=self._to_server, args=(client, server, lost), daemon=True
            ).start()
            threading.Thread(
                target=self._to_client, args=(client, server, lost), daemon=True
            ).start()

    def _to_server(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        first = True
        with suppress(OSError):
            while True:
                kind = b"" if first else _read(client, 1)
                length = _read(client, _SHORT)
                rest = _read(client, struct.unpack("!I", length)[0] - _SHORT)
                first = first and struct.unpack("!I", rest[:_SHORT])[0] in _STARTS
                side = self._cut(kind + rest)
                if side == "after":
                    lost.set()  # from here on no answer comes through
                if side != "before":
                    server.sendall(kind + length + rest)
                if side is not None:
                    break
        self._end(client, server)

    def _to_client(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if not lost.is_set():
                    client.sendall(data)
        self._end(client, server)

    def _cut(self, message: bytes) -> Side | None:
        """Count a message; return whether the connection is cut at it, and on which side."""
        with self._lock:
            if self._saying not in message:
                return None
            self.passed += 1
            if self.passed != self.cut_at:
                return None
            self.cut_at = 0
            self.away = self._goes_away
            return self.side

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _read(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = end.recv(count - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data
