"""A local HTTP server with an OpenAI-compatible chat API that behaves as well as a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """A response of the server.

    `cut` bytes at the end of the body are missing, although its length is announced; `seconds` pass
    before it; `drip` is the pause after each byte.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    cut: int = 0
    seconds: float = 0.0
    drip: float = 0.0


class ReceivedRequest(NamedTuple):
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    payload: dict[str, Any]


def completion(content: Any, *, finish_reason: str = "stop", usage: Any = None) -> Reply:
    """A chat completion that says `content`."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish_reason,
    }
    return Reply(
        body=json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    )


def verdict_reply(verdict: str, reason: str = "since", **options: Any) -> Reply:
    """A judge's reply."""
    return completion(json.dumps({"verdict": verdict, "reason": reason}), **options)


class ChatServer:
    """Answers the n-th request with `reply(n, received)`, and keeps what it was received."""

    def __init__(self, reply: Callable[[int, ReceivedRequest], Reply]) -> None:
        self.received: list[ReceivedRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        lock = threading.Lock()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received = ReceivedRequest(
                    self.path, {k.lower(): v for k, v in self.headers.items()}, payload
                )
                with lock:
                    chat.received.append(received)
                    number = len(chat.received) - 1
                    chat.in_flight += 1
                    chat.most_in_flight = max(chat.most_in_flight, chat.in_flight)
                try:
                    self.send(reply(number, received))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with lock:
                        chat.in_flight -= 1

            def send(self, reply: Reply) -> None:
                time.sleep(reply.seconds)
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                shown = reply.body[: len(reply.body) - reply.cut]
                if reply.drip:
                    for byte in shown:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(shown)
                self.close_connection = self.close_connection or bool(reply.cut)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(*replies: Reply | Callable[[int, ReceivedRequest], Reply]) -> Iterator[ChatServer]:
    """A server that gives these replies in turn, the last one again and again."""

    def reply(number: int, received: ReceivedRequest) -> Reply:
        reply = replies[min(number, len(replies) - 1)]
        return reply if isinstance(reply, Reply) else reply(number, received)

    server = ChatServer(reply)
    try:
        yield server
    finally:
        server.close()
